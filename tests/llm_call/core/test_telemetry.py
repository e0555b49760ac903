"""The hooks for OpenTelemetry, with its own SDK and exporters that keep everything in memory."""

import asyncio
import json
import logging
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from llm_call.core.client import Client
from llm_call.core.domain.errors import APIError, LLMCallError, StreamInterruptedError
from llm_call.core.domain.messages import Media, Message, Reasoning, Text, ToolCall, ToolResult, message
from llm_call.core.domain.profile import Prices, Profile
from llm_call.core.hooks import AttemptScope, CallScope
from llm_call.core.providers.registry import Provider
from llm_call.core.retry import Turn
from llm_call.core.router import Router
from llm_call.core.telemetry import hooks
from llm_call.core.validation import build
from llm_call.testing.clock import FakeClock
from llm_call.testing.scripted import ScriptedReply, ScriptedTransport, Step, chat_reply, error_reply, stream_reply
from llm_call.testing.servers import FaultServer, hang, respond, stream

ROOT = Path(__file__).parent.parent.parent.parent
QUICK = {"max_attempts": 2, "initial_delay": 1, "use_jitter": False}
PRICES = Profile(prices=Prices(input=Decimal(1), output=Decimal(2)))
ROWS = (
    Provider(name="mistral", patterns=("mistral/*",), base_url="http://models.test:8080/v1", profile=PRICES),
    Provider(name="gemini", patterns=("gemini/*",), base_url="https://models.test/v1beta", codec="gemini"),
    Provider(name="inside", patterns=("inside/*",), base_url="in-process"),
)


@pytest.fixture(autouse=True)
def _no_word_of_the_sdk_s(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """The SDK tells its troubles (a context that cannot be left, a wrong attribute) in the log alone."""
    yield
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


class Observed:
    """A client over a script, in virtual time, and what it told OpenTelemetry."""

    def __init__(self, *steps: Step, capture_content: bool = False) -> None:
        self.exporter, self.reader = InMemorySpanExporter(), InMemoryMetricReader()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = provider.get_tracer("test")
        self.hooks = hooks(provider, MeterProvider([self.reader]), capture_content=capture_content)
        self.clock = FakeClock()
        self.transport = ScriptedTransport(*(steps or (chat_reply("hi", prompt_tokens=3, completion_tokens=4),)))
        call, attempt = self.hooks
        self.client = Client(
            router=Router(rows=ROWS),
            transports={"http": lambda: self.transport},
            clock=self.clock,
            chance=lambda: 0.5,
            call_hooks=[call],
            attempt_hooks=[attempt],
        )

    def ask(self, prompt: str | Sequence[Message] = "hi", **options: Any) -> None:
        options = {"model": "mistral/large", "retry": QUICK, **options}
        self.clock.run(self.client.ask(prompt, **options))

    async def read(self, **options: Any) -> None:
        async with self.client.ask_stream("hi", model="mistral/large", retry=QUICK, **options) as live:
            async for _ in live:
                pass

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self.exporter.get_finished_spans()

    @property
    def call(self) -> ReadableSpan:
        return next(span for span in self.spans if span.kind is SpanKind.INTERNAL)

    @property
    def attempts(self) -> list[ReadableSpan]:
        return [span for span in self.spans if span.kind is SpanKind.CLIENT]

    def points(self, name: str) -> list[HistogramDataPoint]:
        data = self.reader.get_metrics_data()
        assert data is not None
        metrics = [each for scope in data.resource_metrics[0].scope_metrics for each in scope.metrics]
        found = [point for each in metrics if each.name == name for point in each.data.data_points]
        assert all(isinstance(point, HistogramDataPoint) for point in found)
        return found  # type: ignore[return-value]  # as was just looked at


def told(span: ReadableSpan) -> Mapping[str, Any]:
    assert span.attributes is not None
    return span.attributes


def is_child(span: ReadableSpan, parent: ReadableSpan) -> bool:
    assert span.parent is not None
    assert parent.context is not None
    same: bool = span.parent.span_id == parent.context.span_id
    return same


def seconds(span: ReadableSpan) -> float:
    assert span.start_time is not None
    assert span.end_time is not None
    return (span.end_time - span.start_time) / 1e9


def test_a_call_is_a_span_and_its_attempt_a_child_with_the_names_of_the_conventions() -> None:
    seen = Observed(
        chat_reply("hi", prompt_tokens=3, completion_tokens=4),
    )
    seen.ask(max_tokens=9, temperature=0.5, seed=7)
    assert [span.name for span in seen.spans] == ["chat large", "llm_call mistral/large"]
    (attempt,) = seen.attempts
    assert is_child(attempt, seen.call)
    assert seen.call.parent is None
    assert told(attempt) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "mistral_ai",
        "gen_ai.request.model": "large",
        "gen_ai.request.max_tokens": 9,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.seed": 7,
        "gen_ai.output.type": "text",
        "gen_ai.response.id": "chatcmpl-scripted",
        "gen_ai.response.model": "scripted",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 3,
        "gen_ai.usage.output_tokens": 4,
        "server.address": "models.test",
        "server.port": 8080,
        "llm_call.target": "mistral/large",
        "llm_call.attempt.number": 1,
    }
    assert told(seen.call) == {
        "llm_call.model": "mistral/large",
        "llm_call.stream": False,
        "llm_call.valid": True,
        "llm_call.attempts": 1,
        "llm_call.rounds": 1,
        "llm_call.rung": "ask",
        "llm_call.usage.input_tokens": 3,
        "llm_call.usage.output_tokens": 4,
        "llm_call.cost.usd": 0.000011,
    }
    assert {span.status.status_code for span in seen.spans} == {StatusCode.UNSET}
    assert {span.instrumentation_scope.schema_url for span in seen.spans if span.instrumentation_scope} == {
        "https://opentelemetry.io/schemas/1.41.0"
    }


