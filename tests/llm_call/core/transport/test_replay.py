"""Cassettes: what was recorded is answered again, byte for byte, and no secret is in the file."""

import asyncio
import string
import tempfile
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_call.core.client import Client
from llm_call.core.domain.errors import ConfigError, ConnectionFailedError
from llm_call.core.domain.messages import message
from llm_call.core.domain.result import Result
from llm_call.core.router import Router
from llm_call.core.transport.base import Endpoint, Reply, Timeouts, Transport
from llm_call.core.transport.cassette import Cassette, Mode
from llm_call.core.transport.replay import ReplayTransport
from llm_call.core.wire.base import WireRequest
from llm_call.testing import strategies
from llm_call.testing.cassettes import cassette
from llm_call.testing.clock import FakeClock
from llm_call.testing.scripted import ScriptedReply, ScriptedTransport, Step, chat_reply, error_reply, stream_reply
from llm_call.testing.servers import FaultServer, respond, stream

KEYS = st.text(string.ascii_letters + string.digits + '"\\/+=-_.', min_size=12, max_size=40)


def request(text: str = "hi", **more: Any) -> WireRequest:
    body = {"model": "m", "messages": [{"role": "user", "content": text}], **more}
    return WireRequest(path="/chat/completions", body=msgspec.json.encode(body))


async def fetch(transport: Transport, sent: WireRequest, endpoint: Endpoint | None = None) -> tuple[int, list[bytes]]:
    place = endpoint or Endpoint(base_url="http://host/v1", headers={"authorization": "Bearer sk-secret"})
    async with transport.open(place, sent, Timeouts()) as reply:
        return reply.status, [piece async for piece in reply.chunks()]


def through(path: Path, mode: Mode, *steps: Step) -> tuple[ReplayTransport, ScriptedTransport]:
    inner = ScriptedTransport(*(steps or (chat_reply("unscripted"),)))
    return ReplayTransport(inner, Cassette(path, mode)), inner


def texts(path: Path, mode: Mode, steps: Sequence[Step], *asked: str) -> tuple[list[str], int]:
    """What is answered to `asked` through the cassette at `path`, and how many requests were sent."""
    clock, transport = FakeClock(), ScriptedTransport(*steps)
    router = Router(credentials={"OPENAI_API_KEY": "sk-secret"})
    ours = Client(router=router, transports={"http": lambda: transport}, clock=clock)
    with cassette(path, mode, client=ours):
        answers = [str(clock.run(ours.ask(each)).value) for each in asked]
    return answers, len(transport.requests)


