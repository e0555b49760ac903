"""The answers of `generateContent`, whole or in chunks, read by one reader.

Rule: a whole answer is read as one chunk, so whole and streamed answers cannot come to differ. What one stream brings
in many small parts is one part here: texts that follow each other are one `Text`, thoughts one `Reasoning`. A part with
fields of its own (a `thoughtSignature`, above all) ends the run that it belongs to: a stream often brings the signature
of a text behind it, in a part with an empty text, where the whole answer has it on the text itself.

- `Reasoning` has the signature of a thought and `provider_data` `{"thought": True}`, by which it is known as this
  dialect's own. The signature of any other part stands in its `provider_data`.
- A call whose id is not given gets one, and `provider_data` `{"functionCall": {"id": None}}`, so that it is not sent.
- A part that has no place in the domain (`executableCode`, ...) is an empty `Text` that keeps it in `provider_data`.
- A prompt that was blocked has no answer: `ContentFilteredError`. An answer that was stopped by a filter has one, with
  the finish reason `content_filter`. `STOP` behind calls is `tool_calls`.

The stream has no closing sentinel: it is complete with its finish reason and the usage, which come together, or with
the finish reason alone when the peer closes it. (Models up to 1.5 said STOP in every chunk; they are no longer served.)

What `Response.provider_data` keeps: unknown top-level fields and `promptFeedback` (the last chunk's word wins), under
`candidate` the unknown fields of the candidate (`groundingMetadata`, ...), under `usage` the counts that `Usage` has no
field for. Null and empty values are left out.
"""

from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from llm_call.core.domain.events import Event, PartDelta, PartEnd, PartStart, ResponseEnd, ResponseStart
from llm_call.core.domain.messages import Media, Part, Reasoning, Text, ToolCall
from llm_call.core.domain.response import Finish, FinishReason, Usage
from llm_call.core.wire.framing import ServerSentEvent
from llm_call.core.wire.gemini_errors import blocked, failed_in_answer
from llm_call.core.wire.reading import (
    DONE,
    AnswerStreamDecoder,
    MalformedError,
    array,
    count,
    decode_json,
    from_base64,
    mapping,
    merge,
    parse,
    string,
    unknown,
    unreadable,
)

FINISH: Mapping[str, Finish] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    **dict.fromkeys(
        (
            *("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "MODEL_ARMOR"),
            *("IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION"),
        ),
        "content_filter",
    ),
}
THOUGHT: Mapping[str, Any] = {"thought": True}  # `provider_data` of a thought of this dialect's
UNKNOWN_TYPE = "application/octet-stream"

_TOP_FIELDS = frozenset({"candidates", "usageMetadata", "modelVersion", "responseId"})
_CANDIDATE_FIELDS = frozenset({"index", "content", "finishReason"})
_CONTENT_FIELDS = frozenset({"role", "parts"})
_TEXT_FIELDS = frozenset({"text", "thought"})
_CALL_FIELDS = frozenset({"name", "args", "id"})
_INLINE_FIELDS = frozenset({"mimeType", "data"})
_FILE_FIELDS = frozenset({"mimeType", "fileUri"})
_USAGE_FIELDS = frozenset(
    {"promptTokenCount", "candidatesTokenCount", "cachedContentTokenCount", "thoughtsTokenCount", "totalTokenCount"}
)
_ADDED_UP = frozenset({"citationMetadata", "logprobsResult"})  # a chunk has only its own share of these
_EMPTY_TEXT, _EMPTY_THOUGHT = Text(text=""), Reasoning(text="", provider_data=THOUGHT)