def test_cached_and_reasoning_tokens_are_told() -> None:
    body = json.loads(chat_reply("hi", prompt_tokens=3, completion_tokens=4).pieces[0])
    body["usage"]["prompt_tokens_details"] = {"cached_tokens": 2}
    body["usage"]["completion_tokens_details"] = {"reasoning_tokens": 1}
    seen = Observed(ScriptedReply(pieces=(json.dumps(body).encode(),)))
    seen.ask()
    attributes = told(seen.attempts[0])
    assert attributes["gen_ai.usage.cache_read.input_tokens"] == 2
    assert attributes["gen_ai.usage.reasoning.output_tokens"] == 1


def test_every_attempt_has_its_span_with_what_it_waited_for_and_why_it_failed() -> None:
    refused = error_reply(503, code="busy", headers={"x-request-id": "req-1"})
    seen = Observed(refused, chat_reply(""), chat_reply("hi"))
    seen.ask()
    failed, empty, answered = map(told, seen.attempts)
    assert (failed["error.type"], failed["http.response.status_code"]) == ("OverloadedError", 503)
    assert (failed["llm_call.error.code"], failed["llm_call.error.request_id"]) == ("busy", "req-1")
    assert (empty["llm_call.attempt.number"], empty["llm_call.attempt.wait"]) == (2, 1.0)
    assert empty["llm_call.attempt.reason"] == "OverloadedError 503"
    assert (answered["llm_call.attempt.number"], answered["llm_call.attempt.reason"]) == (3, "reask")
    assert "error.type" not in empty
    assert [span.status.status_code for span in seen.attempts] == [
        StatusCode.ERROR,
        StatusCode.UNSET,
        StatusCode.UNSET,
    ]
    call = told(seen.call)
    assert (call["llm_call.attempts"], call["llm_call.rounds"], call["llm_call.valid"]) == (3, 2, True)
    assert all(is_child(span, seen.call) for span in seen.attempts)


