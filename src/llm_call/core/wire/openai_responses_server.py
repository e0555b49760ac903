"""The Responses API towards clients: requests in, answers out. The mirror of `openai_responses`.

Rule: what a client sends is typed strictly and refused with its place (`$.input[0].role`); fields that the canonical
request has no place for are kept: of the body in `provider_options`, of an item or a part in its `provider_data`, but
for the ids and states of items, which mean nothing where nothing is stored. Inside a named `tool_choice` and
`text.format` there is no such place, so they are refused there, and so are items that are no part. Where one of the
tools is no function, all go into `provider_options` as they came, and so does a choice of anything but a function.

Items of the assistant that follow each other are one message. In an answer every part is an item of its own; an item
has the id that its part kept, or one made of its place and the response's id. `created_at` is 0: there is no clock.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from llm_call.core.domain.errors import LLMCallError, UnsupportedError
from llm_call.core.domain.events import Event, PartDelta, PartEnd, PartStart, ResponseEnd, ResponseStart
from llm_call.core.domain.messages import Media, Message, Part, Reasoning, Text, ToolCall, ToolResult
from llm_call.core.domain.request import OutputSpec, Request, Settings, Tool, ToolChoice, ToolMode
from llm_call.core.domain.response import FinishReason, Response
from llm_call.core.wire.openai_chat_server import OpenAIChatServerCodec
from llm_call.core.wire.openai_responses import (
    CALL_FIELDS,
    DETAIL,
    LOGPROBS,
    MESSAGE_FIELDS,
    PART_FIELDS,
    RESULT_FIELDS,
    SETTINGS,
    includes_of,
    is_assistants,
)
from llm_call.core.wire.openai_responses_answer import REASONING_FIELDS, read_reasoning, reasoning_texts
from llm_call.core.wire.openai_usage import RESPONSES, write_usage
from llm_call.core.wire.origin import OwnEvents, marked_request, own_response
from llm_call.core.wire.reading import MalformedError, decode_json, from_data_url, refusing, unnamed
from llm_call.core.wire.writing import ANY_IMAGE, STORED_FILE, as_mapping, encode_json

# What clients expect beside the answer itself.
_HEAD: Mapping[str, Any] = {
    "object": "response",
    "created_at": 0,
    "error": None,
    "incomplete_details": None,
    "instructions": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "temperature": None,
    "tool_choice": "auto",
    "tools": [],
    "top_p": None,
}
# What the vendor's types demand of an event beside the text.
_LISTS: Mapping[str, Mapping[str, Any]] = {"output_text": {"logprobs": []}}
_ERRORS = OpenAIChatServerCodec()  # the two dialects have one form of error body


class _InputText(Struct, tag_field="type", tag="input_text"):
    text: str


class _OutputText(Struct, tag_field="type", tag="output_text"):
    text: str


class _Refusal(Struct, tag_field="type", tag="refusal"):
    refusal: str


class _InputImage(Struct, tag_field="type", tag="input_image"):
    image_url: str | None = None
    file_id: str | None = None


class _InputFile(Struct, tag_field="type", tag="input_file"):
    filename: str | None = None
    file_data: str | None = None
    file_url: str | None = None
    file_id: str | None = None


_Content = str | list[_InputText | _OutputText | _Refusal | _InputImage | _InputFile]


class _Message(Struct, tag_field="type", tag="message"):
    role: Literal["system", "developer", "user", "assistant"]
    content: _Content


class _FunctionCall(Struct, tag_field="type", tag="function_call"):
    call_id: str
    name: str
    arguments: str


class _FunctionCallOutput(Struct, tag_field="type", tag="function_call_output"):
    call_id: str
    output: _Content


class _Text(Struct):
    text: str


class _Reasoning(Struct, tag_field="type", tag="reasoning"):
    id: str | None = None
    summary: list[_Text] = []
    content: list[_Text] | None = None
    encrypted_content: str | None = None


class _Tool(Struct):
    type: str
    name: str | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class _Choice(Struct):
    type: str
    name: str | None = None


class _Format(Struct, forbid_unknown_fields=True):
    type: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    schema: dict[str, Any] | None = None
    strict: bool | None = None
    description: str | None = None


class _TextOptions(Struct):
    format: _Format | None = None


class _ReasoningOptions(Struct):
    effort: str | None = None


_Item = _Message | _FunctionCall | _FunctionCallOutput | _Reasoning


class _Body(Struct):
    model: str
    input: str | list[_Item]
    stream: bool | None = None
    instructions: str | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_logprobs: int | None = None
    parallel_tool_calls: bool | None = None
    reasoning: _ReasoningOptions | None = None
    text: _TextOptions | None = None
    tools: list[_Tool] | None = None
    tool_choice: ToolMode | _Choice | None = None
    include: list[str] | None = None
    store: bool | None = None


class OpenAIResponsesServerCodec:
    """`ServerCodec` for the Responses API."""

    name = "openai_responses"

    def decode_request(self, body: bytes) -> tuple[Request, bool]:
        """The request, and whether its answer is to be streamed."""
        with refusing("the Responses API"):
            raw = decode_json(body)
            _name_messages(raw)
            wire = msgspec.convert(raw, _Body)
            return marked_request(_request(wire, raw), self.name), bool(wire.stream)

    def encode_response(self, response: Response) -> bytes:
        """The answer as one body.

        Raises:
            UnsupportedError: It holds a part that an answer of this dialect cannot hold.
        """
        response = own_response(response, self.name)
        output = [_item(part, number, response.id) for number, part in enumerate(response.parts)]
        return encode_json(_whole(response, output))

    def encode_error(self, error: LLMCallError) -> tuple[int, bytes]:
        """The status for the class of `error`, and OpenAI's form of an error body."""
        return _ERRORS.encode_error(error)

    def stream_encoder(self) -> "OpenAIResponsesStreamEncoder":
        """An encoder for one streamed answer."""
        return OpenAIResponsesStreamEncoder()