def test_what_was_recorded_is_answered_without_a_peer(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    assert texts(path, "record", [chat_reply("one"), chat_reply("two")], "a", "b") == (["one", "two"], 2)
    assert texts(path, "require", [chat_reply("never")], "b", "a") == (["two", "one"], 0)


def test_equal_requests_are_answered_in_order_and_then_with_the_last(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    texts(path, "record", [chat_reply("one"), chat_reply("two")], "a", "a")
    assert texts(path, "require", [chat_reply("never")], "a", "a", "a")[0] == ["one", "two", "two"]


@pytest.mark.parametrize(
    ("mode", "sent", "lines"), [("record", 2, 3), ("replay", 1, 2), ("auto", 1, 3)], ids=["record", "replay", "auto"]
)
def test_the_mode_says_what_is_sent_and_what_is_written(tmp_path: Path, mode: Mode, sent: int, lines: int) -> None:
    path = tmp_path / "c.jsonl"
    texts(path, "record", [chat_reply("one")], "a")
    answers, requests = texts(path, mode, [chat_reply("new")], "a", "b")
    assert answers == (["new", "new"] if mode == "record" else ["one", "new"])
    assert (requests, len(path.read_text(encoding="utf-8").splitlines())) == (sent, lines)


def test_the_order_of_keys_and_the_credential_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    recorder, _ = through(path, "record", chat_reply("one"))
    asyncio.run(fetch(recorder, request(temperature=1.0, seed=2)))
    replayer, inner = through(path, "require")
    other = Endpoint(base_url="http://host/v1", headers={"authorization": "Bearer another-key"})
    asyncio.run(fetch(replayer, request(seed=2, temperature=1.0), other))
    assert inner.requests == []


@pytest.mark.parametrize(
    ("sent", "base_url", "where"),
    [
        (request("ho"), "http://host/v1", "messages[0].content"),
        (request(temperature=1.0), "http://host/v1", "temperature"),
        (request(), "http://host:81/v1", "host"),
        (request(), "http://host/v2", "path"),
        (WireRequest(path="/chat/completions", body=b"no json"), "http://host/v1", "the body"),
    ],
    ids=["text", "setting", "host", "path", "no json"],
)
def test_a_request_without_a_recording_says_what_differs_from_the_nearest(
    tmp_path: Path, sent: WireRequest, base_url: str, where: str
) -> None:
    path = tmp_path / "c.jsonl"
    recorder, _ = through(path, "record", chat_reply("one"))
    far = WireRequest(path="/responses", body=b'{"input":"x"}')
    asyncio.run(fetch(recorder, far))
    asyncio.run(fetch(recorder, request()))
    replayer, inner = through(path, "require")
    with pytest.raises(ConfigError) as caught:
        asyncio.run(fetch(replayer, sent, Endpoint(base_url=base_url)))
    assert where in str(caught.value)
    if where != "the body":
        assert "line 3" in str(caught.value)
    assert inner.requests == []


def test_a_miss_is_not_retried_and_an_empty_cassette_says_so(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text('{"cassette":1}\n', encoding="utf-8")
    with pytest.raises(ConfigError, match="empty") as caught:
        texts(path, "require", [chat_reply("never")], "a")
    assert caught.value.trace is not None
    assert len(caught.value.trace.attempts) == 1


def test_without_a_peer_a_miss_is_an_error_in_every_mode(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no recording"):
        asyncio.run(fetch(ReplayTransport(None, Cassette(tmp_path / "c.jsonl", "auto")), request()))


def test_an_error_that_the_peer_answered_is_replayed_and_retried(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    texts(path, "record", [error_reply(503, headers={"retry-after": "0"}), chat_reply("one")], "a")
    answers, sent = texts(path, "require", [chat_reply("never")], "a")
    assert (answers, sent) == (["one"], 0)


def rejected_once(path: Path, mode: Mode) -> Result[Any]:
    transport = ScriptedTransport(chat_reply("no"), chat_reply("yes"))
    router = Router(credentials={"OPENAI_API_KEY": "sk-secret"})
    ours = Client(router=router, transports={"http": lambda: transport})
    with cassette(path, mode, client=ours):
        return ours.ask_sync("hi", validate=[{"type": "contains", "params": {"text": "yes"}}])


def test_an_answer_that_was_rejected_and_asked_for_again_is_replayed(tmp_path: Path) -> None:
    for mode in ("record", "require"):
        result = rejected_once(tmp_path / "c.jsonl", mode)
        assert (result.value, len(result.trace.rounds)) == ("yes", 2)


def test_what_failed_on_its_way_is_not_recorded(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    steps: list[Step] = [
        ConnectionFailedError("refused"),
        ScriptedReply(pieces=(b"{",), error=ConnectionFailedError("reset")),
    ]
    for step in steps:
        recorder, _ = through(path, "auto", step)
        with pytest.raises(ConnectionFailedError):
            asyncio.run(fetch(recorder, request()))
    assert not path.exists()


def test_a_stream_that_was_left_replays_so_far_and_then_says_so(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    recorder, _ = through(path, "record", ScriptedReply(pieces=(b"one", b"two")))

    async def leave() -> None:
        async with recorder.open(Endpoint(base_url="http://host/v1"), request(), Timeouts()) as reply:
            async for _ in reply.chunks():
                break

    asyncio.run(leave())
    replayer, _ = through(path, "require")
    seen: list[bytes] = []

    async def read() -> None:
        async with replayer.open(Endpoint(base_url="http://host/v1"), request(), Timeouts()) as reply:
            async for piece in reply.chunks():
                seen.append(piece)  # noqa: PERF401  (an error ends it)

    with pytest.raises(ConfigError, match="ends before its end"):
        asyncio.run(read())
    assert seen == [b"one"]


@given(st.lists(st.binary(max_size=20), max_size=5), st.integers(200, 599))
def test_every_body_is_replayed_byte_for_byte_in_its_pieces(pieces: list[bytes], status: int) -> None:
    headers = {"content-type": "x/y", "retry-after": "3", "set-cookie": "session=1"}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "c.jsonl"
        recorder, _ = through(path, "record", ScriptedReply(status=status, headers=headers, pieces=tuple(pieces)))
        assert asyncio.run(fetch(recorder, request())) == (status, pieces)
        replayer = ReplayTransport(None, Cassette(path, "require"))
        assert asyncio.run(fetch(replayer, request())) == (status, pieces)

        async def head() -> dict[str, str]:
            async with replayer.open(Endpoint(base_url="http://host/v1"), request(), Timeouts()) as reply:
                return dict(reply.headers)

        assert asyncio.run(head()) == {"content-type": "x/y", "retry-after": "3"}


@given(KEYS, st.data())
def test_no_credential_reaches_the_file_however_it_is_given(key: str, data: Any) -> None:
    echoed = b'{"a": "' + key.encode() + b'"} ' + msgspec.json.encode(key)
    reply = ScriptedReply(headers={"x-request-id": f"r-{key}"}, pieces=data.draw(strategies.cuts(echoed)))
    quoted = "".join(f"%{byte:02x}" for byte in key.encode())
    endpoint = data.draw(
        st.sampled_from(
            [
                Endpoint(base_url="http://host/v1", headers={"authorization": f"Bearer {key}"}),
                Endpoint(base_url="http://host/v1", headers={"X-Api-Key": key}),
                Endpoint(base_url=f"http://user:{quoted}@host/v1"),
                Endpoint(base_url=f"http://host/v1?api_key={quoted}"),
            ]
        )
    )
    given_by = data.draw(st.sampled_from(["endpoint", "request", "name"]))
    place = endpoint if given_by == "endpoint" else Endpoint(base_url="http://host/v1")
    headers = {"x-own": key} if given_by == "request" else {}
    asked = msgspec.structs.replace(request(f"my key is {key}", **{key: [key]}), headers=headers)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "c.jsonl"
        tape = Cassette(path, "record", secrets=[key] if given_by == "name" else [])
        asyncio.run(fetch(ReplayTransport(ScriptedTransport(reply), tape), asked, place))
        written = path.read_bytes()
        assert key.encode() not in written
        assert msgspec.json.encode(key)[1:-1] not in written
        assert quoted.encode() not in written
        assert key not in str([msgspec.json.decode(line) for line in written.splitlines()])
        replayer = ReplayTransport(None, Cassette(path, "require", secrets=[key] if given_by == "name" else []))
        assert asyncio.run(fetch(replayer, asked, place))[0] == 200


def test_a_stream_is_replayed_at_once_or_in_its_own_time(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    clock = FakeClock()
    inner = ScriptedTransport(ScriptedReply(pieces=(b"a", b"b", b"c"), delay=2))
    clock.run(fetch(ReplayTransport(inner, Cassette(path, "record"), clock=clock), request()))
    times: list[float] = []

    async def read(transport: ReplayTransport) -> None:
        async with transport.open(Endpoint(base_url="http://host/v1"), request(), Timeouts()) as reply:
            async for _ in reply.chunks():
                times.append(clock.now() - begun)  # noqa: PERF401  (one time for each piece)

    for realtime in (True, False):
        begun = clock.now()
        clock.run(read(ReplayTransport(None, Cassette(path, "require"), realtime=realtime, clock=clock)))
    assert times == pytest.approx([4, 6, 8, 0, 0, 0])  # two seconds before the head, two before each piece


def test_calls_at_once_from_many_threads_write_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    transport, _ = through(path, "auto", chat_reply("x" * 100_000))
    names = [f"{number}" for number in range(16)]
    threads = [
        threading.Thread(target=lambda name=name: asyncio.run(fetch(transport, request(name)))) for name in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    replayed = ReplayTransport(None, Cassette(path, "require"))
    assert all(asyncio.run(fetch(replayed, request(name)))[0] == 200 for name in names)
    assert len(path.read_bytes().splitlines()) == 17


def test_a_torn_last_line_is_passed_over_and_recording_goes_on_after_it(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    texts(path, "record", [chat_reply("one"), chat_reply("two")], "a", "b")
    path.write_bytes(path.read_bytes()[:-20])
    assert texts(path, "auto", [chat_reply("three")], "a", "b") == (["one", "three"], 1)
    assert texts(path, "require", [chat_reply("never")], "a", "b")[0] == ["one", "three"]


def test_a_torn_first_line_is_begun_again(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text('{"casse', encoding="utf-8")
    texts(path, "auto", [chat_reply("one")], "a")
    assert texts(path, "require", [chat_reply("never")], "a")[0] == ["one"]


@pytest.mark.parametrize(
    ("content", "said"),
    [('{"cassette":2}\n', "format 2"), ("interactions:\n", ":1:"), ('{"cassette":1}\n{"request":1}\n', ":2:")],
    ids=["newer", "another program's", "a broken line"],
)
def test_a_file_that_cannot_be_used_is_refused_and_left_as_it_is(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text(content, encoding="utf-8")
    for mode in ("replay", "auto", "require"):
        with pytest.raises(ConfigError) as caught:
            Cassette(path, mode)
        assert said in str(caught.value)
        assert caught.value.hint
    assert path.read_text(encoding="utf-8") == content


@pytest.mark.parametrize("mode", ["replay", "require"])
def test_a_cassette_that_is_not_there_is_refused(tmp_path: Path, mode: Mode) -> None:
    with pytest.raises(ConfigError, match="no such cassette"):
        Cassette(tmp_path / "c.jsonl", mode)


def test_a_path_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"c\.jsonl"):
        texts(tmp_path / "nowhere" / "c.jsonl", "record", [chat_reply("one")], "a")
    with pytest.raises(ConfigError):
        Cassette(tmp_path, "replay")


def test_the_old_recordings_stay_until_there_is_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    texts(path, "record", [chat_reply("one")], "a")
    with pytest.raises(ConnectionFailedError):
        asyncio.run(fetch(through(path, "record", ConnectionFailedError("refused"))[0], request()))
    assert texts(path, "require", [chat_reply("never")], "a")[0] == ["one"]


def test_what_nobody_asked_for_is_listed(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    texts(path, "record", [chat_reply("one")], "a", "b")
    tape = Cassette(path, "require")
    ours = Client(router=Router(credentials={"OPENAI_API_KEY": "sk-secret"}))
    with ours.through(lambda inner: ReplayTransport(inner, tape)):
        ours.ask_sync("b")
    assert [each.body["messages"][0]["content"] for each in tape.unused()] == ["a"]


def test_outside_of_the_context_calls_go_their_own_way(tmp_path: Path) -> None:
    transport = ScriptedTransport(chat_reply("one"), chat_reply("two"))
    ours = Client(router=Router(credentials={"OPENAI_API_KEY": "sk-secret"}), transports={"http": lambda: transport})
    with cassette(tmp_path / "c.jsonl", client=ours):
        assert ours.ask_sync("a").value == "one"
    assert ours.ask_sync("a").value == "two"


def test_a_real_http_exchange_is_recorded_and_replayed_when_the_server_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    words = stream_reply(["hel", "lo"]).pieces
    with FaultServer([respond(chat_reply("one").pieces[0]), stream(words)]) as server:
        base = f"{server.url}/v1"
        first = real(path, "record", base)
    assert first == ("one", ["hel", "lo"])
    assert real(path, "require", base) == first


def real(path: Path, mode: Mode, base: str) -> tuple[str, list[str]]:
    async def both() -> tuple[str, list[str]]:
        async with Client() as ours:
            with cassette(path, mode, client=ours):
                whole = await ours.ask("a", model="m", api_base=base, api_key="sk-secret-key")
                async with ours.ask_stream("b", model="m", api_base=base, api_key="sk-secret-key") as live:
                    return str(whole.value), [piece async for piece in live]

    return asyncio.run(both())


@pytest.mark.model
def test_the_embedded_models_answer_is_recorded_and_replayed_byte_for_byte(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    seen: list[list[bytes]] = []

    async def talk(mode: Mode) -> None:
        async with Client() as ours:
            pieces: list[bytes] = []
            with ours.through(lambda inner: Tap(inner, pieces)), cassette(path, mode, client=ours):
                options: Any = {"model": "local/smollm2-135m", "max_tokens": 12, "default_validate": False}
                async with ours.ask_stream([message("user", "Say hello.")], **options) as live:
                    seen.append([piece.encode() async for piece in live])
            seen.append(pieces)

    asyncio.run(talk("record"))
    asyncio.run(talk("require"))
    (first_words, first_pieces, words, pieces) = seen
    assert words == first_words != []
    assert first_pieces != []
    assert pieces == []  # nothing was asked of the model
    recorded = [piece.content for piece in Cassette(path, "require")._recordings[0].response.pieces]
    assert recorded == first_pieces


class Tap:
    """A transport that notes what passes through it."""

    def __init__(self, inner: Transport, pieces: list[bytes]) -> None:
        self._inner = inner
        self._pieces = pieces

    @asynccontextmanager
    async def open(self, endpoint: Endpoint, request: WireRequest, timeouts: Timeouts) -> AsyncIterator[Reply]:
        async with self._inner.open(endpoint, request, timeouts) as reply:
            yield _Tapped(reply, self._pieces)

    async def close(self) -> None:
        await self._inner.close()


class _Tapped:
    def __init__(self, reply: Reply, pieces: list[bytes]) -> None:
        self.status, self.headers = reply.status, reply.headers
        self._reply = reply
        self._pieces = pieces

    async def read(self) -> bytes:
        return b"".join([piece async for piece in self.chunks()])

    async def chunks(self) -> AsyncIterator[bytes]:
        async for piece in self._reply.chunks():
            self._pieces.append(piece)
            yield piece