def test_another_target_is_named_by_its_own_provider() -> None:
    seen = Observed(error_reply(401), error_reply(401), chat_reply("hi"))
    seen.ask(fallback_models=["inside/one", "mistral/small"])
    assert [span.name for span in seen.attempts] == ["chat large", "chat one", "chat small"]
    first, inside, _ = map(told, seen.attempts)
    assert first["gen_ai.provider.name"] == "mistral_ai"
    assert inside["gen_ai.provider.name"] == "inside"
    assert "server.address" not in inside


def test_gemini_s_operation_has_its_own_name() -> None:
    answer = b'{"candidates": [{"content": {"parts": [{"text": "hi"}]}, "finishReason": "STOP"}]}'
    seen = Observed(ScriptedReply(pieces=(answer,)))
    seen.ask(model="gemini/pro")
    (attempt,) = seen.attempts
    assert attempt.name == "generate_content pro"
    assert told(attempt)["gen_ai.provider.name"] == "gcp.gemini"
    assert told(attempt)["server.port"] == 443


def test_a_rejected_answer_is_no_error_and_says_who_rejected_it() -> None:
    seen = Observed(chat_reply("no"))
    seen.ask(validate=[{"type": "contains", "params": {"text": "yes"}}], rounds=1)
    call = told(seen.call)
    assert (call["llm_call.valid"], call["llm_call.rejected_by"]) == (False, ("contains",))
    assert seen.call.status.status_code is StatusCode.UNSET


def test_a_call_that_fails_is_marked_on_both_spans_without_the_peer_s_words() -> None:
    seen = Observed(error_reply(401, message="you said: my secret diary"))
    with pytest.raises(APIError):
        seen.ask()
    for span in seen.spans:
        assert span.status.status_code is StatusCode.ERROR
        assert told(span)["error.type"] == "AuthenticationError"
        assert "diary" not in span.to_json()


def test_the_call_s_span_is_a_child_of_the_caller_s_also_across_tasks_and_threads() -> None:
    seen = Observed()

    async def inside() -> None:
        with seen.tracer.start_as_current_span("one"):
            first = asyncio.create_task(seen.client.ask("a", model="mistral/a"))
        with seen.tracer.start_as_current_span("two"):
            await asyncio.gather(first, seen.client.ask("b", model="mistral/b"))

    asyncio.run(inside())
    with seen.tracer.start_as_current_span("three"):
        seen.client.ask_sync("c", model="mistral/c")
    by_name = {span.name: span for span in seen.spans}
    for name, model in (("one", "a"), ("two", "b"), ("three", "c")):
        assert is_child(by_name[f"llm_call mistral/{model}"], by_name[name])
        assert is_child(by_name[f"chat {model}"], by_name[f"llm_call mistral/{model}"])
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_what_runs_inside_a_call_finds_its_span_and_what_comes_after_does_not() -> None:
    seen = Observed()
    names = []

    class Curious:
        name = "curious"

        def validate(self, answer: Any, context: Any) -> Any:
            names.append(getattr(trace.get_current_span(), "name", None))
            return build("response_not_empty").validate(answer, context)

    seen.ask(validate=[Curious()])
    assert names == ["llm_call mistral/large"]
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_a_stream_s_spans_end_with_its_answer_and_know_its_first_chunk() -> None:
    seen = Observed(stream_reply(["a", "b", "c"], delay=1))

    async def read() -> None:
        async with seen.client.ask_stream("hi", model="mistral/large") as live:
            async for _ in live:
                pass
            assert [span.name for span in seen.spans] == ["chat large"]
            await seen.clock.sleep(100)

    seen.clock.run(read())
    (attempt,) = seen.attempts
    assert told(attempt)["gen_ai.request.stream"] is True
    assert told(attempt)["gen_ai.response.time_to_first_chunk"] == pytest.approx(2)
    assert told(attempt)["gen_ai.response.finish_reasons"] == ("stop",)
    assert seconds(seen.call) == pytest.approx(6)
    assert told(seen.call)["llm_call.stream"] is True
    assert is_child(attempt, seen.call)
    assert [point.sum for point in seen.points("gen_ai.client.operation.time_to_first_chunk")] == [pytest.approx(2)]


