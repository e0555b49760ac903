"""The real litellm library through our door, against real servers on loopback: llama.cpp's, and one that misbehaves."""

import asyncio
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import pytest

from llm_call.core.client import Client
from llm_call.core.domain.errors import (
    APIError,
    AttemptTimeoutError,
    AuthenticationError,
    BadRequestError,
    ConfigError,
    ConnectionFailedError,
    ContextWindowExceededError,
    LLMCallError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    ProtocolError,
    RateLimitError,
    ServerError,
    StreamInterruptedError,
    UnknownProviderError,
    UnsupportedError,
)
from llm_call.core.providers import litellm as module
from llm_call.core.transport.base import Endpoint, Timeouts
from llm_call.core.transport.model_file import find_model
from llm_call.core.wire.base import WireRequest
from llm_call.testing.servers import Behaviour, FaultServer, Gate, empty, hang, html, reset, respond, stream

pytestmark = [
    pytest.mark.litellm,
    # Of litellm and what it stands on; ours are errors as everywhere.
    pytest.mark.filterwarnings("ignore:::(litellm|pydantic|aiohttp|httpx|openai)"),
]

MODEL = "litellm/openai/gpt-4o-mini"
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 10}},
    "required": ["name"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "function": {"name": "lookup", "description": "Finds a person.", "parameters": SCHEMA}}


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    engine = pytest.importorskip("xllamacpp")
    parameters = engine.CommonParams()
    parameters.model.path = str(find_model(None, ""))
    parameters.n_ctx, parameters.n_parallel, parameters.n_gpu_layers = 1024, 1, 0
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
    parameters.port, parameters.use_jinja, parameters.offline, parameters.verbosity = 0, True, True, -1
    server = engine.Server(parameters)
    yield f"{server.listening_address}/v1"
    del server


def body(**changes: Any) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6}
    whole = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}
    return msgspec.json.encode({name: value for name, value in {**whole, **changes}.items() if value is not None})


def chunk(finish: str | None = None, **delta: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return sse({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]})


def sse(value: Any) -> bytes:
    return b"data: " + msgspec.json.encode(value) + b"\n\n"


def error(status: int, code: str | None = None, headers: Mapping[str, str] | None = None) -> Behaviour:
    said = msgspec.json.encode({"error": {"message": "no", "type": "scripted", "code": code}})
    return respond(said, status=status, headers=headers)


