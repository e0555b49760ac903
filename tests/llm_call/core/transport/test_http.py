import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import trustme

import llm_call
from llm_call.core.domain.errors import (
    AttemptTimeoutError,
    ConfigError,
    ConnectionFailedError,
    LLMCallError,
    ProtocolError,
)
from llm_call.core.transport.base import Endpoint, HttpSettings, Timeouts
from llm_call.core.transport.http import HttpTransport
from llm_call.core.wire.base import WireRequest
from llm_call.testing.servers import (
    Behaviour,
    FaultServer,
    Gate,
    Received,
    empty,
    half_body,
    hang,
    html,
    reset,
    respond,
    stream,
)

SECRET = "sk-very-secret"
QUERY = "key=also-secret"
REQUEST = WireRequest(path=f"/chat?{QUERY}", body=b'{"q": 1}')
SHORT = Timeouts(connect=5, first_byte=0.05, between_bytes=0.05)


def endpoint(url: str) -> Endpoint:
    return Endpoint(base_url=f"{url}/v1/", headers={"Authorization": f"Bearer {SECRET}"})


async def post(
    transport: HttpTransport, url: str, request: WireRequest = REQUEST, timeouts: Timeouts | None = None
) -> tuple[int, bytes]:
    async with transport.open(endpoint(url), request, timeouts or Timeouts()) as reply:
        return reply.status, await reply.read()


def run(work: Callable[[HttpTransport], Coroutine[Any, Any, Any]], **options: Any) -> Any:
    """What `work` gives, with a transport of its own in an event loop of its own."""

    async def inside() -> Any:
        transport = HttpTransport(HttpSettings(**options))
        try:
            return await work(transport)
        finally:
            await transport.close()

    return asyncio.run(inside())


def failing(url: str, timeouts: Timeouts | None = None, **options: Any) -> LLMCallError:
    """The error that a call ends with, after a look for secrets in it."""
    with pytest.raises(LLMCallError) as caught:
        run(lambda transport: post(transport, url, timeouts=timeouts), **options)
    shown = "".join(f"{error!r} {error}" for error in (caught.value, caught.value.__cause__)) + caught.value.hint
    assert SECRET not in shown
    assert QUERY not in shown
    return caught.value


def test_a_request_arrives_as_it_was_meant_and_its_answer_comes_back() -> None:
    async def work(transport: HttpTransport) -> None:
        async with transport.open(endpoint(server.url), REQUEST, Timeouts()) as reply:
            assert reply.status == 200
            assert reply.headers["x-request-id"] == "7"
            assert await reply.read() == b'{"a": 1}'

    with FaultServer([respond(b'{"a": 1}', headers={"X-Request-Id": "7"})]) as server:
        run(work)
        assert server.requests == [
            Received(
                method="POST",
                path=f"/v1/chat?{QUERY}",
                headers={
                    "host": f"127.0.0.1:{server.port}",
                    "user-agent": f"llm-call/{llm_call.__version__}",
                    "accept": "*/*",
                    "accept-encoding": "identity",
                    "content-type": "application/json",
                    "authorization": f"Bearer {SECRET}",
                    "content-length": "8",
                },
                body=b'{"q": 1}',
            )
        ]


def test_the_endpoint_s_headers_win_over_the_request_s_and_both_over_the_defaults() -> None:
    request = WireRequest(path="/", body=b"", headers={"Content-Type": "text/plain", "authorization": "none"})
    with FaultServer([respond()]) as server:
        run(lambda transport: post(transport, server.url, request))
        headers = server.requests[0].headers
    assert (headers["content-type"], headers["authorization"]) == ("text/plain", f"Bearer {SECRET}")


@pytest.mark.parametrize("status", [301, 307, 404, 500])
def test_every_status_is_a_reply_and_no_redirect_is_followed(status: int) -> None:
    with FaultServer([respond(b"why", status=status, headers={"location": "/elsewhere"})]) as server:
        assert run(lambda transport: post(transport, server.url)) == (status, b"why")
        assert len(server.requests) == 1


def test_a_web_page_is_handed_on_as_it_is() -> None:
    with FaultServer([html()]) as server:
        status, body = run(lambda transport: post(transport, server.url))
    assert (status, body[:6]) == (502, b"<html>")


