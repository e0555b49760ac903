"""OpenTelemetry, as hooks: a span for every call, a child of it for every attempt, and histograms.

    call, attempt = hooks()
    client = Client(call_hooks=[call], attempt_hooks=[attempt])

An attempt is what the GenAI conventions call an inference: its span (CLIENT) and its measurements bear their names. The
call's span (INTERNAL) bears names of our own alone, so that no backend counts tokens twice. What was said is recorded
only with `capture_content`; an error's own words may quote it, and are recorded with it. No header is looked at.

The spans of a call that is not streamed are current while it runs. Those of a streamed call never are: its context may
be left in another task, or after that of a later call, and the caller's own span would not come back.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache
from time import perf_counter, time_ns
from typing import Any
from urllib.parse import urlsplit

import msgspec

from llm_call import __version__
from llm_call.core.domain.bill import Bill
from llm_call.core.domain.errors import APIError, ConfigError
from llm_call.core.domain.messages import Media, Message, Part, Reasoning, Text, ToolCall, ToolResult
from llm_call.core.domain.response import Response
from llm_call.core.hooks import AttemptHook, AttemptScope, CallHook, CallScope

try:
    from opentelemetry import metrics, trace
    from opentelemetry.context import Context
    from opentelemetry.metrics import Histogram, Meter, MeterProvider
    from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, TracerProvider
except ImportError as missing:
    raise ConfigError("telemetry needs opentelemetry-api", hint='pip install "llm-call[otel]"') from missing

# The one place that chooses names: the GenAI conventions 1.41, the last release before they moved to a repository of
# their own, where they still change. Backends know these; what is added since and takes no name away is there too.
_SCHEMA = "https://opentelemetry.io/schemas/1.41.0"
_OPERATION = "gen_ai.operation.name"
_PROVIDER = "gen_ai.provider.name"
_REQUEST_MODEL = "gen_ai.request.model"
_RESPONSE_MODEL = "gen_ai.response.model"
_ADDRESS, _PORT = "server.address", "server.port"
_ERROR = "error.type"
_DURATION = "gen_ai.client.operation.duration"
_FIRST_CHUNK = "gen_ai.client.operation.time_to_first_chunk"
_TOKENS, _TOKEN_TYPE = "gen_ai.client.token.usage", "gen_ai.token.type"
_SETTINGS: Mapping[str, str] = {
    "max_output_tokens": "gen_ai.request.max_tokens",
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "stop": "gen_ai.request.stop_sequences",
    "seed": "gen_ai.request.seed",
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "presence_penalty": "gen_ai.request.presence_penalty",
    "reasoning_effort": "gen_ai.request.reasoning.level",
}
_USAGE: Mapping[str, str] = {
    "input_tokens": "gen_ai.usage.input_tokens",
    "output_tokens": "gen_ai.usage.output_tokens",
    "cached_input_tokens": "gen_ai.usage.cache_read.input_tokens",
    "reasoning_tokens": "gen_ai.usage.reasoning.output_tokens",
}
_PROVIDERS: Mapping[str, str] = {
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "vertex": "gcp.vertex_ai",
    "xai": "x_ai",
}
"""Our rows whose well-known name is another; all others go by their own."""
_OPERATIONS: Mapping[str, str] = {"gemini": "generate_content"}
"""The dialects whose operation is not `chat`."""
_SECONDS = tuple(0.01 * 2**power for power in range(14))
_COUNTS = tuple(4**power for power in range(14))
"""The buckets that the conventions advise."""

_ABANDONED = "Abandoned"
"""The error type where there was no error: the caller left before the end. The trace's word."""


def hooks(
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    *,
    capture_content: bool = False,
) -> tuple[CallHook, AttemptHook]:
    """The hook for `Client(call_hooks=...)` and the one for `attempt_hooks=...`, which belong together.

    Without providers those that the process has set are used, from whenever it sets them. `capture_content` (false)
    records the messages, answers and error messages too: never the bytes of media, never a header.
    """
    tracer = trace.get_tracer("llm_call", __version__, tracer_provider, _SCHEMA)
    meter = metrics.get_meter("llm_call", __version__, meter_provider, _SCHEMA)
    telemetry = _Telemetry(tracer, _Instruments(meter), capture_content=capture_content)
    return telemetry.call, telemetry.attempt