class _Open:
    """A part under way: its empty form, its item's place in the output, and what has come of it."""

    __slots__ = ("number", "part", "pieces")

    def __init__(self, number: int, part: Part) -> None:
        self.number = number
        self.part = part
        self.pieces: list[str] = []


class OpenAIResponsesStreamEncoder:
    """One answer as typed events: each part is an item, added, told in pieces, and done; then the whole response."""

    def __init__(self) -> None:
        self._own = OwnEvents("openai_responses")
        self._sequence = 0
        self._response = Response(model="")
        self._open: dict[int, _Open] = {}
        self._output: list[Any] = []  # the items that are done, each in its place

    def encode(self, event: Event) -> bytes:
        """The events for `event`; may be none."""
        match self._own(event):
            case PartDelta(index=index, text=text):
                return self._delta(self._open[index], text) if text else b""
            case ResponseStart(model=model, id=identity):
                return self._start(Response(model=model, id=identity))
            case PartStart(index=index, part=part):
                return self._part(index, part)
            case PartEnd() as end:
                return self._part_end(self._open.pop(end.index), end)
            case ResponseEnd() as end:
                return self._end(end)

    def encode_error(self, error: LLMCallError) -> bytes:
        """The error as the last event: in the form of the API's `error` event, and in that of an error body."""
        inner = msgspec.json.decode(_ERRORS.encode_error(error)[1])["error"]
        said = {"code": inner["code"] or inner["type"], "message": inner["message"], "param": None}
        return self._frame("error", **said, error=inner)

    def _start(self, response: Response) -> bytes:
        self._response = response
        begun = {**_HEAD, "id": response.id or "", "status": "in_progress", "model": response.model}
        begun |= {"output": [], "usage": None}
        return self._frame("response.created", response=begun) + self._frame("response.in_progress", response=begun)

    def _part(self, index: int, part: Part) -> bytes:
        opened = self._open[index] = _Open(len(self._output), part)
        self._output.append(None)
        text = _text(part)
        opened.part = _with_text(part, "")
        item = _item(opened.part, opened.number, self._response.id) | {"status": "in_progress"}
        if isinstance(part, Text):
            item["content"] = []
        frames = [self._frame("response.output_item.added", output_index=opened.number, item=item)]
        if isinstance(part, Text):
            frames.append(self._inside(opened, opened.part, "added"))
        if text:
            frames.append(self._delta(opened, text))
        return b"".join(frames)

    def _delta(self, opened: _Open, text: str) -> bytes:
        # A summary has no part before it has a text: most reasoning items have none.
        first = isinstance(opened.part, Reasoning) and not opened.pieces
        start = self._inside(opened, opened.part, "added") if first else b""
        opened.pieces.append(text)
        name, slot, _ = _words(opened.part)
        return start + self._frame(
            f"response.{name}.delta", **self._at(opened), **slot, delta=text, **_LISTS.get(name, {})
        )

    def _part_end(self, opened: _Open, event: PartEnd) -> bytes:
        part = _ended(opened, event)
        item = self._output[opened.number] = _item(part, opened.number, self._response.id)
        frames = []
        if opened.pieces or not isinstance(part, Reasoning):
            name, slot, field = _words(opened.part)
            said = {field: _text(part), **_LISTS.get(name, {})}
            if isinstance(part, ToolCall):
                said["name"] = part.name
            frames.append(self._frame(f"response.{name}.done", **self._at(opened), **slot, **said))
            frames.append(self._inside(opened, part, "done"))
        frames.append(self._frame("response.output_item.done", output_index=opened.number, item=item))
        return b"".join(frames)

    def _inside(self, opened: _Open, part: Part, word: str) -> bytes:
        """The event for what stands inside of the item of `part`, if anything does."""
        at = self._at(opened)
        if isinstance(part, Text):
            return self._frame(f"response.content_part.{word}", **at, content_index=0, part=_spoken(part))
        if isinstance(part, Reasoning) and _kind(part) == "summary_text":
            summary = {"type": "summary_text", "text": part.text}
            return self._frame(f"response.reasoning_summary_part.{word}", **at, summary_index=0, part=summary)
        return b""

    def _end(self, event: ResponseEnd) -> bytes:
        response = replace(
            self._response, finish_reason=event.finish_reason, usage=event.usage, provider_data=event.provider_data
        )
        whole = _whole(response, self._output)
        frames = []
        for number, item in enumerate(whole["output"][len(self._output) :], len(self._output)):
            frames.append(self._frame("response.output_item.added", output_index=number, item=item))
            frames.append(self._frame("response.output_item.done", output_index=number, item=item))
        frames.append(self._frame(f"response.{whole['status']}", response=whole))
        return b"".join(frames)

    def _at(self, opened: _Open) -> dict[str, Any]:
        identity = _item_id(opened.part, opened.number, self._response.id)
        return {"item_id": identity, "output_index": opened.number}

    def _frame(self, kind: str, **fields: Any) -> bytes:
        data = encode_json({"type": kind, "sequence_number": self._sequence, **fields})
        self._sequence += 1
        return b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n"


