"""The Messages dialect towards clients: requests in, answers out. The mirror of `anthropic_messages`.

Rule: what a client sends is typed strictly and refused with its place (`$.messages[0].role`); what the canonical
request has no place for is kept: fields of the body in `provider_options`, fields of a message or a block in its
`provider_data`, a block of an unknown type as it is. Where there are tools that the server runs, the tools as given stand
in `provider_options` too.

An answer's `input_tokens` come with the end of a stream: at its start nothing is known, and zeros stand there.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct

from llm_call.core.domain.errors import (
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
    UnknownModelError,
    UnsupportedError,
)
from llm_call.core.domain.events import Event, PartDelta, PartEnd, PartStart, ResponseEnd, ResponseStart
from llm_call.core.domain.messages import Media, Message, Part, Reasoning, Text, ToolCall, ToolResult
from llm_call.core.domain.request import OutputSpec, Request, Settings, Tool, ToolChoice, ToolMode
from llm_call.core.domain.response import Finish, FinishReason, Response, Usage
from llm_call.core.wire.anthropic_messages import (
    ADAPTIVE,
    BLOCK_FIELDS,
    DISABLED,
    MESSAGE_FIELDS,
    PDF,
    PLAIN_TEXT,
    SETTINGS,
)
from llm_call.core.wire.anthropic_messages_answer import FINISH
from llm_call.core.wire.caching import take_marker
from llm_call.core.wire.origin import OwnEvents, marked_request, own_response
from llm_call.core.wire.reading import MalformedError, decode_json, from_base64, refusing, unnamed
from llm_call.core.wire.writing import ANY_IMAGE, STORED_FILE, as_mapping, encode_json

_ERRORS: Mapping[type[Exception], tuple[int, str]] = {
    BadRequestError: (400, "invalid_request_error"),
    ContentFilteredError: (400, "invalid_request_error"),
    UnsupportedError: (400, "invalid_request_error"),
    AuthenticationError: (401, "authentication_error"),
    PermissionDeniedError: (403, "permission_error"),
    NotFoundError: (404, "not_found_error"),
    UnknownModelError: (404, "not_found_error"),
    RateLimitError: (429, "rate_limit_error"),
    BudgetExceededError: (429, "rate_limit_error"),
    ConfigError: (500, "api_error"),
    AttemptTimeoutError: (504, "timeout_error"),
    DeadlineExceededError: (504, "timeout_error"),
    OverloadedError: (529, "overloaded_error"),
    CircuitOpenError: (529, "overloaded_error"),
    NoEligibleTargetError: (529, "overloaded_error"),
    LLMCallError: (502, "api_error"),
}
# The dialect has no word for these; a code of ours beside its own fields tells them apart.
_CODES: Mapping[type[Exception], str] = {
    ContentFilteredError: "content_filter",
    ContextWindowExceededError: "context_length_exceeded",
}
_STOP: Mapping[Finish, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}
_MODES: Mapping[str, ToolMode] = {"auto": "auto", "any": "required", "none": "none"}
_OUR_TOOLS = (None, "custom")
_SOURCE_FIELDS: Mapping[str, frozenset[str]] = {
    "base64": frozenset({"type", "media_type", "data"}),
    "text": frozenset({"type", "media_type", "data"}),
    "url": frozenset({"type", "url"}),
}


class _TextBlock(Struct):
    text: str


class _Source(Struct):
    type: str
    media_type: str = ""
    data: str = ""
    url: str = ""


class _ImageBlock(Struct):
    source: _Source


class _DocumentBlock(Struct):
    source: _Source
    title: str | None = None


class _ThinkingBlock(Struct):
    thinking: str
    signature: str = ""


class _RedactedBlock(Struct):
    data: str


class _CallBlock(Struct):
    id: str
    name: str
    input: msgspec.Raw


class _ResultBlock(Struct):
    tool_use_id: str
    content: str | list[msgspec.Raw] | None = None
    is_error: bool | None = None


class _Message(Struct):
    role: Literal["user", "assistant", "system"]
    content: str | list[msgspec.Raw]


class _Tool(Struct):
    name: str
    type: str | None = None
    description: str | None = None
    input_schema: dict[str, Any] = {}
    strict: bool | None = None


class _Choice(Struct, forbid_unknown_fields=True):
    type: Literal["auto", "any", "none", "tool"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class _Format(Struct, forbid_unknown_fields=True):
    type: Literal["json_schema"]
    schema: dict[str, Any]


class _OutputConfig(Struct):
    format: _Format | None = None
    effort: str | None = None


class _Body(Struct):
    model: str
    messages: list[_Message]
    max_tokens: int
    system: str | list[msgspec.Raw] | None = None
    stream: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop_sequences: list[str] | None = None
    tools: list[_Tool] | None = None
    tool_choice: _Choice | None = None
    output_config: _OutputConfig | None = None
    thinking: dict[str, Any] | None = None


_decode_body = msgspec.json.Decoder(_Body).decode


class AnthropicMessagesServerCodec:
    """`ServerCodec` for the Messages API."""

    name = "anthropic_messages"

    def decode_request(self, body: bytes) -> tuple[Request, bool]:
        """The request, and whether its answer is to be streamed."""
        with refusing("the Messages API"):
            wire, raw = _decode_body(body), decode_json(body)
            return marked_request(_request(wire, raw), self.name), bool(wire.stream)

    def encode_response(self, response: Response) -> bytes:
        """The answer as one body.

        Raises:
            UnsupportedError: It holds a part that an answer of this dialect cannot hold.
        """
        response = own_response(response, self.name)
        body = _message(response.model, response.id) | {
            "content": [_block(part) for part in response.parts],
            "stop_reason": _stop(response.finish_reason),
            "usage": _usage(response.usage, response.provider_data),
        }
        return encode_json(body | unnamed(response.provider_data, {"usage", *(body.keys() - {"stop_sequence"})}))

    def encode_error(self, error: LLMCallError) -> tuple[int, bytes]:
        """The status for the class of `error`, and the dialect's form of an error body."""
        return _status(error)[0], encode_json(_error(error))

    def stream_encoder(self) -> "AnthropicMessagesStreamEncoder":
        """An encoder for one streamed answer."""
        return AnthropicMessagesStreamEncoder()