def test_pieces_of_a_stream_arrive_before_the_next_one_is_sent() -> None:
    first, second = Gate(), Gate()

    async def work(transport: HttpTransport) -> list[bytes]:
        async with transport.open(endpoint(server.url), REQUEST, Timeouts()) as reply:
            pieces = []
            async for piece in reply.chunks():
                pieces.append(piece)
                gates.pop(0).open() if gates else None
            return pieces

    gates = [first, second]
    with FaultServer([stream([b"data: 1\n\n", first, b"data: 2\n\n", second, b"data: 3\n\n"])]) as server:
        assert run(work) == [b"data: 1\n\n", b"data: 2\n\n", b"data: 3\n\n"]


def test_a_slow_reader_makes_the_peer_wait_and_gets_everything() -> None:
    piece = b"x" * 1_000_000

    async def work(transport: HttpTransport) -> bytes:
        async with transport.open(endpoint(server.url), REQUEST, Timeouts()) as reply:
            connection = reply._connection  # type: ignore[attr-defined]
            async with asyncio.timeout(10):
                while connection.transport.is_reading():  # noqa: ASYNC110  (the event loop's turns are what it waits for)
                    await asyncio.sleep(0)
            assert len(connection.response.body) < len(piece)
            return await reply.read()

    with FaultServer([stream([piece] * 5)]) as server:
        assert run(work) == piece * 5


def test_leaving_a_stream_early_closes_the_connection_at_the_peer() -> None:
    async def work(transport: HttpTransport) -> bool:
        async with transport.open(endpoint(server.url), REQUEST, Timeouts()) as reply:
            async for _ in reply.chunks():
                break
        return await asyncio.to_thread(server.saw_client_leave)

    with FaultServer([stream([b"data: 1\n\n"], then="hang")]) as server:
        assert run(work)


@pytest.mark.parametrize("behaviour", [hang(), stream([b"data: 1\n\n"], then="hang")])
def test_cancelling_a_call_closes_the_connection_at_the_peer(behaviour: Behaviour) -> None:
    async def work(transport: HttpTransport) -> bool:
        call = asyncio.create_task(post(transport, server.url))
        await asyncio.to_thread(server.saw_request)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        return await asyncio.to_thread(server.saw_client_leave)

    with FaultServer([behaviour]) as server:
        assert run(work)


def test_a_timeout_closes_the_connection_at_the_peer() -> None:
    async def work(transport: HttpTransport) -> bool:
        with pytest.raises(AttemptTimeoutError):
            await post(transport, server.url, timeouts=SHORT)
        return await asyncio.to_thread(server.saw_client_leave)

    with FaultServer([hang()]) as server:
        assert run(work)


@pytest.mark.parametrize(
    ("behaviour", "stage"),
    [
        (hang(), "first byte"),
        (Behaviour(pieces=(b"HTTP/1.1 200",), then="hang"), "between bytes"),
        (stream([], then="hang"), "between bytes"),
        (stream([b"data: 1\n\n"], then="hang"), "between bytes"),
    ],
)
def test_a_silent_peer_is_given_up_at_its_stage(behaviour: Behaviour, stage: str) -> None:
    with FaultServer([behaviour]) as server:
        error = failing(server.url, SHORT)
    assert isinstance(error, AttemptTimeoutError)
    assert error.stage == stage
    assert stage in str(error)


def test_a_peer_that_does_not_shake_hands_is_given_up_while_connecting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        error = failing(f"https://127.0.0.1:{silent.getsockname()[1]}", Timeouts(connect=0.05))
    assert isinstance(error, AttemptTimeoutError)
    assert error.stage == "connect"


@pytest.mark.parametrize(
    "behaviour",
    [
        empty(),
        reset(),
        half_body(b'{"a"'),
        Behaviour(pieces=(b"HTTP/1.1 200 OK\r\ncontent-le",), then="close"),
        stream([b"data: 1\n\n"], then="close"),
        stream([b"data: 1\n\n"], then="reset"),
    ],
)
def test_a_connection_that_breaks_is_a_failure_that_names_the_peer(behaviour: Behaviour) -> None:
    with FaultServer([behaviour]) as server:
        error = failing(server.url)
        assert isinstance(error, ConnectionFailedError)
        assert f"127.0.0.1:{server.port}: " in str(error)