def _name_messages(raw: Any) -> None:
    """Say the type of messages that leave it out, as the API lets clients do."""
    items = raw.get("input") if type(raw) is dict else None
    for item in items if type(items) is list else ():
        if type(item) is dict and "role" in item:
            item.setdefault("type", "message")


def _request(wire: _Body, raw: Mapping[str, Any]) -> Request:
    options = _options(wire, raw)
    request = Request(
        model=wire.model,
        messages=_messages(wire, raw["input"]),
        settings=_settings(wire),
        tools=_tools(wire.tools or (), raw, options),
        tool_choice=_tool_choice(wire.tool_choice, raw, options),
        output=_output(wire.text),
        provider_options=options,
    )
    own = includes_of(request)
    if include := [each for each in wire.include or () if each not in own and each != LOGPROBS]:
        request = replace(request, provider_options={**request.provider_options, "include": include})
    return request


def _options(wire: _Body, raw: Mapping[str, Any]) -> dict[str, Any]:
    options = unnamed(raw, _Body.__struct_fields__)
    if rest := unnamed(raw.get("reasoning") or {}, {"effort"}):
        options["reasoning"] = rest
    if rest := unnamed(raw.get("text") or {}, {"format"}):
        options["text"] = rest
    if wire.store:
        options["store"] = True
    return options


