"""The answers of chat completions, whole or in chunks, read by one reader.

Rule: a whole answer is read as one chunk, so whole and streamed answers cannot come to differ. Parts have fixed places
(reasoning, text, refusal, then the tool calls by their index), whatever order their pieces arrive in, and stay open
until the answer is complete: this dialect lets pieces of several parts alternate and never says that one is over.

What `Response.provider_data` keeps: unknown top-level fields (the last chunk's word wins; `object`, `created` and
`obfuscation` are noise), under `choice` the unknown fields of the choice (`logprobs`, ...), under `choice.message`
those of the message, under `usage` the counts that `Usage` has no field for. Null and empty values are left out.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from llm_call.core.domain.events import Event, PartDelta, PartEnd, PartStart, ResponseEnd, ResponseStart
from llm_call.core.domain.messages import Part, Reasoning, Text, ToolCall
from llm_call.core.domain.response import Finish, FinishReason, Usage
from llm_call.core.wire.framing import ServerSentEvent
from llm_call.core.wire.http_errors import decode_stream_error, excerpt
from llm_call.core.wire.openai_usage import CHAT, read_usage
from llm_call.core.wire.reading import (
    DONE,
    AnswerStreamDecoder,
    MalformedError,
    array,
    decode_json,
    json_or_none,
    mapping,
    merge,
    parse,
    string,
    unknown,
    unreadable,
)

FINISH: Mapping[str, Finish] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}
# The two names in use for what a model thought; a server that sends both sends the same in both.
REASONING_FIELDS = ("reasoning_content", "reasoning")

_REASONING_PLACE, _TEXT_PLACE, _REFUSAL_PLACE, _FIRST_CALL_PLACE = range(4)
_TOP_FIELDS = frozenset({"id", "object", "created", "model", "choices", "usage", "obfuscation"})
_CHOICE_FIELDS = frozenset({"index", "message", "delta", "finish_reason"})
_MESSAGE_FIELDS = frozenset({"role", "content", "refusal", "tool_calls", "function_call", *REASONING_FIELDS})
_CALL_FIELDS = frozenset({"id", "index", "type", "function"})
_FUNCTION_FIELDS = frozenset({"name", "arguments"})
_EMPTY_TEXT, _EMPTY_REFUSAL = Text(text=""), Text(text="", refusal=True)


class _Call:
    """A tool call that is arriving. Arguments wait until its name is known."""

    __slots__ = ("extra", "id", "place", "started", "waiting")

    def __init__(self, place: int, identity: str) -> None:
        self.place = place
        self.id = identity
        self.started = False
        self.waiting = ""
        self.extra: dict[str, Any] = {}


class AnswerReader:
    """Chunks in, events out: they collect in `events`, from where the owner takes them away."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.text: list[str] = []
        self.finish: str | None = None
        self.counted = False  # the last chunk had the usage
        self._started = False
        self._open: dict[int, Part] = {}
        self._calls: dict[int, _Call] = {}
        self._call_at: dict[int | None, _Call] = {}  # by the index on the wire; `None` is the latest
        self._usage: Mapping[str, Any] = {}
        self._extra: dict[str, Any] = {}
        self._choice_extra: dict[str, Any] = {}
        self._message_extra: dict[str, Any] = {}

    def take(self, chunk: Any) -> None:
        """Read one chunk, or one whole answer.

        Raises:
            MalformedError: It is not of this dialect.
        """
        usage = mapping(chunk, "it").get("usage")
        self.counted = bool(usage)
        if usage:
            self._usage = mapping(usage, "usage")
        if not chunk.keys() <= _TOP_FIELDS:
            self._extra.update(unknown(chunk, _TOP_FIELDS))
        for choice in array(chunk.get("choices"), "choices"):
            if not mapping(choice, "choices[]").get("index"):  # only the first: we never ask for more
                if not self._started:
                    self._start(chunk)
                self._choice(choice)

    def end(self) -> None:
        """The answer is complete: end what is open.

        Raises:
            MalformedError: A tool call has no name.
        """
        if not self._started:
            self._start({})
        if any(not call.started for call in self._calls.values()):
            raise MalformedError("choices[0].message.tool_calls: a call has no name")
        extras = {call.place: call.extra for call in self._calls.values()}
        for place in sorted(self._open):
            self.events.append(PartEnd(index=place, provider_data=extras.get(place, {})))
        usage, counts = read_usage(self._usage, CHAT) if self._usage else (Usage(), {})
        extra = self._extra
        if self._message_extra:
            self._choice_extra["message"] = self._message_extra
        if self._choice_extra:
            extra["choice"] = self._choice_extra
        if counts:
            extra["usage"] = counts
        self.events.append(ResponseEnd(finish_reason=self._finish_reason(), usage=usage, provider_data=extra))

    def _start(self, chunk: Mapping[str, Any]) -> None:
        self._started = True
        identity = string(chunk.get("id"), "id") or None
        self.events.append(ResponseStart(model=string(chunk.get("model"), "model"), id=identity))

    def _choice(self, choice: Mapping[str, Any]) -> None:
        message = choice.get("delta") or choice.get("message")
        if message:
            self._message(mapping(message, "choices[0].message"))
        if finish := choice.get("finish_reason"):
            self.finish = string(finish, "choices[0].finish_reason")
        if not choice.keys() <= _CHOICE_FIELDS:
            merge(self._choice_extra, unknown(choice, _CHOICE_FIELDS))

    def _message(self, message: Mapping[str, Any]) -> None:
        for field in REASONING_FIELDS:
            if thought := message.get(field):
                self._reasoning(field, thought)
                break
        if content := message.get("content"):
            self._content(content)
        if refusal := message.get("refusal"):
            text = string(refusal, "choices[0].message.refusal")
            self._piece(_REFUSAL_PLACE, _EMPTY_REFUSAL, text)
        for call in array(message.get("tool_calls"), "choices[0].message.tool_calls"):
            self._tool_call(mapping(call, "choices[0].message.tool_calls[]"))
        if (legacy := message.get("function_call")) and not message.get("tool_calls"):
            self._tool_call({"index": 0, "function": legacy})
        if not message.keys() <= _MESSAGE_FIELDS:
            merge(self._message_extra, unknown(message, _MESSAGE_FIELDS))

    def _reasoning(self, field: str, thought: Any) -> None:
        text = string(thought, f"choices[0].message.{field}")
        self._piece(_REASONING_PLACE, Reasoning(text="", provider_data={"field": field}), text)

    def _content(self, content: Any) -> None:
        if type(content) is str:
            pieces = [content]
        else:  # some servers send parts; those that are no text are kept as they came
            parts = [
                mapping(part, "choices[0].message.content[]") for part in array(content, "choices[0].message.content")
            ]
            pieces = [string(part.get("text"), "content[].text") for part in parts if part.get("type") == "text"]
            if others := [part for part in parts if part.get("type") != "text"]:
                merge(self._message_extra, {"content": others})
        for piece in filter(None, pieces):
            self.text.append(piece)
            self._piece(_TEXT_PLACE, _EMPTY_TEXT, piece)

    def _piece(self, place: int, part: Part, text: str) -> None:
        if place not in self._open:
            self._open[place] = part
            self.events.append(PartStart(index=place, part=part))
        self.events.append(PartDelta(index=place, text=text))

    def _tool_call(self, wire: Mapping[str, Any]) -> None:
        function = mapping(wire.get("function") or {}, "choices[0].message.tool_calls[].function")
        name = string(function.get("name"), "choices[0].message.tool_calls[].function.name")
        call = self._call(wire, name)
        call.waiting += _arguments(function.get("arguments"))
        if name and not call.started:
            call.started = True
            part = ToolCall(id=call.id, name=name, arguments="")
            self._open[call.place] = part
            self.events.append(PartStart(index=call.place, part=part))
        if call.started and call.waiting:
            self.events.append(PartDelta(index=call.place, text=call.waiting))
            call.waiting = ""
        if not wire.keys() <= _CALL_FIELDS:
            merge(call.extra, unknown(wire, _CALL_FIELDS))
        if not function.keys() <= _FUNCTION_FIELDS:
            merge(call.extra, {"function": unknown(function, _FUNCTION_FIELDS)})

    def _call(self, wire: Mapping[str, Any], name: str) -> _Call:
        """The call that this piece belongs to.

        Servers differ: some give no index, some the index 0 to every call, some a new id to every piece. So a piece
        begins a call when its index is new, or when it has a name and an id that is not that of the call so far.
        """
        index = _index(wire)
        identity = string(wire.get("id"), "choices[0].message.tool_calls[].id")
        known = self._call_at.get(index)
        if known is not None and not (name and identity != known.id and (identity or index is None)):
            return known
        place = len(self._calls) if known is not None or index is None else index
        while place in self._calls:
            place += 1
        call = _Call(_FIRST_CALL_PLACE + place, identity or f"call_{place}")
        self._calls[place] = self._call_at[index] = self._call_at[None] = call
        return call

    def _finish_reason(self) -> FinishReason:
        if _REFUSAL_PLACE in self._open:
            return FinishReason(unified="content_filter", raw=self.finish)
        unified = FINISH.get(self.finish or "", "other")
        # A call that was forced ends with the word `stop`.
        return FinishReason(unified="tool_calls" if self._calls and unified == "stop" else unified, raw=self.finish)