def test_streams_are_retried_like_calls() -> None:
    seen = Observed(error_reply(503), stream_reply(["ok"]))
    seen.clock.run(seen.read())
    failed, answered = map(told, seen.attempts)
    assert failed["error.type"] == "OverloadedError"
    assert "gen_ai.response.time_to_first_chunk" not in failed
    assert "error.type" not in answered


def test_a_stream_that_is_left_early_is_abandoned_and_no_error() -> None:
    seen = Observed(stream_reply(["a", "b"], delay=1))

    async def leave() -> None:
        async with seen.client.ask_stream("hi", model="mistral/large") as live:
            async for _ in live:
                break

    seen.clock.run(leave())
    assert [told(span)["error.type"] for span in seen.spans] == ["Abandoned", "Abandoned"]
    assert {span.status.status_code for span in seen.spans} == {StatusCode.UNSET}


def test_a_stream_that_breaks_is_an_error() -> None:
    seen = Observed(stream_reply(["a"], finish_reason=None))
    with pytest.raises(StreamInterruptedError):
        seen.clock.run(seen.read())
    broken = [told(span)["error.type"] for span in seen.spans]
    assert broken == ["StreamInterruptedError"] * 3  # two attempts and the call


def test_a_break_that_the_caller_handles_inside_is_an_error_of_its_attempt() -> None:
    seen = Observed(stream_reply(["a"], finish_reason=None))

    async def handled() -> None:
        async with seen.client.ask_stream("hi", model="mistral/large") as live:
            with pytest.raises(StreamInterruptedError):
                async for _ in live:
                    pass

    seen.clock.run(handled())
    assert told(seen.attempts[0])["error.type"] == "StreamInterruptedError"
    assert told(seen.call)["error.type"] == "Abandoned"


def test_an_error_of_the_caller_s_own_behind_the_end_is_none_of_the_call_s() -> None:
    seen = Observed(stream_reply(["a"]))

    async def stumble() -> None:
        async with seen.client.ask_stream("hi", model="mistral/large") as live:
            async for _ in live:
                pass
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        seen.clock.run(stumble())
    assert all("error.type" not in told(span) for span in seen.spans)
    assert {span.status.status_code for span in seen.spans} == {StatusCode.UNSET}


def test_a_stream_leaves_the_caller_s_own_span_current_in_any_order_of_streams() -> None:
    seen = Observed(stream_reply(["a"]))

    async def overlap() -> None:
        with seen.tracer.start_as_current_span("own") as own:
            one = seen.client.ask_stream("1", model="mistral/one")
            two = seen.client.ask_stream("2", model="mistral/two")
            await one.__aenter__()
            await two.__aenter__()
            assert trace.get_current_span() is own
            await one.__aexit__(None, None, None)
            await two.__aexit__(None, None, None)
            assert trace.get_current_span() is own
        assert trace.get_current_span() is trace.INVALID_SPAN

    asyncio.run(overlap())
    by_name = {span.name: span for span in seen.spans}
    for name in ("one", "two"):
        assert is_child(by_name[f"llm_call mistral/{name}"], by_name["own"])
        assert is_child(by_name[f"chat {name}"], by_name[f"llm_call mistral/{name}"])


def test_a_stream_that_is_left_in_another_task_or_never_makes_no_noise() -> None:
    """The fixture looks at the SDK's log: it would say that a token was created in a different context."""
    seen = Observed(stream_reply(["a", "b"]))

    async def pieces() -> Any:
        async with seen.client.ask_stream("hi", model="mistral/large") as live:
            async for piece in live:
                yield piece

    async def work() -> None:
        stream = seen.client.ask_stream("hi", model="mistral/large")
        await asyncio.create_task(stream.__aenter__())
        await asyncio.create_task(stream.__aexit__(None, None, None))
        generator = pieces()
        assert await anext(generator) == "a"  # and left as it is, for the event loop to finish

    asyncio.run(work())
    assert [told(span)["error.type"] for span in seen.spans] == ["Abandoned"] * 4
    assert seen.hooks[0].__self__._calls == {}  # type: ignore[attr-defined]  # a bound method: nothing is kept