def _settings(wire: _Body) -> Settings:
    return Settings(
        **{name: getattr(wire, name) for name in SETTINGS},
        logprobs=True if LOGPROBS in (wire.include or ()) else None,
        reasoning_effort=wire.reasoning.effort if wire.reasoning else None,
    )


def _tools(tools: Sequence[_Tool], raw: Mapping[str, Any], options: dict[str, Any]) -> tuple[Tool, ...]:
    given = raw.get("tools") or ()
    if any(tool.type != "function" for tool in tools):  # tools that the provider runs are no `Tool`
        options["tools"] = given
    return tuple(
        _tool(tool, given[index], f"$.tools[{index}]") for index, tool in enumerate(tools) if tool.type == "function"
    )


def _tool(spec: _Tool, raw: Mapping[str, Any], where: str) -> Tool:
    if spec.name is None:
        raise MalformedError(f"{where}.name is missing")
    return Tool(
        name=spec.name,
        description=spec.description or "",
        parameters=spec.parameters or {},
        strict=spec.strict,
        provider_data=unnamed(raw, _Tool.__struct_fields__),
    )


def _tool_choice(
    choice: ToolMode | _Choice | None, raw: Mapping[str, Any], options: dict[str, Any]
) -> ToolChoice | None:
    if not isinstance(choice, _Choice):
        return None if choice is None else ToolChoice(mode=choice)
    if choice.type != "function":
        options["tool_choice"] = raw["tool_choice"]
        return None
    if choice.name is None:
        raise MalformedError("$.tool_choice.name is missing")
    if unknown := sorted(unnamed(raw["tool_choice"], _Choice.__struct_fields__)):
        raise MalformedError(f"$.tool_choice contains the unknown field `{unknown[0]}`")
    return ToolChoice(name=choice.name)


def _output(options: _TextOptions | None) -> OutputSpec | None:
    wanted = options.format if options else None
    if wanted is None or wanted.type == "text":
        return None
    if wanted.type == "json_object":
        return OutputSpec()
    if wanted.name is None or wanted.schema is None:
        raise MalformedError("$.text.format needs a name and a schema")
    return OutputSpec(schema=wanted.schema, name=wanted.name, strict=wanted.strict, description=wanted.description)


def _messages(wire: _Body, raw: Any) -> tuple[Message, ...]:
    messages: list[Message] = []
    if wire.instructions is not None:
        messages.append(Message(role="system", parts=(Text(text=wire.instructions),)))
    if isinstance(wire.input, str):
        return (*messages, Message(role="user", parts=(Text(text=wire.input),)))
    turn: list[Part] = []  # of the assistant, while it lasts
    for index, (item, given) in enumerate(zip(wire.input, raw, strict=True)):
        if is_assistants(given):
            turn += _assistant_parts(item, given, f"$.input[{index}]")
            continue
        if turn:
            messages.append(Message(role="assistant", parts=tuple(turn)))
            turn = []
        messages.append(_message(item, given, f"$.input[{index}]"))
    if turn:
        messages.append(Message(role="assistant", parts=tuple(turn)))
    return tuple(messages)


