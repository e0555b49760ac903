"""The Messages dialect towards providers: requests out, answers in. As Anthropic speaks it, and who speaks like it.

Rule: nothing is lost silently. What the dialect cannot say is refused before any I/O (`UnsupportedError`) where
leaving it out would change the meaning, and named in a `Notice` where it would not.

How canonical values stand on the wire, beside the obvious (`provider_data` is this dialect's own, see `origin`):

- System and developer messages are the one `system` prompt, which stands before all others.
- The dialect demands a limit on output tokens; without one, `ANSWER_TOKENS` are allowed, and more for thoughts.
- `reasoning_effort` is `output_config.effort` with adaptive thinking; `none` is no thinking. Models that know budgets
  only are given them by `provider_options`: `{"thinking": {"type": "enabled", "budget_tokens": 4096}}`.
- `Reasoning` goes back only where it came in this dialect: its `provider_data["type"]` names the block.
- A tool call's arguments go out as the model wrote them. What is no JSON object stands under `INVALID_JSON`.
- Media without data or URL have their source (`{"type": "file", ...}`) in `provider_data["source"]`.
- An empty `Text` with a block in `provider_data["block"]` is that block.
- Other `provider_data` of a message or a part (`citations`, ...) is laid beside its fields.
- `provider_options["betas"]`, a list of names, is the header `anthropic-beta`.
- Texts without a visible character are left out: the API refuses them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from llm_call.core.domain.errors import APIError, ProtocolError, UnsupportedError
from llm_call.core.domain.events import fold
from llm_call.core.domain.messages import Media, Message, Part, Reasoning, Role, Text, ToolCall, ToolResult
from llm_call.core.domain.profile import Profile
from llm_call.core.domain.request import OutputSpec, Request, Settings, Tool, ToolChoice
from llm_call.core.domain.response import Response
from llm_call.core.wire import anthropic_messages_answer as answers
from llm_call.core.wire import anthropic_messages_errors as errors
from llm_call.core.wire.anthropic_messages_answer import AnthropicMessagesStreamDecoder
from llm_call.core.wire.base import Notices, WireRequest
from llm_call.core.wire.caching import cache_field
from llm_call.core.wire.http_errors import excerpt
from llm_call.core.wire.native_schema import closed_schema
from llm_call.core.wire.origin import marked_events, own_request
from llm_call.core.wire.reading import decode_json, parse, split_data_url
from llm_call.core.wire.writing import (
    ANY_IMAGE,
    STORED_FILE,
    add_settings,
    as_mapping,
    base64_text,
    beside,
    check_choice,
    encode_body,
    plain_text,
)

VERSION = "2023-06-01"
ANSWER_TOKENS = 8_192  # what every model since Claude 3.5 can write in one answer
THOUGHT_TOKENS = 12_288  # allowed on top for thoughts, which count too, where no budget is given
SETTINGS: Mapping[str, str] = {"temperature": "temperature", "top_p": "top_p"}
MESSAGE_FIELDS = frozenset({"role", "content"})
BLOCK_FIELDS: Mapping[str, frozenset[str]] = {
    **answers.BLOCK_FIELDS,
    "tool_result": frozenset({"type", "tool_use_id", "content", "is_error"}),
    "image": frozenset({"type", "source"}),
    "document": frozenset({"type", "source", "title"}),
}
THOUGHTS = frozenset({"thinking", "redacted_thinking"})
ADAPTIVE: Mapping[str, Any] = {"type": "adaptive"}
DISABLED: Mapping[str, Any] = {"type": "disabled"}
NO_PARAMETERS: Mapping[str, Any] = {"type": "object", "properties": {}}
PDF = "application/pdf"
PLAIN_TEXT = "text/plain"

_OURS = frozenset({"model", "messages", "stream"})
_CANONICAL = frozenset({"system", "max_tokens", *SETTINGS.values(), "stop_sequences", "tools", "tool_choice"})
_UNKNOWN_SETTINGS = ("seed", "frequency_penalty", "presence_penalty", "logprobs", "top_logprobs")
_MODES = {"auto": "auto", "none": "none", "required": "any"}
_HEADERS = {"content-type": "application/json", "anthropic-version": VERSION}


class AnthropicMessagesCodec:
    """`Codec` for Anthropic's Messages API, version 2023-06-01, and servers that speak it."""

    name = "anthropic_messages"

    def encode_request(self, request: Request, *, stream: bool, profile: Profile) -> WireRequest:
        """The request as the body of a POST to `messages`."""
        notices = Notices()
        own = own_request(request, self.name, notices, cache_markers=True)
        headers = _headers(own.provider_options, notices)
        body = encode_body(lambda: _body(own, stream, profile, notices))
        return WireRequest(path="/messages", body=body, headers=headers, stream=stream, notices=tuple(notices))

    def decode_response(self, body: bytes) -> Response:
        """The answer that the body is."""
        answer = parse(body)
        if answers.is_error(answer):
            raise ProtocolError(f"an error came with the status of a success: {excerpt(body, 200)}")
        return fold(marked_events(answers.read_answer(answer, body).events, self.name))

    def decode_error(self, status: int, headers: Mapping[str, str], body: bytes) -> APIError:
        """The error of a failed response."""
        return errors.decode_error(status, headers, body)

    def stream_decoder(self) -> AnthropicMessagesStreamDecoder:
        """A decoder for one streamed answer."""
        return AnthropicMessagesStreamDecoder()


