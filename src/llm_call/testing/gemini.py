"""Google's dialect from the other side: its requests read, its answers written. It has no server codec to do that.

Written from the vendor's documentation of `generateContent`, and not from the codec that it tests. `unified` is the
normal form of a request here: what the dialect can say in one way only is said in that way.
"""

from base64 import b64decode
from collections.abc import Mapping
from itertools import count
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from llm_call.core.domain.messages import Media, Message, Part, Reasoning, Role, Text, ToolCall, ToolResult
from llm_call.core.domain.request import OutputSpec, Request, Settings, Tool, ToolChoice, ToolMode
from llm_call.core.wire.base import WireRequest
from llm_call.core.wire.origin import marked_request

_SETTINGS: Mapping[str, str] = {
    "maxOutputTokens": "max_output_tokens",
    "temperature": "temperature",
    "topP": "top_p",
    "seed": "seed",
    "frequencyPenalty": "frequency_penalty",
    "presencePenalty": "presence_penalty",
    "responseLogprobs": "logprobs",
    "logprobs": "top_logprobs",
}
_MODES: Mapping[str, ToolMode] = {"AUTO": "auto", "NONE": "none", "ANY": "required"}
_BODY = frozenset({"contents", "systemInstruction", "tools", "toolConfig", "generationConfig"})
_CONFIG = frozenset({*_SETTINGS, "stopSequences", "thinkingConfig", "responseMimeType", "responseJsonSchema"})
_DATA = ("text", "inlineData", "fileData", "functionCall", "functionResponse")


class _Call(Struct):
    name: str
    args: msgspec.Raw
    id: str = ""


class _CallPart(Struct):
    functionCall: _Call | None = None  # noqa: N815  # the wire's own word


class _Content(Struct):
    parts: list[_CallPart]


class _Contents(Struct):
    contents: list[_Content]


def read_request(wire: WireRequest) -> tuple[Request, bool]:
    """The request that stands in the path and the body, and whether its answer is to be streamed."""
    body, raw = msgspec.json.decode(wire.body), msgspec.json.decode(wire.body, type=_Contents)
    name, _, method = wire.path.removeprefix("/models/").partition(":")
    config = body.get("generationConfig", {})
    messages = [_message(content, raw.contents[at]) for at, content in enumerate(body["contents"])]
    if system := body.get("systemInstruction"):
        messages.insert(0, Message(role="system", parts=tuple(_part(part, None) for part in system["parts"])))
    request = Request(
        model=name,
        messages=tuple(messages),
        settings=_settings(config),
        tools=tuple(_tool(each) for each in body.get("tools", [{}])[0].get("functionDeclarations", ())),
        tool_choice=_choice(body.get("toolConfig", {}).get("functionCallingConfig")),
        output=OutputSpec(schema=config.get("responseJsonSchema")) if "responseMimeType" in config else None,
        provider_options=_others(body, _BODY) | _others(config, _CONFIG),
        dialect="gemini",
    )
    return marked_request(request, "gemini"), method == "streamGenerateContent?alt=sse"


def _settings(config: Mapping[str, Any]) -> Settings:
    values = {ours: config[theirs] for theirs, ours in _SETTINGS.items() if theirs in config}
    stop = tuple(config.get("stopSequences", ()))
    return Settings(**values, stop=stop, reasoning_effort=config.get("thinkingConfig", {}).get("thinkingLevel"))


def _tool(wire: Mapping[str, Any]) -> Tool:
    described = {"description": wire["description"]} if "description" in wire else {}
    kept = _others(wire, {"name", "description", "parametersJsonSchema"})
    return Tool(name=wire["name"], parameters=wire.get("parametersJsonSchema", {}), provider_data=kept, **described)


def _choice(config: Mapping[str, Any] | None) -> ToolChoice | None:
    if config is None or config["mode"] == "VALIDATED":  # which says that tools are strict, and leaves the model free
        return None
    if "allowedFunctionNames" in config:
        return ToolChoice(name=config["allowedFunctionNames"][0])
    return ToolChoice(mode=_MODES[config["mode"]])


def _message(content: Mapping[str, Any], raw: _Content) -> Message:
    parts = tuple(_part(part, raw.parts[at].functionCall) for at, part in enumerate(content["parts"]))
    number = count()
    parts = tuple(_named(part, next(number)) if isinstance(part, ToolCall) else part for part in parts)
    are_results = all(isinstance(part, ToolResult) for part in parts)
    role: Role = "assistant" if content["role"] == "model" else "tool" if are_results else "user"
    name = content["parts"][0]["functionResponse"]["name"] if are_results else None
    return Message(role=role, parts=parts, name=name, provider_data=_others(content, {"role", "parts"}))


def _named(call: ToolCall, number: int) -> ToolCall:
    """A call to which the provider gave no id has one that was made up, and says so."""
    if call.id:
        return call
    inside = {**call.provider_data.get("functionCall", {}), "id": None}
    return replace(call, id=f"call_{number}", provider_data={**call.provider_data, "functionCall": inside})


def _part(wire: Mapping[str, Any], call: _Call | None) -> Part:
    """The part; one of no kind is kept as it is, by an empty text."""
    kind = next((name for name in _DATA if name in wire), "")
    beside = _others(wire, {kind})
    match kind:
        case "text" if wire.get("thought"):
            signature = beside.pop("thoughtSignature", None)
            return Reasoning(text=wire["text"], signature=signature, provider_data=beside)
        case "text":
            return Text(text=wire["text"], provider_data=beside)
        case "inlineData" | "fileData":
            return _media(kind, wire[kind], beside)
        case "functionCall" if call is not None:
            kept = _kept(kind, wire[kind], {"name", "args", "id"}, beside)
            return ToolCall(id=call.id, name=call.name, arguments=bytes(call.args).decode(), provider_data=kept)
        case "functionResponse":
            return _result(wire[kind], _kept(kind, wire[kind], {"name", "response", "id", "parts"}, beside))
    return Text(text="", provider_data=wire)


def _media(kind: str, wire: Mapping[str, Any], beside: Mapping[str, Any]) -> Media:
    kept = _kept(kind, wire, {"mimeType", "data", "fileUri"}, beside)
    media_type = wire.get("mimeType", "image/*")  # the one type that is not sent beside a URL
    if kind == "fileData":
        return Media(media_type=media_type, url=wire["fileUri"], provider_data=kept)
    return Media(media_type=media_type, data=b64decode(wire["data"], validate=True), provider_data=kept)


def _result(wire: Mapping[str, Any], kept: Mapping[str, Any]) -> ToolResult:
    ((word, text),) = wire["response"].items()
    media = [part for part in (_part(each, None) for each in wire.get("parts", ())) if isinstance(part, Media)]
    return ToolResult(call_id=wire["id"], parts=(Text(text=text), *media), is_error=word == "error", provider_data=kept)


def unified(request: Request) -> Request:
    """`request` in the normal form of the dialect, for a comparison with what `read_request` gives.

    The schema bears its description.
    """
    output = request.output
    if output is not None and output.schema is not None and output.description is not None:
        output = replace(output, schema={"description": output.description, **output.schema})
    return replace(request, output=output)


def _kept(name: str, inside: Mapping[str, Any], known: set[str], beside: Mapping[str, Any]) -> dict[str, Any]:
    more = _others(inside, known)
    return {**beside, **({name: more} if more else {})}


def _others(wire: Mapping[str, Any], known: Any) -> dict[str, Any]:
    return {name: value for name, value in wire.items() if name not in known}