class _Instruments:
    """What is measured. Seconds, and tokens."""

    def __init__(self, meter: Meter) -> None:
        self.call = _histogram(meter, "llm_call.call.duration", "s", "A whole call, with its retries and re-asks.")
        self.duration = _histogram(meter, _DURATION, "s", "GenAI operation duration.")
        self.first_chunk = _histogram(meter, _FIRST_CHUNK, "s", "Time to receive the first chunk.")
        self.tokens = _histogram(meter, _TOKENS, "{token}", "Number of input and output tokens used.")


def _histogram(meter: Meter, name: str, unit: str, description: str) -> Histogram:
    buckets = _SECONDS if unit == "s" else _COUNTS
    return meter.create_histogram(name, unit, description, explicit_bucket_boundaries_advisory=buckets)


class _Telemetry:
    """The two hooks, and the calls that are under way between them."""

    def __init__(self, tracer: Tracer, instruments: _Instruments, *, capture_content: bool) -> None:
        self._tracer = tracer
        self._instruments = instruments
        self._capture_content = capture_content
        self._calls: dict[CallScope, Context] = {}

    @contextmanager
    def call(self, scope: CallScope) -> Iterator[None]:
        """The span around a call."""
        began, start = time_ns(), perf_counter()
        asked: dict[str, Any] = {"llm_call.model": scope.model, "llm_call.stream": scope.stream}
        span = self._tracer.start_span(f"llm_call {scope.model}", attributes=asked, start_time=began)
        self._calls[scope] = trace.set_span_in_context(span)
        failure = _ABANDONED
        try:
            with _current(span, scope):
                yield
        except BaseException as error:
            failure = self._failed(span, error, ended_well=scope.result is not None)
            raise
        finally:
            del self._calls[scope]
            outcome = _outcome(scope, failure)
            # A streamed call ends with its answer, however long the caller stays in its context.
            seconds = scope.result.trace.duration if scope.result else perf_counter() - start
            if span.is_recording():
                span.set_attributes(outcome | _result(scope))
            span.end(began + int(seconds * _NANOSECONDS))
            self._instruments.call.record(seconds, asked | outcome)

    @contextmanager
    def attempt(self, scope: AttemptScope) -> Iterator[None]:
        """The span around an attempt, a child of its call's."""
        start = perf_counter()
        place = _place(scope)
        span = self._tracer.start_span(
            f"{place[_OPERATION]} {scope.target.model}",
            self._calls.get(scope.call),
            SpanKind.CLIENT,
            place | _asked(scope),
        )
        failure = _ABANDONED
        try:
            with _current(span, scope.call):
                yield
        except BaseException as error:
            failure = self._failed(span, error, ended_well=scope.response is not None)
            raise
        finally:
            outcome = {} if scope.response else {_ERROR: failure}
            if span.is_recording():
                span.set_attributes(outcome | self._answered(scope))
            span.end()
            self._measure(scope, perf_counter() - start, place | outcome)

    def _failed(self, span: Span, error: BaseException, *, ended_well: bool) -> str:
        """Mark `span` as failed. An error of the caller's own, behind the end, is none of ours."""
        if ended_well or not isinstance(error, Exception):
            return _ABANDONED
        span.set_status(StatusCode.ERROR, str(error) if self._capture_content else None)
        if isinstance(error, APIError):
            span.set_attributes(_refusal(error))
        return type(error).__name__

    def _answered(self, scope: AttemptScope) -> dict[str, Any]:
        found = {} if scope.response is None else _response(scope.response)
        if scope.first_event is not None:
            found["gen_ai.response.time_to_first_chunk"] = scope.first_event
        if self._capture_content:
            found["gen_ai.input.messages"] = _messages(scope.request.messages)
            if scope.response is not None:
                found["gen_ai.output.messages"] = _output(scope.response)
        return found

    def _measure(self, scope: AttemptScope, seconds: float, where: dict[str, Any]) -> None:
        if scope.response is not None:
            where[_RESPONSE_MODEL] = scope.response.model
            usage = scope.response.usage
            for kind, count in (("input", usage.input_tokens), ("output", usage.output_tokens)):
                if count is not None:
                    self._instruments.tokens.record(count, {**where, _TOKEN_TYPE: kind})
        if scope.first_event is not None:
            self._instruments.first_chunk.record(scope.first_event, where)
        self._instruments.duration.record(seconds, where)


_NANOSECONDS = 1_000_000_000


