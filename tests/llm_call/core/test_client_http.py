"""What whole calls make of the network: connections, limits, times, cancellation, proxies and authorities."""

import asyncio
import socket
import ssl
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
import trustme

from llm_call.core.api import ask_sync
from llm_call.core.client import Client
from llm_call.core.config import build_client, load
from llm_call.core.domain.errors import (
    APIError,
    AttemptTimeoutError,
    ConnectionFailedError,
    ProtocolError,
    StreamInterruptedError,
)
from llm_call.core.domain.result import Result
from llm_call.core.providers.registry import Provider
from llm_call.core.providers.transports import transport_factories
from llm_call.core.router import Router
from llm_call.core.transport.base import HttpSettings, Timeouts
from llm_call.testing.clock import FakeClock
from llm_call.testing.scripted import chat_reply, stream_reply
from llm_call.testing.servers import Behaviour, FaultServer, Gate, empty, hang, reset, respond, stream

HELLO = chat_reply("hello").pieces[0]
ANSWER = respond(HELLO)
WORDS = stream_reply(["hel", "lo"]).pieces
SOON = 0.05
SHORT = Timeouts(first_byte=SOON, between_bytes=SOON)
ONCE = {"max_attempts": 1}


def run(work: Callable[[Client], Coroutine[Any, Any, Any]], timeouts: Timeouts | None = None, **http: Any) -> Any:
    """What `work` gives, with a client of its own in an event loop of its own."""

    async def inside() -> Any:
        transports = transport_factories(http=HttpSettings(**http))
        async with Client(transports=transports, timeouts=timeouts) as client:
            return await work(client)

    return asyncio.run(inside())


def ask(client: Client, server: FaultServer | str, **options: Any) -> Coroutine[Any, Any, Result[Any]]:
    url = server if isinstance(server, str) else server.url
    return client.ask("hi", **{"model": "m", "api_base": url, "retry": ONCE, **options})


async def read(client: Client, server: FaultServer, **options: Any) -> str:
    async with client.ask_stream("hi", model="m", api_base=server.url, retry=ONCE, **options) as live:
        return "".join([piece async for piece in live])


def test_one_connection_serves_calls_retries_rounds_and_streams_one_after_another() -> None:
    async def work(client: Client) -> None:
        patient = {"max_attempts": 2, "initial_delay": 0}
        assert len((await ask(client, server, retry=patient)).trace.attempts) == 2
        assert len((await ask(client, server, retry=patient)).trace.rounds) == 2
        assert await read(client, server) == "hello"
        assert (await ask(client, server)).value == "hello"

    script = [respond(status=503), ANSWER, respond(chat_reply("").pieces[0]), ANSWER, stream(WORDS), ANSWER]
    with FaultServer(script) as server:
        run(work)
        assert (server.connections, len(server.requests)) == (1, 6)


def test_calls_at_once_share_as_many_connections_as_are_allowed() -> None:
    async def work(client: Client) -> list[Result[Any]]:
        return await asyncio.gather(*(ask(client, server) for _ in range(10)))

    with FaultServer([ANSWER]) as server:
        assert all(result.ok for result in run(work, max_connections=2))
        assert (server.connections, len(server.requests)) == (2, 10)


def test_a_stream_holds_its_connection_until_its_end_and_then_gives_it_back() -> None:
    async def work(client: Client) -> None:
        async with client.ask_stream("hi", model="m", api_base=server.url) as live:
            pieces = aiter(live)
            await anext(pieces)
            with pytest.raises(AttemptTimeoutError) as caught:
                await ask(client, server)
            assert caught.value.stage == "connect"
            gate.open()
            async for _ in pieces:
                pass
        assert (await ask(client, server)).ok

    gate = Gate()
    with FaultServer([stream([WORDS[0], gate, *WORDS[1:]]), ANSWER]) as server:
        run(work, Timeouts(connect=SOON), max_connections=1)
        assert server.connections == 1