def _message(item: _Item, raw: Mapping[str, Any], where: str) -> Message:
    if isinstance(item, _FunctionCallOutput):
        parts = tuple(
            part for part in _parts(item.output, raw["output"], f"{where}.output") if isinstance(part, Text | Media)
        )
        result = ToolResult(call_id=item.call_id, parts=parts, provider_data=unnamed(raw, RESULT_FIELDS))
        return Message(role="tool", parts=(result,))
    if not isinstance(item, _Message):
        raise MalformedError(f"{where}.type is not known here")
    parts_of = _parts(item.content, raw["content"], f"{where}.content")
    return Message(role=item.role, parts=parts_of, provider_data=unnamed(raw, MESSAGE_FIELDS))


def _assistant_parts(item: _Item, raw: Mapping[str, Any], where: str) -> tuple[Part, ...]:
    match item:
        case _FunctionCall():
            extra = unnamed(raw, CALL_FIELDS)
            return (ToolCall(id=item.call_id, name=item.name, arguments=item.arguments, provider_data=extra),)
        case _Reasoning():
            return (read_reasoning(raw),)
        case _Message():
            around = unnamed(raw, MESSAGE_FIELDS)
            parts = _parts(item.content, raw["content"], f"{where}.content")
            return tuple(_around(part, around) for part in parts) if around else parts
    raise MalformedError(f"{where}.role is not for this type of item")


def _around(part: Part, around: Mapping[str, Any]) -> Part:
    return replace(part, provider_data={**part.provider_data, "item": around})


def _parts(content: _Content, raw: Any, where: str) -> tuple[Part, ...]:
    if isinstance(content, str):
        return (Text(text=content),)
    return tuple(_part(part, raw[index], f"{where}[{index}]") for index, part in enumerate(content))


def _part(
    part: _InputText | _OutputText | _Refusal | _InputImage | _InputFile, raw: Mapping[str, Any], where: str
) -> Part:
    extra = unnamed(raw, PART_FIELDS[raw["type"]])
    match part:
        case _InputText(text=text):
            return Text(text=text, provider_data=extra)
        case _OutputText(text=text):
            kept = {name: extra[name] for name in extra if extra[name] or name not in {"annotations", "logprobs"}}
            return Text(text=text, provider_data=kept)
        case _Refusal(refusal=refusal):
            return Text(text=refusal, refusal=True, provider_data=extra)
        case _InputImage():
            if extra.get("detail") == DETAIL:
                del extra["detail"]
            return _image(part, extra, where)
        case _InputFile():
            return _file(part, extra, where)


def _image(image: _InputImage, extra: Mapping[str, Any], where: str) -> Media:
    url = image.image_url
    if url is None:
        if image.file_id is None:
            raise MalformedError(f"{where} has neither image_url nor file_id")
        return Media(media_type=ANY_IMAGE, provider_data=extra)
    if not url.startswith("data:"):
        return Media(media_type=ANY_IMAGE, url=url, provider_data=extra)
    media_type, data = from_data_url(url, f"{where}.image_url")
    return Media(media_type=media_type, data=data, provider_data=extra)


def _file(file: _InputFile, extra: Mapping[str, Any], where: str) -> Media:
    if file.file_data is not None:
        media_type, data = from_data_url(file.file_data, f"{where}.file_data")
        return Media(media_type=media_type, data=data, url=file.file_url, name=file.filename, provider_data=extra)
    if file.file_url is None and file.file_id is None:
        raise MalformedError(f"{where} has none of file_data, file_url and file_id")
    return Media(media_type=STORED_FILE, url=file.file_url, name=file.filename, provider_data=extra)


