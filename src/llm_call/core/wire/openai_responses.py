"""The Responses API towards providers: requests out, answers in.

Rule: nothing is lost silently, as in the chat dialect. Every call is stateless: `store` is false unless
`provider_options` says otherwise, and what the next call needs goes along in its messages.

How canonical values stand on the wire, beside the obvious (of answers, see `openai_responses_answer`):

- A first system message of one plain text is sent as `instructions`, any other as an item of the input.
- Each part of an assistant's message is an item of the input, in its place; texts that follow each other share one.
- `Reasoning` goes back only where it came in this dialect, told by its `provider_data["type"]`, and only with its
  encrypted content or its raw thoughts: the provider has kept nothing. Encrypted content is asked for where the
  request shows that the model reasons, and not otherwise: models that do not reason refuse to be asked.
- `provider_data` of a message, a part or a tool call is laid beside its fields. An image or a file that the provider
  stores is a `Media` with neither bytes nor URL whose `provider_data` has the `file_id`.
- `reasoning`, `text` and `include` in `provider_options` are added to what the request itself says there.
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
from llm_call.core.wire.http_errors import decode_http_error, excerpt
from llm_call.core.wire.native_schema import openai_form
from llm_call.core.wire.openai_chat_answer import is_error
from llm_call.core.wire.openai_responses_answer import (
    REASONING_FIELDS,
    OpenAIResponsesStreamDecoder,
    read_answer,
    reasoning_texts,
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
    beside,
    check_choice,
    content,
    data_url,
    encode_body,
    plain_text,
    split_results,
)

SETTINGS: Mapping[str, str] = {
    name: name for name in ("max_output_tokens", "temperature", "top_p", "top_logprobs", "parallel_tool_calls")
}
ENCRYPTED = "reasoning.encrypted_content"  # what `include` calls the reasoning that can be sent back
DETAIL = "auto"  # of an image, where nothing else is wanted: the vendor's types demand one
LOGPROBS = "message.output_text.logprobs"
MESSAGE_FIELDS = frozenset({"type", "role", "content", "id", "status"})
CALL_FIELDS = frozenset({"type", "call_id", "name", "arguments", "id", "status"})
RESULT_FIELDS = frozenset({"type", "call_id", "output", "id", "status"})
PART_FIELDS: Mapping[str, frozenset[str]] = {
    "input_text": frozenset({"type", "text"}),
    "output_text": frozenset({"type", "text"}),
    "refusal": frozenset({"type", "refusal"}),
    "input_image": frozenset({"type", "image_url"}),
    "input_file": frozenset({"type", "filename", "file_data", "file_url"}),
}

_LOST = ("seed", "frequency_penalty", "presence_penalty")
_OURS = frozenset({"model", "input", "messages", "stream"})
_CANONICAL = frozenset({*SETTINGS, "instructions", "tools", "tool_choice", "include", "reasoning", "text"})
_INNER = {"reasoning": "effort", "text": "format"}  # the field in an object that is the request's own
_HEADERS = {"content-type": "application/json"}


class OpenAIResponsesCodec:
    """`Codec` for the Responses API, as OpenAI and compatible servers speak it."""

    name = "openai_responses"

    def encode_request(self, request: Request, *, stream: bool, profile: Profile) -> WireRequest:
        """The request as the body of a POST to `responses`."""
        notices = Notices()
        own = own_request(request, self.name, notices)
        body = encode_body(lambda: _body(own, stream, profile, notices))
        return WireRequest(path="/responses", body=body, headers=_HEADERS, stream=stream, notices=tuple(notices))

    def decode_response(self, body: bytes) -> Response:
        """The answer. A response that failed raises the error that it carries, as its stream does."""
        answer = parse(body)
        if is_error(answer) and answer.get("object") != "response":
            raise ProtocolError(f"an error came with the status of a success: {excerpt(body, 200)}")
        return fold(marked_events(read_answer(answer, body).events, self.name))

    def decode_error(self, status: int, headers: Mapping[str, str], body: bytes) -> APIError:
        """The error of a failed response."""
        return decode_http_error(status, headers, body)

    def stream_decoder(self) -> OpenAIResponsesStreamDecoder:
        """A decoder for one streamed answer."""
        return OpenAIResponsesStreamDecoder()


def includes_of(request: Request) -> list[str]:
    """What an answer to `request` is asked to include, beside what its options ask for."""
    reasons = request.settings.reasoning_effort is not None or "reasoning" in request.provider_options
    included = [ENCRYPTED] if reasons or any(_has_reasoning(message) for message in request.messages) else []
    return [*included, LOGPROBS] if request.settings.logprobs else included


def _has_reasoning(message: Message) -> bool:
    return message.role == "assistant" and any(
        isinstance(part, Reasoning)
        and (kind := part.provider_data.get("type")) in REASONING_FIELDS
        and (kind == "summary_text" or part.signature is not None)
        for part in message.parts
    )


def _body(request: Request, stream: bool, profile: Profile, notices: Notices) -> dict[str, Any]:  # noqa: FBT001  # the wire's own field
    options = request.provider_options
    body: dict[str, Any] = {"model": request.model}
    _add_input(body, request.messages, notices)
    if request.tools:
        body["tools"] = [_tool(tool, f"tools[{index}]", notices) for index, tool in enumerate(request.tools)]
    has_tools = bool(request.tools or options.get("tools"))
    _add_settings(body, request.settings, has_tools, notices)
    if request.tool_choice is not None:
        _add_tool_choice(body, request.tool_choice, has_tools, notices)
    if request.output is not None:
        _add_output(body, request.output, profile, notices)
    body["store"] = False
    if include := includes_of(request):
        body["include"] = include
    if options:
        _add_options(body, options, notices)
    if stream:
        body["stream"] = True
    elif body.pop("stream_options", None) is not None:
        notices.add("provider_options.stream_options", "dropped", "nothing is streamed")
    return body


def _add_settings(body: dict[str, Any], settings: Settings, has_tools: bool, notices: Notices) -> None:  # noqa: FBT001  # a fact, no switch
    add_settings(body, settings, SETTINGS)
    if settings.reasoning_effort is not None:
        body["reasoning"] = {"effort": settings.reasoning_effort}
    for name in _LOST:
        if getattr(settings, name) is not None:
            notices.add(f"settings.{name}", "dropped", "the Responses API has no such setting")
    if settings.stop:
        notices.add("settings.stop", "dropped", "the Responses API has no such setting")
    if settings.logprobs is False:
        notices.add("settings.logprobs", "translated", "none are asked for, which is to say nothing")
    if not has_tools and body.pop("parallel_tool_calls", None) is not None:
        notices.add("settings.parallel_tool_calls", "dropped", "it is only taken beside tools, and there are none")


def _tool(tool: Tool, field: str, notices: Notices) -> dict[str, Any]:
    wire: dict[str, Any] = {"type": "function", "name": tool.name, "parameters": tool.parameters or None}
    if tool.description:
        wire["description"] = tool.description
    if tool.strict is not None:
        wire["strict"] = tool.strict
    return beside(wire, tool.provider_data, wire.keys(), f"{field}.provider_data", notices)


def _add_tool_choice(body: dict[str, Any], choice: ToolChoice, has_tools: bool, notices: Notices) -> None:  # noqa: FBT001  # a fact, no switch
    check_choice(choice, has_tools=has_tools)
    if not has_tools:
        notices.add("tool_choice", "dropped", "it is only taken beside tools, and there are none")
    elif choice.name is None:
        body["tool_choice"] = choice.mode
    else:
        body["tool_choice"] = {"type": "function", "name": choice.name}
        if choice.mode != "auto":
            notices.add("tool_choice.mode", "translated", "a tool that is named is always required")


def _add_output(body: dict[str, Any], spec: OutputSpec, profile: Profile, notices: Notices) -> None:
    if (form := openai_form(spec, profile, notices)) is not None:
        body["text"] = {"format": form}


def _add_options(body: dict[str, Any], options: Mapping[str, Any], notices: Notices) -> None:
    if options.get("background"):
        raise UnsupportedError(
            "provider_options.background asks for an answer later", hint="Leave it out: this call waits for its answer."
        )
    for name, value in options.items():
        if name in _OURS:
            notices.add(f"provider_options.{name}", "dropped", "the call itself says this")
            continue
        own = body.get(name)
        added = _added(name, value, own)
        if added is None and (name in _CANONICAL or (name == "store" and value is False)):
            notices.add(f"provider_options.{name}", "kept", "sent as given, in the place of the request's own field")
        elif added is not None and name == "include" and any(each in (own or ()) for each in value):
            notices.add("provider_options.include", "kept", "the request itself asks for some of it too")
        body[name] = value if added is None else added


def _added(name: str, value: Any, own: Any) -> Any:
    """An option that is added to the request's own field; `None` where it takes the field's place."""
    if name in _INNER and isinstance(value, Mapping) and _INNER[name] not in value:
        return {**(own or {}), **value}
    if name == "include" and isinstance(value, list | tuple) and LOGPROBS not in value:
        return [*(own or ()), *(each for each in value if each not in (own or ()))]
    return None


def _add_input(body: dict[str, Any], messages: Sequence[Message], notices: Notices) -> None:
    first = 0
    if len(messages) > 1 and messages[0].role == "system" and (text := plain_text(messages[0])):
        body["instructions"] = text
        first = 1
    items: list[dict[str, Any]] = []
    for index, message in enumerate(messages[first:], first):
        more = _items(message, f"messages[{index}]", notices)
        if items and more and message.role == "assistant" and is_assistants(items[-1]):
            notices.add("messages", "translated", "messages of the assistant that follow each other are one turn")
        items += more
    body["input"] = items


def is_assistants(item: Mapping[str, Any]) -> bool:
    """Whether an item of the input belongs to a turn of the assistant."""
    return item["type"] in {"function_call", "reasoning"} or item.get("role") == "assistant"


def _items(message: Message, field: str, notices: Notices) -> list[dict[str, Any]]:
    if (text := plain_text(message)) is not None:
        return [{"type": "message", "role": message.role, "content": text}]
    if message.name is not None:
        notices.add(f"{field}.name", "dropped", "messages of the Responses API have no name")
    located = [(f"{field}.parts[{index}]", part) for index, part in enumerate(message.parts)]
    if message.role == "assistant":
        return _assistant(message, located, field, notices)
    results, rest = split_results(message, located, field)
    return _results(message, results, rest, field, notices) if results else [_turn(message, located, field, notices)]


def _turn(message: Message, located: Located, field: str, notices: Notices) -> dict[str, Any]:
    """A message of the system, the developer or the user."""
    known = {"type": "message", "role": message.role, "content": _content(located, message.role, field, notices)}
    return beside(known, message.provider_data, MESSAGE_FIELDS, f"{field}.provider_data", notices)


def _results(
    message: Message, results: Sequence[tuple[str, ToolResult]], rest: Located, field: str, notices: Notices
) -> list[dict[str, Any]]:
    items = [_result(message, part, where, notices) for where, part in results]
    if rest:
        items.append(_turn(message, rest, field, notices))
    if message.role == "user" or len(items) > 1:
        notices.add("messages", "translated", f"{field}: each tool result is sent as an item of its own")
    if message.role == "tool" and message.provider_data:
        notices.add(field, "translated", "what the message keeps is laid beside the fields of its tool result")
    return items


def _result(message: Message, result: ToolResult, where: str, notices: Notices) -> dict[str, Any]:
    if result.is_error:
        notices.add(f"{where}.is_error", "dropped", "only the content can say that a tool failed")
    located = [(f"{where}.parts[{index}]", part) for index, part in enumerate(result.parts)]
    output = _content(located, "tool", where, notices)
    known = {"type": "function_call_output", "call_id": result.call_id, "output": output}
    around = message.provider_data if message.role == "tool" else {}
    return beside(known, {**around, **result.provider_data}, RESULT_FIELDS, f"{where}.provider_data", notices)


def _assistant(message: Message, located: Located, field: str, notices: Notices) -> list[dict[str, Any]]:
    for name in sorted(message.provider_data):
        notices.add(f"{field}.provider_data.{name}", "dropped", "a turn of the assistant has no fields of its own")
    items: list[dict[str, Any]] = []
    around: Any = None  # of the message item that is still open for texts
    for where, part in located:
        match part:
            case Text():
                if not items or items[-1]["type"] != "message" or around != part.provider_data.get("item"):
                    around = part.provider_data.get("item")
                    items.append(_spoken_item(around, where, notices))
                items[-1]["content"].append(_spoken(part, where, notices))
            case ToolCall():
                known = {"type": "function_call", "call_id": part.id, "name": part.name, "arguments": part.arguments}
                items.append(beside(known, part.provider_data, CALL_FIELDS, f"{where}.provider_data", notices))
            case Reasoning():
                items += _reasoning(part, where, notices)
            case _:
                raise UnsupportedError(f"{where}: a turn of the assistant takes no {type(part).__name__}")
    if not located:
        notices.add(f"{field}.parts", "translated", "no part at all is sent as an empty text")
        items.append({"type": "message", "role": "assistant", "content": ""})
    return items


def _spoken_item(around: Any, field: str, notices: Notices) -> dict[str, Any]:
    known = {"type": "message", "role": "assistant", "content": []}
    return beside(known, as_mapping(around), MESSAGE_FIELDS, f"{field}.provider_data.item", notices)


def _spoken(part: Text, field: str, notices: Notices) -> dict[str, Any]:
    extra = dict(part.provider_data)
    if isinstance(extra.get("item"), Mapping):
        del extra["item"]
    if part.refusal:
        return beside(
            {"type": "refusal", "refusal": part.text}, extra, PART_FIELDS["refusal"], f"{field}.provider_data", notices
        )
    known: dict[str, Any] = {"type": "output_text", "text": part.text}
    return {"annotations": []} | beside(known, extra, PART_FIELDS["output_text"], f"{field}.provider_data", notices)


def _reasoning(part: Reasoning, field: str, notices: Notices) -> list[dict[str, Any]]:
    """The item, or none."""
    extra = dict(part.provider_data)
    kind = extra.pop("type", None)
    if kind not in REASONING_FIELDS:
        notices.add(field, "dropped", "the Responses API takes no reasoning but what came in this dialect")
        return []
    if part.signature is None and kind == "summary_text" and "content" not in extra:
        notices.add(field, "dropped", "a stateless call takes reasoning only with its encrypted content")
        notices.add("provider_options.include", "emulated", "from here on the encrypted content is asked for")
        return []
    if kind != "summary_text" and not part.text:
        notices.add(
            f"{field}.provider_data", "translated", "a reasoning item without text does not say of which kind it is"
        )
    item: dict[str, Any] = {"type": "reasoning", **reasoning_texts(kind, part.text), **extra}
    if part.signature is not None:
        item["encrypted_content"] = part.signature
    return [item]


def _content(located: Located, role: Role, field: str, notices: Notices) -> str | list[dict[str, Any]]:
    return content(located, lambda part, where: _part(part, role, where, notices), field, notices)


def _part(part: Part, role: Role, field: str, notices: Notices) -> dict[str, Any]:
    if isinstance(part, Text):
        if part.refusal:
            notices.add(f"{field}.refusal", "dropped", "only the assistant refuses")
        known: dict[str, Any] = {"type": "input_text", "text": part.text}
    elif isinstance(part, Media) and role in {"user", "tool"}:
        known = _media(part, field, notices)
    else:
        kind = type(part).__name__
        raise UnsupportedError(f"{field}: the Responses API takes no {kind} in a message of role {role}")
    return beside(known, part.provider_data, PART_FIELDS[known["type"]], f"{field}.provider_data", notices)


def _media(part: Media, field: str, notices: Notices) -> dict[str, Any]:
    kind = part.media_type.partition("/")[0]
    has_content = part.data is not None or part.url is not None
    if kind not in {"image", "application", "text"} or not (has_content or "file_id" in part.provider_data):
        what = "given in this way" if has_content else "with neither bytes nor URL"
        raise UnsupportedError(
            f"{field}: the Responses API takes no {part.media_type} {what}",
            hint="Images and documents go by bytes, by URL or by file_id; for sounds use chat completions.",
        )
    if part.data is not None and part.url is not None:
        notices.add(f"{field}.url", "dropped", "the bytes are sent, so the URL is not")
    return _image(part, field, notices) if kind == "image" else _file(part, field, notices)


def _image(part: Media, field: str, notices: Notices) -> dict[str, Any]:
    if part.name is not None:
        notices.add(f"{field}.name", "dropped", "no name is sent with an image")
    known: dict[str, Any] = {"type": "input_image"}
    if "detail" not in part.provider_data:
        known["detail"] = DETAIL
    if part.data is not None:
        return {**known, "image_url": data_url(part.media_type, part.data)}
    if part.url is not None and part.url.startswith("data:"):
        notices.add(field, "translated", "a data URL is the same as bytes")
    elif part.media_type != ANY_IMAGE:
        notices.add(f"{field}.media_type", "dropped", "no type is sent beside a URL or an id")
    return known if part.url is None else {**known, "image_url": part.url}


def _file(part: Media, field: str, notices: Notices) -> dict[str, Any]:
    known: dict[str, Any] = {"type": "input_file"}
    if part.name is not None:
        known["filename"] = part.name
    if part.data is not None:
        if part.name is None:
            known["filename"] = FILE_NAME
            notices.add(f"{field}.name", "emulated", f"a file needs a name; sent as {FILE_NAME!r}")
        return {**known, "file_data": data_url(part.media_type, part.data)}
    if part.media_type != STORED_FILE:
        notices.add(f"{field}.media_type", "dropped", "no type is sent beside a URL or an id")
    return known if part.url is None else {**known, "file_url": part.url}
