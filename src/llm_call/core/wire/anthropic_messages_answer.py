"""The answers of the Messages dialect, whole or in events, read by one reader.

Rule: a whole answer is read as the events that it amounts to, so whole and streamed answers cannot come to differ. A
block is a part, in the place that its index says.

How blocks stand in the canonical answer, beside the obvious:

- `thinking` and `redacted_thinking` are `Reasoning` whose `provider_data["type"]` names the block; the `data` of a
  redacted one is kept there. An empty signature is none.
- A block without a canonical part (a server's own tool and its results, ...) is an empty `Text` whose
  `provider_data["block"]` is the block. In a stream it comes when it is complete.
- Other fields of a block (`citations`, `caller`, ...) are kept in its part's `provider_data`.

What `Response.provider_data` keeps: unknown top-level fields (`stop_details`, `container`, ...; the last event's word
wins), `stop_sequence`, and under `usage` the counts that `Usage` has no field for. Null and empty values are left out.
"""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import msgspec
from msgspec import Struct

from llm_call.core.domain.events import Event, PartDelta, PartEnd, PartStart, ResponseEnd, ResponseStart
from llm_call.core.domain.messages import Part, Reasoning, Text, ToolCall
from llm_call.core.domain.response import Finish, FinishReason, Usage
from llm_call.core.wire.anthropic_messages_errors import decode_event_error
from llm_call.core.wire.framing import ServerSentEvent
from llm_call.core.wire.http_errors import excerpt
from llm_call.core.wire.reading import (
    DONE,
    AnswerStreamDecoder,
    MalformedError,
    count,
    decode_json,
    mapping,
    merge,
    parse,
    string,
    unknown,
    unreadable,
)

FINISH: Mapping[str, Finish] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
    "pause_turn": "other",  # the same request, with this answer at its end, goes on where it stopped
}
BLOCK_FIELDS: Mapping[str, frozenset[str]] = {
    "text": frozenset({"type", "text"}),
    "thinking": frozenset({"type", "thinking", "signature"}),
    "redacted_thinking": frozenset({"type"}),
    "tool_use": frozenset({"type", "id", "name", "input"}),
}

_TOP_FIELDS = frozenset({"id", "type", "role", "model", "content", "stop_reason", "usage"})
_USAGE_FIELDS = frozenset(
    {"input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens_details"}
)
_PLACEHOLDERS = ("input_tokens", "output_tokens")  # a 0 of theirs at the start of a stream says nothing yet
# The delta that brings more of a block, and the field in which it stands.
_DELTAS: Mapping[str, tuple[str, str]] = {
    "text": ("text_delta", "text"),
    "thinking": ("thinking_delta", "thinking"),
    "tool_use": ("input_json_delta", "partial_json"),
}
_PIECES = frozenset(kind for kind, _ in _DELTAS.values())
_encode_json = msgspec.json.Encoder().encode


class _RawBlock(Struct):
    input: msgspec.Raw = msgspec.Raw(b"")


class _RawAnswer(Struct):
    content: list[_RawBlock]


_decode_raw = msgspec.json.Decoder(_RawAnswer).decode


class _Block:
    """A block that is arriving. `part` is `None` where no canonical part fits it; `rest` stays until its end."""

    __slots__ = ("delta", "extra", "field", "kind", "part", "rest", "signature")

    def __init__(self, kind: str, part: Part | None, rest: str) -> None:
        self.kind = kind
        self.part = part
        self.rest = rest
        self.delta, self.field = _DELTAS.get(kind, ("", ""))
        self.signature: str | None = None
        self.extra: dict[str, Any] = {}