@pytest.mark.parametrize(
    ("behaviour", "timeouts", "stage"),
    [
        (hang(), SHORT, "first byte"),
        (Behaviour(pieces=(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{",), then="hang"), SHORT, "between bytes"),
        (hang(), Timeouts(total=SOON), "total"),
    ],
)
def test_a_silent_peer_is_given_up_at_its_stage_and_sees_the_connection_close(
    behaviour: Behaviour, timeouts: Timeouts, stage: str
) -> None:
    async def work(client: Client) -> None:
        with pytest.raises(AttemptTimeoutError) as caught:
            await ask(client, server)
        assert caught.value.stage == stage
        assert caught.value.trace is not None
        assert len(caught.value.trace.attempts) == 1
        assert await asyncio.to_thread(server.saw_client_leave)

    with FaultServer([behaviour]) as server:
        run(work, timeouts)


def test_a_peer_that_does_not_shake_hands_is_given_up_while_connecting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(AttemptTimeoutError) as caught:
            run(lambda client: ask(client, url), Timeouts(connect=SOON))
    assert caught.value.stage == "connect"


@pytest.mark.parametrize(
    ("behaviour", "timeouts", "stage"),
    [
        (hang(), SHORT, "first byte"),
        (stream([], then="hang"), SHORT, "between bytes"),
        (hang(), Timeouts(total=SOON), "total"),
    ],
)
def test_a_stream_that_does_not_begin_is_given_up_at_its_stage(
    behaviour: Behaviour, timeouts: Timeouts, stage: str
) -> None:
    with FaultServer([behaviour]) as server:
        with pytest.raises(AttemptTimeoutError) as caught:
            run(lambda client: read(client, server), timeouts)
        assert caught.value.stage == stage
        assert server.saw_client_leave()


def test_a_stream_that_falls_silent_breaks_off_with_what_had_arrived() -> None:
    with FaultServer([stream([WORDS[0]], then="hang")]) as server:
        with pytest.raises(StreamInterruptedError, match="between bytes") as caught:
            run(lambda client: read(client, server), SHORT)
        assert caught.value.text == "hel"
        assert server.saw_client_leave()


def test_a_silent_peer_is_not_asked_again_but_the_next_target_is() -> None:
    async def work(silent: str, other: str) -> Result[Any]:
        rows = [
            Provider(name=name, patterns=(f"{name}/*",), base_url=url) for name, url in (("a", silent), ("b", other))
        ]
        async with Client(router=Router(rows=rows), timeouts=SHORT) as client:
            return await client.ask("hi", model="a/m", fallback_models=["b/m"], retry={"max_attempts": 3})

    with FaultServer([hang()]) as silent, FaultServer([ANSWER]) as other:
        result = asyncio.run(work(silent.url, other.url))
    kinds = [attempt.failure.kind if attempt.failure else "" for attempt in result.trace.attempts]
    assert kinds == ["AttemptTimeoutError", ""]


@pytest.mark.parametrize("behaviour", [hang(), Behaviour(pieces=(b"HTTP/1.1 200 OK\r\n\r\n{",), then="hang")])
def test_cancelling_a_call_closes_its_connection_at_the_peer_and_asks_nobody_else(behaviour: Behaviour) -> None:
    async def work(client: Client) -> None:
        call = asyncio.create_task(ask(client, server, retry={"max_attempts": 3}))
        assert await asyncio.to_thread(server.saw_request)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await asyncio.to_thread(server.saw_client_leave)
        assert len(server.requests) == 1

    with FaultServer([behaviour]) as server:
        run(work)


def test_leaving_a_stream_closes_its_connection_at_the_peer_at_once() -> None:
    async def work(client: Client) -> None:
        async with client.ask_stream("hi", model="m", api_base=server.url) as live:
            async for _ in live:
                break
        assert await asyncio.to_thread(server.saw_client_leave)

    with FaultServer([stream([WORDS[0]], then="hang")]) as server:
        run(work)


def test_cancelling_the_reader_of_a_stream_closes_its_connection_at_the_peer() -> None:
    async def work(client: Client) -> None:
        begun = asyncio.Event()

        async def reading() -> None:
            async with client.ask_stream("hi", model="m", api_base=server.url) as live:
                async for _ in live:
                    begun.set()

        reader = asyncio.create_task(reading())
        await begun.wait()
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        assert await asyncio.to_thread(server.saw_client_leave)

    with FaultServer([stream([WORDS[0]], then="hang")]) as server:
        run(work)


@pytest.mark.parametrize("stale", [empty(), reset()], ids=["closed", "reset"])
def test_a_request_that_crosses_with_the_close_of_an_idle_connection_costs_no_attempt_and_no_wait(
    stale: Behaviour,
) -> None:
    clock = FakeClock()

    async def work(client: Client) -> None:
        await ask(client, server)
        result = await ask(client, server, retry={"max_attempts": 3})
        assert (result.value, len(result.trace.attempts)) == ("hello", 1)

    async def inside() -> None:
        async with Client(clock=clock) as client:
            await work(client)

    with FaultServer([ANSWER, stale, ANSWER]) as server:
        asyncio.run(inside())
        assert (server.connections, clock.sleeps) == (2, [])


def test_connections_that_the_peer_closed_while_they_were_idle_are_not_noticed() -> None:
    async def work(client: Client) -> None:
        await ask(client, server)
        await asyncio.to_thread(server.drop_connections)
        assert len((await ask(client, server)).trace.attempts) == 1

    with FaultServer([ANSWER]) as server:
        run(work)
        assert server.connections == 2


def test_closing_the_client_ends_a_call_on_a_used_connection_and_opens_no_other() -> None:
    async def work(client: Client) -> None:
        await ask(client, server)
        call = asyncio.create_task(ask(client, server))
        while len(server.requests) < 2:  # noqa: ASYNC110  (another thread counts them)
            await asyncio.sleep(0)
        await client.close()
        with pytest.raises(ConnectionFailedError):
            await call

    with FaultServer([ANSWER, hang()]) as server:
        run(work, Timeouts(first_byte=5))
        assert server.connections == 1


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_an_error_and_its_goal_sees_neither_the_prompt_nor_the_key(status: int) -> None:
    with FaultServer([ANSWER]) as goal:
        moved = respond(status=status, headers={"location": f"{goal.url}/v1/chat/completions"})
        with FaultServer([moved]) as server, pytest.raises(APIError, match=str(status)):
            run(lambda client: ask(client, server, api_key="sk-secret"))
        assert (goal.connections, goal.requests) == (0, [])


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n" + HELLO,
        b"HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n" + HELLO,
        b"HTTP/1.0 200 OK\r\ncontent-length: %d\r\n\r\n" % len(HELLO) + HELLO,
    ],
    ids=["no length", "HTTP/1.0", "HTTP/1.0 with a length"],
)
def test_servers_of_an_older_kind_answer_too(answer: bytes) -> None:
    async def work(client: Client) -> list[Any]:
        return [(await ask(client, server)).value for _ in range(2)]

    with FaultServer([Behaviour(pieces=(answer,), then="close")]) as server:
        assert run(work) == ["hello", "hello"]
        assert server.connections == 2


def test_a_stream_without_a_length_ends_with_its_finish_reason() -> None:
    head = b"HTTP/1.0 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
    with FaultServer([Behaviour(pieces=(head, *WORDS), then="close")]) as server:
        assert run(lambda client: read(client, server)) == "hello"


def test_a_head_without_an_end_is_refused() -> None:
    huge = b"HTTP/1.1 200 OK\r\nx-filler: " + b"x" * 200_000
    with FaultServer([Behaviour(pieces=(huge,), then="hang")]) as server:
        with pytest.raises(ProtocolError, match="headers"):
            run(lambda client: ask(client, server))
        assert server.saw_client_leave()


async def _answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + HELLO)
    writer.close()
    await writer.wait_closed()


def test_an_address_of_version_6_is_called() -> None:
    async def work(client: Client) -> Result[Any]:
        try:
            server = await asyncio.start_server(_answer_once, "::1", 0)
        except OSError:
            pytest.skip("this machine has no IPv6")
        async with server:
            return await ask(client, f"http://[::1]:{server.sockets[0].getsockname()[1]}/v1")

    assert run(work).value == "hello"


def test_synchronous_calls_from_many_threads_share_the_library_s_connections() -> None:
    with FaultServer([ANSWER]) as server, ThreadPoolExecutor(8) as threads, closing(_Shared()) as shared:
        calls = [
            threads.submit(shared.client.ask_sync, "hi", model="m", api_base=server.url, retry=ONCE) for _ in range(32)
        ]
        assert all(call.result(10).value == "hello" for call in calls)
        assert len(server.requests) == 32
        assert server.connections <= 4


class _Shared:
    """A client that all threads use, on the library's own event loop."""

    def __init__(self) -> None:
        self.client = Client(transports=transport_factories(http=HttpSettings(max_connections=4)))

    def close(self) -> None:
        asyncio.run(self.client.close())


def test_one_client_serves_event_loops_side_by_side() -> None:
    client = Client()

    async def several() -> list[Any]:
        return [(await ask(client, server)).value for _ in range(3)]

    with FaultServer([ANSWER]) as server, ThreadPoolExecutor(2) as threads:
        calls = [threads.submit(asyncio.run, several()) for _ in range(2)]
        assert [call.result(10) for call in calls] == [["hello"] * 3] * 2
        assert server.connections == 2


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def secure(authority: trustme.CA) -> Iterator[FaultServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with FaultServer([ANSWER], tls=context) as server:
        yield server


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


def test_an_authority_of_the_settings_is_trusted(secure: FaultServer, ca_file: str) -> None:
    async def work(environment: dict[str, str]) -> Result[Any]:
        async with build_client(load(environment)) as client:
            return await ask(client, secure)

    assert asyncio.run(work({"LLM_CALL_CA_FILE": ca_file})).value == "hello"
    with pytest.raises(ConnectionFailedError) as caught:
        asyncio.run(work({}))
    assert "SSL_CERT_FILE" in caught.value.hint
    assert len(secure.requests) == 1


def test_an_authority_of_the_environment_is_trusted(
    monkeypatch: pytest.MonkeyPatch, secure: FaultServer, ca_file: str
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", ca_file)
    assert run(lambda client: ask(client, secure)).value == "hello"


def test_a_proxy_of_the_environment_is_asked_for_the_provider_s_own_host(monkeypatch: pytest.MonkeyPatch) -> None:
    with FaultServer([ANSWER]) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        assert run(lambda client: ask(client, "http://api.invalid/v1", api_key="sk-secret")).value == "hello"
        assert proxy.requests[0].path == "http://api.invalid/v1/chat/completions"


def test_a_host_that_needs_no_proxy_is_called_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with FaultServer([ANSWER]) as server:
        assert run(lambda client: ask(client, server)).value == "hello"


async def _pipe(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await source.read(65536):
            sink.write(data)
    sink.close()
    with suppress(ConnectionError):
        await sink.wait_closed()


def test_tls_goes_through_a_proxy_s_tunnel_which_sees_no_key_and_is_reused(
    monkeypatch: pytest.MonkeyPatch, secure: FaultServer, ca_file: str
) -> None:
    asked: list[str] = []
    served: list[Any] = []

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(asyncio.current_task())
        asked.append((await reader.readuntil(b"\r\n\r\n")).decode())
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", secure.port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(_pipe(reader, inner_writer), _pipe(inner_reader, writer))

    async def work(client: Client) -> list[Any]:
        async with await asyncio.start_server(tunnel, "127.0.0.1", 0) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}")
            answers = [(await ask(client, secure, api_key="sk-secret")).value for _ in range(2)]
            await client.close()
            await asyncio.gather(*served)
            return answers

    assert run(work, ca_file=ca_file) == ["hello", "hello"]
    assert [line.split("\r\n")[0] for line in asked] == [f"CONNECT 127.0.0.1:{secure.port} HTTP/1.1"]
    assert "sk-secret" not in asked[0]
    assert len(secure.requests) == 2


def test_the_functions_of_the_package_reuse_one_connection_too() -> None:
    with FaultServer([ANSWER]) as server:
        for _ in range(3):
            assert ask_sync("hi", model="m", api_base=server.url).value == "hello"
        assert server.connections == 1