def test_what_had_arrived_before_a_break_is_delivered_first() -> None:
    async def work(transport: HttpTransport) -> list[bytes]:
        async with transport.open(endpoint(server.url), REQUEST, Timeouts()) as reply:
            chunks = aiter(reply.chunks())
            pieces = [await anext(chunks)]
            with pytest.raises(ConnectionFailedError):
                await anext(chunks)
        return pieces

    with FaultServer([stream([b"data: 1\n\n"], then="close")]) as server:
        assert run(work) == [b"data: 1\n\n"]


def test_a_refused_connection_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    error = failing(f"http://127.0.0.1:{port}")
    assert isinstance(error, ConnectionFailedError)
    assert str(error) == f"127.0.0.1:{port}: Connection refused"


def test_an_unknown_host_is_a_failed_connection() -> None:
    assert isinstance(failing("http://host..invalid"), ConnectionFailedError)


def test_a_body_that_ends_with_the_connection_is_complete() -> None:
    with FaultServer([Behaviour(pieces=(b"HTTP/1.1 200 OK\r\n\r\nall",), then="close")]) as server:
        assert run(lambda transport: post(transport, server.url)) == (200, b"all")


@pytest.mark.parametrize("behaviour", [respond(b"x" * 101), stream([b"x" * 60, b"x" * 60])])
def test_a_body_above_the_limit_is_refused(behaviour: Behaviour) -> None:
    with FaultServer([behaviour]) as server:
        error = failing(server.url, max_body_bytes=100)
    assert isinstance(error, ProtocolError)
    assert "100 bytes" in str(error)


def test_a_packed_body_is_refused() -> None:
    with FaultServer([respond(b"x", headers={"content-encoding": "gzip"})]) as server:
        assert isinstance(failing(server.url), ProtocolError)


def test_a_peer_that_does_not_speak_http_is_refused() -> None:
    with FaultServer([Behaviour(pieces=(b"220 mail.example.com ESMTP\r\n",), then="hang")]) as server:
        assert isinstance(failing(server.url), ProtocolError)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/2.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 600 OK\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    ],
)
def test_an_answer_with_a_head_that_is_refused_is_no_reply_even_if_it_is_whole(answer: bytes) -> None:
    async def work(transport: HttpTransport) -> None:
        with pytest.raises(ProtocolError):
            async with transport.open(endpoint(server.url), REQUEST, Timeouts()):
                pytest.fail("the head was accepted")

    with FaultServer([Behaviour(pieces=(answer,), then="close")]) as server:
        run(work)


def test_what_had_arrived_before_a_fault_of_the_peer_is_delivered_first() -> None:
    async def work(transport: HttpTransport) -> list[bytes]:
        async with transport.open(endpoint(server.url), REQUEST, Timeouts()) as reply:
            chunks = aiter(reply.chunks())
            pieces = [await anext(chunks)]
            with pytest.raises(ProtocolError):
                await anext(chunks)
        return pieces

    whole = stream([b"data: 1\n\n"], then="hang").pieces
    with FaultServer([Behaviour(pieces=(*whole, b"no size\r\n"), then="hang")]) as server:
        assert run(work) == [b"data: 1\n\n"]


@pytest.mark.parametrize(
    "url",
    ["", "nonsense", "ftp://h", "http://", "http://[::1", "http://h:x", "http://user:sk-very-secret@h", "http://h é"],
)
def test_a_base_url_that_cannot_be_used_is_refused(url: str) -> None:
    assert isinstance(failing(url), ConfigError)


def test_one_connection_serves_calls_one_after_another() -> None:
    async def work(transport: HttpTransport) -> None:
        for _ in range(3):
            await post(transport, server.url)

    with FaultServer([respond(), stream([b"data: 1\n\n"]), respond(status=429)]) as server:
        run(work)
        assert (server.connections, len(server.requests)) == (1, 3)


FORGED = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged"


