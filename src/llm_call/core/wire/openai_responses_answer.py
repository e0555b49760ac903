"""The answers of the Responses API, whole or as typed events, read by one reader.

Rule: an item of the output is read in its final form, whole answers and streams alike; deltas are the same text, come
early. They have to add up to the final text, or the answer is refused: a stream that lost or mixed a piece is never
taken for a whole one. Only `response.completed`, `response.incomplete` and `response.failed` end a stream. Sequence
numbers are read over: servers disagree on them, and the final texts are the better check.

How the output stands in `Response`, beside the obvious:

- A text's or refusal's other fields are its `provider_data`; those of the message item around it, but for its id and
  status, stand there under `item`.
- `Reasoning` is one item. Its `signature` is the encrypted content, its text all of the summary, or, where the server
  shows its raw thoughts, all of those; `provider_data["type"]` says which (`summary_text`, `reasoning_text`).
  `summary` and `content` are kept as they came where the text alone does not say them.
- `Response.provider_data` keeps unknown top-level fields, under `output` the items that are no part (searches,
  images, ...), under `usage` the counts that `Usage` has no field for. What only repeats the request is not kept.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from llm_call.core.domain.errors import APIError
from llm_call.core.domain.events import Event, PartDelta, PartEnd, PartStart, ResponseEnd, ResponseStart
from llm_call.core.domain.messages import Part, Reasoning, Text, ToolCall
from llm_call.core.domain.response import Finish, FinishReason, Usage
from llm_call.core.wire.framing import ServerSentEvent
from llm_call.core.wire.http_errors import decode_stream_error, excerpt
from llm_call.core.wire.openai_chat_answer import is_error
from llm_call.core.wire.openai_usage import RESPONSES, read_usage
from llm_call.core.wire.reading import (
    DONE,
    AnswerStreamDecoder,
    MalformedError,
    array,
    decode_json,
    json_or_none,
    mapping,
    parse,
    string,
    unknown,
    unreadable,
)

INCOMPLETE: Mapping[str, Finish] = {"max_output_tokens": "length", "content_filter": "content_filter"}
REASONING_FIELDS: Mapping[str, str] = {"summary_text": "summary", "reasoning_text": "content"}
PARAGRAPH = "\n\n"  # between the texts of one reasoning item

_PLACES = 1 << 16  # an item has fewer parts than this, so that the parts' indexes are in the order of the output
_TOP_FIELDS = frozenset(
    {"id", "object", "created_at", "completed_at", "status", "error", "incomplete_details", "model", "output"}
    | {"output_text", "usage", "background", "frequency_penalty", "instructions", "max_output_tokens"}
    | {"max_tool_calls", "metadata", "parallel_tool_calls", "presence_penalty", "previous_response_id", "prompt"}
    | {"prompt_cache_key", "prompt_cache_retention", "reasoning", "safety_identifier", "store", "temperature", "text"}
    | {"tool_choice", "tools", "top_logprobs", "top_p", "truncation", "user"}
)
_END_FIELDS = frozenset({"type", "response", "sequence_number"})
_MESSAGE_FIELDS = frozenset({"type", "id", "status", "role", "content"})
_CALL_FIELDS = frozenset({"type", "id", "status", "call_id", "name", "arguments"})
_REASONING_ITEM_FIELDS = frozenset({"type", "status", "summary", "content", "encrypted_content"})
_EMPTY_TEXT = Text(text="")
_EMPTY_REFUSAL = Text(text="", refusal=True)
_EMPTY_REASONING = {kind: Reasoning(text="", provider_data={"type": kind}) for kind in REASONING_FIELDS}
_TEXT_DELTAS: Mapping[str, Text] = {
    "response.output_text.delta": _EMPTY_TEXT,
    "response.refusal.delta": _EMPTY_REFUSAL,
}
_REASONING_DELTAS = {
    "response.reasoning_summary_text.delta": ("summary_text", "summary_index"),
    "response.reasoning_text.delta": ("reasoning_text", "content_index"),
}
# Codes of a failed response that have no type beside them, and the type that says what they mean.
_FAILURES: Mapping[str, str] = {
    **dict.fromkeys(
        [f"invalid_{what}" for what in ("prompt", "image", "image_format", "base64_image", "image_url", "image_mode")],
        "invalid_request_error",
    ),
    **dict.fromkeys(
        [f"image_{what}" for what in ("too_large", "too_small", "parse_error", "file_too_large", "file_not_found")],
        "invalid_request_error",
    ),
    **dict.fromkeys(
        ("unsupported_image_media_type", "empty_image_file", "failed_to_download_image"), "invalid_request_error"
    ),
    "image_content_policy_violation": "content_policy_violation",
}


class _Open:
    """A part that is arriving."""

    __slots__ = ("empty", "ended", "index", "pieces", "slot")

    def __init__(self, index: int, empty: Part) -> None:
        self.index = index
        self.empty = empty
        self.pieces: list[str] = []
        self.slot: Any = None  # which text of a reasoning item its latest piece belongs to
        self.ended = False


class _Item:
    """An item of the output that is arriving. A call's arguments wait until its name is known."""

    __slots__ = ("done", "identity", "number", "parts", "waiting")

    def __init__(self, number: int, identity: str) -> None:
        self.number = number
        self.identity = identity
        self.parts: dict[int, _Open] = {}
        self.waiting = ""
        self.done = False