def _current(span: Span, call: CallScope) -> AbstractContextManager[object]:
    """What makes `span` the current one, where that can be undone."""
    if call.stream:
        return nullcontext()
    return trace.use_span(span, record_exception=False, set_status_on_exception=False)


def _outcome(scope: CallScope, failure: str) -> dict[str, Any]:
    if scope.result is None:
        return {_ERROR: failure}
    return {"llm_call.valid": scope.result.ok}


def _result(scope: CallScope) -> dict[str, Any]:
    """What the call came to. Its cost where the profiles alone know it: price lists are large."""
    result = scope.result
    if result is None:
        return {}
    cost = Bill(result.bill.charges).total
    found = {
        "llm_call.rejected_by": [verdict.validator for verdict in result.verdicts if not verdict.valid],
        "llm_call.attempts": len(result.trace.attempts),
        "llm_call.rounds": len(result.trace.rounds),
        "llm_call.usage.input_tokens": result.usage.input_tokens,
        "llm_call.usage.output_tokens": result.usage.output_tokens,
        "llm_call.cost.usd": None if cost is None else float(cost),
    }
    return _known(found)


def _place(scope: AttemptScope) -> dict[str, Any]:
    """What is asked of whom: on the span, and on every measurement."""
    target = scope.target
    address, port = _server(target.endpoint.base_url)
    found = {
        _OPERATION: _OPERATIONS.get(target.codec.name, "chat"),
        _PROVIDER: _PROVIDERS.get(target.provider, target.provider),
        _REQUEST_MODEL: target.model,
        _ADDRESS: address,
        _PORT: port,
    }
    return _known(found)


def _asked(scope: AttemptScope) -> dict[str, Any]:
    request, turn = scope.request, scope.turn
    found = {name: getattr(request.settings, field) for field, name in _SETTINGS.items()}
    found |= {
        "gen_ai.output.type": "json" if request.output else "text",
        "gen_ai.request.stream": scope.wire.stream or None,
        "llm_call.target": scope.target.name,
        "llm_call.attempt.number": scope.number,
        "llm_call.attempt.reason": turn.why or ("reask" if scope.number > turn.number else None),
        "llm_call.attempt.wait": turn.wait or None,
    }
    return _known(found)


def _response(response: Response) -> dict[str, Any]:
    reason = response.finish_reason
    found = {name: getattr(response.usage, field) for field, name in _USAGE.items()}
    found |= {
        "gen_ai.response.id": response.id,
        _RESPONSE_MODEL: response.model,
        "gen_ai.response.finish_reasons": [reason.raw or reason.unified],
    }
    return _known(found)


def _refusal(error: APIError) -> dict[str, Any]:
    return _known(
        {
            "http.response.status_code": error.status,
            "llm_call.error.code": error.code,
            "llm_call.error.request_id": error.request_id,
        }
    )


def _known(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Those that have a value; an empty list has none to tell."""
    return {name: value for name, value in attributes.items() if value not in (None, (), [])}


@lru_cache(maxsize=256)
def _server(base_url: str) -> tuple[str | None, int | None]:
    """The host and the port that a base URL names; nothing for what runs in this process or cannot be read."""
    try:
        parts = urlsplit(base_url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return None, None
    return (parts.hostname, port) if parts.hostname else (None, None)


def _messages(messages: tuple[Message, ...]) -> str:
    return _json([{"role": each.role, "parts": [_part(part) for part in each.parts]} for each in messages])


def _output(response: Response) -> str:
    parts = [_part(part) for part in response.parts]
    return _json([{"role": "assistant", "parts": parts, "finish_reason": response.finish_reason.unified}])


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _part(part: Part) -> dict[str, Any]:
    """The part in the form of the conventions' JSON schemas."""
    match part:
        case Text():
            return {"type": "text", "content": part.text}
        case Reasoning():
            return {"type": "reasoning", "content": part.text}
        case ToolCall():
            return {"type": "tool_call", "id": part.id, "name": part.name, "arguments": part.arguments}
        case ToolResult():
            parts = [_part(each) for each in part.parts]
            return {"type": "tool_call_response", "id": part.call_id, "response": parts}
        case Media():
            modality = part.media_type.partition("/")[0]
            where = {"type": "uri", "uri": part.url} if part.url else {"type": "blob", "size": len(part.data or b"")}
            return {**where, "modality": modality, "mime_type": part.media_type}