def test_a_connection_with_more_than_the_answer_is_not_used_again() -> None:
    async def work(transport: HttpTransport) -> None:
        assert await post(transport, server.url) == (200, b"true")
        assert await post(transport, server.url) == (200, b"")

    answer = respond(b"true").pieces[0]
    assert isinstance(answer, bytes)
    with FaultServer([Behaviour(pieces=(answer + FORGED,)), respond()]) as server:
        run(work)
        assert server.connections == 2


def test_a_connection_on_which_something_comes_unasked_is_not_used_again() -> None:
    async def work(transport: HttpTransport) -> None:
        async with transport.open(endpoint(server.url), REQUEST, Timeouts()) as reply:
            connection = reply._connection  # type: ignore[attr-defined]
            assert await reply.read() == b"true"
        assert connection.is_usable()
        later.open()
        async with asyncio.timeout(10):
            while connection.is_usable():  # noqa: ASYNC110  (the event loop's turns are what it waits for)
                await asyncio.sleep(0)
        assert await post(transport, server.url) == (200, b"")

    later = Gate()
    with FaultServer([Behaviour(pieces=(*respond(b"true").pieces, later, FORGED)), respond()]) as server:
        run(work)
        assert server.connections == 2


def test_an_answer_that_has_arrived_and_is_not_read_leaves_its_connection_usable() -> None:
    async def work(transport: HttpTransport) -> None:
        async with transport.open(endpoint(server.url), REQUEST, Timeouts()) as reply:
            connection = reply._connection  # type: ignore[attr-defined]
            async with asyncio.timeout(10):
                while not connection.response.complete:  # noqa: ASYNC110  (the event loop's turns are what it waits for)
                    await asyncio.sleep(0)
        assert connection.transport.is_reading()
        assert await post(transport, server.url) == (200, b"next")
        assert await reply.read() == big

    big = b"x" * 300_000
    with FaultServer([respond(big), respond(b"next")]) as server:
        run(work)
        assert server.connections == 1


def test_a_connection_that_the_peer_closed_meanwhile_is_not_used_again() -> None:
    async def work(transport: HttpTransport) -> None:
        await post(transport, server.url)
        await asyncio.to_thread(server.drop_connections)
        await post(transport, server.url)

    with FaultServer([respond()]) as server:
        run(work)
        assert server.connections == 2


def test_a_connection_that_the_peer_closed_while_the_loop_stood_still_is_not_used_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("llm_call.core.transport.connection._UNSEEN_SECONDS", 0.0)
    transport = HttpTransport()
    with FaultServer([respond()]) as server, asyncio.Runner() as runner:
        runner.run(post(transport, server.url))
        server.drop_connections()
        assert runner.run(post(transport, server.url)) == (200, b"")
        runner.run(transport.close())
        assert server.connections == 2


@pytest.mark.parametrize("stale", [empty(), reset()], ids=["closed", "reset"])
def test_a_request_that_crosses_with_the_close_of_idle_connections_is_sent_on_a_new_one(stale: Behaviour) -> None:
    async def work(transport: HttpTransport) -> None:
        await asyncio.gather(post(transport, server.url), post(transport, server.url))
        assert await post(transport, server.url) == (200, b"new")

    with FaultServer([respond(), respond(), stale, stale, respond(b"new")]) as server:
        run(work)
        assert (server.connections, len(server.requests)) == (3, 5)


@pytest.mark.parametrize(
    "broken", [Behaviour(pieces=(b"HTTP/1.1 200",), then="close"), half_body(b"a")], ids=["in the head", "in the body"]
)
def test_a_request_whose_answer_has_begun_is_not_sent_again(broken: Behaviour) -> None:
    async def work(transport: HttpTransport) -> None:
        await post(transport, server.url)
        with pytest.raises(ConnectionFailedError):
            await post(transport, server.url)

    with FaultServer([respond(), broken, respond()]) as server:
        run(work)
        assert len(server.requests) == 2


def test_a_new_connection_that_is_closed_without_an_answer_is_a_failure_at_once() -> None:
    with FaultServer([empty(), respond()]) as server:
        assert isinstance(failing(server.url), ConnectionFailedError)
        assert len(server.requests) == 1