def _headers(options: Mapping[str, Any], notices: Notices) -> Mapping[str, str]:
    names = options.get("betas")
    if not names:
        return _HEADERS
    if not isinstance(names, list | tuple) or not all(map(_is_header_text, names)):
        raise UnsupportedError("provider_options.betas is no list of names", hint="Give the names of the betas.")
    notices.add("provider_options.betas", "translated", "sent as the header anthropic-beta")
    return {**_HEADERS, "anthropic-beta": ",".join(names)}


def _body(request: Request, stream: bool, profile: Profile, notices: Notices) -> dict[str, Any]:  # noqa: FBT001  # the wire's own field
    system, messages = _messages(request.messages, notices)
    body: dict[str, Any] = {"model": request.model, "messages": messages}
    if system:
        body["system"] = _shortest(system)
    if request.tools:
        body["tools"] = [_tool(tool, f"tools[{index}]", notices) for index, tool in enumerate(request.tools)]
    _add_settings(body, request.settings, notices)
    _add_tool_choice(body, request, notices)
    if request.output is not None:
        _add_output(body, request.output, profile, notices)
    if request.provider_options:
        _add_options(body, request.provider_options, notices)
    if "max_tokens" not in body:
        body["max_tokens"] = limit = _limit(as_mapping(body.get("thinking")))
        notices.add("settings.max_output_tokens", "emulated", f"the dialect demands a limit; {limit} was taken")
    if stream:
        body["stream"] = True
    return body


def _limit(thinking: Mapping[str, Any]) -> int:
    """The limit on output tokens, thoughts included, for a request that sets none."""
    budget = thinking.get("budget_tokens")
    if type(budget) is int:
        return ANSWER_TOKENS + budget
    return ANSWER_TOKENS + (THOUGHT_TOKENS if thinking == ADAPTIVE else 0)


def _add_settings(body: dict[str, Any], settings: Settings, notices: Notices) -> None:
    add_settings(body, settings, SETTINGS)
    if settings.max_output_tokens is not None:
        body["max_tokens"] = settings.max_output_tokens
    if settings.stop:
        body["stop_sequences"] = settings.stop
    if settings.reasoning_effort is not None:
        _add_effort(body, settings.reasoning_effort, notices)
    for name in _UNKNOWN_SETTINGS:
        if getattr(settings, name) is not None:
            notices.add(f"settings.{name}", "dropped", "the dialect has no such setting")


def _add_effort(body: dict[str, Any], effort: str, notices: Notices) -> None:
    if effort == "none":
        body["thinking"] = DISABLED
        return
    if effort == "minimal":
        effort = "low"
        notices.add("settings.reasoning_effort", "translated", "the least effort of this dialect is low")
    body["thinking"] = ADAPTIVE
    body["output_config"] = {"effort": effort}


def _tool(tool: Tool, field: str, notices: Notices) -> dict[str, Any]:
    if not tool.parameters:
        notices.add(f"{field}.parameters", "translated", "no parameters are sent as an object without properties")
    wire: dict[str, Any] = {"name": tool.name, "input_schema": tool.parameters or NO_PARAMETERS}
    wire |= cache_field(tool.cache)
    if tool.description:
        wire["description"] = tool.description
    if tool.strict is not None:
        wire["strict"] = tool.strict
    return beside(wire, tool.provider_data, wire.keys(), f"{field}.provider_data", notices)