def test_a_cancelled_call_is_abandoned_over_real_http() -> None:
    seen = Observed()
    call, attempt = seen.hooks

    async def work(url: str) -> None:
        async with Client(call_hooks=[call], attempt_hooks=[attempt]) as client:
            task = asyncio.create_task(client.ask("hi", model="gpt-x", api_base=url))
            await asyncio.to_thread(server.saw_request)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    with FaultServer([hang()]) as server:
        asyncio.run(work(server.url))
        assert [told(span)["error.type"] for span in seen.spans] == ["Abandoned", "Abandoned"]
        assert told(seen.attempts[0])["server.port"] == server.port


def test_a_stream_over_real_http_is_told_and_its_key_is_not() -> None:
    seen = Observed(capture_content=True)
    call, attempt = seen.hooks

    async def work(url: str) -> None:
        async with (
            Client(call_hooks=[call], attempt_hooks=[attempt]) as client,
            client.ask_stream("hi", model="gpt-x", api_base=url, api_key="sk-secret") as live,
        ):
            assert "".join([piece async for piece in live]) == "hello"

    with FaultServer([respond(status=503), stream(stream_reply(["hel", "lo"]).pieces)]) as server:
        asyncio.run(work(server.url))
    assert [told(span).get("error.type") for span in seen.attempts] == ["OverloadedError", None]
    assert "sk-secret" not in "".join(span.to_json() for span in seen.spans)


DIARY = (
    message("system", "be kind"),
    Message(
        role="user",
        parts=(Text(text="diary"), Media(media_type="image/png", data=b"bytes"), Media(media_type="image/png", url="http://x/i.png")),
    ),
    Message(role="assistant", parts=(Reasoning(text="hm"), ToolCall(id="c1", name="add", arguments="{}"))),
    Message(role="tool", parts=(ToolResult(call_id="c1", parts=(Text(text="4"),)),)),
)  # fmt: skip


def test_what_was_said_is_recorded_only_where_it_is_asked_for() -> None:
    silent, open_ = Observed(), Observed(capture_content=True)
    silent.ask(DIARY)
    open_.ask(DIARY)
    assert not [name for span in silent.spans for name in told(span) if "messages" in name]
    assert "diary" not in "".join(span.to_json() for span in silent.spans)
    attributes = told(open_.attempts[0])
    assert json.loads(attributes["gen_ai.input.messages"]) == [
        {"role": "system", "parts": [{"type": "text", "content": "be kind"}]},
        {
            "role": "user",
            "parts": [
                {"type": "text", "content": "diary"},
                {"type": "blob", "size": 5, "modality": "image", "mime_type": "image/png"},
                {"type": "uri", "uri": "http://x/i.png", "modality": "image", "mime_type": "image/png"},
            ],
        },
        {
            "role": "assistant",
            "parts": [
                {"type": "reasoning", "content": "hm"},
                {"type": "tool_call", "id": "c1", "name": "add", "arguments": "{}"},
            ],
        },
        {
            "role": "tool",
            "parts": [{"type": "tool_call_response", "id": "c1", "response": [{"type": "text", "content": "4"}]}],
        },
    ]
    assert json.loads(attributes["gen_ai.output.messages"]) == [
        {"role": "assistant", "parts": [{"type": "text", "content": "hi"}], "finish_reason": "stop"}
    ]


def test_an_error_s_words_are_content_too() -> None:
    seen = Observed(error_reply(401, message="no such key"), capture_content=True)
    with pytest.raises(LLMCallError):
        seen.ask()
    assert [span.status.description for span in seen.spans] == ["HTTP 401: no such key"] * 2


def test_the_messages_of_a_second_round_are_those_that_were_sent_then() -> None:
    seen = Observed(chat_reply("no"), chat_reply("yes"), capture_content=True)
    seen.ask(validate=[{"type": "contains", "params": {"text": "yes"}}])
    first, second = (told(span)["gen_ai.input.messages"] for span in seen.attempts)
    assert len(second) > len(first)