def test_at_most_so_many_connections_are_open_at_once() -> None:
    async def work(transport: HttpTransport) -> None:
        await asyncio.gather(*(post(transport, server.url) for _ in range(10)))
        assert server.connections == 2

    with FaultServer([respond()]) as server:
        run(work, max_connections=2)
        assert len(server.requests) == 10


def test_waiting_for_a_free_connection_is_a_part_of_connecting() -> None:
    async def work(transport: HttpTransport) -> None:
        async with transport.open(endpoint(server.url), REQUEST, Timeouts()):
            with pytest.raises(AttemptTimeoutError) as caught:
                await post(transport, server.url, timeouts=Timeouts(connect=0.05))
        assert caught.value.stage == "connect"
        assert await post(transport, server.url) == (200, b"")

    with FaultServer([respond()]) as server:
        run(work, max_connections=1)


def test_one_transport_serves_event_loops_one_after_another() -> None:
    transport = HttpTransport()
    with FaultServer([respond(b"1"), respond(b"2")]) as server:
        assert asyncio.run(post(transport, server.url)) == (200, b"1")
        assert asyncio.run(post(transport, server.url)) == (200, b"2")
        assert server.connections == 2


def test_one_transport_serves_event_loops_side_by_side() -> None:
    transport = HttpTransport()
    both = threading.Barrier(2)

    async def twice() -> list[tuple[int, bytes]]:
        results = [await post(transport, server.url)]
        await asyncio.to_thread(both.wait, 10)
        return [*results, await post(transport, server.url)]

    with FaultServer([respond(b"x")]) as server, ThreadPoolExecutor(2) as threads:
        calls = [threads.submit(asyncio.run, twice()) for _ in range(2)]
        assert [call.result(10) for call in calls] == [[(200, b"x")] * 2] * 2
        assert server.connections == 2


