"""Google's `generateContent` dialect towards providers: requests out, answers in.

Rule: nothing is lost silently. What the dialect cannot say is refused before any I/O (`UnsupportedError`) where
leaving it out would change the meaning, and named in a `Notice` where it would not.

How canonical values stand on the wire, beside the obvious (`provider_data` is this dialect's own, see `origin`):

- The model's name stands in the path, so a name that could change the path is refused.
- All system and developer messages go into `systemInstruction`, which has no place among the others. Tool results that
  follow each other go into one content: the dialect wants all answers to one turn's calls together.
- A tool result names its function: the call is looked up in the messages before it. An id that was made up here
  (`gemini_answer`) is not sent. Its text stands in `response` under `output`, or `error` where the tool failed.
- `provider_data` of a message or a part is laid beside its fields, so a `thoughtSignature` goes back where it was. What
  stands in it under the name of the wire part is laid inside that: `{"inlineData": {"displayName": "a"}}`. An empty
  `Text` that keeps a part of another kind is sent as that part.
- `Reasoning` goes back only where it came in this dialect: its `provider_data["thought"]` says so.
- `reasoning_effort` is `thinkingLevel`, or a budget of tokens for the 2.5 models, which know no levels; the budgets are
  those that the vendor's own OpenAI-compatible endpoint takes for these words.
- `provider_options` are laid over the body; `generationConfig`, `toolConfig` and its `functionCallingConfig` field by
  field; `tools` stand beside the request's own, because built-in tools are entries of the same list.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from llm_call.core.domain.errors import APIError, ProtocolError, UnsupportedError
from llm_call.core.domain.events import fold
from llm_call.core.domain.messages import Media, Message, Part, Reasoning, Text, ToolCall, ToolResult
from llm_call.core.domain.profile import Profile
from llm_call.core.domain.request import OutputSpec, Request, Settings, Tool, ToolChoice
from llm_call.core.domain.response import Fate, Response
from llm_call.core.wire.base import Notices, WireRequest
from llm_call.core.wire.gemini_answer import UNKNOWN_TYPE, GeminiStreamDecoder, error_in, read_answer
from llm_call.core.wire.gemini_errors import failed
from llm_call.core.wire.gemini_schema import subset
from llm_call.core.wire.http_errors import excerpt
from llm_call.core.wire.native_schema import limited_strings, note_left_out
from llm_call.core.wire.origin import marked_events, own_request
from llm_call.core.wire.reading import decode_json, parse, split_data_url
from llm_call.core.wire.writing import (
    add_settings,
    as_mapping,
    base64_text,
    beside,
    check_choice,
    encode_body,
    path_name,
    plain_text,
)

SETTINGS: Mapping[str, str] = {
    "max_output_tokens": "maxOutputTokens",
    "temperature": "temperature",
    "top_p": "topP",
    "seed": "seed",
    "frequency_penalty": "frequencyPenalty",
    "presence_penalty": "presencePenalty",
    "logprobs": "responseLogprobs",
    "top_logprobs": "logprobs",
}
MODES: Mapping[str, str] = {"auto": "AUTO", "none": "NONE", "required": "ANY"}
LEVELS: Mapping[str, str] = {"none": "minimal", "xhigh": "high", "max": "high"}  # the nearest there is
BUDGETS: Mapping[str, int] = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24_576}
ROLES: Mapping[str, str] = {"user": "user", "assistant": "model"}
CONTENT_FIELDS = frozenset({"role", "parts"})
# What stands in a part beside its one value; a part of `provider_data` with any other field is a part of its own kind.
PART_DATA = frozenset({"text", "inlineData", "fileData", "functionCall", "functionResponse"})
BESIDE_DATA = frozenset({"thought", "thoughtSignature", "partMetadata", "videoMetadata", "mediaResolution"})

_BUDGETED = "gemini-2.5"
_OURS = frozenset({"model", "contents", "messages", "systemInstruction", "system_instruction", "stream", "alt"})
_MERGED = frozenset({"generationConfig", "toolConfig", "functionCallingConfig"})
_HEADERS = {"content-type": "application/json"}


class GeminiCodec:
    """`Codec` for `generateContent`, as Google's Gemini API and Vertex AI speak it."""

    name = "gemini"

    def encode_request(self, request: Request, *, stream: bool, profile: Profile) -> WireRequest:
        """The request as the body of a POST to `models/{model}:generateContent`, or its streamed twin."""
        path, notices = _path(request.model, stream), Notices()
        own = own_request(request, self.name, notices)
        body = encode_body(lambda: _body(own, profile, notices))
        return WireRequest(path=path, body=body, headers=_HEADERS, stream=stream, notices=tuple(notices))

    def decode_response(self, body: bytes) -> Response:
        """The answer in the first candidate.

        Raises:
            ProtocolError: It cannot be read, or holds no answer.
            ContentFilteredError: The prompt was blocked, so there is no answer.
        """
        answer = parse(body)
        if error_in(answer) is not None:
            raise ProtocolError(f"an error came with the status of a success: {excerpt(body, 200)}")
        return fold(marked_events(read_answer(answer, body).events, self.name))

    def decode_error(self, status: int, headers: Mapping[str, str], body: bytes) -> APIError:
        """The error of a failed response."""
        return failed(status, headers, body)

    def stream_decoder(self) -> GeminiStreamDecoder:
        """A decoder for one streamed answer."""
        return GeminiStreamDecoder()