def _add_tool_choice(body: dict[str, Any], request: Request, notices: Notices) -> None:
    choice, parallel = request.tool_choice, request.settings.parallel_tool_calls
    if choice is None and parallel is None:
        return
    has_tools = bool(request.tools or request.provider_options.get("tools"))
    if choice is not None:
        check_choice(choice, has_tools=has_tools)
    if not has_tools:
        _leave_out_choice(request, notices)
        return
    wire = _choice(choice or ToolChoice(), notices)
    if parallel is not None and wire["type"] == "none":
        notices.add("settings.parallel_tool_calls", "dropped", "no tool is to be called")
    elif parallel is not None:
        wire["disable_parallel_tool_use"] = not parallel
        if choice is None:
            notices.add("tool_choice", "translated", "whether calls may be parallel is said in the choice, here auto")
    body["tool_choice"] = wire


def _leave_out_choice(request: Request, notices: Notices) -> None:
    for field, value in (
        ("tool_choice", request.tool_choice),
        ("settings.parallel_tool_calls", request.settings.parallel_tool_calls),
    ):
        if value is not None:
            notices.add(field, "dropped", "it is only taken beside tools, and there are none")


def _choice(choice: ToolChoice, notices: Notices) -> dict[str, Any]:
    if choice.name is None:
        return {"type": _MODES[choice.mode]}
    if choice.mode != "auto":
        notices.add("tool_choice.mode", "translated", "a tool that is named is always required")
    return {"type": "tool", "name": choice.name}


def _add_output(body: dict[str, Any], spec: OutputSpec, profile: Profile, notices: Notices) -> None:
    schema = closed_schema(spec, profile, notices)
    if schema is None:
        notices.add("output", "emulated", "the form of the answer is told in the prompt, if at all, and checked after")
        return
    wanted = {"type": "json_schema", "schema": schema}
    body["output_config"] = {**body.get("output_config", {}), "format": wanted}
    if spec.name != OutputSpec().name:
        notices.add("output.name", "dropped", "the dialect gives a schema no name")
    if spec.strict is not None:
        notices.add("output.strict", "dropped", "a schema is always enforced")
    if spec.description is not None:
        notices.add("output.description", "dropped", "the dialect gives a schema no description")


def _add_options(body: dict[str, Any], options: Mapping[str, Any], notices: Notices) -> None:
    for name, value in options.items():
        if name in _OURS:
            notices.add(f"provider_options.{name}", "dropped", "the call itself says this")
        elif name == "output_config" and isinstance(value, Mapping):
            ours = body.get(name, {})
            for twice in sorted(ours.keys() & value.keys()):
                notices.add(f"provider_options.{name}.{twice}", "kept", "sent in the place of the request's own")
            body[name] = {**ours, **value}
        elif name != "betas":
            if name in _CANONICAL or name in body:
                notices.add(f"provider_options.{name}", "kept", "sent in the place of the request's own field")
            body[name] = value


def _messages(messages: Sequence[Message], notices: Notices) -> tuple[tuple[dict[str, Any], ...], list[dict[str, Any]]]:
    """The blocks of the system prompt, and the messages proper."""
    prompts: list[tuple[dict[str, Any], ...]] = []
    wire: list[dict[str, Any]] = []
    after_results = False
    for index, message in enumerate(messages):
        role, field = message.role, f"messages[{index}]"
        if role in {"system", "developer"}:
            if wire or prompts:
                notices.add("messages", "translated", f"{field}: there is one system prompt, before all messages")
            prompts.append(_system(message, field, notices))
        elif (text := plain_text(message)) is not None and not _is_blank(text):
            wire.append({"role": role, "content": text})
            after_results = False
        elif (turn := _message(message, field, notices)) is not None:
            are_results = _are_results(turn["content"])
            if after_results and are_results:
                notices.add("messages", "translated", f"{field}: the results of one turn are sent in one message")
                before = wire.pop()
                turn = {**before, **turn, "content": [*before["content"], *turn["content"]]}
            wire.append(turn)
            after_results = are_results
    return tuple(block for prompt in prompts for block in prompt), wire


def _system(message: Message, field: str, notices: Notices) -> tuple[dict[str, Any], ...]:
    if message.role == "developer":
        notices.add(f"{field}.role", "translated", "what a developer says is part of the system prompt")
    _drop_name(message, field, notices)
    for name in message.provider_data:
        notices.add(f"{field}.provider_data.{name}", "dropped", "the system prompt has only parts")
    for index, part in enumerate(message.parts):
        if not isinstance(part, Text):
            raise UnsupportedError(f"{field}.parts[{index}]: the system prompt takes no {type(part).__name__}")
    blocks = _blocks(message.parts, message.role, field, notices)
    if not blocks:
        notices.add("messages", "dropped", f"{field} has no content")
    return tuple(blocks)


