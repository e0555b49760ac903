"""The chat-completions dialect towards clients: requests in, answers out. The mirror of `openai_chat`.

Rule: what a client sends is typed strictly and refused with its place (`$.messages[0].role`); fields that the
canonical request has no place for are kept: of the body in `provider_options`, of a message or a part in its
`provider_data`. Inside a named `tool_choice` and `response_format` there is no such place, so they are refused there.
Where one of the tools is no function, all go into `provider_options` as they came, and so does a choice of several.

`created` is 0 in every answer: this layer has no clock.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from llm_call.core.domain.errors import (
    APIError,
    AttemptTimeoutError,
    AuthenticationError,
    BadRequestError,
    BudgetExceededError,
    CircuitOpenError,
    ConfigError,
    ContentFilteredError,
    ContextWindowExceededError,
    DeadlineExceededError,
    LLMCallError,
    NoEligibleTargetError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
    UnknownModelError,
    UnsupportedError,
)
from llm_call.core.domain.events import Event, PartDelta, PartEnd, PartStart, ResponseEnd, ResponseStart
from llm_call.core.domain.messages import Media, Message, Part, Reasoning, Role, Text, ToolCall, ToolResult
from llm_call.core.domain.request import OutputSpec, Request, Settings, Tool, ToolChoice, ToolMode
from llm_call.core.domain.response import FinishReason, Response
from llm_call.core.wire.caching import take_marker
from llm_call.core.wire.openai_chat import (
    CALL_FIELDS,
    FUNCTION_FIELDS,
    INNER_FIELDS,
    MESSAGE_FIELDS,
    PART_FIELDS,
    SETTINGS,
    audio_type,
)
from llm_call.core.wire.openai_chat_answer import FINISH, REASONING_FIELDS
from llm_call.core.wire.openai_chat_legacy import is_legacy, modern
from llm_call.core.wire.openai_usage import CHAT, write_usage
from llm_call.core.wire.origin import OwnEvents, marked_request, own_response
from llm_call.core.wire.reading import MalformedError, decode_json, from_base64, from_data_url, refusing, unnamed
from llm_call.core.wire.writing import ANY_IMAGE, STORED_FILE, as_mapping, encode_json

_STATUSES: Mapping[type[Exception], int] = {
    BadRequestError: 400,
    ContentFilteredError: 400,
    UnsupportedError: 400,
    AuthenticationError: 401,
    PermissionDeniedError: 403,
    NotFoundError: 404,
    UnknownModelError: 404,
    RateLimitError: 429,
    BudgetExceededError: 429,
    ConfigError: 500,
    ServerError: 502,
    OverloadedError: 503,
    CircuitOpenError: 503,
    NoEligibleTargetError: 503,
    AttemptTimeoutError: 504,
    DeadlineExceededError: 504,
    LLMCallError: 502,
}
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    503: "overloaded_error",
}
_TOLD_BY_PARTS = frozenset({"content_filter", "tool_calls"})  # by a refusal or a call, whatever the word was
_CODES: Mapping[type[Exception], str] = {
    BudgetExceededError: "budget_exceeded",
    ContentFilteredError: "content_filter",
    ContextWindowExceededError: "context_length_exceeded",
    UnknownModelError: "model_not_found",
}


class _ImageURL(Struct):
    url: str


class _Audio(Struct):
    data: str
    format: str


class _File(Struct):
    file_data: str | None = None
    filename: str | None = None
    file_id: str | None = None


class _TextPart(Struct, tag_field="type", tag="text"):
    text: str


class _RefusalPart(Struct, tag_field="type", tag="refusal"):
    refusal: str


class _ImagePart(Struct, tag_field="type", tag="image_url"):
    image_url: _ImageURL


class _AudioPart(Struct, tag_field="type", tag="input_audio"):
    input_audio: _Audio


class _FilePart(Struct, tag_field="type", tag="file"):
    file: _File


_Part = _TextPart | _RefusalPart | _ImagePart | _AudioPart | _FilePart


class _Function(Struct):
    name: str
    arguments: str = ""


class _Call(Struct):
    id: str
    function: _Function
    type: Literal["function"] = "function"


class _Message(Struct):
    role: Role
    content: str | list[_Part] | None = None
    name: str | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None


class _FunctionSpec(Struct):
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class _Tool(Struct):
    type: Literal["function", "custom"]
    function: _FunctionSpec | None = None


class _Name(Struct, forbid_unknown_fields=True):
    name: str


class _NamedChoice(Struct, tag_field="type", tag="function", forbid_unknown_fields=True):
    function: _Name


class _CustomChoice(Struct, tag_field="type", tag="custom"):
    custom: dict[str, Any]


class _AllowedChoice(Struct, tag_field="type", tag="allowed_tools"):
    allowed_tools: dict[str, Any]


_Choice = _NamedChoice | _CustomChoice | _AllowedChoice


class _JSONSchema(Struct, forbid_unknown_fields=True):
    name: str
    schema: dict[str, Any] = {}
    strict: bool | None = None
    description: str | None = None


class _ResponseFormat(Struct, forbid_unknown_fields=True):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: _JSONSchema | None = None


class _Body(Struct):
    model: str
    messages: list[_Message]
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: str | None = None
    tools: list[_Tool] | None = None
    tool_choice: ToolMode | _Choice | None = None
    response_format: _ResponseFormat | None = None


_decode_body = msgspec.json.Decoder(_Body).decode


class OpenAIChatServerCodec:
    """`ServerCodec` for chat completions."""

    name = "openai_chat"

    def decode_request(self, body: bytes) -> tuple[Request, bool]:
        """The request, and whether its answer is to be streamed."""
        with refusing("the chat-completions API"):
            raw = decode_json(body)
            if is_legacy(raw):
                raw = modern(raw)
                body = encode_json(raw)
            wire = _decode_body(body)
            return marked_request(_request(wire, raw), self.name), bool(wire.stream)

    def encode_response(self, response: Response) -> bytes:
        """The answer as one body.

        Raises:
            UnsupportedError: It holds a part that an answer of this dialect cannot hold.
        """
        response = own_response(response, self.name)
        top, choice, message = _extras(response.provider_data)
        body: dict[str, Any] = {
            "id": response.id or "",
            "object": "chat.completion",
            "created": 0,
            "model": response.model,
            "choices": [
                choice
                | {
                    "index": 0,
                    "message": message | _message_of(response.parts),
                    "finish_reason": _finish(response.finish_reason),
                }
            ],
        }
        if usage := write_usage(response.usage, response.provider_data, CHAT):
            body["usage"] = usage
        return encode_json(top | body)

    def encode_error(self, error: LLMCallError) -> tuple[int, bytes]:
        """The status for the class of `error`, and OpenAI's form of an error body."""
        return _status(error), encode_json(_error(error))

    def stream_encoder(self) -> "OpenAIChatStreamEncoder":
        """An encoder for one streamed answer."""
        return OpenAIChatStreamEncoder()