class AnthropicMessagesStreamEncoder:
    """One answer as events of the dialect. Blocks are numbered in the order in which they begin."""

    def __init__(self) -> None:
        self._own = OwnEvents("anthropic_messages")
        self._numbers: dict[int, int] = {}
        self._blocks: dict[int, Mapping[str, Any]] = {}

    def encode(self, event: Event) -> bytes:
        """The events of the wire for `event`; may be none."""
        match self._own(event):
            case PartDelta(index=index, text=text):
                return self._piece(index, text) if text else b""
            case ResponseStart(model=model, id=identity):
                usage = {"input_tokens": 0, "output_tokens": 0}
                message = _message(model, identity) | {"content": [], "stop_reason": None, "usage": usage}
                return _frame("message_start", message=message)
            case PartStart(index=index, part=part):
                return self._start(index, part)
            case PartEnd() as end:
                return self._stop(end)
            case ResponseEnd() as end:
                return _end(end)

    def encode_error(self, error: LLMCallError) -> bytes:
        """The error as the last event. No `message_stop` follows: the answer is not complete."""
        return _event(_error(error))

    def _start(self, index: int, part: Part) -> bytes:
        number = self._numbers[index] = len(self._numbers)
        block = self._blocks[index] = _block(part)
        if not isinstance(part, ToolCall):
            return _frame("content_block_start", index=number, content_block=block)
        start = _frame("content_block_start", index=number, content_block=block | {"input": {}})
        return start + (self._piece(index, part.arguments) if part.arguments else b"")

    def _piece(self, index: int, text: str) -> bytes:
        match self._blocks[index]["type"]:
            case "text":
                delta = {"type": "text_delta", "text": text}
            case "tool_use":
                delta = {"type": "input_json_delta", "partial_json": text}
            case _:
                delta = {"type": "thinking_delta", "thinking": text}
        return _frame("content_block_delta", index=self._numbers[index], delta=delta)

    def _stop(self, event: PartEnd) -> bytes:
        number, block = self._numbers[event.index], self._blocks.pop(event.index)
        extra = _added(block, event.provider_data)
        citations = extra.pop("citations") if isinstance(extra.get("citations"), list) else []
        deltas: list[dict[str, Any]] = [{"type": "citations_delta", "citation": each} for each in citations]
        if event.signature is not None:
            deltas.append({"type": "signature_delta", "signature": event.signature})
        if extra:  # of no type that the dialect knows: clients must pass over those, and ours takes the fields
            deltas.append(extra | {"type": "provider_data_delta"})
        frames = [_frame("content_block_delta", index=number, delta=delta) for delta in deltas]
        return b"".join([*frames, _frame("content_block_stop", index=number)])