class OpenAIChatStreamDecoder(AnswerStreamDecoder[AnswerReader]):
    """One streamed answer: complete with its finish reason and usage or `[DONE]`, or with the reason alone at the end."""

    dialect = "openai_chat"

    def __init__(self) -> None:
        super().__init__(AnswerReader())
        self._said_done = False

    def take_whole(self, body: bytes) -> None:
        """Read a body that is no event stream."""
        answer = parse(body)
        if is_error(answer):
            raise decode_stream_error(answer)
        self.reader = read_answer(answer, body)

    def take_frame(self, frame: ServerSentEvent) -> None:
        """Read one chunk."""
        if self._said_done:
            return
        if frame.data == DONE:
            self._said_done = True
        else:
            self._chunk(frame)
        if self.reader.finish is not None and (self._said_done or self.reader.counted):
            self._end(frame.data)

    def finish(self) -> None:
        """Complete an answer that has its finish reason."""
        if self.reader.finish is None:
            how = "said that it is done" if self._said_done else "ended"
            raise self.interrupted(f"{how} without a finish reason")
        self._end(b"")

    def _chunk(self, frame: ServerSentEvent) -> None:
        if frame.event == "error":
            raise decode_stream_error(json_or_none(frame.data) or {"message": excerpt(frame.data, 200)})
        try:
            chunk = decode_json(frame.data)
            if is_error(chunk):
                raise decode_stream_error(chunk)
            self.reader.take(chunk)
        except (ValueError, RecursionError) as error:
            raise unreadable("an event of the stream", error, frame.data) from error

    def _end(self, data: bytes) -> None:
        self.complete = True
        try:
            self.reader.end()
        except MalformedError as error:
            raise unreadable("the streamed answer", error, data) from error


