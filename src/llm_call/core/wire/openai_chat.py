"""The chat-completions dialect towards providers: requests out, answers in.

Rule: nothing is lost silently. What the dialect cannot say is refused before any I/O (`UnsupportedError`) where
leaving it out would change the meaning, and named in a `Notice` where it would not.

How canonical values stand on the wire, beside the obvious (`provider_data` is this dialect's own, see `origin`):

- `max_output_tokens` is sent as `max_tokens`, which every compatible server knows.
- `stop` behind tool calls, as it ends a call that was forced, is `tool_calls`.
- A model's refusal is a `Text` that says so; the answer that holds it has the unified finish reason `content_filter`,
  whatever the server's own word was.
- `Reasoning` goes back only where it came in this dialect: its `provider_data["field"]` names the field.
- `provider_data` of a message, a part or a tool call is laid beside its fields. For media, what stands in it under the
  name of the wire part is laid inside that: `{"image_url": {"detail": "low"}}`.
- Cache markers are sent where the profile says that the host takes them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from llm_call.core.domain.errors import APIError, ProtocolError, UnsupportedError
from llm_call.core.domain.events import fold
from llm_call.core.domain.messages import Media, Message, Part, Reasoning, Role, Text, ToolCall, ToolResult
from llm_call.core.domain.profile import Profile
from llm_call.core.domain.request import OutputSpec, Request, Settings, Tool, ToolChoice
from llm_call.core.domain.response import Response
from llm_call.core.wire.base import Notices, WireRequest
from llm_call.core.wire.caching import cache_field
from llm_call.core.wire.http_errors import decode_http_error, excerpt
from llm_call.core.wire.native_schema import openai_form
from llm_call.core.wire.openai_chat_answer import (
    REASONING_FIELDS,
    OpenAIChatStreamDecoder,
    is_error,
    read_answer,
)
from llm_call.core.wire.origin import marked_events, own_request
from llm_call.core.wire.reading import parse
from llm_call.core.wire.writing import (
    ANY_IMAGE,
    FILE_NAME,
    STORED_FILE,
    Located,
    add_settings,
    as_mapping,
    base64_text,
    beside,
    check_choice,
    content,
    data_url,
    encode_body,
    plain_text,
    split_results,
)

SETTINGS: Mapping[str, str] = {
    "max_output_tokens": "max_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "seed": "seed",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "logprobs": "logprobs",
    "top_logprobs": "top_logprobs",
    "reasoning_effort": "reasoning_effort",
    "parallel_tool_calls": "parallel_tool_calls",
}
MESSAGE_FIELDS = frozenset(
    {"role", "name", "content", "refusal", "tool_calls", "tool_call_id", "function_call", *REASONING_FIELDS}
)
CALL_FIELDS = frozenset({"id", "index", "type", "function"})
FUNCTION_FIELDS = frozenset({"name", "arguments"})
PART_FIELDS: Mapping[str, frozenset[str]] = {
    "text": frozenset({"type", "text"}),
    "image_url": frozenset({"type", "image_url"}),
    "input_audio": frozenset({"type", "input_audio"}),
    "file": frozenset({"type", "file"}),
}
INNER_FIELDS: Mapping[str, frozenset[str]] = {
    "image_url": frozenset({"url"}),
    "input_audio": frozenset({"data", "format"}),
    "file": frozenset({"filename", "file_data"}),
}
AUDIO_FORMATS: Mapping[str, str] = {"audio/mpeg": "mp3", "audio/mp3": "mp3", "audio/x-wav": "wav"}

_OURS = frozenset({"model", "messages", "stream"})
_CANONICAL = frozenset({*SETTINGS.values(), "max_completion_tokens", "stop", "tools", "tool_choice", "response_format"})
_HEADERS = {"content-type": "application/json"}


class OpenAIChatCodec:
    """`Codec` for chat completions, as OpenAI and most compatible servers speak it."""

    name = "openai_chat"

    def encode_request(self, request: Request, *, stream: bool, profile: Profile) -> WireRequest:
        """The request as the body of a POST to `chat/completions`."""
        notices = Notices()
        own = own_request(request, self.name, notices, cache_markers=profile.cache_markers)
        body = encode_body(lambda: _body(own, stream, profile, notices))
        return WireRequest(path="/chat/completions", body=body, headers=_HEADERS, stream=stream, notices=tuple(notices))

    def decode_response(self, body: bytes) -> Response:
        """The answer in the first choice."""
        answer = parse(body)
        if is_error(answer):
            raise ProtocolError(f"an error came with the status of a success: {excerpt(body, 200)}")
        return fold(marked_events(read_answer(answer, body).events, self.name))

    def decode_error(self, status: int, headers: Mapping[str, str], body: bytes) -> APIError:
        """The error of a failed response."""
        return decode_http_error(status, headers, body)

    def stream_decoder(self) -> OpenAIChatStreamDecoder:
        """A decoder for one streamed answer."""
        return OpenAIChatStreamDecoder()


def _body(request: Request, stream: bool, profile: Profile, notices: Notices) -> dict[str, Any]:  # noqa: FBT001  # the wire's own field
    options = request.provider_options
    body: dict[str, Any] = {"model": request.model, "messages": _messages(request.messages, notices)}
    if request.tools:
        body["tools"] = [_tool(tool, f"tools[{index}]", notices) for index, tool in enumerate(request.tools)]
    has_tools = bool(request.tools or options.get("tools"))
    _add_settings(body, request.settings, has_tools, notices)
    if "max_tokens" in body:
        body[profile.output_limit_field] = body.pop("max_tokens")
    if request.tool_choice is not None:
        _add_tool_choice(body, request.tool_choice, has_tools, notices)
    if request.output is not None:
        _add_output(body, request.output, profile, notices)
    if options:
        _add_options(body, options, notices)
    _add_stream(body, stream, notices)
    return body


def _add_stream(body: dict[str, Any], stream: bool, notices: Notices) -> None:  # noqa: FBT001  # the wire's own field
    given = body.pop("stream_options", None)
    if stream:
        body["stream"] = True
        body["stream_options"] = {**as_mapping(given), "include_usage": True}
        if "include_usage" in as_mapping(given):
            notices.add("provider_options.stream_options", "translated", "the usage is always asked for")
    elif given is not None:
        notices.add("provider_options.stream_options", "dropped", "nothing is streamed")


def _add_settings(body: dict[str, Any], settings: Settings, has_tools: bool, notices: Notices) -> None:  # noqa: FBT001  # a fact, no switch
    add_settings(body, settings, SETTINGS)
    if settings.stop:
        body["stop"] = settings.stop
    if not has_tools and body.pop("parallel_tool_calls", None) is not None:
        notices.add("settings.parallel_tool_calls", "dropped", "it is only taken beside tools, and there are none")


def _tool(tool: Tool, field: str, notices: Notices) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name}
    if tool.description:
        function["description"] = tool.description
    if tool.parameters:
        function["parameters"] = tool.parameters
    if tool.strict is not None:
        function["strict"] = tool.strict
    return _named(
        "function", {"type": "function", **cache_field(tool.cache)}, function, tool.provider_data, field, notices
    )


def _add_tool_choice(body: dict[str, Any], choice: ToolChoice, has_tools: bool, notices: Notices) -> None:  # noqa: FBT001  # a fact, no switch
    check_choice(choice, has_tools=has_tools)
    if not has_tools:
        notices.add("tool_choice", "dropped", "it is only taken beside tools, and there are none")
    elif choice.name is None:
        body["tool_choice"] = choice.mode
    else:
        body["tool_choice"] = {"type": "function", "function": {"name": choice.name}}
        if choice.mode != "auto":
            notices.add("tool_choice.mode", "translated", "a tool that is named is always required")


def _add_output(body: dict[str, Any], spec: OutputSpec, profile: Profile, notices: Notices) -> None:
    form = openai_form(spec, profile, notices)
    if form is None:
        return
    kind = form.pop("type")
    body["response_format"] = {"type": kind, **({kind: form} if form else {})}


def _add_options(body: dict[str, Any], options: Mapping[str, Any], notices: Notices) -> None:
    if options.get("n") not in (None, 1):
        raise UnsupportedError("provider_options.n asks for several answers", hint="Ask several times.")
    for name, value in options.items():
        if name in _OURS:
            notices.add(f"provider_options.{name}", "dropped", "the call itself says this")
            continue
        if name in _CANONICAL:
            notices.add(f"provider_options.{name}", "kept", "sent as given, in the place of the request's own field")
        body[name] = value


def _messages(messages: Sequence[Message], notices: Notices) -> list[dict[str, Any]]:
    wire: list[dict[str, Any]] = []
    for index, message in enumerate(messages):
        if (text := plain_text(message)) is not None:
            wire.append({"role": message.role, "content": text})
        else:
            wire += _message(message, f"messages[{index}]", notices)
    return wire


def _message(message: Message, field: str, notices: Notices) -> list[dict[str, Any]]:
    located = [(f"{field}.parts[{index}]", part) for index, part in enumerate(message.parts)]
    results, rest = split_results(message, located, field)
    if not results:
        return [_turn(message, located, field, notices)]
    if any(part.provider_data for _, part in results):
        notices.add(field, "translated", "what a tool result keeps is laid beside the fields of its message")
    wire = [_result(message, part, where, field, notices) for where, part in results]
    if rest:
        wire.append(_turn(message, rest, field, notices))
    if message.role == "user" or len(wire) > 1:
        notices.add("messages", "translated", f"{field}: each tool result is sent as a message of its own")
    return wire


def _result(message: Message, result: ToolResult, where: str, field: str, notices: Notices) -> dict[str, Any]:
    if result.is_error:
        notices.add(f"{where}.is_error", "dropped", "only the content can say that a tool failed")
    located = [(f"{where}.parts[{index}]", part) for index, part in enumerate(result.parts)]
    known: dict[str, Any] = {"role": "tool", "tool_call_id": result.call_id, **cache_field(result.cache)}
    known["content"] = _content(located, "tool", where, notices)
    if message.name is not None:
        known["name"] = message.name
    return beside(
        known, {**message.provider_data, **result.provider_data}, MESSAGE_FIELDS, f"{field}.provider_data", notices
    )


def _turn(message: Message, located: Located, field: str, notices: Notices) -> dict[str, Any]:
    """A message of any role but tool."""
    known: dict[str, Any] = {"role": message.role}
    if message.name is not None:
        known["name"] = message.name
    if message.role == "assistant":
        located = _add_assistant_fields(known, located, field, notices)
    if not located and ("tool_calls" in known or "refusal" in known):
        known["content"] = None
    else:
        known["content"] = _content(located, message.role, field, notices)
    return beside(known, message.provider_data, MESSAGE_FIELDS, f"{field}.provider_data", notices)


def _add_assistant_fields(known: dict[str, Any], located: Located, field: str, notices: Notices) -> Located:
    """Add what an assistant says outside of its content, and return the parts of the content."""
    places: dict[str, list[tuple[str, Part]]] = {"reasoning": [], "content": [], "refusal": [], "calls": []}
    for where, part in located:
        places[_place(part)].append((where, part))
    if list(located) != [each for place in places.values() for each in place]:
        notices.add(f"{field}.parts", "translated", "reasoning, text, refusal and tool calls are sent in this order")
    _add_reasoning(known, places["reasoning"], field, notices)
    if refusals := [_refusal(part, where, notices) for where, part in places["refusal"]]:
        known["refusal"] = _joined(refusals, field, notices)
    if places["calls"]:
        calls = [(where, part) for where, part in places["calls"] if isinstance(part, ToolCall)]
        known["tool_calls"] = [_call(part, where, notices) for where, part in calls]
    return places["content"]


def _place(part: Part) -> str:
    match part:
        case Reasoning():
            return "reasoning"
        case ToolCall():
            return "calls"
        case Text(refusal=True):
            return "refusal"
    return "content"


def _refusal(part: Part, field: str, notices: Notices) -> str:
    if part.provider_data or (isinstance(part, Text) and part.cache):
        notices.add(field, "dropped", "chat completions take the refusal's text alone")
    return part.text if isinstance(part, Text) else ""


def _add_reasoning(known: dict[str, Any], located: Located, field: str, notices: Notices) -> None:
    texts: dict[str, list[str]] = {}
    for where, part in located:
        name = part.provider_data.get("field")
        if not isinstance(part, Reasoning) or name not in REASONING_FIELDS or (texts and name not in texts):
            notices.add(where, "dropped", "chat completions take no reasoning but what came in this dialect")
            continue
        texts.setdefault(name, []).append(part.text)
        if part.signature is not None or len(part.provider_data) > 1:
            notices.add(where, "dropped", "chat completions take the reasoning's text alone")
    known.update({name: _joined(pieces, field, notices) for name, pieces in texts.items()})


def _joined(texts: Sequence[str], field: str, notices: Notices) -> str:
    if len(texts) > 1:
        notices.add(f"{field}.parts", "translated", "several parts are sent as one text")
    return "\n\n".join(texts)


def _call(call: ToolCall, field: str, notices: Notices) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return _named("function", {"id": call.id, "type": "function"}, function, call.provider_data, field, notices)


def _named(
    name: str, known: dict[str, Any], inner: dict[str, Any], extra: Mapping[str, Any], field: str, notices: Notices
) -> dict[str, Any]:
    """`known` with `inner` under `name`, and what `provider_data` says beside each."""
    if not extra:
        return {**known, name: inner}
    place = f"{field}.provider_data"
    inner = beside(inner, as_mapping(extra.get(name)), inner.keys(), f"{place}.{name}", notices)
    rest = {key: value for key, value in extra.items() if key != name}
    return beside({**known, name: inner}, rest, CALL_FIELDS, place, notices)


def _content(located: Located, role: Role, field: str, notices: Notices) -> str | list[dict[str, Any]]:
    return content(located, lambda part, where: _part(part, role, where, notices), field, notices)


def _part(part: Part, role: Role, field: str, notices: Notices) -> dict[str, Any]:
    if isinstance(part, Text):
        if part.refusal:
            notices.add(f"{field}.refusal", "dropped", "only a message of the assistant refuses")
        known = {"type": "text", "text": part.text, **cache_field(part.cache)}
        return beside(known, part.provider_data, known.keys(), f"{field}.provider_data", notices)
    if not isinstance(part, Media) or role != "user":
        kind = type(part).__name__
        raise UnsupportedError(f"{field}: chat completions take no {kind} in a message of role {role}")
    name, inner = _media(part, field, notices)
    return _named(name, {"type": name, **cache_field(part.cache)}, inner, part.provider_data, field, notices)


def _media(part: Media, field: str, notices: Notices) -> tuple[str, dict[str, Any]]:
    """The wire part's name, and what stands in it."""
    kind, _, subtype = part.media_type.partition("/")
    if part.data is not None and part.url is not None:
        notices.add(f"{field}.url", "dropped", "the bytes are sent, so the URL is not")
    if kind in {"image", "audio"} and part.name is not None:
        notices.add(f"{field}.name", "dropped", f"no name is sent with an {kind}")
    if kind == "image" and (part.data is not None or part.url is not None):
        return "image_url", {"url": _image_url(part, field, notices)}
    if kind == "audio" and part.data is not None:
        return "input_audio", _audio(part, subtype, field, notices)
    if kind in {"application", "text"} and (part.data is not None or _file_id(part) is not None):
        return "file", _file(part, field, notices)
    what = "with neither data nor URL" if part.data is None and part.url is None else "given in this way"
    raise UnsupportedError(
        f"{field}: chat completions take no {part.media_type} {what}",
        hint="Images go by bytes or URL; sounds and documents by bytes.",
    )