def _path(model: str, stream: bool) -> str:  # noqa: FBT001  # the two methods of the dialect
    name = path_name(model.removeprefix("models/"))
    return f"/models/{name}:streamGenerateContent?alt=sse" if stream else f"/models/{name}:generateContent"


def _body(request: Request, profile: Profile, notices: Notices) -> dict[str, Any]:
    options = request.provider_options
    contents = _Contents(notices)
    for index, message in enumerate(request.messages):
        contents.add(message, f"messages[{index}]")
    body: dict[str, Any] = {"contents": contents.wire}
    if contents.system:
        body["systemInstruction"] = {"parts": contents.system}
    has_tools = bool(request.tools or options.get("tools"))
    _add_tools(body, request, has_tools, notices)
    config = _generation_config(request, has_tools, notices)
    if request.output is not None:
        _add_output(config, request.output, profile, notices)
    if config:
        body["generationConfig"] = config
    if options:
        _add_options(body, options, notices)
    return body


# How to generate


def _generation_config(request: Request, has_tools: bool, notices: Notices) -> dict[str, Any]:  # noqa: FBT001  # a fact, no switch
    settings = request.settings
    config: dict[str, Any] = {}
    add_settings(config, settings, SETTINGS)
    if settings.stop:
        config["stopSequences"] = settings.stop
    if settings.reasoning_effort is not None:
        _add_effort(config, request.model, settings.reasoning_effort, notices)
    _judge_parallel(settings, has_tools, notices)
    return config


def _judge_parallel(settings: Settings, has_tools: bool, notices: Notices) -> None:  # noqa: FBT001  # a fact, no switch
    if settings.parallel_tool_calls is None:
        return
    if has_tools and settings.parallel_tool_calls:
        notices.add("settings.parallel_tool_calls", "translated", "it is not said: several calls at once are the rule")
    else:
        notices.add("settings.parallel_tool_calls", "dropped", "the dialect has no field for it")


def _add_effort(config: dict[str, Any], model: str, effort: str, notices: Notices) -> None:
    field = "settings.reasoning_effort"
    if not model.removeprefix("models/").startswith(_BUDGETED):
        level = LEVELS.get(effort, effort)
        config["thinkingConfig"] = {"thinkingLevel": level}
        if level != effort:
            notices.add(field, "translated", f"sent as the level {level!r}, the nearest there is")
    elif effort in BUDGETS:
        config["thinkingConfig"] = {"thinkingBudget": BUDGETS[effort]}
        notices.add(field, "translated", f"sent as a budget of {BUDGETS[effort]} tokens; this model knows no levels")
    else:
        notices.add(field, "dropped", f"no budget of tokens is known for {effort!r}, and this model knows no levels")