@pytest.mark.parametrize("behaviour", [hang(), Behaviour(pieces=(b"HTTP/1.1 200 OK\r\n\r\npart",), then="hang")])
def test_closing_the_transport_ends_open_requests(behaviour: Behaviour) -> None:
    async def work(transport: HttpTransport) -> None:
        call = asyncio.create_task(post(transport, server.url))
        await asyncio.to_thread(server.saw_request)
        await transport.close()
        with pytest.raises(ConnectionFailedError):
            await call

    with FaultServer([behaviour]) as server:
        run(work)


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
def test_a_proxy_from_the_environment_is_used(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    with FaultServer([respond(b"by proxy")]) as proxy:
        monkeypatch.setenv(name, f"http://user:p%40ss@127.0.0.1:{proxy.port}")
        assert run(lambda transport: post(transport, "http://api.invalid")) == (200, b"by proxy")
        assert proxy.requests[0].path == f"http://api.invalid/v1/chat?{QUERY}"
        assert proxy.requests[0].headers["host"] == "api.invalid"
        assert proxy.requests[0].headers["proxy-authorization"] == "Basic dXNlcjpwQHNz"


def test_no_proxy_is_used_where_the_settings_switch_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    with FaultServer([respond(b"by proxy")]) as proxy, FaultServer([respond(b"directly")]) as server:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        assert run(lambda transport: post(transport, server.url), proxy="off") == (200, b"directly")
        assert proxy.requests == []


@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
def test_hosts_that_need_no_proxy_are_called_directly(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv(name, "example.com,127.0.0.1")
    with FaultServer([respond(b"direct")]) as server:
        assert run(lambda transport: post(transport, server.url)) == (200, b"direct")


def test_a_proxy_that_refuses_a_tunnel_is_a_failed_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    with FaultServer([respond(status=403)]) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:{SECRET}@127.0.0.1:{proxy.port}")
        error = failing("https://api.invalid")
        assert isinstance(error, ConnectionFailedError)
        assert "403" in str(error)
        assert (proxy.requests[0].method, proxy.requests[0].path) == ("CONNECT", "api.invalid:443")
        assert "authorization" not in proxy.requests[0].headers


@pytest.mark.parametrize("url", ["socks5://user:{}@127.0.0.1:1", "http://user:{}@127.0.0.1:port", "http://"])
def test_a_proxy_that_cannot_be_used_is_refused(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("ALL_PROXY", url.format(SECRET))
    assert isinstance(failing("http://api.invalid"), ConfigError)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


def test_an_authority_of_the_user_s_own_is_trusted(tls: ssl.SSLContext, ca_file: str) -> None:
    async def work(transport: HttpTransport) -> list[tuple[int, bytes]]:
        return [await post(transport, server.url) for _ in range(2)]

    with FaultServer([respond(b"plain"), stream([b"data: 1\n\n"])], tls=tls) as server:
        assert run(work, ca_file=ca_file) == [(200, b"plain"), (200, b"data: 1\n\n")]
        assert server.connections == 1


def splice(source: socket.socket, sink: socket.socket) -> None:
    while data := source.recv(65536):
        sink.sendall(data)
    sink.shutdown(socket.SHUT_WR)


def tunnel(listener: socket.socket, asked: list[str], smuggled: bytes) -> None:
    """Serve one CONNECT, to 127.0.0.1 whatever the name, with something of the proxy's own behind the consent."""
    client, _ = listener.accept()
    asked.append(client.recv(65536).decode())
    port = int(asked[0].split(" ")[1].rpartition(":")[2])
    with client, socket.create_connection(("127.0.0.1", port)) as server, ThreadPoolExecutor(2) as threads:
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n" + smuggled)
        threads.submit(splice, client, server)
        threads.submit(splice, server, client).result(10)


@pytest.mark.parametrize("smuggled", [b"", FORGED])
def test_tls_goes_through_a_proxy_s_tunnel_and_the_answer_is_the_server_s(
    monkeypatch: pytest.MonkeyPatch, tls: ssl.SSLContext, ca_file: str, smuggled: bytes
) -> None:
    asked: list[str] = []
    with (
        FaultServer([respond(b"inside")], tls=tls) as server,
        socket.create_server(("127.0.0.1", 0)) as listener,
        ThreadPoolExecutor(1) as threads,
    ):
        served = threads.submit(tunnel, listener, asked, smuggled)
        monkeypatch.setenv("https_proxy", f"127.0.0.1:{listener.getsockname()[1]}")
        assert run(lambda transport: post(transport, server.url), ca_file=ca_file) == (200, b"inside")
        served.result(10)
    assert asked[0].startswith(f"CONNECT 127.0.0.1:{server.port} HTTP/1.1\r\n")
    assert SECRET not in asked[0]


def test_an_authority_from_the_environment_is_trusted(
    monkeypatch: pytest.MonkeyPatch, tls: ssl.SSLContext, ca_file: str
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", ca_file)
    with FaultServer([respond(b"ok")], tls=tls) as server:
        assert run(lambda transport: post(transport, server.url)) == (200, b"ok")


def test_an_unknown_authority_is_refused_with_a_hint(tls: ssl.SSLContext) -> None:
    with FaultServer([respond()], tls=tls) as server:
        error = failing(server.url)
        assert isinstance(error, ConnectionFailedError)
        assert "SSL_CERT_FILE" in error.hint
        assert server.requests == []


def test_a_certificate_for_another_host_is_refused(tls: ssl.SSLContext, ca_file: str) -> None:
    with FaultServer([respond()], tls=tls) as server:
        error = failing(server.url.replace("127.0.0.1", "localhost"), ca_file=ca_file)
        assert isinstance(error, ConnectionFailedError)


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_ca_file_that_cannot_be_used_is_refused(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    assert isinstance(failing("https://127.0.0.1:1", ca_file=str(path)), ConfigError)


def test_leaving_a_stream_early_closes_the_connection_under_tls_too(tls: ssl.SSLContext, ca_file: str) -> None:
    async def work(transport: HttpTransport) -> bool:
        async with transport.open(endpoint(server.url), REQUEST, Timeouts()) as reply:
            async for _ in reply.chunks():
                break
        return await asyncio.to_thread(server.saw_client_leave)

    with FaultServer([stream([b"data: 1\n\n"], then="hang")], tls=tls) as server:
        assert run(work, ca_file=ca_file)