class OpenAIChatStreamEncoder:
    """One answer as chunks: the role, the pieces, the finish reason, the usage in a chunk without choices, `[DONE]`."""

    def __init__(self) -> None:
        self._head: dict[str, Any] = {"id": "", "object": "chat.completion.chunk", "created": 0, "model": ""}
        self._own = OwnEvents("openai_chat")
        self._fields: dict[int, str] = {}
        self._calls: dict[int, int] = {}

    def encode(self, event: Event) -> bytes:
        """The chunks for `event`; may be none."""
        match self._own(event):
            case PartDelta(index=index, text=text):
                return self._delta(self._piece(index, text)) if text else b""
            case ResponseStart(model=model, id=identity):
                self._head |= {"id": identity or "", "model": model}
                return self._delta({"role": "assistant", "content": ""})
            case PartStart(index=index, part=part):
                return self._part(index, part)
            case PartEnd(index=index, provider_data=extra) if extra and index in self._calls:
                return self._delta({"tool_calls": [{**extra, "index": self._calls[index]}]})
            case ResponseEnd() as end:
                return self._end(end)
        return b""

    def encode_error(self, error: LLMCallError) -> bytes:
        """The error as the last event. No `[DONE]` follows: the answer is not complete."""
        return _frame(_error(error))

    def _part(self, index: int, part: Part) -> bytes:
        if isinstance(part, ToolCall):
            number = self._calls[index] = len(self._calls)
            return self._delta({"tool_calls": [{**_call(part), "index": number}]})
        self._fields[index] = _field(part)
        text = part.text if isinstance(part, Text | Reasoning) else ""
        return self._delta({self._fields[index]: text}) if text else b""

    def _piece(self, index: int, text: str) -> dict[str, Any]:
        if index in self._calls:
            return {"tool_calls": [{"index": self._calls[index], "function": {"arguments": text}}]}
        return {self._fields[index]: text}

    def _end(self, event: ResponseEnd) -> bytes:
        top, choice, message = _extras(event.provider_data)
        last = choice | {"index": 0, "delta": message, "finish_reason": _finish(event.finish_reason)}
        chunks = [_frame(top | self._head | {"choices": [last]})]
        if usage := write_usage(event.usage, event.provider_data, CHAT):
            chunks.append(_frame(self._head | {"choices": [], "usage": usage}))
        return b"".join([*chunks, b"data: [DONE]\n\n"])

    def _delta(self, delta: Mapping[str, Any]) -> bytes:
        return _frame(self._head | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})