def _add_output(config: dict[str, Any], spec: OutputSpec, profile: Profile, notices: Notices) -> None:
    if profile.output_mode == "prompted":
        notices.add("output", "emulated", "this model is told the form of its answer in the prompt")
        return
    config["responseMimeType"] = "application/json"
    if spec.schema is None:
        if spec != OutputSpec():
            notices.add("output", "dropped", "without a schema, no name, description or strictness is sent")
    elif profile.output_mode == "json":
        notices.add("output", "emulated", "this model answers in JSON, and is told the schema in the prompt")
    else:
        config["responseJsonSchema"] = _schema(spec, spec.schema, profile, notices)
        if spec.name != OutputSpec().name:
            notices.add("output.name", "dropped", "the dialect has no name for a schema")
        if spec.strict is not None:
            said: Fate = "translated" if spec.strict else "dropped"
            notices.add("output.strict", said, "it is not said: the model is always held to the schema")


def _schema(spec: OutputSpec, schema: Mapping[str, Any], profile: Profile, notices: Notices) -> Mapping[str, Any]:
    if spec.description is not None:
        if schema.get("description", spec.description) == spec.description:
            notices.add("output.description", "translated", "sent as the description in the schema")
            schema = {**schema, "description": spec.description}
        else:
            notices.add("output.description", "dropped", "the schema has a description of its own")
    taken = subset(schema, profile.unenforced_keywords)
    note_left_out(taken.left_out, notices)
    for keyword in taken.translated:
        notices.add("output.schema", "translated", _TRANSLATED[keyword])
    return limited_strings(taken.schema, profile, notices)


_TRANSLATED: Mapping[str, str] = {
    "$ref": "a `$ref` with words beside it is sent as an `anyOf` of one",
    "const": "`const` is sent as an `enum` of one",
    "definitions": "`definitions` is sent as `$defs`",
    "items": "a list of `items` is sent as `prefixItems`",
    "oneOf": "`oneOf` is read as `anyOf`; that no more than one fits is checked on the answer",
}


# Tools


def _add_tools(body: dict[str, Any], request: Request, has_tools: bool, notices: Notices) -> None:  # noqa: FBT001  # a fact, no switch
    if request.tools:
        body["tools"] = [
            {
                "functionDeclarations": [
                    _tool(tool, f"tools[{index}]", notices) for index, tool in enumerate(request.tools)
                ]
            }
        ]
    choice = request.tool_choice
    config = {} if choice is None else _calling_config(choice, has_tools, notices)
    if any(tool.strict is not None for tool in request.tools):
        _add_strictness(config, request.tools, notices)
    if config:
        body["toolConfig"] = {"functionCallingConfig": config}


def _tool(tool: Tool, field: str, notices: Notices) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name}
    if tool.description:
        function["description"] = tool.description
    if tool.parameters:
        function["parametersJsonSchema"] = tool.parameters
    return beside(function, tool.provider_data, function.keys(), f"{field}.provider_data", notices)


def _calling_config(choice: ToolChoice, has_tools: bool, notices: Notices) -> dict[str, Any]:  # noqa: FBT001  # a fact, no switch
    check_choice(choice, has_tools=has_tools)
    if not has_tools:
        notices.add("tool_choice", "dropped", "it says nothing where there are no tools")
        return {}
    if choice.name is None:
        return {"mode": MODES[choice.mode]}
    if choice.mode != "auto":
        notices.add("tool_choice.mode", "translated", "a tool that is named is always required")
    return {"mode": MODES["required"], "allowedFunctionNames": [choice.name]}