class AnswerReader:
    """Chunks in, events out: they collect in `events`, from where the owner takes them away."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.text: list[str] = []
        self.finish: str | None = None
        self.started = False
        self.counted = False  # the last chunk had the usage
        self._run: Part | None = None  # the empty form of the part that is under way, the last one begun
        self._parts = 0
        self._calls = 0
        self._usage: Mapping[str, Any] = {}
        self._extra: dict[str, Any] = {}
        self._candidate_extra: dict[str, Any] = {}

    def take(self, chunk: Any) -> None:
        """Read one chunk, or one whole answer.

        Raises:
            MalformedError: It is not of this dialect.
            ContentFilteredError: The prompt was blocked.
        """
        usage = mapping(chunk, "it").get("usageMetadata")
        self.counted = bool(usage)
        if usage:
            self._usage = mapping(usage, "usageMetadata")
        if not chunk.keys() <= _TOP_FIELDS:
            self._extra.update(_unknown(chunk, _TOP_FIELDS))
        candidates = array(chunk.get("candidates"), "candidates")
        feedback = mapping(chunk.get("promptFeedback") or {}, "promptFeedback")
        if not candidates and feedback.get("blockReason"):
            raise blocked(feedback)
        for candidate in candidates:
            if not mapping(candidate, "candidates[]").get("index"):  # only the first: we never ask for more
                if not self.started:
                    self._start(chunk)
                self._candidate(candidate)

    def end(self) -> None:
        """The answer is complete: end what is open."""
        self._end_run()
        usage, counts = _usage(self._usage) if self._usage else (Usage(), {})
        extra = self._extra
        if self._candidate_extra:
            extra["candidate"] = self._candidate_extra
        if counts:
            extra["usage"] = counts
        self.events.append(ResponseEnd(finish_reason=self._finish_reason(), usage=usage, provider_data=extra))

    def _start(self, chunk: Mapping[str, Any]) -> None:
        self.started = True
        identity = string(chunk.get("responseId"), "responseId") or None
        self.events.append(ResponseStart(model=string(chunk.get("modelVersion"), "modelVersion"), id=identity))

    def _candidate(self, candidate: Mapping[str, Any]) -> None:
        if content := candidate.get("content"):
            for part in array(mapping(content, "content").get("parts"), "content.parts"):
                self._part(mapping(part, "content.parts[]"))
            if not content.keys() <= _CONTENT_FIELDS:
                self._candidate_extra.setdefault("content", {}).update(_unknown(content, _CONTENT_FIELDS))
        if finish := candidate.get("finishReason"):
            self.finish = string(finish, "finishReason")
        if not candidate.keys() <= _CANDIDATE_FIELDS:
            for name, value in _unknown(candidate, _CANDIDATE_FIELDS).items():
                if name in _ADDED_UP:
                    merge(self._candidate_extra, {name: value})
                else:
                    self._candidate_extra[name] = value

    def _part(self, part: Mapping[str, Any]) -> None:
        if "text" in part or part.keys() <= {"thought", "thoughtSignature"}:
            self._text(string(part.get("text"), "content.parts[].text"), part)
        elif "functionCall" in part:
            self._call(part)
        elif "inlineData" in part:
            self._whole(_inline(part))
        elif "fileData" in part:
            self._whole(_file(part))
        elif extra := _unknown(part, ()):
            self._whole(Text(text="", provider_data=extra))

    def _text(self, text: str, part: Mapping[str, Any]) -> None:
        extra = {} if part.keys() <= _TEXT_FIELDS else _unknown(part, _TEXT_FIELDS)
        if not text and not extra:
            return
        empty = _EMPTY_THOUGHT if part.get("thought") else _EMPTY_TEXT
        if self._run is not empty:
            self._end_run()
            self._run = empty
            self.events.append(PartStart(index=self._parts, part=empty))
        if text:
            if empty is _EMPTY_TEXT:
                self.text.append(text)
            self.events.append(PartDelta(index=self._parts, text=text))
        if extra:
            self._end_run(extra)

    def _end_run(self, extra: Mapping[str, Any] | None = None) -> None:
        if self._run is None:
            return
        extra, signature = dict(extra or {}), None
        if self._run is _EMPTY_THOUGHT:
            signature = string(extra.pop("thoughtSignature", None), "thoughtSignature") or None
        self.events.append(PartEnd(index=self._parts, signature=signature, provider_data=extra))
        self._run = None
        self._parts += 1

    def _call(self, part: Mapping[str, Any]) -> None:
        call = mapping(part["functionCall"], "functionCall")
        name = string(call.get("name"), "functionCall.name")
        if not name or call.get("willContinue") or call.get("partialArgs"):
            raise MalformedError("functionCall has no name, or comes in pieces, which nobody asked for")
        arguments = msgspec.json.encode(mapping(call.get("args") or {}, "functionCall.args")).decode()
        identity = string(call.get("id"), "functionCall.id")
        inside = _unknown(call, _CALL_FIELDS) if identity else {**_unknown(call, _CALL_FIELDS), "id": None}
        extra = _unknown(part, {"functionCall"})
        if inside:
            extra["functionCall"] = inside
        self._whole(
            ToolCall(id=identity or f"call_{self._calls}", name=name, arguments="", provider_data=extra), arguments
        )
        self._calls += 1

    def _whole(self, part: Part, text: str = "") -> None:
        """A part that comes in one piece."""
        self._end_run()
        self.events.append(PartStart(index=self._parts, part=part))
        if text:
            self.events.append(PartDelta(index=self._parts, text=text))
        self.events.append(PartEnd(index=self._parts))
        self._parts += 1

    def _finish_reason(self) -> FinishReason:
        unified = FINISH.get(self.finish or "", "other")
        return FinishReason(unified="tool_calls" if self._calls and unified == "stop" else unified, raw=self.finish)


class GeminiStreamDecoder(AnswerStreamDecoder[AnswerReader]):
    """One streamed answer: complete with its finish reason and usage, or with the reason alone at the end.

    Without `alt=sse` the body is an array of chunks, and read whole.
    """

    dialect = "gemini"

    def __init__(self) -> None:
        super().__init__(AnswerReader())

    def take_whole(self, body: bytes) -> None:
        """Read a body that is no event stream."""
        answer = parse(body)
        if (error := error_in(answer)) is not None:
            raise failed_in_answer(error)
        self.reader = read_answer(answer, body)

    def take_frame(self, frame: ServerSentEvent) -> None:
        """Read one chunk. `[DONE]` is not this dialect's, but servers that speak several send it."""
        if frame.data == DONE:
            return
        try:
            chunk = decode_json(frame.data)
            if (error := error_in(chunk)) is not None:
                raise failed_in_answer(error)
            self.reader.take(chunk)
        except (ValueError, RecursionError) as error:
            raise unreadable("an event of the stream", error, frame.data) from error
        if self.reader.finish is not None and self.reader.counted:
            self._end()

    def finish(self) -> None:
        """Complete an answer that has its finish reason."""
        if self.reader.finish is None:
            raise self.interrupted("ended without a finish reason")
        self._end()

    def _end(self) -> None:
        self.complete = True
        self.reader.end()


