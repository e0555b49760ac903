"""The keyword options of a call: what they are, and what they come to."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import cache
from typing import Any, TypedDict

from msgspec import Struct
from msgspec.structs import replace

from llm_call.core.call_config import CallConfig, Recovery, converted, read_call, read_validator
from llm_call.core.domain.errors import ConfigError
from llm_call.core.domain.messages import Message, message
from llm_call.core.domain.request import OutputSpec, Request, Settings, Tool, ToolChoice, ToolMode
from llm_call.core.policy.escalation import Rung, RungKind
from llm_call.core.validation.base import Validator, build, written

Check = str | Mapping[str, Any] | Validator


class EmbedOptions(TypedDict, total=False):
    """What a call for vectors may say beside its texts; `AskOptions` says what they mean."""

    model: str | None
    timeout: float | None
    max_cost: Decimal | None
    max_total_tokens: int | None
    max_total_attempts: int | None
    retry: Mapping[str, Any] | None
    fallback_models: Sequence[str]
    api_base: str | None
    api_key: str | None
    routing_key: str | None


class AskOptions(EmbedOptions, total=False):
    """What a call may say beside its prompt; everything may be left out.

    `model` is provider/model, an alias, a route or `auto`. `system` is the system prompt. `schema` is a JSON Schema:
    the value is then JSON that fits it. `validate` lists further checks: names, {"type": ..., "params": {...}}, or
    validators. `rounds` (3) is how often the model is asked in all when its answers are rejected. `tools` are what the
    model may call: where it does, the result has no value, and its `response.tool_calls` wait for their results.
    `provider_options` go to the wire as they are. `timeout` (seconds), `max_cost` (US dollars), `max_total_tokens` and
    `max_total_attempts` span everything that the call causes. `ladder` says what follows a rejected answer, rung by
    rung: "again", "reask", {"kind": "model", "model": ...}, {"kind": "tools", ...}, "human". `mcp_config` names MCP
    servers whose tools the model is given, and which are run for it. `stream_recovery` is what becomes of a stream that
    breaks off: "verified" goes on where another attempt repeats what was given, "off" ends it, "buffer" gives nothing
    before the whole is accepted. `retry` has the keys of `retry_config`. `fallback_models` are asked in turn when the model gives no
    answer. `api_base` is any OpenAI-compatible server. `default_validate` (true) refuses an empty answer. `strict`
    (false) refuses what the model's dialect cannot express. `routing_key` keeps calls with the same key at the same
    target of a sticky route. A `cache_key` lets the same question under the same key be answered from the client's
    cache; `force_refresh` (false) asks anew and keeps the new answer.
    """

    system: str | None
    schema: Mapping[str, Any] | None
    validate: Sequence[Check]
    rounds: int | None
    ladder: Sequence[RungKind | Mapping[str, Any] | Rung] | None
    mcp_config: Mapping[str, Any] | None
    stream_recovery: Recovery
    max_tokens: int | None
    temperature: float | None
    top_p: float | None
    stop: Sequence[str]
    seed: int | None
    reasoning_effort: str | None
    tools: Sequence[Tool]
    tool_choice: ToolMode | ToolChoice | None
    provider_options: Mapping[str, Any]
    default_validate: bool
    strict: bool
    cache_key: str | None
    force_refresh: bool


class Options(Struct, frozen=True, kw_only=True):
    """Options that were read. `request` has no messages yet."""

    call: CallConfig
    request: Request
    validators: tuple[Validator, ...]
    system: str | None


# Option -> the field of `Settings` that it is.
SETTINGS: Mapping[str, str] = {
    "max_tokens": "max_output_tokens",
    **{name: name for name in ("temperature", "top_p", "stop", "seed", "reasoning_effort")},
}


def read_options(options: Mapping[str, Any]) -> Options:
    """What `options`, those of `AskOptions`, come to.

    Raises:
        ConfigError: One is unknown or wrong.
    """
    _check_kinds(options)
    rest = dict(options)
    system, schema, checks = rest.pop("system", None), rest.pop("schema", None), rest.pop("validate", None) or ()
    request = Request(
        model="",
        messages=(),
        settings=converted({field: rest.pop(name) for name, field in SETTINGS.items() if name in rest}, Settings),
        tools=_tools(rest.pop("tools", None) or ()),
        tool_choice=_tool_choice(rest.pop("tool_choice", None)),
        output=None if schema is None else OutputSpec(schema=schema),
        provider_options=rest.pop("provider_options", None) or {},
    )
    if "retry" in rest:
        rest["retry_config"] = rest.pop("retry")
    call = read_call(rest, what="ask")
    return Options(call=call, request=request, validators=validators(call, checks), system=system)


_KINDS: Mapping[str, tuple[type, str]] = {
    "system": (str, "a text"),
    "validate": (Sequence, "a list of checks"),
    "tools": (Sequence, "a list of llm_call.Tool values"),
    "provider_options": (Mapping, "a mapping"),
}


def _check_kinds(options: Mapping[str, Any]) -> None:
    """Refuse what is not of the kind that its option takes, where nothing else would before it is sent."""
    for name, (kind, words) in _KINDS.items():
        value = options.get(name)
        if value is not None and (not isinstance(value, kind) or (kind is Sequence and isinstance(value, str | bytes))):
            raise ConfigError(f"ask: {name} is {words}, not {type(value).__name__}", hint=f"Give {words}.")


def validators(call: CallConfig, checks: Sequence[Check]) -> tuple[Validator, ...]:
    """The validators that `checks` name, and before them the default one, unless it is switched off or among them.

    Raises:
        ConfigError: One is unknown or cannot be built.
    """
    named = tuple(map(_validator, checks))
    if not call.default_validate or any(validator.name in _NOT_EMPTY for validator in named):
        return named
    return (_default_validator(), *named)


_NOT_EMPTY = ("response_not_empty", "not_empty")


@cache
def _default_validator() -> Validator:
    return build(_NOT_EMPTY[0])


def _validator(check: Check) -> Validator:
    return read_validator(check) if isinstance(check, str | Mapping) else check


def _tools(tools: Sequence[Tool]) -> tuple[Tool, ...]:
    if not all(isinstance(tool, Tool) for tool in tools):
        raise ConfigError("ask: tools are llm_call.Tool values", hint='Tool(name="...", parameters={...}).')
    return tuple(tools)


def _tool_choice(choice: ToolMode | ToolChoice | None) -> ToolChoice | None:
    if choice is None or isinstance(choice, ToolChoice):
        return choice
    return converted({"mode": choice}, ToolChoice)


def storable(call: CallConfig, checks: tuple[Validator, ...]) -> CallConfig:
    """`call` with its checks in words. The default one is among them, where it is wanted.

    Raises:
        ConfigError: One cannot be written down.
    """
    return replace(call, validation=tuple(map(written, checks)), default_validate=False)


def messages_of(prompt: str | Sequence[Message], system: str | None) -> tuple[Message, ...]:
    """The messages that `prompt` and `system` mean.

    Raises:
        ConfigError: It is neither a text nor messages.
    """
    said = (message("user", prompt),) if isinstance(prompt, str) else _checked(prompt)
    return (message("system", system), *said) if system else said


def texts_of(texts: str | Sequence[str]) -> tuple[str, ...]:
    """What is embedded.

    Raises:
        ConfigError: It is neither a text nor texts.
    """
    if isinstance(texts, str):
        return (texts,)
    if isinstance(texts, Sequence) and all(isinstance(each, str) for each in texts):
        return tuple(texts)
    raise ConfigError("what is embedded is a text, or texts", hint='Give "...", or ["...", "..."].')


def _checked(prompt: Sequence[Message]) -> tuple[Message, ...]:
    if isinstance(prompt, Sequence) and all(isinstance(each, Message) for each in prompt):
        return tuple(prompt)
    raise ConfigError("a prompt is text, or messages", hint='Give "...", or [llm_call.message("user", "...")].')