def _add_strictness(config: dict[str, Any], tools: Sequence[Tool], notices: Notices) -> None:
    """Calls are held to the schema where one is demanded, and in the mode VALIDATED where the model is free."""
    if any(tool.strict for tool in tools) and config.get("mode", "AUTO") == "AUTO":
        if config:
            notices.add(
                "tool_choice", "translated", "sent as VALIDATED, in which the model is as free, for strict tools"
            )
        config["mode"] = "VALIDATED"
    held = config.get("mode") in {"VALIDATED", "ANY"}
    for index, tool in enumerate(tools):
        if tool.strict is not None:
            fate: Fate = "translated" if tool.strict and held else "dropped"
            notices.add(f"tools[{index}].strict", fate, "the mode of the calls says it for all tools together")


def _add_options(body: dict[str, Any], options: Mapping[str, Any], notices: Notices) -> None:
    given = as_mapping(options.get("generationConfig"))
    if given.get("candidateCount") not in (None, 1):
        raise UnsupportedError("provider_options asks for several answers", hint="Ask several times.")
    for name, value in options.items():
        where = f"provider_options.{name}"
        if name in _OURS:
            notices.add(where, "dropped", "the call itself says this")
        elif name == "tools" and "tools" in body and isinstance(value, list | tuple):
            notices.add(where, "kept", "sent beside the request's own tools")
            body["tools"] = [*body["tools"], *value]
        else:
            _lay(body, name, value, where, notices)


def _lay(body: dict[str, Any], name: str, value: Any, where: str, notices: Notices) -> None:
    """Lay `value` over what `body` says under `name`."""
    old = body.get(name)
    if name in _MERGED and isinstance(old, dict) and isinstance(value, Mapping):
        body[name] = inner = dict(old)
        for each, more in value.items():
            _lay(inner, each, more, f"{where}.{each}", notices)
        return
    if name in body:
        notices.add(where, "kept", "sent as given, in the place of the request's own field")
    body[name] = value


# Messages