class AnswerReader:
    """A stream's events, or one whole answer, in; events out: they collect in `events`, for the owner to take away."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.text: list[str] = []
        self.complete = False
        self._model: str | None = None  # until the answer has begun
        self._items: dict[int, _Item] = {}  # by their place in the output
        self._numbers: dict[str, int] = {}  # the same by their id
        self._kept: list[Any] = []
        self._called = self._refused = False

    def take(self, event: Mapping[str, Any], kind: str) -> None:
        """Read one event of a stream. One of a kind that is not known is read over.

        Raises:
            MalformedError: It is not of this dialect.
            APIError: The response failed.
        """
        if (empty := _TEXT_DELTAS.get(kind)) is not None:
            self._text_delta(event, empty)
        elif kind == "response.function_call_arguments.delta":
            self._arguments_delta(event)
        elif kind in _REASONING_DELTAS:
            self._reasoning_delta(event, *_REASONING_DELTAS[kind])
        elif kind in {"response.output_item.added", "response.output_item.done"}:
            wire = mapping(event.get("item"), "item")
            item = self._item(event.get("output_index"), wire.get("id"))
            if kind == "response.output_item.done":
                self._done(item, wire)
            elif wire.get("type") == "function_call" and wire.get("name"):
                self._start_call(item, wire)
        elif kind in {"response.completed", "response.incomplete", "response.failed"}:
            response = mapping(event.get("response"), "response")
            self.end({**response, "status": kind.removeprefix("response.")}, unknown(event, _END_FIELDS))
        elif self._model is None and type(event.get("response")) is dict:
            self._start(event["response"])

    def end(self, response: Mapping[str, Any], around: Mapping[str, Any]) -> None:
        """Read the whole response, which ends what is open. `around` is what stands beside it in its event.

        Raises:
            MalformedError: It is not of this dialect, or no answer.
            APIError: It failed.
        """
        reason = self._finish_reason(response)
        if self._model is None:
            self._start(response)
        streamed = dict(self._numbers)
        for position, wire in enumerate(array(response.get("output"), "output")):
            identity = string(mapping(wire, "output[]").get("id"), "output[].id")
            self._done(self._item(streamed.get(identity, position), identity or None), wire)
        for number in sorted(self._items):
            self._close(self._items[number])
        usage, extra = self._ending(response, around)
        if reason is None:
            reason = FinishReason(unified=self._completion(), raw="completed")
        self.complete = True
        self.events.append(ResponseEnd(finish_reason=reason, usage=usage, provider_data=extra))

    def _start(self, response: Mapping[str, Any]) -> None:
        self._model = string(response.get("model"), "model")
        identity = string(response.get("id"), "id") or None
        self.events.append(ResponseStart(model=self._model, id=identity))

    def _ending(self, response: Mapping[str, Any], around: Mapping[str, Any]) -> tuple[Usage, dict[str, Any]]:
        """The usage, and what the response keeps."""
        extra = {**around, **unknown(response, _TOP_FIELDS)}
        usage, counts = read_usage(mapping(response.get("usage") or {}, "usage"), RESPONSES)
        if not self._model and (model := response.get("model")):
            extra["model"] = model  # the server told it too late for the start
        if self._kept:
            extra["output"] = self._kept
        if counts:
            extra["usage"] = counts
        return usage, extra

    @staticmethod
    def _finish_reason(response: Mapping[str, Any]) -> FinishReason | None:
        """Why an incomplete answer stopped; `None` for a complete one."""
        status = response.get("status") or "completed"
        if status == "completed":
            return None
        if status == "failed":
            raise failure(response.get("error"))
        if status != "incomplete":
            raise MalformedError(f"status is {status!r}: there is no answer")
        raw = string(mapping(response.get("incomplete_details") or {}, "incomplete_details").get("reason"), "reason")
        return FinishReason(unified=INCOMPLETE.get(raw, "other"), raw=raw or "incomplete")

    def _completion(self) -> Finish:
        if self._refused:
            return "content_filter"
        return "tool_calls" if self._called else "stop"

    def _item(self, number: Any, identity: Any) -> _Item:
        """The item of this place in the output. Servers that give no place give an id, or mean the latest item."""
        if number is None:
            latest = max(self._items, default=-1)
            number = self._numbers.get(string(identity, "item_id"), max(latest + (identity is not None), 0))
        item = self._items.get(number) if type(number) is int else None
        if item is None:
            if type(number) is not int or number < 0:
                raise MalformedError("output_index is no index")
            item = self._items[number] = _Item(number, string(identity, "item_id"))
        if identity is not None:
            self._numbers.setdefault(string(identity, "item_id"), number)
        return item

    def _open(self, item: _Item, place: int, empty: Part) -> _Open:
        if self._model is None:
            self._start({})
        if item.done:
            raise MalformedError(f"output[{item.number}] goes on after its end")
        part = item.parts[place] = _Open(item.number * _PLACES + place, empty)
        if type(empty) is Reasoning and item.identity:
            empty = replace(empty, provider_data={**empty.provider_data, "id": item.identity})
        self.events.append(PartStart(index=part.index, part=empty))
        return part

    def _piece(self, part: _Open, piece: str) -> None:
        if part.ended:
            raise MalformedError("a part goes on after its end")
        part.pieces.append(piece)
        if type(part.empty) is Text:
            self.text.append(piece)
        self.events.append(PartDelta(index=part.index, text=piece))

    def _part(self, item: _Item, place: int, empty: Part) -> _Open:
        part = item.parts.get(place) or self._open(item, place, empty)
        if part.empty is not empty:
            raise MalformedError(f"output[{item.number}] is of two kinds")
        return part

    def _text_delta(self, event: Mapping[str, Any], empty: Text) -> None:
        piece = string(event.get("delta"), "delta")
        place = event.get("content_index") or 0
        if type(place) is not int or not 0 <= place < _PLACES:
            raise MalformedError("content_index is no index")
        if piece:
            item = self._item(event.get("output_index"), event.get("item_id"))
            self._piece(self._part(item, place, empty), piece)

    def _reasoning_delta(self, event: Mapping[str, Any], kind: str, slot_field: str) -> None:
        piece = string(event.get("delta"), "delta")
        if not piece:
            return
        item = self._item(event.get("output_index"), event.get("item_id"))
        part = item.parts.get(0) or self._open(item, 0, _EMPTY_REASONING[kind])
        if part.empty is not _EMPTY_REASONING[kind]:
            return  # the other of the two is told by the item's final form
        slot = event.get(slot_field)
        self._piece(part, PARAGRAPH + piece if part.pieces and slot != part.slot else piece)
        part.slot = slot

    def _arguments_delta(self, event: Mapping[str, Any]) -> None:
        piece = string(event.get("delta"), "delta")
        item = self._item(event.get("output_index"), event.get("item_id"))
        if not item.parts:
            item.waiting += piece
        elif piece:
            self._piece(item.parts[0], piece)

    def _start_call(self, item: _Item, wire: Mapping[str, Any]) -> _Open:
        if item.parts:
            return item.parts[0]
        name = string(wire.get("name"), "function_call.name")
        if not name:
            raise MalformedError(f"output[{item.number}]: a call has no name")
        identity = wire.get("call_id") or wire.get("id") or f"call_{item.number}"
        call = ToolCall(id=string(identity, "function_call.call_id"), name=name, arguments="")
        part = self._open(item, 0, call)
        if item.waiting:
            self._piece(part, item.waiting)
            item.waiting = ""
        return part

    def _done(self, item: _Item, wire: Mapping[str, Any]) -> None:
        """Read an item in its final form, once."""
        if item.done:
            return
        match wire.get("type"):
            case "message":
                self._message(item, wire)
            case "function_call":
                self._call(item, wire)
            case "reasoning":
                self._reasoning(item, wire)
            case _:
                self._kept.append(wire)
        self._close(item)

    def _close(self, item: _Item) -> None:
        """End what the final form of an item did not end, as it came."""
        if item.waiting:
            raise MalformedError(f"output[{item.number}]: a call has no name")
        for part in item.parts.values():
            if not part.ended:
                self._end_part(part, "", {})
        item.done = True

    def _end_part(self, part: _Open, final: str, extra: Mapping[str, Any], signature: str | None = None) -> None:
        """End a part. A server that sent less than the final text has the rest of it told; one that sent none, all."""
        sent = "".join(part.pieces)
        if final.startswith(sent):
            if len(final) > len(sent):
                self._piece(part, final[len(sent) :])
        elif final and final.strip() != sent.strip():  # some servers strip the one and not the other
            raise MalformedError("the pieces of a part do not add up to what it is in the end")
        part.ended = True
        self._called = self._called or type(part.empty) is ToolCall
        self._refused = self._refused or part.empty is _EMPTY_REFUSAL
        self.events.append(PartEnd(index=part.index, signature=signature, provider_data=extra))

    def _message(self, item: _Item, wire: Mapping[str, Any]) -> None:
        around = unknown(wire, _MESSAGE_FIELDS)
        content = wire.get("content")
        pieces = [{"type": "output_text", "text": content}] if type(content) is str else array(content, "content")
        others = []
        for place, piece in enumerate(pieces):
            kind = mapping(piece, "content[]").get("type")
            if kind == "output_text":
                self._spoken(item, place, _EMPTY_TEXT, "text", piece, around)
            elif kind == "refusal":
                self._spoken(item, place, _EMPTY_REFUSAL, "refusal", piece, around)
            else:
                others.append(piece)
        if others:
            self._kept.append({**wire, "content": others})

    def _spoken(
        self, item: _Item, place: int, empty: Text, field: str, wire: Mapping[str, Any], around: dict[str, Any]
    ) -> None:
        text = string(wire.get(field), f"content[].{field}")
        extra = unknown(wire, {"type", field})
        if text or extra or place in item.parts:
            if around:
                extra["item"] = around
            self._end_part(self._part(item, place, empty), text, extra)

    def _call(self, item: _Item, wire: Mapping[str, Any]) -> None:
        part = self._start_call(item, wire)
        arguments = wire.get("arguments")
        if type(arguments) is dict:  # some servers send the object itself
            arguments = msgspec.json.encode(arguments).decode()
        self._end_part(part, string(arguments, "function_call.arguments"), unknown(wire, _CALL_FIELDS))

    def _reasoning(self, item: _Item, wire: Mapping[str, Any]) -> None:
        part = item.parts.get(0)
        thought = read_reasoning(wire, None if part is None else str(part.empty.provider_data.get("type")))
        if part is None and not thought.text and thought.signature is None:
            return  # an id alone says nothing, and a server that keeps nothing cannot take it back
        kind = thought.provider_data["type"]
        self._end_part(
            part or self._open(item, 0, _EMPTY_REASONING[kind]), thought.text, thought.provider_data, thought.signature
        )


class OpenAIResponsesStreamDecoder(AnswerStreamDecoder[AnswerReader]):
    """One streamed answer: complete when the server says so, and never otherwise."""

    dialect = "openai_responses"

    def __init__(self) -> None:
        super().__init__(AnswerReader())

    def take_whole(self, body: bytes) -> None:
        """Read a body that is no event stream."""
        answer = parse(body)
        if is_error(answer) and answer.get("object") != "response":
            raise failure(answer)
        self.reader = read_answer(answer, body)

    def take_frame(self, frame: ServerSentEvent) -> None:
        """Read one typed event."""
        data = frame.data
        if data == DONE:
            return
        if frame.event == "error":
            raise failure(json_or_none(data) or {"message": excerpt(data, 200)})
        try:
            event = mapping(decode_json(data), "it")
            kind = event.get("type") or frame.event
            if kind == "error" or event.get("error"):
                raise failure(event)
            self.reader.take(event, string(kind, "type"))
        except (ValueError, RecursionError) as error:
            raise unreadable("an event of the stream", error, data) from error
        self.complete = self.reader.complete

    def finish(self) -> None:
        """Nothing but the server's own word completes an answer."""
        raise self.interrupted("ended before its response was complete")