def _request(wire: _Body, raw: Mapping[str, Any]) -> Request:
    options = unnamed(raw, _Body.__struct_fields__)
    if rest := unnamed(wire.stream_options or {}, {"include_usage"}):
        options["stream_options"] = rest
    return Request(
        model=wire.model,
        messages=tuple(
            _message(message, raw["messages"][index], f"$.messages[{index}]")
            for index, message in enumerate(wire.messages)
        ),
        settings=_settings(wire),
        tools=_tools(wire.tools or (), raw, options),
        tool_choice=_tool_choice(wire.tool_choice, raw, options),
        output=_output(wire.response_format),
        provider_options=options,
    )


def _settings(wire: _Body) -> Settings:
    values = {name: getattr(wire, field) for name, field in SETTINGS.items()}
    if wire.max_completion_tokens is not None:  # the newer name for the same limit
        values["max_output_tokens"] = wire.max_completion_tokens
    stop = (wire.stop,) if isinstance(wire.stop, str) else tuple(wire.stop or ())
    return Settings(**values, stop=stop)


def _tools(tools: Sequence[_Tool], raw: Mapping[str, Any], options: dict[str, Any]) -> tuple[Tool, ...]:
    given = raw.get("tools") or ()
    for index, tool in enumerate(tools):
        if tool.type == "function" and tool.function is None:
            raise MalformedError(f"$.tools[{index}].function is missing")
    if any(tool.type != "function" for tool in tools):
        options["tools"] = given
    return tuple(_tool(tool.function, given[index]) for index, tool in enumerate(tools) if tool.function is not None)


def _tool(spec: _FunctionSpec, raw: Mapping[str, Any]) -> Tool:
    extra, inside = unnamed(raw, _Tool.__struct_fields__), unnamed(raw["function"], _FunctionSpec.__struct_fields__)
    marker = take_marker(extra) or take_marker(inside)
    if inside:
        extra["function"] = inside
    return Tool(
        name=spec.name,
        description=spec.description or "",
        parameters=spec.parameters or {},
        strict=spec.strict,
        cache=marker,
        provider_data=extra,
    )


def _tool_choice(
    choice: ToolMode | _Choice | None, raw: Mapping[str, Any], options: dict[str, Any]
) -> ToolChoice | None:
    if isinstance(choice, _CustomChoice | _AllowedChoice):
        options["tool_choice"] = raw["tool_choice"]
        return None
    if isinstance(choice, _NamedChoice):
        return ToolChoice(name=choice.function.name)
    return None if choice is None else ToolChoice(mode=choice)


def _output(wanted: _ResponseFormat | None) -> OutputSpec | None:
    if wanted is None or wanted.type == "text":
        return None
    if wanted.type == "json_object":
        return OutputSpec()
    spec = wanted.json_schema
    if spec is None:
        raise MalformedError("$.response_format.json_schema is missing")
    return OutputSpec(schema=spec.schema, name=spec.name, strict=spec.strict, description=spec.description)


def _message(wire: _Message, raw: Mapping[str, Any], where: str) -> Message:
    if wire.content is None and wire.role != "assistant":
        raise MalformedError(f"{where}.content is missing")
    if wire.role != "assistant" and (wire.tool_calls or wire.refusal is not None):
        raise MalformedError(f"{where}: only a message of the assistant has tool calls or a refusal")
    parts = _parts(wire.content, raw.get("content"), f"{where}.content")
    kept = unnamed(raw, MESSAGE_FIELDS)
    match wire.role:
        case "tool":
            parts = (_result(wire, parts, where),)
        case "assistant":
            parts = _assistant_parts(wire, parts, raw)
    return Message(role=wire.role, parts=_with_marker(parts, kept), name=wire.name, provider_data=kept)


def _with_marker(parts: tuple[Part, ...], kept: dict[str, Any]) -> tuple[Part, ...]:
    """`parts` with the marker of their message, which is one of its last part."""
    last = parts[-1] if parts else None
    if not isinstance(last, Text | Media | ToolResult) or last.cache is not None:
        return parts
    marker = take_marker(kept)
    return parts if marker is None else (*parts[:-1], replace(last, cache=marker))


def _result(wire: _Message, parts: Sequence[Part], where: str) -> ToolResult:
    if wire.tool_call_id is None:
        raise MalformedError(f"{where}.tool_call_id is missing")
    return ToolResult(call_id=wire.tool_call_id, parts=tuple(part for part in parts if isinstance(part, Text | Media)))