class _Contents:
    """The messages on their way into `contents` and `systemInstruction`."""

    def __init__(self, notices: Notices) -> None:
        self.wire: list[dict[str, Any]] = []
        self.system: list[dict[str, Any]] = []
        self._notices = notices
        self._calls: dict[str, ToolCall] = {}  # by their ids; the latest counts, where ids come again
        self._instructed = False  # there was a message for the system instruction
        self._after_results = False  # the last content holds the results of a message of role tool

    def add(self, message: Message, field: str) -> None:
        """Take in the next message."""
        role = ROLES.get(message.role, "")
        if role and (text := plain_text(message)) is not None:
            self.wire.append({"role": role, "parts": [{"text": text}]})
            self._after_results = False
            return
        if message.name is not None and not self._names_a_function(message):
            self._notices.add(f"{field}.name", "dropped", "the dialect has no name for who speaks")
        if message.role in {"system", "developer"}:
            self._instruct(message, field)
            return
        if message.role == "tool" and not message.parts:
            raise UnsupportedError(f"{field}: a message of role tool holds results", hint="Give the result.")
        said = [self._part(part, message, f"{field}.parts[{index}]") for index, part in enumerate(message.parts)]
        parts = [part for part in said if part is not None]
        if not parts:
            self._notices.add(f"{field}.parts", "translated", "no part at all is sent as an empty text")
            parts = [{"text": ""}]
        if message.role == "user" and message.parts and all(isinstance(part, ToolResult) for part in message.parts):
            self._notices.add(
                f"{field}.role", "translated", "a user's message of tool results alone is one of role tool"
            )
        if message.role == "tool" and self._after_results and not message.provider_data:
            self._notices.add("messages", "translated", f"{field} is sent in one content with the results before it")
            self.wire[-1]["parts"] += parts
            return
        known = {"role": role or "user", "parts": parts}
        self.wire.append(beside(known, message.provider_data, CONTENT_FIELDS, f"{field}.provider_data", self._notices))
        self._after_results = message.role == "tool"

    def _names_a_function(self, message: Message) -> bool:
        """Whether the name of a message is that of the function whose result it holds, which is sent in any case."""
        results = [part for part in message.parts if isinstance(part, ToolResult)]
        return message.role == "tool" and all(self._function(result, message) == message.name for result in results)

    def _function(self, result: ToolResult, message: Message) -> str | None:
        call = self._calls.get(result.call_id)
        return message.name if call is None else call.name

    def _instruct(self, message: Message, field: str) -> None:
        if self.wire or self._instructed:
            self._notices.add(
                "messages", "translated", f"{field}: there is one system instruction, before all messages"
            )
        if not message.parts:
            self._notices.add("messages", "dropped", f"{field} has no content")
        self._instructed = True
        if message.role == "developer":
            self._notices.add(f"{field}.role", "translated", "it is sent in the system instruction")
        if message.provider_data:
            self._notices.add(f"{field}.provider_data", "dropped", "the system instruction is one for all")
        for index, part in enumerate(message.parts):
            where = f"{field}.parts[{index}]"
            if not isinstance(part, Text):
                raise _misplaced(part, message, where)
            self.system.append(_text(part, where, self._notices))

    def _part(self, part: Part, message: Message, field: str) -> dict[str, Any] | None:
        role, notices = message.role, self._notices
        match part:
            case Text() if role != "tool":
                return _text(part, field, notices)
            case Media() if role != "tool":
                return _media(part, field, notices)
            case Reasoning() if role == "assistant":
                return _reasoning(part, field, notices)
            case ToolCall() if role == "assistant":
                self._calls[part.id] = part
                return _call(part, field, notices)
            case ToolResult() if role in {"user", "tool"}:
                return self._result(part, message, field)
        raise _misplaced(part, message, field)

    def _result(self, result: ToolResult, message: Message, field: str) -> dict[str, Any]:
        name, call = self._function(result, message), self._calls.get(result.call_id)
        if name is None:
            raise UnsupportedError(
                f"{field}: no call {result.call_id[:60]!r} stands before this result, and the dialect needs its name",
                hint="Give the assistant's message with the call too, or the function's name as the message's name.",
            )
        known: dict[str, Any] = {"name": name, "response": _outcome(result, field, self._notices)}
        if call is None or not _has_made_up_id(call):
            known["id"] = result.call_id
        located = [(f"{field}.parts[{index}]", part) for index, part in enumerate(result.parts)]
        if media := [_media(part, where, self._notices) for where, part in located if isinstance(part, Media)]:
            known["parts"] = media
        reserved = frozenset({"name", "id", "response", "parts"})
        return _part_with("functionResponse", known, result.provider_data, reserved, field, self._notices)


def _outcome(result: ToolResult, field: str, notices: Notices) -> dict[str, str]:
    texts = [part for part in result.parts if isinstance(part, Text)]
    if len(texts) != 1:
        how = "several texts are sent as one" if texts else "no text at all is sent as an empty one"
        notices.add(f"{field}.parts", "translated", how)
    if len(texts) not in {0, len(result.parts)}:
        notices.add(f"{field}.parts", "translated", "the text is sent before the media")
    if any(part.provider_data for part in texts):
        notices.add(f"{field}.parts", "dropped", "of the texts of a result, the text alone is sent")
    return {"error" if result.is_error else "output": "\n\n".join(part.text for part in texts)}


def _misplaced(part: Part, message: Message, field: str) -> UnsupportedError:
    return UnsupportedError(
        f"{field}: the dialect takes no {type(part).__name__} in a message of role {message.role}",
        hint="Put it into a message of the role that it belongs to.",
    )


# Parts


def _text(part: Text, field: str, notices: Notices) -> dict[str, Any]:
    extra = part.provider_data
    if part.refusal:
        notices.add(f"{field}.refusal", "dropped", "a refusal is a text like any other here")
    if not extra:
        return {"text": part.text}
    if not part.text and not extra.keys() <= BESIDE_DATA | PART_DATA:
        return dict(extra)
    return beside({"text": part.text}, extra, PART_DATA, f"{field}.provider_data", notices)