def test_durations_and_tokens_are_measured_by_attempt_in_the_advised_buckets() -> None:
    seen = Observed(error_reply(503), chat_reply("hi", prompt_tokens=3, completion_tokens=4))
    seen.ask()
    failed, answered = seen.points("gen_ai.client.operation.duration")
    where = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "mistral_ai",
        "gen_ai.request.model": "large",
        "server.address": "models.test",
        "server.port": 8080,
    }
    assert failed.attributes == {**where, "error.type": "OverloadedError"}
    assert answered.attributes == {**where, "gen_ai.response.model": "scripted"}
    assert [failed.count, answered.count] == [1, 1]
    assert answered.explicit_bounds == pytest.approx(
        [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92]
    )
    tokens = seen.points("gen_ai.client.token.usage")
    assert {str((point.attributes or {})["gen_ai.token.type"]): point.sum for point in tokens} == {
        "input": 3,
        "output": 4,
    }
    assert list(tokens[0].explicit_bounds) == [4**power for power in range(14)]
    (call,) = seen.points("llm_call.call.duration")
    assert call.attributes == {"llm_call.model": "mistral/large", "llm_call.stream": False, "llm_call.valid": True}
    assert call.sum == pytest.approx(1)  # the wait, in virtual time


def test_unknown_counts_are_not_measured() -> None:
    seen = Observed(chat_reply("hi"))
    seen.ask()
    assert seen.points("gen_ai.client.token.usage") == []


def test_the_hook_of_attempts_works_alone_and_without_an_sdk() -> None:
    seen = Observed()
    _, attempt = seen.hooks
    transports = {"http": lambda: seen.transport}
    alone = Client(router=Router(rows=ROWS), transports=transports, attempt_hooks=[attempt])  # type: ignore[arg-type]
    alone.ask_sync("hi", model="mistral/large")
    assert [span.parent for span in seen.spans] == [None]
    call, attempt = hooks()
    idle = Client(router=Router(rows=ROWS), transports=transports, call_hooks=[call], attempt_hooks=[attempt])  # type: ignore[arg-type]
    assert idle.ask_sync("hi", model="mistral/large").ok


def test_hooks_may_be_made_twice_of_one_provider() -> None:
    provider = MeterProvider([InMemoryMetricReader()])
    assert hooks(meter_provider=provider) != hooks(meter_provider=provider)


def test_a_base_url_that_cannot_be_read_has_no_address() -> None:
    seen = Observed()
    _, attempt = seen.hooks
    plan = seen.client.plan("hi", model="mistral/large")
    target = replace(plan.targets[0], endpoint=replace(plan.targets[0].endpoint, base_url="http://[broken"))
    wire = target.codec.encode_request(plan.request, stream=False, profile=target.profile)
    call = CallScope("m", plan.request, stream=False)
    with attempt(AttemptScope(1, target, wire, call=call, request=plan.request, turn=Turn(number=1, target=0))):
        pass
    assert "server.address" not in told(seen.attempts[0])


def test_every_name_stands_in_the_documentation() -> None:
    page = (ROOT / "docs/telemetry.md").read_text(encoding="utf-8")
    seen = Observed(error_reply(503, code="busy"), stream_reply(["hi"]), chat_reply("hi"), capture_content=True)
    seen.clock.run(seen.read(max_tokens=1, temperature=0, seed=1))
    seen.ask(validate=[{"type": "contains", "params": {"text": "yes"}}], rounds=1)
    data = seen.reader.get_metrics_data()
    assert data is not None
    names = {name for span in seen.spans for name in told(span)}
    names |= {each.name for scope in data.resource_metrics[0].scope_metrics for each in scope.metrics}
    assert [name for name in sorted(names) if f"`{name}`" not in page] == []


def test_without_the_extra_the_error_names_the_command() -> None:
    code = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from llm_call.core.domain.errors import ConfigError\n"
        "try:\n    import llm_call.core.telemetry\n"
        "except ConfigError as error:\n    print(error, error.hint)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == 'telemetry needs opentelemetry-api pip install "llm-call[otel]"\n'