def error_in(answer: Any) -> Any:
    """The error in the place of an answer, of a chunk, or of one in an array of them; `None` when there is none."""
    entries = answer if type(answer) is list else [answer]
    return next((entry for entry in entries if type(entry) is dict and entry.get("error")), None)


def read_answer(answer: Any, body: bytes) -> AnswerReader:
    """The reader with the events of a whole answer, or of an array of chunks.

    `body` is what it was parsed from, for the message of an error.

    Raises:
        ProtocolError: It cannot be read, or there is no answer in it.
        ContentFilteredError: The prompt was blocked.
    """
    try:
        return _read(answer)
    except MalformedError as error:
        raise unreadable("the answer", error, body) from error


def _read(answer: Any) -> AnswerReader:
    reader = AnswerReader()
    for chunk in answer if type(answer) is list else [answer]:
        reader.take(chunk)
    if not reader.started:
        raise MalformedError("candidates holds no answer")
    if type(answer) is list and reader.finish is None:
        raise MalformedError("the last chunk has no finishReason")
    reader.end()
    return reader


def _inline(part: Mapping[str, Any]) -> Media:
    inline = mapping(part["inlineData"], "inlineData")
    return Media(
        media_type=string(inline.get("mimeType"), "inlineData.mimeType") or UNKNOWN_TYPE,
        data=from_base64(string(inline.get("data"), "inlineData.data"), "inlineData.data"),
        provider_data=_kept(part, "inlineData", _unknown(inline, _INLINE_FIELDS)),
    )


def _file(part: Mapping[str, Any]) -> Media:
    file = mapping(part["fileData"], "fileData")
    return Media(
        media_type=string(file.get("mimeType"), "fileData.mimeType") or UNKNOWN_TYPE,
        url=string(file.get("fileUri"), "fileData.fileUri"),
        provider_data=_kept(part, "fileData", _unknown(file, _FILE_FIELDS)),
    )


def _kept(part: Mapping[str, Any], name: str, inside: Mapping[str, Any]) -> dict[str, Any]:
    """What `provider_data` keeps of a part: what stood beside `name`, and what stood inside it."""
    return {**_unknown(part, {name}), **({name: inside} if inside else {})}


def _usage(usage: Mapping[str, Any]) -> tuple[Usage, dict[str, Any]]:
    """The counts, and what `Usage` has no field for.

    `promptTokenCount` includes the cached tokens; what built-in tools read is counted beside it. `totalTokenCount` is
    prompt, tools, candidates and thoughts together; where it is that without the thoughts, the candidates include them.
    """
    prompt, tools = count(usage.get("promptTokenCount")), count(usage.get("toolUsePromptTokenCount"))
    said, thoughts = count(usage.get("candidatesTokenCount")), count(usage.get("thoughtsTokenCount"))
    total = usage.get("totalTokenCount")
    input_tokens = None if prompt is None else prompt + (tools or 0)
    output_tokens = None if said is None and thoughts is None else (said or 0) + (thoughts or 0)
    if said is not None and total == (input_tokens or 0) + said:
        output_tokens = said
    rest = _unknown(usage, _USAGE_FIELDS)
    if total is not None and total != (input_tokens or 0) + (output_tokens or 0):
        rest["totalTokenCount"] = total
    known = Usage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cached_input_tokens=count(usage.get("cachedContentTokenCount")),
        reasoning_tokens=thoughts,
    )
    return known, rest


def _unknown(wire: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    """The fields that are not known and not empty; this dialect says nothing in empty texts too."""
    return {name: value for name, value in unknown(wire, known).items() if value != ""}