def _image_url(part: Media, field: str, notices: Notices) -> str:
    if part.data is not None:
        return data_url(part.media_type, part.data)
    url = part.url or ""
    if url.startswith("data:"):
        notices.add(field, "translated", "a data URL is the same as bytes")
    elif part.media_type != ANY_IMAGE:
        notices.add(f"{field}.media_type", "dropped", "no type is sent beside a URL; the provider sees it in the bytes")
    return url


def _audio(part: Media, subtype: str, field: str, notices: Notices) -> dict[str, Any]:
    sound = AUDIO_FORMATS.get(part.media_type, subtype)
    if audio_type(sound) != part.media_type:
        notices.add(f"{field}.media_type", "translated", f"sent as the format {sound}")
    return {"data": base64_text(part.data or b""), "format": sound}


def _file(part: Media, field: str, notices: Notices) -> dict[str, Any]:
    known: dict[str, Any] = {} if part.name is None else {"filename": part.name}
    if part.data is not None:
        if part.name is None:
            known["filename"] = FILE_NAME
            notices.add(f"{field}.name", "emulated", f"a file needs a name; sent as {FILE_NAME!r}")
        known["file_data"] = data_url(part.media_type, part.data)
    elif part.media_type != STORED_FILE or part.url is not None:
        notices.add(field, "translated", "the file that the provider stores is sent by its id alone")
    return known


def _file_id(part: Media) -> Any:
    return as_mapping(part.provider_data.get("file")).get("file_id")


def audio_type(sound: str) -> str:
    """The media type of a sound format's name."""
    return "audio/mpeg" if sound == "mp3" else f"audio/{sound}"