def _whole(response: Response, output: Sequence[Any]) -> dict[str, Any]:
    kept = response.provider_data
    more = kept.get("output")
    status, details = _status(response.finish_reason)
    top = {name: value for name, value in kept.items() if name not in {"output", "usage"}}
    return {
        **_HEAD,
        **top,
        "id": response.id or "",
        "status": status,
        "incomplete_details": details,
        "model": response.model,
        "output": [*output, *more] if isinstance(more, list | tuple) else list(output),
        "usage": write_usage(response.usage, kept, RESPONSES) or None,
    }


def _status(reason: FinishReason) -> tuple[str, dict[str, Any] | None]:
    """The status, and why the answer is incomplete. A refusal is complete; what a filter cut off is not."""
    words = {"length": "max_output_tokens", "content_filter": "content_filter"}
    word = words.get(reason.unified) or (reason.raw if reason.unified == "other" else None)
    if word is None or (reason.unified, reason.raw) == ("content_filter", "completed"):
        return "completed", None
    return "incomplete", {"reason": word}


def _item(part: Part, number: int, response_id: str | None) -> dict[str, Any]:
    """The item of the output that is `part`."""
    identity, extra = _item_id(part, number, response_id), part.provider_data
    known: dict[str, Any]
    match part:
        case ToolCall():
            known = {"type": "function_call", "call_id": part.id, "name": part.name, "arguments": part.arguments}
        case Reasoning():
            kind, extra = _kind(part), unnamed(extra, {"type"})
            known = {"type": "reasoning", **reasoning_texts(kind, part.text)}
            known |= {name: extra[name] for name in REASONING_FIELDS.values() if name in extra}
            if part.signature is not None:
                known["encrypted_content"] = part.signature
        case _:
            extra = as_mapping(extra.get("item"))
            known = {"type": "message", "role": "assistant", "content": [_spoken(part)]}
    return {**extra, **known, "id": identity, "status": "completed"}


def _item_id(part: Part, number: int, response_id: str | None) -> str:
    prefix = {ToolCall: "fc", Reasoning: "rs"}.get(type(part), "msg")
    kept = part.provider_data.get("id") if isinstance(part, Reasoning) else None
    return kept if isinstance(kept, str) else "_".join(filter(None, (prefix, response_id, str(number))))


def _kind(part: Reasoning) -> str:
    return "reasoning_text" if part.provider_data.get("type") == "reasoning_text" else "summary_text"


def _spoken(part: Part) -> dict[str, Any]:
    if not isinstance(part, Text):
        raise UnsupportedError(f"an answer of the Responses API cannot hold a {type(part).__name__}")
    extra = unnamed(part.provider_data, {"item"})
    if part.refusal:
        return {**extra, "type": "refusal", "refusal": part.text}
    return {"annotations": [], "logprobs": [], **extra, "type": "output_text", "text": part.text}


def _words(part: Part) -> tuple[str, dict[str, int], str]:
    """The word for the pieces of a part in events, their place, and the field of the whole."""
    match part:
        case ToolCall():
            return "function_call_arguments", {}, "arguments"
        case Reasoning() if _kind(part) == "summary_text":
            return "reasoning_summary_text", {"summary_index": 0}, "text"
        case Reasoning():
            return "reasoning_text", {"content_index": 0}, "text"
        case Text(refusal=True):
            return "refusal", {"content_index": 0}, "refusal"
    return "output_text", {"content_index": 0}, "text"


def _text(part: Part) -> str:
    if isinstance(part, ToolCall):
        return part.arguments
    return part.text if isinstance(part, Text | Reasoning) else ""


def _with_text(part: Part, text: str) -> Part:
    if isinstance(part, ToolCall):
        return replace(part, arguments=text)
    return replace(part, text=text) if isinstance(part, Text | Reasoning) else part


def _ended(opened: _Open, event: PartEnd) -> Part:
    part = _with_text(opened.part, "".join(opened.pieces))
    if event.provider_data:
        part = replace(part, provider_data={**part.provider_data, **event.provider_data})
    if isinstance(part, Reasoning) and event.signature is not None:
        part = replace(part, signature=event.signature)
    return part
