"""What goes wrong with models that are asked over HTTP: a catalogue for tests, ours and yours.

    with FaultServer.by(FAULTS["cut"], then="one two three four", after=2) as server:
        ...  # the first stream ends after "one two"; the next request is answered in full

Each says what happens to a plain answer and to a streamed one, and what a caller may expect. The dialect is that of chat
completions; two faults are hints that only other dialects know.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import msgspec

from llm_call.core.domain.profile import DialectName
from llm_call.testing.behaviours import Behaviour, broken, dripped, empty, half_body, hang, reset, respond, stream
from llm_call.testing.fault import Answer, Expected, Fault, Group, event

# Refusals: a status and an error body; the same error may come inside a stream.


def _refused(
    name: str,
    status: int,
    meaning: str,
    expected: Expected,
    *,
    kind: str,
    code: str | None = None,
    **facts: Any,
) -> Fault:
    payload = {"error": {"message": meaning, "type": kind, "code": code, **facts}}
    refusal = respond(msgspec.json.encode(payload), status=status)

    def streamed(said: Answer, after: int) -> Behaviour:
        return stream([*said.begun(after), event(payload)]) if after else refusal

    return Fault(
        name=name,
        group="refusals",
        meaning=f"{status}: {meaning}",
        expected=expected,
        plain=lambda _said: refusal,
        streamed=streamed,
    )


def _anyhow(name: str, group: Group, meaning: str, expected: Expected, behaviour: Behaviour, **more: Any) -> Fault:
    """A fault that is the same whatever the answer would have been. It does not happen inside a stream."""
    return Fault(
        name=name,
        group=group,
        meaning=meaning,
        expected=expected,
        plain=lambda _said: behaviour,
        streamed=lambda _said, after: None if after else behaviour,
        **more,
    )


_BUSY = {"error": {"message": "too many requests", "type": "rate_limit_error", "code": "rate_limit_exceeded"}}
_NOW, _IN_AN_HOUR = "Wed, 21 Oct 2026 07:28:00 GMT", "Wed, 21 Oct 2026 08:28:00 GMT"
_HOUR, _DAY = 3_600.0, 86_400.0


def _hinted(
    name: str,
    meaning: str,
    headers: Mapping[str, str],
    hint: float | None,
    *,
    expected: Expected = "again",
    dialect: DialectName = "openai_chat",
    body: Any = _BUSY,
) -> Fault:
    behaviour = respond(msgspec.json.encode(body), status=429, headers=headers)
    return _anyhow(name, "hints", f"429, {meaning}", expected, behaviour, hint=hint, dialect=dialect)


# Connections: what is written breaks off, or is no HTTP.


def _cut_off(name: str, meaning: str, change: Callable[[Behaviour], Behaviour], expected: Expected = "again") -> Fault:
    """A fault that is made of the whole of a plain answer, head and body. `cut` and its like do it to streams."""
    return Fault(
        name=name,
        group="connections",
        meaning=meaning,
        expected=expected,
        plain=lambda said: change(respond(said.body)),
        streamed=lambda said, after: None if after else change(stream(said.events)),
    )


# Bodies: a success that is none.


def _instead(
    name: str,
    meaning: str,
    make: Callable[[Answer], bytes],
    *,
    expected: Expected = "again",
    group: Group = "bodies",
    kind: str = "application/json",
) -> Fault:
    return Fault(
        name=name,
        group=group,
        meaning=f"200, {meaning}",
        expected=expected,
        plain=lambda said: respond(make(said), headers={"content-type": kind}),
        streamed=lambda said, after: None if after else respond(make(said), headers={"content-type": kind}),
    )


def _message(**fields: Any) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", **fields}, "finish_reason": "stop"}
    return msgspec.json.encode({"model": "m", "choices": [choice]})


# Streams: what comes behind the tokens.


def _midway(
    name: str,
    meaning: str,
    *tail: bytes,
    then: Literal["end", "close", "reset", "hang"] = "end",
    expected: Expected = "again",
) -> Fault:
    return Fault(
        name=name,
        group="streams",
        meaning=meaning,
        expected=expected,
        streamed=lambda said, after: stream([*said.begun(after), *tail], then=then),
    )


def _odd(
    name: str,
    meaning: str,
    make: Callable[[Answer], Iterable[bytes]],
    then: Literal["end", "close", "hang"] = "end",
) -> Fault:
    """A stream that is right, however unusual."""
    return Fault(
        name=name,
        group="oddities",
        meaning=meaning,
        expected="answer",
        streamed=lambda said, after: None if after else stream(make(said), then=then),
    )


def _body_at(behaviour: Behaviour) -> int:
    """Where the body begins in what is written."""
    whole = b"".join(piece for piece in behaviour.pieces if isinstance(piece, bytes))
    return whole.index(b"\r\n\r\n") + 4


def _finished(said: Answer) -> Iterable[bytes]:
    return said.events[:-1]


def _with_returns(events: Iterable[bytes]) -> Iterable[bytes]:
    return (event.replace(b"\n", b"\r\n") for event in events)


_FILLER = b": no end in sight\n" * 4_096
_FINISH = b'"finish_reason":"stop"'


def _broken_chunk(said: Answer, after: int) -> Behaviour:
    whole = stream([*said.begun(after)], then="close")
    return Behaviour(pieces=(*whole.pieces, b"no length\r\n"), then="close")


_EVERY = (
    _refused("request_timeout", 408, "the request took too long", "again", kind="timeout_error"),
    _refused("conflict", 409, "the resource is locked", "again", kind="conflict_error"),
    _refused("server_error", 500, "the server failed", "again", kind="server_error"),
    _refused("bad_gateway", 502, "the server behind the proxy failed", "again", kind="server_error"),
    _refused("unavailable", 503, "the server is not ready", "again", kind="unavailable_error"),
    _refused("gateway_timeout", 504, "the server behind the proxy is silent", "again", kind="timeout_error"),
    _refused("overloaded", 529, "the model has no capacity", "again", kind="overloaded_error"),
    _anyhow(
        "proxy_page",
        "refusals",
        "502 with a web page",
        "again",
        respond(b"<html>Bad Gateway</html>", status=502, headers={"content-type": "text/html"}),
    ),
    _refused("rate_limited", 429, "too many requests", "again", kind="rate_limit_error", code="rate_limit_exceeded"),
    _refused("no_quota", 429, "the quota is used up", "elsewhere", kind="insufficient_quota"),
    _refused("payment_required", 402, "there is no credit", "elsewhere", kind="billing_error"),
    _refused("billing_inactive", 429, "the account is not paid", "elsewhere", kind="billing_not_active"),
    _refused("unauthorized", 401, "the key is wrong", "elsewhere", kind="x", code="invalid_api_key"),
    _refused("forbidden", 403, "the key may not do this", "elsewhere", kind="permission_error"),
    _refused("prompt_too_long", 400, "the prompt is too long", "elsewhere", kind="x", code="context_length_exceeded"),
    _refused("bad_request", 400, "a setting is wrong", "never", kind="invalid_request_error"),
    _refused("no_such_model", 404, "there is no such model", "never", kind="x", code="model_not_found"),
    _refused("too_large", 413, "the request is too large", "never", kind="request_too_large"),
    _refused("unprocessable", 422, "a field is wrong", "never", kind="invalid_request_error"),
    _refused("filtered", 400, "the content is refused", "never", kind="x", code="content_filter"),
    _anyhow(
        "redirected",
        "refusals",
        "302 to another place",
        "never",
        respond(status=302, headers={"location": "http://127.0.0.1:9/"}),
    ),
    _hinted("retry_after_ms", "retry-after-ms: 1", {"retry-after-ms": "1"}, 0.001),
    _hinted("retry_after", "Retry-After in seconds: an hour", {"retry-after": "3600"}, _HOUR),
    _hinted("retry_after_date", "Retry-After as a date", {"retry-after": _IN_AN_HOUR, "date": _NOW}, _HOUR),
    _hinted(
        "reset_in",
        "x-ratelimit-reset-tokens as a duration",
        {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "59m60s"},
        _HOUR,
    ),
    _hinted(
        "reset_at",
        "anthropic-ratelimit-tokens-reset as a time",
        {
            "anthropic-ratelimit-tokens-remaining": "0",
            "anthropic-ratelimit-tokens-reset": "2026-10-21T08:28:00Z",
            "date": _NOW,
        },
        _HOUR,
        dialect="anthropic_messages",
        body={"type": "error", "error": {"type": "rate_limit_error", "message": "too many requests"}},
    ),
    _hinted(
        "retry_delay",
        "RetryInfo.retryDelay in Google's body",
        {},
        _HOUR,
        dialect="gemini",
        body={
            "error": {
                "code": 429,
                "message": "too many requests",
                "status": "RESOURCE_EXHAUSTED",
                "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "3600s"}],
            }
        },
    ),
    _hinted("several_hints", "two hints: the longer counts", {"retry-after": "3600", "retry-after-ms": "1"}, _HOUR),
    _hinted("negative_hint", "Retry-After: -5", {"retry-after": "-5"}, 0.0),
    _hinted("absurd_hint", "Retry-After: 1e12", {"retry-after": "1e12"}, _DAY),
    _hinted("unreadable_hint", "Retry-After: soon", {"retry-after": "soon"}, None),
    _hinted("do_not_retry", "x-should-retry: false", {"x-should-retry": "false"}, None, expected="elsewhere"),
    Fault(name="refused", group="connections", meaning="nobody listens", expected="again"),
    _cut_off("closed", "closed without a byte", lambda _whole: empty()),
    _cut_off("broken_off", "reset without a byte", lambda _whole: reset()),
    _cut_off("closed_in_head", "closed in the head", lambda whole: broken(whole, at=20, then="close")),
    _cut_off("broken_in_head", "reset in the head", lambda whole: broken(whole, at=20)),
    _cut_off(
        "closed_behind_head", "closed behind the head", lambda whole: broken(whole, at=_body_at(whole), then="close")
    ),
    _cut_off("broken_behind_head", "reset behind the head", lambda whole: broken(whole, at=_body_at(whole))),
    Fault(
        name="half_body",
        group="connections",
        meaning="closed in the body",
        expected="again",
        plain=lambda said: half_body(said.body[:40], missing=len(said.body) - 40),
    ),
    _cut_off("silent", "no byte comes", lambda _whole: hang(), "elsewhere"),
    _cut_off(
        "silent_behind_head",
        "no byte comes behind the head",
        lambda whole: broken(whole, at=_body_at(whole), then="hang"),
        "elsewhere",
    ),
    _anyhow(
        "no_http", "connections", "bytes that are no HTTP", "again", Behaviour(pieces=(b"SSH-2.0-x\r\n",), then="close")
    ),
    _anyhow(
        "endless_head",
        "connections",
        "a head without an end (200 KB)",
        "again",
        Behaviour(pieces=(b"HTTP/1.1 200 OK\r\nx: ", b"x" * 200_000), then="close"),
    ),
    _instead("no_body", "without a body", lambda _said: b""),
    _instead("web_page", "with a web page", lambda _said: b"<html>Log in</html>", kind="text/html"),
    _instead("plain_text", "with a sentence", lambda _said: b"upstream is down", kind="text/plain"),
    _instead("truncated_json", "with half of the JSON", lambda said: said.body[: len(said.body) // 2]),
    _instead("other_json", "with JSON of another kind", lambda _said: b'{"status":"ok"}'),
    _instead("json_null", "with null", lambda _said: b"null"),
    _instead("error_body", "with an error in it", lambda _said: b'{"error":{"message":"it broke"}}'),
    _instead("no_choices", "with no choices", lambda _said: b'{"model":"m","choices":[]}'),
    _instead("null_choices", "with null for choices", lambda _said: b'{"model":"m","choices":null}'),
    _instead("wrong_encoding", "in Latin-1", lambda _said: _message(content="\u00e9").decode().encode("latin-1")),
    _anyhow(
        "compressed",
        "bodies",
        "200, compressed unasked",
        "again",
        respond(b"\x1f\x8b", headers={"content-encoding": "gzip"}),
    ),
    _anyhow(
        "endless_body",
        "bodies",
        "200, a body that goes on (16 MB)",
        "again",
        Behaviour(
            pieces=(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n", *[b" " * 65_536] * 256), then="close"
        ),
    ),
    _instead("empty_content", "with an empty text", lambda _said: _message(content=""), expected="reask"),
    _instead("null_content", "with null for the text", lambda _said: _message(content=None), expected="reask"),
    _instead(
        "refusal", "with a refusal", lambda _said: _message(content=None, refusal="I will not."), expected="never"
    ),
    _midway("cut", "closed before its end", then="close"),
    _midway("reset", "reset before its end", then="reset"),
    _midway("stalled", "silent before its end", then="hang", expected="elsewhere"),
    _midway("no_finish", "ends, without a finish reason"),
    _midway("done_only", "ends with [DONE], without a finish reason", b"data: [DONE]\n\n"),
    _midway("error_event", "an error of no known code", event({"error": {"message": "it broke", "code": "oops"}})),
    _midway("named_error", "an event named error, with a sentence", b"event: error\ndata: it broke\n\n"),
    _midway("unreadable_event", "an event that is half JSON", b'data: {"choices":[{"ind\n\n'),
    _midway("event_encoding", "an event in Latin-1", b'data: {"choices":[{"delta":{"content":"\xe9"}}]}\n\n'),
    _midway("other_event", "an event of another kind", b'data: {"choices":[{"delta":"x"}]}\n\n'),
    _midway("endless", "comments without an end (16 MB)", *[_FILLER] * 230),
    Fault(
        name="broken_chunk",
        group="streams",
        meaning="the framing of HTTP breaks",
        expected="again",
        streamed=_broken_chunk,
    ),
    Fault(
        name="dripped",
        group="oddities",
        meaning="a byte at a time",
        expected="answer",
        plain=lambda said: dripped(respond(said.body)),
        streamed=lambda said, after: None if after else dripped(stream(said.events)),
    ),
    Fault(
        name="not_streamed",
        group="oddities",
        meaning="a whole body where a stream was asked for",
        expected="answer",
        streamed=lambda said, after: None if after else respond(said.body),
    ),
    _odd("no_done", "a finish reason, and no [DONE]", _finished),
    _odd("finish_closed", "a finish reason, then closed", _finished, "close"),
    _odd("finish_silent", "a finish reason, then silence", _finished, "hang"),
    _odd("kept_alive", "comments between the events", lambda said: [b": ping\n\n" + each for each in said.events]),
    _odd("line_ends", "CR LF, and a byte order mark", lambda said: [b"\xef\xbb\xbf", *_with_returns(said.events)]),
    _odd("one_piece", "all events in one piece", lambda said: [b"".join(said.events)]),
)


FAULTS: Mapping[str, Fault] = {fault.name: fault for fault in _EVERY}
"""Every fault, by its name."""