def read_answer(answer: Any, body: bytes) -> AnswerReader:
    """The reader with the events of a whole answer; `body` is what it was parsed from, for the message of an error.

    Raises:
        ProtocolError: It cannot be read, or there is no answer in it.
        APIError: The response failed.
    """
    reader = AnswerReader()
    try:
        reader.end(_response(answer), {})
    except MalformedError as error:
        raise unreadable("the answer", error, body) from error
    return reader


def _response(answer: Any) -> Mapping[str, Any]:
    response = mapping(answer, "the body")
    if "output" not in response and response.get("status") != "failed":
        raise MalformedError("it holds no output")
    return response


def read_reasoning(wire: Mapping[str, Any], kind: str | None = None) -> Reasoning:
    """A reasoning item. `kind` is which of its texts is told, `None` the raw thoughts where there are any.

    Raises:
        MalformedError: It is not of this dialect.
    """
    texts = {name: _joined(wire.get(field), field) for name, field in REASONING_FIELDS.items()}
    kind = kind or ("reasoning_text" if texts["reasoning_text"] else "summary_text")
    extra = {**unknown(wire, _REASONING_ITEM_FIELDS), "type": kind}
    plain = reasoning_texts(kind, texts[kind])
    for field in REASONING_FIELDS.values():
        given = wire.get(field) or []
        if given and given != plain.get(field, []):
            extra[field] = given
    signature = string(wire.get("encrypted_content"), "encrypted_content") or None
    return Reasoning(text=texts[kind], signature=signature, provider_data=extra)


def reasoning_texts(kind: str, text: str) -> dict[str, list[dict[str, str]]]:
    """The fields of a reasoning item that holds `text` as its one text."""
    field = REASONING_FIELDS[kind]
    return {"summary": [], field: [{"type": kind, "text": text}] if text else []}


def failure(error: Any) -> APIError:
    """The error of a failed response, of an `error` event, or of a body in the place of an answer."""
    inner = (error.get("error") or error) if type(error) is dict else None
    if type(inner) is not dict:
        return decode_stream_error({"message": "the response failed" if error is None else str(error)})
    code = inner.get("code")
    kind = _FAILURES.get(code) if type(code) is str else None
    return decode_stream_error({"error": {**inner, "type": kind}} if kind else error)


def _joined(wire: Any, field: str) -> str:
    texts = (string(mapping(each, f"{field}[]").get("text"), f"{field}[].text") for each in array(wire, field))
    return PARAGRAPH.join(filter(None, texts))