def _message(message: Message, field: str, notices: Notices) -> dict[str, Any] | None:
    """A message of any role but system and developer; `None` when it has no content."""
    results = tuple(part for part in message.parts if isinstance(part, ToolResult))
    if message.role == "tool" and (not results or len(results) < len(message.parts)):
        raise UnsupportedError(
            f"{field}: a message of role tool holds tool results, and nothing else",
            hint="Put the other parts into a message of their own.",
        )
    _drop_name(message, field, notices)
    blocks = _blocks(message.parts, message.role, field, notices)
    if not blocks:
        notices.add("messages", "dropped", f"{field} has no content, which the API refuses")
        return None
    if message.role == "user" and results:
        blocks = _results_first(blocks, field, notices)
    role = "assistant" if message.role == "assistant" else "user"
    known = {"role": role, "content": _shortest(blocks)}
    return beside(known, message.provider_data, MESSAGE_FIELDS, f"{field}.provider_data", notices)


def _results_first(blocks: list[dict[str, Any]], field: str, notices: Notices) -> list[dict[str, Any]]:
    """The blocks of a user's message with tool results, which the API takes only before all else."""
    ordered = sorted(blocks, key=lambda block: block["type"] != "tool_result")
    if ordered != blocks:
        notices.add(f"{field}.parts", "translated", "tool results are sent before the rest")
    if _are_results(blocks):
        notices.add(f"{field}.role", "translated", "a user's message of tool results alone is one of role tool")
    return ordered


def _are_results(content: str | Sequence[Mapping[str, Any]]) -> bool:
    return not isinstance(content, str) and all(block["type"] == "tool_result" for block in content)


def _drop_name(message: Message, field: str, notices: Notices) -> None:
    if message.name is not None:
        notices.add(f"{field}.name", "dropped", "the dialect has no names of speakers")


def _blocks(parts: Sequence[Part], role: Role, field: str, notices: Notices) -> list[dict[str, Any]]:
    blocks = [_block(part, role, f"{field}.parts[{index}]", notices) for index, part in enumerate(parts)]
    return [block for block in blocks if block is not None]


def _shortest(blocks: Sequence[dict[str, Any]]) -> str | Sequence[dict[str, Any]]:
    """A single text without more as it is, anything else as blocks."""
    first = blocks[0]
    text: str = first.get("text", "")
    return text if len(blocks) == 1 and first.keys() == BLOCK_FIELDS["text"] and first["type"] == "text" else blocks


def _block(part: Part, role: Role, field: str, notices: Notices) -> dict[str, Any] | None:
    """The block that a part is, or `None` when it is left out."""
    match part:
        case Text():
            return _text(part, field, notices)
        case Media() if role == "user":
            return _media(part, field, notices)
        case Reasoning() if role == "assistant":
            return _reasoning(part, field, notices)
        case ToolCall() if role == "assistant":
            return _call(part, field, notices)
        case ToolResult() if role != "assistant":
            return _result(part, field, notices)
    raise UnsupportedError(f"{field}: the dialect takes no {type(part).__name__} in a message of role {role}")


def _text(part: Text, field: str, notices: Notices) -> dict[str, Any] | None:
    block = part.provider_data.get("block")
    if isinstance(block, Mapping) and isinstance(block.get("type"), str) and not part.text:
        return {**block, **cache_field(part.cache)}
    if _is_blank(part.text):
        notices.add(field, "dropped", "the API refuses a text without a visible character")
        return None
    known = {"type": "text", "text": part.text, **cache_field(part.cache)}
    if part.refusal:
        notices.add(f"{field}.refusal", "dropped", "a refusal is sent as any text")
    return beside(known, part.provider_data, BLOCK_FIELDS["text"], f"{field}.provider_data", notices)


def _reasoning(part: Reasoning, field: str, notices: Notices) -> dict[str, Any] | None:
    kind = part.provider_data.get("type")
    if kind not in THOUGHTS:
        notices.add(field, "dropped", "the dialect takes no reasoning but what came in it")
        return None
    known: dict[str, Any] = {"type": kind}
    if kind == "thinking":
        known |= {"thinking": part.text, "signature": part.signature or ""}
    extra = {name: value for name, value in part.provider_data.items() if name != "type"}
    return beside(known, extra, BLOCK_FIELDS[kind], f"{field}.provider_data", notices)