def _request(wire: _Body, raw: Mapping[str, Any]) -> Request:
    options = unnamed(raw, _Body.__struct_fields__)
    messages = [_read_message(each, raw["messages"][at], f"$.messages[{at}]") for at, each in enumerate(wire.messages)]
    if wire.system is not None:
        messages.insert(0, Message(role="system", parts=_read_content(wire.system, "$.system")))
    choice = wire.tool_choice
    return Request(
        model=wire.model,
        messages=tuple(messages),
        settings=_settings(wire, _effort(wire, raw, options)),
        tools=_tools(wire.tools or (), raw, options),
        tool_choice=None if choice is None else _tool_choice(choice),
        output=_output(wire.output_config),
        provider_options=options,
    )


def _settings(wire: _Body, effort: str | None) -> Settings:
    choice = wire.tool_choice
    alone = None if choice is None else choice.disable_parallel_tool_use
    return Settings(
        **{name: getattr(wire, field) for name, field in SETTINGS.items()},
        max_output_tokens=wire.max_tokens,
        stop=tuple(wire.stop_sequences or ()),
        parallel_tool_calls=None if alone is None else not alone,
        reasoning_effort=effort,
    )


def _effort(wire: _Body, raw: Mapping[str, Any], options: dict[str, Any]) -> str | None:
    """The effort that the canonical setting can say; what it cannot is kept in `options` as it came."""
    config = unnamed(raw.get("output_config") or {}, {"format"})
    effort = None if wire.output_config is None else wire.output_config.effort
    if wire.thinking == ADAPTIVE and effort is not None:
        del config["effort"]
    elif wire.thinking == DISABLED and "effort" not in config:
        effort = "none"
    else:
        effort = None
        if wire.thinking is not None:
            options["thinking"] = wire.thinking
    if config:
        options["output_config"] = config
    return effort


def _tools(tools: Sequence[_Tool], raw: Mapping[str, Any], options: dict[str, Any]) -> tuple[Tool, ...]:
    given = raw.get("tools") or ()
    if any(tool.type not in _OUR_TOOLS for tool in tools):  # tools that the server runs are no `Tool`
        options["tools"] = given
    return tuple(_tool(tool, each) for tool, each in zip(tools, given, strict=True) if tool.type in _OUR_TOOLS)


def _tool(tool: _Tool, raw: Mapping[str, Any]) -> Tool:
    extra = unnamed(raw, _Tool.__struct_fields__)
    return Tool(
        name=tool.name,
        description=tool.description or "",
        parameters=tool.input_schema,
        strict=tool.strict,
        cache=take_marker(extra),
        provider_data=extra,
    )


def _tool_choice(choice: _Choice) -> ToolChoice:
    if choice.type != "tool":
        return ToolChoice(mode=_MODES[choice.type])
    if choice.name is None:
        raise MalformedError("$.tool_choice.name is missing")
    return ToolChoice(name=choice.name)


def _output(config: _OutputConfig | None) -> OutputSpec | None:
    return None if config is None or config.format is None else OutputSpec(schema=config.format.schema)


def _read_message(wire: _Message, raw: Mapping[str, Any], where: str) -> Message:
    parts = _read_content(wire.content, f"{where}.content")
    kept = unnamed(raw, MESSAGE_FIELDS)
    if wire.role == "user" and parts and all(isinstance(part, ToolResult) for part in parts):
        return Message(role="tool", parts=parts, provider_data=kept)
    return Message(role=wire.role, parts=parts, provider_data=kept)


def _read_content(content: str | list[msgspec.Raw], where: str) -> tuple[Part, ...]:
    if isinstance(content, str):
        return (Text(text=content),)
    return tuple(_read_block(raw, f"{where}[{index}]") for index, raw in enumerate(content))


def _read_block(raw: msgspec.Raw, where: str) -> Part:
    block = decode_json(raw)
    kind = block.get("type") if isinstance(block, dict) else None
    if not isinstance(kind, str):
        raise MalformedError(f"{where} is no block with a type")
    read = _READERS.get(kind)
    if read is None:
        return Text(text="", provider_data={"block": block})
    try:
        return read(raw, unnamed(block, BLOCK_FIELDS[kind]), where)
    except msgspec.ValidationError as error:
        raise MalformedError(f"{where}: {error}") from error


