"""`llm_config`: one call in the words of case files. It becomes a request and what surrounds it.

Its own keys are taken out first; what is left is a request of the OpenAI chat dialect and is read by that codec.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import asdict, replace

from llm_call.core.domain.errors import ConfigError, UnsupportedError
from llm_call.core.domain.keys import canonical_keys
from llm_call.core.domain.messages import Media
from llm_call.core.domain.request import Request, Settings
from llm_call.core.policy.escalation import Ladder, Rung, RungKind, staged_ladder
from llm_call.core.providers.registry import read_request
from llm_call.core.validation.base import Validator, build

S = TypeVar("S", bound=Struct)
Recovery = Literal["verified", "off", "buffer"]

ALIASES = {
    "validation_strategies": "validation",
    "schema": "response_schema",
}

# What belongs to the request itself, in the words of the OpenAI chat dialect.
REQUEST_KEYS = (
    "messages",
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "stop",
    "seed",
    "frequency_penalty",
    "presence_penalty",
    "logprobs",
    "top_logprobs",
    "reasoning_effort",
    "response_format",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "functions",
    "function_call",
)

# Known from users' files, and not honoured yet: a case that asks for them says so instead of passing without them.
NOT_YET = (
    "batch_mode",
    "image_directory",
    "max_concurrent",
    "max_image_size_kb",
    "original_user_prompt",
    "parallel",
    "requests",
)


ROUNDS = 3


class CallConfig(Struct, frozen=True, kw_only=True):
    """The keys around the request. `timeout` is in seconds and spans the whole call; `max_cost` is in US dollars.

    A `cache_key` lets the call be answered from the response cache, by what was answered under the same key to the same
    question; `force_refresh` asks anew. `debug_mode` has `test run` print the timeline of the case.

    `max_cost`, `max_total_tokens` and `max_total_attempts` bound everything that the call causes. `ladder` says what
    follows a rejected answer, rung by rung; `max_attempts_before_tool_use` and `max_attempts_before_human` say it in the
    words of case files: after so many rejected answers the model is given the tools of `debug_tool_mcp_config` (of
    `debug_tool_name` alone, where that is given), and a person is asked. The tools of `mcp_config` are there from the
    first question on. `simulate_rate_limit` (true, or a count) has the first attempts of the call refused with a 429,
    `simulate_primary_failure` every one at its first target with a 503, without asking anybody.
    """

    model: str | None = None
    provider: str | None = None
    question: str | None = None
    validation: tuple[str | Mapping[str, Any], ...] = ()
    default_validate: bool = True
    response_schema: Mapping[str, Any] | None = None
    retry_config: Mapping[str, Any] | None = None
    rounds: int | None = None
    timeout: float | None = None
    max_cost: Decimal | None = None
    max_total_tokens: int | None = None
    max_total_attempts: int | None = None
    ladder: tuple[RungKind | Rung, ...] | None = None
    max_attempts_before_tool_use: int | None = None
    max_attempts_before_human: int | None = None
    debug_tool_name: str | None = None
    debug_tool_mcp_config: Mapping[str, Any] | None = None
    mcp_config: Mapping[str, Any] | None = None
    stream_recovery: Recovery = "verified"
    simulate_rate_limit: bool | int = False
    simulate_primary_failure: bool = False
    fallback_models: tuple[str, ...] = ()
    api_base: str | None = None
    api_key: str | None = None
    stream: bool = False
    strict: bool = False
    routing_key: str | None = None
    cache_key: str | None = None
    force_refresh: bool = False
    debug_mode: bool = False

    def __post_init__(self) -> None:
        if self.timeout is not None and not self.timeout > 0:  # not a number is none either
            raise ConfigError("timeout must be more than 0 seconds", hint="Leave it out for no limit.")
        if self.max_cost is not None and not (self.max_cost.is_finite() and self.max_cost >= 0):
            raise ConfigError("max_cost must be a number of US dollars from 0 on", hint="Leave it out for no limit.")
        if self.rounds is not None and self.rounds < 1:
            raise ConfigError("rounds must be at least 1", hint="1 means: ask once, never again.")

    def __repr__(self) -> str:
        return f"CallConfig(model={self.model!r}, provider={self.provider!r}, api_base={self.api_base!r}, ...)"

    @property
    def attempts(self) -> int:
        """How often the model is asked in all: a case's `max_attempts` bounds its rounds too, as its users expect."""
        if self.rounds is not None:
            return self.rounds
        attempts = (self.retry_config or {}).get("max_attempts", ROUNDS)
        return attempts if isinstance(attempts, int) else ROUNDS

    def rungs(self) -> Ladder | None:
        """What follows a rejected answer, where the call says so.

        Raises:
            ConfigError: It says so in two ways, or in one that cannot be.
        """
        stages = (self.max_attempts_before_tool_use, self.max_attempts_before_human)
        if self.ladder is None and stages == (None, None):
            return None
        if self.ladder is not None and stages != (None, None):
            raise ConfigError("both ladder and max_attempts_before_... are given", hint="Keep one of them.")
        if self.ladder is not None:
            return tuple(Rung(kind=rung) if isinstance(rung, str) else rung for rung in self.ladder)
        if self.max_attempts_before_tool_use is not None and self.debug_tool_mcp_config is None:
            raise ConfigError(
                "max_attempts_before_tool_use needs tools", hint="Give their servers in debug_tool_mcp_config."
            )
        return staged_ladder(self.attempts, before_tools=stages[0], before_human=stages[1])

    @property
    def target(self) -> str | None:
        """The model's full name: `provider` is put before a `model` that does not name one."""
        if self.provider is None or self.model is None or self.model.startswith(f"{self.provider}/"):
            return self.model
        return f"{self.provider}/{self.model}"