def _assistant_parts(wire: _Message, content: Sequence[Part], raw: Mapping[str, Any]) -> tuple[Part, ...]:
    parts: list[Part] = [
        Reasoning(text=text, provider_data={"field": field})
        for field in REASONING_FIELDS
        if (text := getattr(wire, field)) is not None
    ]
    parts += content
    if wire.refusal is not None:
        parts.append(Text(text=wire.refusal, refusal=True))
    for index, call in enumerate(wire.tool_calls or ()):
        given = raw["tool_calls"][index]
        extra = unnamed(given, CALL_FIELDS)
        if inside := unnamed(given["function"], FUNCTION_FIELDS):
            extra["function"] = inside
        function = call.function
        parts.append(ToolCall(id=call.id, name=function.name, arguments=function.arguments, provider_data=extra))
    return tuple(parts)


def _parts(content: str | list[_Part] | None, raw: Any, where: str) -> tuple[Part, ...]:
    if isinstance(content, str):
        return (Text(text=content),)
    return tuple(_part(part, raw[index], f"{where}[{index}]") for index, part in enumerate(content or ()))


def _part(part: _Part, raw: Mapping[str, Any], where: str) -> Part:
    match part:
        case _TextPart(text=text):
            extra = unnamed(raw, PART_FIELDS["text"])
            return Text(text=text, cache=take_marker(extra), provider_data=extra)
        case _RefusalPart(refusal=refusal):
            return Text(text=refusal, refusal=True)
        case _AudioPart(input_audio=audio):
            data = from_base64(audio.data, f"{where}.input_audio.data")
            return Media(media_type=audio_type(audio.format), data=data, **_part_extra(raw))
        case _ImagePart(image_url=image):
            if not image.url.startswith("data:"):
                return Media(media_type=ANY_IMAGE, url=image.url, **_part_extra(raw))
            media_type, data = from_data_url(image.url, f"{where}.image_url.url")
            return Media(media_type=media_type, data=data, **_part_extra(raw))
        case _FilePart(file=file):
            return _file(file, raw, f"{where}.file")


def _file(file: _File, raw: Mapping[str, Any], where: str) -> Media:
    if file.file_data is None and file.file_id is None:
        raise MalformedError(f"{where} has neither file_data nor file_id")
    if file.file_data is None:
        return Media(media_type=STORED_FILE, name=file.filename, **_part_extra(raw))
    media_type, data = from_data_url(file.file_data, f"{where}.file_data")
    return Media(media_type=media_type, data=data, name=file.filename, **_part_extra(raw))


def _part_extra(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The marker of a part, and what it says that has no place of its own."""
    kind = raw["type"]
    extra = unnamed(raw, PART_FIELDS[kind])
    marker = take_marker(extra)
    if inside := unnamed(raw[kind], INNER_FIELDS[kind]):
        extra[kind] = inside
    return {"cache": marker, "provider_data": extra}


def _extras(kept: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """What a response keeps of unknown fields: for the top level, the choice and the message."""
    choice = as_mapping(kept.get("choice"))
    return unnamed(kept, {"choice", "usage"}), unnamed(choice, {"message"}), {**as_mapping(choice.get("message"))}


def _message_of(parts: Sequence[Part]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": None}
    for part in parts:
        if not isinstance(part, ToolCall):
            field = _field(part)
            message[field] = (message.get(field) or "") + getattr(part, "text", "")
    if calls := [_call(part) for part in parts if isinstance(part, ToolCall)]:
        message["tool_calls"] = calls
    return message


def _field(part: Part) -> str:
    """The field of a message in which the text of `part` stands."""
    if isinstance(part, Text):
        return "refusal" if part.refusal else "content"
    if isinstance(part, Reasoning):
        field = part.provider_data.get("field")
        return field if field in REASONING_FIELDS else REASONING_FIELDS[0]
    raise UnsupportedError(f"an answer in chat completions cannot hold a {type(part).__name__}")


def _call(call: ToolCall) -> dict[str, Any]:
    extra = call.provider_data
    function = {**as_mapping(extra.get("function")), "name": call.name, "arguments": call.arguments}
    return {**extra, "id": call.id, "type": "function", "function": function}


def _finish(reason: FinishReason) -> str:
    """The provider's own word where it is one of this dialect's, so that nothing is lost; else the word for it."""
    raw, unified = reason.raw, reason.unified
    if raw is not None and (FINISH.get(raw) == unified or unified in _TOLD_BY_PARTS | {"other"}):
        return raw if raw in FINISH or unified == "other" else unified
    return "stop" if unified == "other" else unified  # the dialect has no word for what is not known


def _status(error: LLMCallError) -> int:
    return next(_STATUSES[kind] for kind in type(error).__mro__ if kind in _STATUSES)


def _error(error: LLMCallError) -> dict[str, Any]:
    code = _CODES.get(type(error)) or (error.code if isinstance(error, APIError) else None)
    message = f"{error.message} {error.hint}".strip()
    kind = _TYPES.get(_status(error), "server_error")
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def _frame(value: Mapping[str, Any]) -> bytes:
    return b"data: " + encode_json(value) + b"\n\n"