def _read_text(raw: msgspec.Raw, extra: dict[str, Any], where: str) -> Text:  # noqa: ARG001  # as all readers of blocks
    return Text(text=_decode_text(raw).text, cache=take_marker(extra), provider_data=extra)


def _read_thinking(raw: msgspec.Raw, extra: dict[str, Any], where: str) -> Reasoning:  # noqa: ARG001  # the same
    block = _decode_thinking(raw)
    kept = {"type": "thinking", **extra}
    return Reasoning(text=block.thinking, signature=block.signature or None, provider_data=kept)


def _read_redacted(raw: msgspec.Raw, extra: dict[str, Any], where: str) -> Reasoning:  # noqa: ARG001  # the same
    _decode_redacted(raw)
    return Reasoning(text="", provider_data={"type": "redacted_thinking", **extra})


def _read_call(raw: msgspec.Raw, extra: dict[str, Any], where: str) -> ToolCall:
    block = _decode_call(raw)
    arguments = str(bytes(block.input), "utf-8")
    if not arguments.startswith("{"):
        raise MalformedError(f"{where}.input is no object")
    return ToolCall(id=block.id, name=block.name, arguments=arguments, provider_data=extra)


def _read_result(raw: msgspec.Raw, extra: dict[str, Any], where: str) -> ToolResult:
    block = _decode_result(raw)
    parts = () if block.content is None else _read_content(block.content, f"{where}.content")
    inside = tuple(part for part in parts if isinstance(part, Text | Media))
    if len(inside) < len(parts):
        raise MalformedError(f"{where}.content holds what is no text, image or document")
    is_error = bool(block.is_error)
    marker = take_marker(extra)
    return ToolResult(call_id=block.tool_use_id, parts=inside, is_error=is_error, cache=marker, provider_data=extra)


def _read_image(raw: msgspec.Raw, extra: dict[str, Any], where: str) -> Media:
    source, marker = _decode_image(raw).source, take_marker(extra)
    if not _is_known(source, raw):
        kept = extra | {"source": decode_json(raw)["source"]}
        return Media(media_type=ANY_IMAGE, cache=marker, provider_data=kept)
    if source.type == "url":
        return Media(media_type=ANY_IMAGE, url=source.url, cache=marker, provider_data=extra)
    data = from_base64(source.data, f"{where}.source.data")
    return Media(media_type=source.media_type, data=data, cache=marker, provider_data=extra)


def _read_document(raw: msgspec.Raw, extra: dict[str, Any], where: str) -> Media:
    block = _decode_document(raw)
    source = block.source
    common: dict[str, Any] = {"name": block.title, "cache": take_marker(extra), "provider_data": extra}
    if not _is_known(source, raw):
        return Media(
            media_type=STORED_FILE, **common | {"provider_data": extra | {"source": decode_json(raw)["source"]}}
        )
    if source.type == "url":
        return Media(media_type=PDF, url=source.url, **common)
    if source.type == "text":
        return Media(media_type=PLAIN_TEXT, data=source.data.encode(), **common)
    return Media(media_type=source.media_type, data=from_base64(source.data, f"{where}.source.data"), **common)


def _is_known(source: _Source, raw: msgspec.Raw) -> bool:
    """Whether the source can be said in full by a `Media`; a stored file or a list of blocks cannot."""
    fields = _SOURCE_FIELDS.get(source.type)
    return fields is not None and fields == decode_json(raw)["source"].keys()


_decode_text = msgspec.json.Decoder(_TextBlock).decode
_decode_thinking = msgspec.json.Decoder(_ThinkingBlock).decode
_decode_redacted = msgspec.json.Decoder(_RedactedBlock).decode
_decode_call = msgspec.json.Decoder(_CallBlock).decode
_decode_result = msgspec.json.Decoder(_ResultBlock).decode
_decode_image = msgspec.json.Decoder(_ImageBlock).decode
_decode_document = msgspec.json.Decoder(_DocumentBlock).decode
_READERS: Mapping[str, Callable[[msgspec.Raw, dict[str, Any], str], Part]] = {
    "text": _read_text,
    "thinking": _read_thinking,
    "redacted_thinking": _read_redacted,
    "tool_use": _read_call,
    "tool_result": _read_result,
    "image": _read_image,
    "document": _read_document,
}