def read_config(config: Mapping[str, Any]) -> tuple[CallConfig, Request]:
    """The call that `config` describes. The request's model is a blank: its target's name takes its place.

    Raises:
        ConfigError: A key is unknown, stands there twice, or has a value that cannot be.
        UnsupportedError: A key is known but not honoured in this version.
    """
    own = CallConfig.__struct_fields__
    keys = canonical_keys(config, known=(*own, *REQUEST_KEYS, *NOT_YET), aliases=ALIASES, what="llm_config")
    if asked := [key for key in NOT_YET if keys.get(key)]:
        raise UnsupportedError(f"llm_config: {asked[0]!r} is not supported in this version", hint="Leave it out.")
    call = converted({key: keys[key] for key in own if key in keys}, CallConfig, what="llm_config")
    return call, _request(call, {key: keys[key] for key in REQUEST_KEYS if key in keys})


def read_call(options: Mapping[str, Any], *, what: str) -> CallConfig:
    """The keys around a request that is made otherwise.

    Raises:
        ConfigError: A key is unknown, or has a value that cannot be.
    """
    known = CallConfig.__struct_fields__
    return converted(canonical_keys(options, known=known, aliases={}, what=what), CallConfig, what=what)


# What a call that goes on may have otherwise. Not where it goes, nor what checks it: that is not a reviewer's to say.
_CHANGEABLE_CALL = (
    *("model", "fallback_models", "question", "rounds", "retry_config"),
    *("timeout", "max_cost", "max_total_tokens", "max_total_attempts"),
)
_CHANGEABLE_REQUEST = (
    *("messages", "max_tokens", "max_completion_tokens", "temperature", "top_p", "stop", "seed"),
    *("frequency_penalty", "presence_penalty", "reasoning_effort"),
)


def changed(call: CallConfig, request: Request, changes: Mapping[str, Any]) -> tuple[CallConfig, Request]:
    """`call` and its `request` with `changes`: keys of `llm_config`.

    Raises:
        ConfigError: A key is unknown or not to be changed, or has a value that cannot be.
        UnsupportedError: A message holds what cannot be sent.
    """
    known = (*_CHANGEABLE_CALL, *_CHANGEABLE_REQUEST)
    keys = canonical_keys(changes, known=known, aliases={}, what="changes")
    own = {key: value for key, value in keys.items() if key in _CHANGEABLE_CALL}
    read = converted(own, CallConfig, what="changes")
    body = {key: value for key, value in keys.items() if key in _CHANGEABLE_REQUEST}
    put = _request(read, body) if {"messages", "question"} & keys.keys() else None
    settings = read_request({"model": "default", "messages": [_BLANK], **body}).settings
    new = {name: value for name, value in asdict(settings).items() if value != getattr(Settings(), name)}
    request = replace(request, settings=replace(request.settings, **new), messages=(put or request).messages)
    return replace(call, **{key: getattr(read, key) for key in own if key != "question"}), request


_BLANK = {"role": "user", "content": "-"}


def converted(values: Mapping[str, Any], type_: type[S], *, what: str = "ask") -> S:
    """`values` as a struct.

    Raises:
        ConfigError: A value is of the wrong type; the message says which.
    """
    try:
        return msgspec.convert(values, type_)
    except msgspec.ValidationError as error:
        hint = "llm_call.AskOptions says what each option takes." if what == "ask" else "See the table of case keys."
        raise ConfigError(f"{what}: {error}", hint=hint) from error


def _request(call: CallConfig, body: dict[str, Any]) -> Request:
    if call.question is not None:
        if "messages" in body:
            raise ConfigError("llm_config: both question and messages are given", hint="Keep one of them.")
        body["messages"] = [{"role": "user", "content": call.question}]
    if not body.get("messages"):
        raise ConfigError("llm_config: there is nothing to ask", hint="Give messages, or a question.")
    if call.response_schema is not None:
        if "response_format" in body:
            raise ConfigError("llm_config: both schema and response_format are given", hint="Keep one of them.")
        form = {"name": "answer", "schema": call.response_schema}
        body["response_format"] = {"type": "json_schema", "json_schema": form}
    # The words are those of a dialect, but the caller's own: what else it says is for whatever provider it names.
    request = replace(read_request({"model": call.target or "default", **body}), dialect=None)
    _refuse_paths(request)
    return request


def _refuse_paths(request: Request) -> None:
    """No string inside a message is ever opened as a path."""
    for message in request.messages:
        for part in message.parts:
            if isinstance(part, Media) and part.url and not part.url.lower().startswith(("https://", "http://")):
                raise UnsupportedError(
                    f"llm_config: the image {part.url[:80]!r} is a path, and paths in messages are not opened",
                    hint="Use a data: URL, for example that of llm_call.encode_image(path).",
                )


def read_validator(entry: str | Mapping[str, Any]) -> Validator:
    """The validator that an entry of `validation` names, built and so checked.

    Raises:
        ConfigError: It is unknown or cannot be built.
    """
    if isinstance(entry, str):
        return build(entry)
    keys = canonical_keys(entry, known=("type", "params"), aliases={"strategy": "type"}, what="validation")
    name, params = keys.get("type"), keys.get("params") or {}
    if not isinstance(name, str) or not isinstance(params, Mapping):
        raise ConfigError(
            "validation: an entry needs a type, and params as an object", hint='{"type": ..., "params": {...}}'
        )
    return build(name, params)