def _call(part: ToolCall, field: str, notices: Notices) -> dict[str, Any]:
    known = {
        "type": "tool_use",
        "id": part.id,
        "name": part.name,
        "input": _input(part.arguments, f"{field}.arguments", notices),
    }
    return beside(known, part.provider_data, BLOCK_FIELDS["tool_use"], f"{field}.provider_data", notices)


def _input(arguments: str, field: str, notices: Notices) -> Any:
    text = arguments.strip(" \t\r\n")
    if not text:
        notices.add(field, "translated", "no arguments are sent as an empty object")
        return {}
    try:
        is_object = type(decode_json(text)) is dict
    except (ValueError, RecursionError):
        is_object = False
    if not is_object:
        notices.add(field, "emulated", "what is no JSON object is sent as the text INVALID_JSON of one")
        return {"INVALID_JSON": arguments}
    if text != arguments:
        notices.add(field, "translated", "sent without the space around it")
    return msgspec.Raw(text.encode())


def _result(part: ToolResult, field: str, notices: Notices) -> dict[str, Any]:
    known: dict[str, Any] = {"type": "tool_result", "tool_use_id": part.call_id, **cache_field(part.cache)}
    if blocks := _blocks(part.parts, "user", field, notices):
        known["content"] = _shortest(blocks)
    if part.is_error:
        known["is_error"] = True
    return beside(known, part.provider_data, BLOCK_FIELDS["tool_result"], f"{field}.provider_data", notices)


def _media(part: Media, field: str, notices: Notices) -> dict[str, Any]:
    kind = "image" if part.media_type.startswith("image/") else "document"
    extra = part.provider_data
    if part.data is None and part.url is None and isinstance(extra.get("source"), Mapping):
        source: Mapping[str, Any] = extra["source"]
        extra = {name: value for name, value in extra.items() if name != "source"}
        if part.media_type not in {ANY_IMAGE, STORED_FILE}:
            notices.add(f"{field}.media_type", "dropped", "the source says, or its keeper knows")
    else:
        source = _source(part, field, notices)
    known: dict[str, Any] = {"type": kind, "source": source, **cache_field(part.cache)}
    if part.name is not None and kind == "document":
        known["title"] = part.name
    elif part.name is not None:
        notices.add(f"{field}.name", "dropped", "no name is sent with an image")
    return beside(known, extra, BLOCK_FIELDS[kind], f"{field}.provider_data", notices)


def _source(part: Media, field: str, notices: Notices) -> dict[str, Any]:
    sent_as_is = part.media_type.startswith("image/") or part.media_type == PDF
    if part.data is not None and part.url is not None:
        notices.add(f"{field}.url", "dropped", "the bytes are sent, so the URL is not")
    if part.data is not None and sent_as_is:
        return {"type": "base64", "media_type": part.media_type, "data": base64_text(part.data)}
    if part.data is not None and part.media_type.startswith("text/"):
        return _plain_text(part, part.data, field, notices)
    if part.data is None and part.url is not None and sent_as_is:
        return _url(part, part.url, field, notices)
    what = "with neither data nor URL" if part.data is None and part.url is None else "given in this way"
    raise UnsupportedError(
        f"{field}: the dialect takes no {part.media_type} {what}",
        hint="Images and PDF go by bytes or URL, texts by bytes.",
    )


def _plain_text(part: Media, data: bytes, field: str, notices: Notices) -> dict[str, Any]:
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise UnsupportedError(f"{field}: the text is no UTF-8", hint="Convert it to UTF-8.") from error
    if part.media_type != PLAIN_TEXT:
        notices.add(f"{field}.media_type", "translated", f"sent as {PLAIN_TEXT}")
    return {"type": "text", "media_type": PLAIN_TEXT, "data": text}


def _url(part: Media, url: str, field: str, notices: Notices) -> dict[str, Any]:
    if url.startswith("data:"):
        found = split_data_url(url)
        if found is None:
            raise UnsupportedError(f"{field}: the URL is no base64 data URL", hint="Give the bytes.")
        notices.add(field, "translated", "a data URL is the same as bytes")
        return {"type": "base64", "media_type": found[0], "data": found[1]}
    if part.media_type not in {ANY_IMAGE, PDF}:
        notices.add(f"{field}.media_type", "dropped", "no type is sent beside a URL; the provider sees it in the bytes")
    return {"type": "url", "url": url}


def _is_header_text(value: Any) -> bool:
    return isinstance(value, str) and value.isascii() and value.isprintable()


def _is_blank(text: str) -> bool:
    return not text or text.isspace()