def _reasoning(part: Reasoning, field: str, notices: Notices) -> dict[str, Any] | None:
    if part.provider_data.get("thought") is not True:
        notices.add(field, "dropped", "the dialect takes no reasoning but what came in it")
        return None
    known: dict[str, Any] = {"text": part.text, "thought": True}
    if part.signature is not None:
        known["thoughtSignature"] = part.signature
    extra = {name: value for name, value in part.provider_data.items() if name != "thought"}
    return beside(known, extra, PART_DATA | {"thoughtSignature"}, f"{field}.provider_data", notices)


def _call(call: ToolCall, field: str, notices: Notices) -> dict[str, Any]:
    known: dict[str, Any] = {"name": call.name, "args": _arguments(call, field, notices)}
    if not _has_made_up_id(call):
        known["id"] = call.id
    return _part_with("functionCall", known, call.provider_data, frozenset({"name", "args", "id"}), field, notices)


def _arguments(call: ToolCall, field: str, notices: Notices) -> msgspec.Raw:
    """The arguments as the model wrote them: they go into the body byte by byte."""
    text = call.arguments.strip()
    if text and text != call.arguments:
        notices.add(f"{field}.arguments", "translated", "the space around the arguments is not sent")
    if not text:
        notices.add(f"{field}.arguments", "translated", "no arguments at all are sent as an empty object")
        text = "{}"
    try:
        is_object = type(decode_json(text)) is dict
    except (ValueError, RecursionError):
        is_object = False
    if not is_object:
        raise UnsupportedError(
            f"{field}: the arguments of the call are no JSON object, which this dialect demands",
            hint="Leave out the call and its result, or tell of them in a text.",
        )
    return msgspec.Raw(text)


def _has_made_up_id(call: ToolCall) -> bool:
    inside = as_mapping(call.provider_data.get("functionCall"))
    return "id" in inside and inside["id"] is None


def _media(part: Media, field: str, notices: Notices) -> dict[str, Any]:
    if part.name is not None:
        notices.add(f"{field}.name", "dropped", "no name is sent with media")
    if part.data is not None:
        if part.url is not None:
            notices.add(f"{field}.url", "dropped", "the bytes are sent, so the URL is not")
        inline = {"mimeType": part.media_type, "data": base64_text(part.data)}
        return _part_with("inlineData", inline, part.provider_data, inline.keys(), field, notices)
    found = split_data_url(part.url or "")
    if part.url is None or (part.url.startswith("data:") and found is None):
        what = "with neither data nor URL" if part.url is None else "in a data URL that is no base64"
        raise UnsupportedError(f"{field}: the dialect takes no {part.media_type} {what}", hint="Give the bytes.")
    if found is not None:
        notices.add(field, "translated", "a data URL is the same as bytes")
        inline = {"mimeType": found[0], "data": found[1]}
        return _part_with("inlineData", inline, part.provider_data, inline.keys(), field, notices)
    file = {"fileUri": part.url}
    if "*" not in part.media_type and part.media_type != UNKNOWN_TYPE:  # else the type is not known
        file["mimeType"] = part.media_type
    return _part_with("fileData", file, part.provider_data, frozenset({"mimeType", "fileUri"}), field, notices)


def _part_with(
    name: str, known: dict[str, Any], extra: Mapping[str, Any], reserved: Collection[str], field: str, notices: Notices
) -> dict[str, Any]:
    """The part `{name: known}`, with what `provider_data` says inside and beside it."""
    if not extra:
        return {name: known}
    inside = {key: value for key, value in as_mapping(extra.get(name)).items() if value is not None}
    known = beside(known, inside, reserved, f"{field}.provider_data.{name}", notices)
    rest = {key: value for key, value in extra.items() if key != name}
    return beside({name: known}, rest, PART_DATA, f"{field}.provider_data", notices)