class AnswerReader:
    """Wire events in, events out: they collect in `events`, from where the owner takes them away."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.text: list[str] = []
        self.finish: str | None = None
        self._called = False
        self.stopped = False  # the provider has said that this is all
        self._started = False
        self._seen: set[int] = set()
        self._open: dict[int, _Block] = {}
        self._usage: dict[str, Any] = {}
        self._extra: dict[str, Any] = {}

    def take(self, event: Any) -> None:
        """Read one event of a stream; what is of an unknown type is passed over, as the dialect demands.

        Raises:
            MalformedError: It is not of this dialect.
        """
        match mapping(event, "it").get("type"):
            case "content_block_delta":
                self._delta(event)
            case "message_start":
                message = mapping(event.get("message"), "message")
                if message.get("content"):
                    raise MalformedError("message.content is not empty at its start")
                self.start(message)
            case "content_block_start":
                self.begin(_index(event), mapping(event.get("content_block"), "content_block"))
            case "content_block_stop":
                self.finish_block(_index(event))
            case "message_delta":
                self._message_delta(event)
            case "message_stop":
                self.stopped = True

    def start(self, message: Mapping[str, Any]) -> None:
        """The answer begins: `message` has everything but its content."""
        if self._started:
            raise MalformedError("a second message_start")
        self._started = True
        self._extra = unknown(message, _TOP_FIELDS)
        usage = mapping(message.get("usage") or {}, "message.usage")
        self.count({name: value for name, value in usage.items() if value != 0 or name not in _PLACEHOLDERS})
        identity = string(message.get("id"), "message.id") or None
        self.events.append(ResponseStart(model=string(message.get("model"), "message.model"), id=identity))

    def begin(self, index: int, content: Mapping[str, Any]) -> None:
        """A block begins; `content` may have the whole of it."""
        if not self._started or index in self._seen:
            raise MalformedError(f"the block {index} begins before the message, or begins twice")
        self._seen.add(index)
        self._called = self._called or content.get("type") == "tool_use"
        kind = string(content.get("type"), f"content[{index}].type")
        part, piece = _part(kind, content, index)
        self._open[index] = block = _Block(kind, part, piece if kind == "tool_use" else "")
        if part is None:
            block.extra = dict(content)
            return
        self.events.append(PartStart(index=index, part=part))
        if piece and kind != "tool_use":
            self._piece(index, block, piece)

    def finish_block(self, index: int) -> None:
        """A block is complete."""
        block = self._open.pop(index, None)
        if block is None:
            raise MalformedError(f"the block {index} ends, and is not open")
        if block.part is None:
            if block.rest:
                block.extra["input"] = _json_or_text(block.rest)
            kept = Text(text="", provider_data={"block": block.extra})
            self.events += [PartStart(index=index, part=kept), PartEnd(index=index)]
            return
        if block.rest:
            self._piece(index, block, block.rest)
        self.events.append(PartEnd(index=index, signature=block.signature, provider_data=block.extra))

    def count(self, usage: Mapping[str, Any]) -> None:
        """Take in counts: each is a total, so the last one holds."""
        self._usage.update({name: value for name, value in usage.items() if value is not None})

    def end(self) -> None:
        """The answer is complete: end what is open."""
        for index in sorted(self._open):
            self.finish_block(index)
        usage, counts = _usage(self._usage) if self._usage else (Usage(), {})
        if counts:
            self._extra["usage"] = counts
        unified = FINISH.get(self.finish or "", "other")
        reason = FinishReason(unified="tool_calls" if self._called and unified == "stop" else unified, raw=self.finish)
        self.events.append(ResponseEnd(finish_reason=reason, usage=usage, provider_data=self._extra))

    def _delta(self, event: Mapping[str, Any]) -> None:
        index = _index(event)
        block = self._open.get(index)
        if block is None:
            raise MalformedError(f"more of the block {index}, which is not open")
        delta = mapping(event.get("delta"), "delta")
        kind = string(delta.get("type"), "delta.type")
        if kind == block.delta:
            if piece := string(delta.get(block.field), f"delta.{block.field}"):
                block.rest = ""
                self._piece(index, block, piece)
        elif block.part is None and kind == "input_json_delta":
            block.rest += string(delta.get("partial_json"), "delta.partial_json")
        elif kind in _PIECES:
            raise MalformedError(f"a {kind} in a block of type {block.kind}")
        else:
            _take_field(block, kind, delta)

    def _piece(self, index: int, block: _Block, piece: str) -> None:
        if block.kind == "text":
            self.text.append(piece)
        self.events.append(PartDelta(index=index, text=piece))

    def _message_delta(self, event: Mapping[str, Any]) -> None:
        if not self._started:
            raise MalformedError("message_delta comes before message_start")
        delta = mapping(event.get("delta") or {}, "delta")
        if reason := delta.get("stop_reason"):
            self.finish = string(reason, "delta.stop_reason")
        self._extra |= unknown(delta, {"stop_reason"}) | unknown(event, {"type", "delta", "usage"})
        self.count(mapping(event.get("usage") or {}, "usage"))


class AnthropicMessagesStreamDecoder(AnswerStreamDecoder[AnswerReader]):
    """One streamed answer: complete with `message_stop`, or with its stop reason alone at the end."""

    dialect = "anthropic_messages"

    def __init__(self) -> None:
        super().__init__(AnswerReader())

    def take_whole(self, body: bytes) -> None:
        """Read a body that is no event stream."""
        answer = parse(body)
        if is_error(answer):
            raise decode_event_error(answer)
        self.reader = read_answer(answer, body)

    def take_frame(self, frame: ServerSentEvent) -> None:
        """Read one event of the wire."""
        if frame.data == DONE:  # no word of this dialect; some servers say it in every dialect
            return
        try:
            event = decode_json(frame.data)
            if is_error(event) or frame.event == "error":
                raise decode_event_error(event)
            self.reader.take(event)
        except (ValueError, RecursionError) as error:
            if frame.event == "error":
                raise decode_event_error({"message": excerpt(frame.data, 200)}) from error
            raise unreadable("an event of the stream", error, frame.data) from error
        if self.reader.stopped:
            self.finish()

    def finish(self) -> None:
        """Complete an answer that has its stop reason."""
        if self.reader.finish is None:
            how = "said that it is done" if self.reader.stopped else "ended"
            raise self.interrupted(f"{how} without a stop reason")
        self.complete = True
        self.reader.end()


def is_error(answer: Any) -> bool:
    """Whether an answer, or an event of one, is an error in the place of an answer."""
    return type(answer) is dict and (answer.get("type") == "error" or bool(answer.get("error")))


def read_answer(answer: Any, body: bytes) -> AnswerReader:
    """The reader with the events of a whole answer that was parsed from `body`.

    Raises:
        ProtocolError: It cannot be read, or there is no answer in it.
    """
    reader = AnswerReader()
    try:
        reader.start(mapping(answer, "the body"))
        for index, block in enumerate(_blocks(answer.get("content"), body)):
            reader.begin(index, block)
            reader.finish_block(index)
        reader.finish = string(answer.get("stop_reason"), "stop_reason") or None
        reader.count(answer.get("usage") or {})
        reader.end()
    except MalformedError as error:
        raise unreadable("the answer", error, body) from error
    return reader


def _blocks(content: Any, body: bytes) -> list[dict[str, Any]]:
    """The blocks of a whole answer, the input of each tool call as the text that it has in `body`."""
    if type(content) is not list:
        raise MalformedError("content is no array")
    blocks = [mapping(block, f"content[{index}]") for index, block in enumerate(content)]
    if any(block.get("type") == "tool_use" for block in blocks):
        for block, raw in zip(blocks, _decode_raw(body).content, strict=True):
            if block.get("type") == "tool_use" and type(block.get("input")) is dict:
                block["input"] = raw.input
    return blocks


def _part(kind: str, content: Mapping[str, Any], index: int) -> tuple[Part | None, str]:
    """The empty part of a block, and what it begins with."""
    where = f"content[{index}]"
    if kind == "text":
        extra = unknown(content, BLOCK_FIELDS[kind])
        return Text(text="", provider_data=extra), string(content.get("text"), f"{where}.text")
    if kind in {"thinking", "redacted_thinking"}:
        extra = {"type": kind, **unknown(content, BLOCK_FIELDS[kind])}
        signature = string(content.get("signature"), f"{where}.signature") or None
        thought = string(content.get("thinking"), f"{where}.thinking")
        return Reasoning(text="", signature=signature, provider_data=extra), thought
    if kind == "tool_use":
        name = string(content.get("name"), f"{where}.name")
        if not name:
            raise MalformedError(f"{where}: a call has no name")
        identity = string(content.get("id"), f"{where}.id") or f"call_{index}"
        extra = unknown(content, BLOCK_FIELDS[kind])
        return ToolCall(id=identity, name=name, arguments="", provider_data=extra), _arguments(content.get("input"))
    return None, ""


def _take_field(block: _Block, kind: str, delta: Mapping[str, Any]) -> None:
    """Take in a delta that brings no piece of text, but a field: a signature, a citation, or one of a newer kind."""
    if kind == "signature_delta":
        block.signature = string(delta.get("signature"), "delta.signature") or None
        return
    fields = {"citations": [delta.get("citation")]} if kind == "citations_delta" else unknown(delta, {"type"})
    if not block.extra and block.part:
        block.extra = deepcopy(dict(block.part.provider_data))  # that part has been handed out
    merge(block.extra, fields)


def _usage(wire: Mapping[str, Any]) -> tuple[Usage, dict[str, Any]]:
    """The counts, and what `Usage` has no field for. The wire's `input_tokens` are those that no cache has a part in."""
    read, written = count(wire.get("cache_read_input_tokens")), count(wire.get("cache_creation_input_tokens"))
    inputs = [each for each in (count(wire.get("input_tokens")), read, written) if each is not None]
    given = wire.get("output_tokens_details")
    details: Mapping[str, Any] = given if type(given) is dict else {}
    known = Usage(
        input_tokens=sum(inputs) if inputs else None,
        output_tokens=count(wire.get("output_tokens")),
        cached_input_tokens=read,
        cache_write_input_tokens=written,
        reasoning_tokens=count(details.get("thinking_tokens")),
    )
    rest = unknown(wire, _USAGE_FIELDS)
    if more := unknown(details, {"thinking_tokens"}):
        rest["output_tokens_details"] = more
    return known, rest


def _arguments(value: Any) -> str:
    """A tool call's input as text; some servers send the text itself."""
    return value if type(value) is str else str(_encode_json({} if value is None else value), "utf-8")


def _json_or_text(text: str) -> Any:
    try:
        return decode_json(text)
    except (ValueError, RecursionError):
        return text


def _index(event: Mapping[str, Any]) -> int:
    index = event.get("index")
    if type(index) is not int or index < 0:
        raise MalformedError("index is no index")
    return index