HELLO = chunk(role="assistant", content="Hel"), chunk(content="lo")
COUNTED = sse({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [], "usage": {
    "prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7, "prompt_tokens_details": {"cached_tokens": 4}}})  # fmt: skip
DONE = b"data: [DONE]\n\n"


def ask(url: str, prompt: str = "hi", *, model: str = MODEL, timeouts: Timeouts | None = None, **options: Any) -> Any:
    async def inside() -> Any:
        options.setdefault("retry", {"max_attempts": 1})
        async with Client(timeouts=timeouts) as client:
            return await client.ask(prompt, model=model, api_base=url, **{"api_key": "sk-x", **options})

    return asyncio.run(inside())


def called(url: str, **config: Any) -> Any:
    async def inside() -> Any:
        async with Client() as client:
            fixed = {"model": MODEL, "api_base": url, "api_key": "sk-x", "default_validate": False}
            return await client.call({**fixed, **config})

    return asyncio.run(inside())


def streamed(
    url: str, prompt: str = "hi", *, timeouts: Timeouts | None = None, **options: Any
) -> tuple[list[str], Any]:
    async def inside() -> tuple[list[str], Any]:
        options.setdefault("retry", {"max_attempts": 1})
        async with Client(timeouts=timeouts) as client:
            async with client.ask_stream(prompt, model=MODEL, api_base=url, api_key="sk-x", **options) as live:
                pieces = [text async for text in live]
            return pieces, live.result

    return asyncio.run(inside())


@pytest.mark.model
def test_an_answer_comes_from_a_real_server(base_url: str) -> None:
    result = ask(base_url, "Say hello.", model="litellm/openai/smollm2", max_tokens=8, temperature=0.0)
    assert result.text
    assert result.text
    assert result.trace.attempts[0].target == "litellm/openai/smollm2"
    assert (result.usage.input_tokens or 0) > 0
    assert result.usage.output_tokens == 8
    assert result.response.finish_reason.raw == "length"


@pytest.mark.model
def test_a_stream_comes_in_real_pieces_and_says_the_same(base_url: str) -> None:
    whole = ask(base_url, "Count to ten.", max_tokens=12, temperature=0.0)
    pieces, result = streamed(base_url, "Count to ten.", max_tokens=12, temperature=0.0)
    assert len(pieces) > 4
    assert "".join(pieces) == result.text == whole.text
    assert (result.usage.input_tokens, result.usage.output_tokens) == (whole.usage.input_tokens, 12)


@pytest.mark.model
def test_a_schema_is_enforced_by_the_server(base_url: str) -> None:
    result = ask(base_url, "Invent a person.", schema=SCHEMA, max_tokens=40, temperature=0.0, rounds=1)
    assert result.ok
    assert set(result.value) == {"name"}
    assert result.repairs == ()


@pytest.mark.model
def test_a_conversation_with_tools_is_taken(base_url: str) -> None:
    """The embedded model's template knows no tools, so that it is never made to call one."""
    call = {"id": "t1", "type": "function", "function": {"name": "lookup", "arguments": '{"name": "Ann"}'}}
    messages = [
        {"role": "user", "content": "Look up Ann."},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "t1", "content": "Ann is 34."},
    ]
    assert called(base_url, messages=messages, tools=[TOOL], max_tokens=8).usage.output_tokens


@pytest.mark.parametrize("asked_as_stream", [False, True])
def test_tool_calls_come_back_with_their_arguments_untouched(asked_as_stream: bool) -> None:
    texts = ['{"name": "An\u006e"}', '{"name":  "Bob"}']
    calls = [
        {"index": at, "id": f"t{at}", "type": "function", "function": {"name": "lookup", "arguments": text}}
        for at, text in enumerate(texts)
    ]
    pieces = [
        chunk(role="assistant", tool_calls=[{**call, "function": {"name": "lookup", "arguments": ""}}])
        if begin
        else chunk(tool_calls=[{"index": call["index"], "function": {"arguments": piece}}])
        for call, text in zip(calls, texts, strict=True)
        for begin, piece in ((True, ""), (False, text[:5]), (False, text[5:]))
    ]
    choice = {"index": 0, "message": {"role": "assistant", "tool_calls": calls}, "finish_reason": "tool_calls"}
    behaviour = (
        stream([*pieces, chunk("tool_calls"), COUNTED, DONE]) if asked_as_stream else respond(body(choices=[choice]))
    )
    with FaultServer([behaviour]) as server:
        options = {"tools": [TOOL], "tool_choice": "required", "stream": asked_as_stream}
        response = called(f"{server.url}/v1", question="hi", **options).response
        sent = msgspec.json.decode(server.requests[0].body)
    assert [(call.id, call.name, call.arguments) for call in response.tool_calls] == [
        ("t0", "lookup", texts[0]),
        ("t1", "lookup", texts[1]),
    ]
    assert response.finish_reason.unified == "tool_calls"
    assert (sent["tools"], sent["tool_choice"]) == ([TOOL], "required")


@pytest.mark.model
def test_a_prompt_that_is_too_long_is_told_by_the_servers_code(base_url: str) -> None:
    with pytest.raises(ContextWindowExceededError) as caught:
        ask(base_url, "word " * 3000)
    assert caught.value.status == 400
    assert "tokens" in caught.value.hint


@pytest.mark.parametrize("asked", [ask, streamed])
@pytest.mark.parametrize(
    ("behaviour", "kind"),
    [
        (error(401, "invalid_api_key"), AuthenticationError),
        (error(402), PermissionDeniedError),
        (error(403), PermissionDeniedError),
        (error(404, "model_not_found"), NotFoundError),
        (error(400, "whatever"), BadRequestError),
        (error(422), BadRequestError),
        (error(400, "context_length_exceeded"), ContextWindowExceededError),
        (error(429, "rate_limit_exceeded", {"retry-after": "7"}), RateLimitError),
        (error(500), ServerError),
        (error(503), OverloadedError),
        (error(529), OverloadedError),
        (html(502), ServerError),
    ],
)
def test_an_error_is_the_one_that_the_server_sent_after_one_request(
    behaviour: Behaviour, kind: type[APIError], asked: Any
) -> None:
    with FaultServer([behaviour]) as server:
        with pytest.raises(APIError) as caught:
            asked(f"{server.url}/v1")
        assert type(caught.value) is kind
        assert len(server.requests) == 1
    status = int(behaviour.pieces[0].split()[1])  # type: ignore[union-attr]  # these have no gate
    assert caught.value.status == status
    assert caught.value.retry_after == (7.0 if status == 429 else None)
    assert "litellm" not in caught.value.message


def test_our_own_retries_are_the_only_ones() -> None:
    busy = error(429, headers={"retry-after": "0"})
    with FaultServer([busy, busy, respond(body())]) as server:
        result = ask(f"{server.url}/v1", retry={"max_attempts": 3})
        assert len(server.requests) == 3
    assert [bool(attempt.failure) for attempt in result.trace.attempts] == [True, True, False]


def test_another_dialects_errors_are_the_providers_too() -> None:
    said = b'{"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}'
    with FaultServer([respond(said, status=529, headers={"retry-after": "9"})]) as server:
        with pytest.raises(OverloadedError) as caught:
            ask(server.url, model="litellm/anthropic/claude-x")
        assert [request.path for request in server.requests] == ["/v1/messages"]
    assert (caught.value.status, caught.value.retry_after, caught.value.code) == (529, 9.0, "overloaded_error")


@pytest.mark.parametrize(
    ("behaviour", "kind"),
    [
        (reset(), ConnectionFailedError),
        (empty(), ConnectionFailedError),
        (hang(), AttemptTimeoutError),
        (respond(b"no JSON"), ProtocolError),
        (respond(b"{}"), ProtocolError),
    ],
)
def test_what_is_no_answer_is_an_error(behaviour: Behaviour, kind: type[LLMCallError]) -> None:
    with FaultServer([behaviour]) as server:
        with pytest.raises(kind):
            ask(f"{server.url}/v1", timeouts=Timeouts(connect=0.3, first_byte=0.3))
        assert len(server.requests) == 1


def test_a_refused_connection_is_told() -> None:
    with pytest.raises(ConnectionFailedError):
        ask("http://127.0.0.1:1/v1")


def test_an_error_that_the_caller_is_handling_is_no_cause_of_ours() -> None:
    httpx = pytest.importorskip("httpx")
    earlier = httpx.Response(401, request=httpx.Request("GET", "http://127.0.0.1:1"))
    try:
        earlier.raise_for_status()
    except httpx.HTTPStatusError:
        with pytest.raises(ConnectionFailedError):
            ask("http://127.0.0.1:1/v1")


def test_a_whole_answer_keeps_its_counts() -> None:
    usage = {
        "prompt_tokens": 9,
        "completion_tokens": 3,
        "total_tokens": 12,
        "prompt_tokens_details": {"cached_tokens": 8},
    }
    with FaultServer([respond(body(usage=usage))]) as server:
        result = ask(f"{server.url}/v1")
    counted = result.usage
    assert (counted.input_tokens, counted.output_tokens, counted.cached_input_tokens) == (9, 3, 8)
    assert result.response.provider_data.get("choice") is None


@pytest.mark.parametrize("asked", [ask, streamed])
def test_counts_that_the_server_does_not_send_are_unknown_not_guessed(asked: Any) -> None:
    behaviour = respond(body(usage=None)) if asked is ask else stream([*HELLO, chunk("stop"), DONE])
    with FaultServer([behaviour]) as server:
        result = asked(f"{server.url}/v1")
    result = result if asked is ask else result[1]
    assert (result.usage.input_tokens, result.usage.output_tokens) == (None, None)


def test_each_piece_of_a_stream_is_there_before_the_next_is_sent() -> None:
    gate = Gate()
    seen: list[str] = []

    async def inside(url: str) -> Any:
        async with Client() as client:
            async with client.ask_stream("hi", model=MODEL, api_base=url, api_key="sk-x") as live:
                async for text in live:
                    if not seen:
                        gate.open()
                    seen.append(text)
            return live.result

    with FaultServer([stream([HELLO[0], gate, HELLO[1], chunk("stop"), COUNTED, DONE])]) as server:
        result = asyncio.run(inside(f"{server.url}/v1"))
    assert seen == ["Hel", "lo"]
    assert (result.usage.output_tokens, result.usage.cached_input_tokens) == (2, 4)


@pytest.mark.parametrize("then", ["end", "close", "reset"])
def test_a_stream_that_stops_early_is_an_error_however_it_stops(then: Any) -> None:
    with FaultServer([stream(HELLO, then=then)]) as server:
        with pytest.raises((StreamInterruptedError, ConnectionFailedError)):
            streamed(f"{server.url}/v1")
        assert len(server.requests) == 1


def test_a_stream_that_falls_silent_is_an_error() -> None:
    with FaultServer([stream(HELLO, then="hang")]) as server:
        with pytest.raises(StreamInterruptedError) as caught:
            streamed(f"{server.url}/v1", timeouts=Timeouts(between_bytes=0.2))
        assert server.saw_client_leave()
    assert caught.value.text == "Hello"
    assert isinstance(caught.value.__cause__, AttemptTimeoutError)


def test_an_error_inside_a_stream_goes_by_its_code() -> None:
    broken = sse({"error": {"message": "no", "code": "rate_limit_exceeded"}})
    with FaultServer([stream([broken]), stream([*HELLO, broken])]) as server:
        with pytest.raises(RateLimitError):
            streamed(f"{server.url}/v1")
        with pytest.raises(StreamInterruptedError) as caught:
            streamed(f"{server.url}/v1")
        assert len(server.requests) == 2
    assert (type(caught.value.__cause__), caught.value.text) == (RateLimitError, "Hello")


@pytest.mark.parametrize("behaviour", [hang(), stream(HELLO, then="hang")])
def test_a_call_that_is_cancelled_leaves_the_server(behaviour: Behaviour) -> None:
    async def inside(server: FaultServer) -> None:
        async with Client() as client:
            config = {"model": MODEL, "question": "hi", "api_base": f"{server.url}/v1", "api_key": "sk-x"}
            call = asyncio.create_task(client.call({**config, "stream": behaviour.pieces != ()}))
            await asyncio.to_thread(server.saw_request)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert await asyncio.to_thread(server.saw_client_leave)

    with FaultServer([behaviour]) as server:
        asyncio.run(inside(server))


def test_a_stream_that_is_left_early_is_closed_at_once() -> None:
    async def inside(server: FaultServer) -> None:
        transport = module.LitellmTransport()
        endpoint = Endpoint(base_url=f"{server.url}/v1")
        request = WireRequest(path="", body=b'{"model": "openai/m", "messages": [], "stream": true}', stream=True)
        async with transport.open(endpoint, request, Timeouts()) as reply:
            pieces = reply.chunks()
            await anext(pieces)
        assert await asyncio.to_thread(server.saw_client_leave)
        assert reply.status == 200  # still held: it is not the collector that closes

    with FaultServer([stream(HELLO, then="hang")]) as server:
        asyncio.run(inside(server))


def test_a_key_from_the_environment_goes_to_no_other_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-from-the-environment")
    with FaultServer([respond(body())]) as server:
        assert ask(f"{server.url}/v1", api_key=None).ok
        headers = server.requests[0].headers
    assert headers["authorization"] == "Bearer no-key"
    assert "sk-from-the-environment" not in str(headers)


@pytest.mark.parametrize("provider", ["vertex_ai", "bedrock", "azure"])
def test_the_machines_own_credentials_go_to_no_other_host(provider: str) -> None:
    with FaultServer([respond(body())]) as server:
        with pytest.raises(UnsupportedError, match="credentials of this machine"):
            ask(server.url, model=f"litellm/{provider}/some-model")
        assert server.requests == []


def test_fields_of_no_dialect_reach_the_wire_and_never_steer_litellm() -> None:
    config = {"model": MODEL, "question": "hi", "api_key": "sk-x"}
    steering = {"top_k": 3, "mock_response": "fake", "base_url": "http://127.0.0.1:1", "num_retries": 5}
    with FaultServer([respond(body())]) as server:
        request = Client().prepare({**config, "api_base": f"{server.url}/v1"})
        changed = msgspec.structs.replace(request.request, provider_options=steering)
        result = asyncio.run(Client().execute(msgspec.structs.replace(request, request=changed)))
        sent = msgspec.json.decode(server.requests[0].body)
    assert result.text == "hi"
    assert {name: sent.get(name) for name in steering} == steering


def test_what_a_provider_does_not_take_is_an_error_not_dropped() -> None:
    with FaultServer([respond(body())]) as server:
        with pytest.raises(BadRequestError, match="seed"):
            ask(server.url, model="litellm/anthropic/claude-x", seed=3)
        assert server.requests == []


@pytest.mark.parametrize(("model", "near"), [("opnai/gpt-4o", "openai"), ("zzzzzz/gpt-4o", "")])
def test_a_provider_that_litellm_has_not_either_is_told_with_near_names(model: str, near: str) -> None:
    with pytest.raises(UnknownProviderError) as caught:
        Client().ask_sync("hi", model=model)
    assert near in " ".join(caught.value.did_you_mean)
    assert caught.value.hint


def test_nothing_is_printed_and_the_environment_stays_as_it_was(capfd: pytest.CaptureFixture[str]) -> None:
    before = dict(os.environ)
    with FaultServer([error(500), respond(body())]) as server:
        ask(f"{server.url}/v1", retry={"max_attempts": 2, "initial_delay": 0.0})
    assert capfd.readouterr() == ("", "")
    assert dict(os.environ) == before


@pytest.mark.parametrize("given", [None, "false"])
def test_the_import_is_told_to_fetch_nothing_and_leaves_no_trace(
    monkeypatch: pytest.MonkeyPatch, given: str | None
) -> None:
    name = "LITELLM_LOCAL_MODEL_COST_MAP"
    monkeypatch.delenv(name, raising=False)
    if given is not None:
        monkeypatch.setenv(name, given)
    with module._without_price_fetching():
        assert os.environ[name] == (given or "true")
    assert os.environ.get(name) == given


def test_a_key_is_in_no_error(capfd: pytest.CaptureFixture[str]) -> None:
    said = msgspec.json.encode({"error": {"message": "wrong key sk-very-secret-1234"}})
    with FaultServer([respond(said, status=401)]) as server, pytest.raises(AuthenticationError) as caught:
        ask(f"{server.url}/v1", api_key="sk-very-secret-1234")
    assert "sk-very-secret-1234" not in f"{caught.value.message} {caught.value.body} {caught.value.trace}"
    assert "sk-very-secret-1234" not in "".join(capfd.readouterr())


def test_without_the_library_the_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "litellm", None)
    with pytest.raises(ConfigError, match="litellm") as caught:
        module._load()
    assert 'pip install "llm-call[litellm]"' in caught.value.hint