def _message(model: str, identity: str | None) -> dict[str, Any]:
    return {"id": identity or "", "type": "message", "role": "assistant", "model": model, "stop_sequence": None}


def _block(part: Part) -> dict[str, Any]:
    """The block of an answer that `part` is."""
    extra = part.provider_data
    match part:
        case Text(text=text):
            block = extra.get("block")
            return dict(block) if isinstance(block, Mapping) and not text else {**extra, "type": "text", "text": text}
        case ToolCall():
            call = {"type": "tool_use", "id": part.id, "name": part.name, "input": _input(part.arguments)}
            return {**extra, **call}
        case Reasoning() if extra.get("type") == "redacted_thinking":
            return dict(extra)
        case Reasoning(text=text, signature=signature):
            return {**extra, "type": "thinking", "thinking": text, "signature": signature or ""}
    raise UnsupportedError(f"an answer of the Messages API cannot hold a {type(part).__name__}")


def _input(arguments: str) -> Any:
    """A tool call's input: the model's own text where it is an object, else that text in one."""
    try:
        is_object = type(decode_json(arguments)) is dict
    except (ValueError, RecursionError):
        is_object = False
    if is_object:
        return msgspec.Raw(arguments.encode())
    return {"INVALID_JSON": arguments} if arguments.strip() else {}


def _added(block: Mapping[str, Any], kept: Mapping[str, Any]) -> dict[str, Any]:
    """What the end of a part tells beyond its start: new values, and of lists that went on, what came to them."""
    added = {name: value for name, value in kept.items() if value != block.get(name)}
    for name, value in added.items():
        before = block.get(name)
        if isinstance(value, list) and isinstance(before, list):
            added[name] = value[len(before) :]
    return added


def _end(event: ResponseEnd) -> bytes:
    kept = event.provider_data
    delta = {"stop_sequence": None} | unnamed(kept, {"usage"}) | {"stop_reason": _stop(event.finish_reason)}
    frame = _frame("message_delta", delta=delta, usage=_usage(event.usage, kept))
    return frame + _frame("message_stop")


def _stop(reason: FinishReason) -> str:
    """The provider's own word where it is one of this dialect's, so that nothing is lost; else the word for it."""
    raw, unified = reason.raw, reason.unified
    meant = FINISH.get(raw or "", "other")
    if raw is not None and (meant == unified or (meant, unified) == ("stop", "tool_calls")):  # the calls told it
        return raw
    return _STOP.get(unified, "end_turn")  # the dialect has no word for what is not known


def _usage(usage: Usage, kept: Mapping[str, Any]) -> dict[str, Any]:
    """The counts. The dialect demands a number for the input and for the output: what is not known is 0 there."""
    wire = {"input_tokens": 0, "output_tokens": 0, **as_mapping(kept.get("usage"))}
    cached, written = usage.cached_input_tokens, usage.cache_write_input_tokens
    if usage.input_tokens is not None:
        wire["input_tokens"] = max(usage.input_tokens - (cached or 0) - (written or 0), 0)
    if cached is not None:
        wire["cache_read_input_tokens"] = cached
    if written is not None:
        wire["cache_creation_input_tokens"] = written
    if usage.output_tokens is not None:
        wire["output_tokens"] = usage.output_tokens
    if usage.reasoning_tokens is not None:
        details = as_mapping(wire.get("output_tokens_details"))
        wire["output_tokens_details"] = {**details, "thinking_tokens": usage.reasoning_tokens}
    return wire


def _status(error: LLMCallError) -> tuple[int, str]:
    return next(_ERRORS[kind] for kind in type(error).__mro__ if kind in _ERRORS)


def _error(error: LLMCallError) -> dict[str, Any]:
    wire = {"type": _status(error)[1], "message": f"{error.message} {error.hint}".strip()}
    if code := _CODES.get(type(error)):
        wire["code"] = code
    return {"type": "error", "error": wire}


def _frame(kind: str, **fields: Any) -> bytes:
    return _event({"type": kind, **fields})


def _event(value: Mapping[str, Any]) -> bytes:
    return f"event: {value['type']}\ndata: ".encode() + encode_json(value) + b"\n\n"