def is_error(answer: Any) -> bool:
    """Whether an answer, or a chunk of one, is an error in the place of an answer."""
    return type(answer) is dict and (bool(answer.get("error")) or answer.get("object") == "error")


def read_answer(answer: Any, body: bytes) -> AnswerReader:
    """The reader with the events of a whole answer; `body` is what it was parsed from, for the message of an error.

    Raises:
        ProtocolError: It cannot be read, or there is no answer in it.
    """
    reader = AnswerReader()
    try:
        _number_calls(_first_message(answer))
        reader.take(answer)
        reader.end()
    except MalformedError as error:
        raise unreadable("the answer", error, body) from error
    return reader


def _first_message(answer: Any) -> Mapping[str, Any]:
    choices = array(mapping(answer, "the body").get("choices"), "choices")
    first = next((each for each in choices if not mapping(each, "choices[]").get("index")), None)
    if first is None:
        raise MalformedError("choices holds no answer")
    return mapping(first.get("message"), "choices[0].message")


def _number_calls(message: Mapping[str, Any]) -> None:
    """Give the calls of a whole answer the index that a stream gives them: there, every entry is a call of its own."""
    for position, call in enumerate(array(message.get("tool_calls"), "choices[0].message.tool_calls")):
        if type(call) is dict:
            call["index"] = position


def _arguments(value: Any) -> str:
    """A tool call's arguments as text; some servers send the object itself."""
    return msgspec.json.encode(value).decode() if type(value) is dict else string(value, "function.arguments")


def _index(wire: Mapping[str, Any]) -> int | None:
    index = wire.get("index")
    if index is not None and (type(index) is not int or index < 0):
        raise MalformedError("choices[0].message.tool_calls[].index is no index")
    return index
