"""What a caller says becomes the plan of a call, checked without any I/O."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from msgspec.structs import replace

from llm_call.core.cache import Caching, ResponseCache
from llm_call.core.call_config import CallConfig, read_config
from llm_call.core.domain.errors import ConfigError
from llm_call.core.domain.messages import Message, message
from llm_call.core.domain.request import Request
from llm_call.core.options import read_options, validators
from llm_call.core.plan import Plan, Simulated
from llm_call.core.policy.budget import Budget
from llm_call.core.policy.escalation import ALWAYS, DEBUG_TOOLS, Ladder
from llm_call.core.policy.retry import RetryPolicy
from llm_call.core.policy.retry_config import retry_config
from llm_call.core.providers.registry import Target
from llm_call.core.router import Router
from llm_call.core.tools.config import Tooling, Toolset
from llm_call.core.transport.base import Timeouts
from llm_call.core.validation.base import Validator
from llm_call.core.validation.schema import checker

_REMEMBERED = 256


class Planner:
    """Makes plans, with the defaults of a client. `cache` gives the response cache as it is at the time."""

    def __init__(
        self,
        router: Router,
        *,
        default_model: str | None,
        timeouts: Timeouts | None,
        retry: RetryPolicy | None,
        tooling: Tooling | None,
        cache: Callable[[], ResponseCache],
    ) -> None:
        self._router = router
        self._default_model = default_model
        self._timeouts = timeouts or Timeouts()
        self._retry = retry or RetryPolicy()
        self._tooling = tooling or Tooling()
        self._cache = cache
        # Most calls of a program have the same options: they are read once.
        self._remembered = lru_cache(_REMEMBERED)(lambda items: read_options({name: value for name, _, value in items}))

    def ask(self, prompt: str | Sequence[Message], options: Mapping[str, Any]) -> Plan:
        """The plan of a prompt with `options`, those of `AskOptions`.

        Raises:
            ConfigError: An argument is wrong.
        """
        try:
            read = self._remembered(tuple((name, type(value), value) for name, value in options.items()))
        except TypeError:  # something in them, a schema for example, is no key
            read = read_options(options)
        return self.plan(read.call, replace(read.request, messages=_messages(prompt, read.system)), read.validators)

    def call(self, config: Mapping[str, Any]) -> Plan:
        """The plan of an `llm_config` dictionary.

        Raises:
            ConfigError: A key or a value is wrong.
            UnsupportedError: It asks for what this version does not do.
        """
        return self.restored(*read_config(config))

    def restored(self, call: CallConfig, request: Request) -> Plan:
        """The plan of a call whose checks are in words.

        Raises:
            ConfigError: It cannot be carried out with the settings as they are now.
        """
        return self.plan(call, request, validators(call, call.validation))

    def plan(self, call: CallConfig, request: Request, checks: tuple[Validator, ...]) -> Plan:
        """The plan of `request` with what surrounds it.

        Raises:
            ConfigError: The model is unknown, its key is not set, or the schema or the ladder cannot be.
        """
        model = call.target or self._default_model or self._router.default_model()
        choice = self._router.choose(
            model,
            request,
            fallbacks=call.fallback_models,
            api_base=call.api_base,
            api_key=call.api_key,
            key=call.routing_key,
            strict=call.strict,
        )
        if request.output is not None and request.output.schema is not None:
            checker(request.output.schema)  # a schema that is none is refused here, before the first call
        ladder = call.rungs()
        retry = None if call.retry_config is None else retry_config(call.retry_config)
        return Plan(
            model=model,
            request=request,
            targets=choice.targets,
            skipped=choice.skipped,
            order=choice.order,
            elsewhere=self._elsewhere(ladder, call, request) if ladder else {},
            validators=checks,
            budget=Budget(
                seconds=call.timeout,
                usd=call.max_cost,
                tokens=call.max_total_tokens,
                attempts=call.max_total_attempts,
            ),
            rounds=call.attempts if ladder is None else 1 + sum(rung.rounds for rung in ladder),
            ladder=ladder,
            timeouts=self._timeouts,
            strict=call.strict,
            stream=call.stream,
            recovery=call.stream_recovery,
            toolsets=self._toolsets(call),
            simulated=Simulated(rate_limits=int(call.simulate_rate_limit), primary_down=call.simulate_primary_failure),
            caching=self._caching(call),
            retry=self._retry if retry is None else retry.policy(),
            breaker=None if retry is None else retry.breaker(),
            call=replace(call, api_key=None) if call.api_key else call,
        )

    def _elsewhere(self, ladder: Ladder, call: CallConfig, request: Request) -> dict[str, tuple[Target, ...]]:
        """The targets of the models that the ladder names."""
        models = [rung.model for rung in ladder if rung.model is not None]
        return {model: self._router.choose(model, request, strict=call.strict).targets for model in models}

    def _toolsets(self, call: CallConfig) -> dict[str, Toolset]:
        if call.mcp_config is None and call.debug_tool_mcp_config is None:
            return {}
        wanted = {ALWAYS: (call.mcp_config, None), DEBUG_TOOLS: (call.debug_tool_mcp_config, call.debug_tool_name)}
        return {name: self._tooling.toolset(config, only) for name, (config, only) in wanted.items() if config}

    def _caching(self, call: CallConfig) -> Caching | None:
        if not call.cache_key:
            return None
        return Caching(cache=self._cache(), name=call.cache_key, refresh=call.force_refresh)


def _messages(prompt: str | Sequence[Message], system: str | None) -> tuple[Message, ...]:
    said = (message("user", prompt),) if isinstance(prompt, str) else _checked(prompt)
    return (message("system", system), *said) if system else said


def _checked(prompt: Sequence[Message]) -> tuple[Message, ...]:
    if isinstance(prompt, Sequence) and all(isinstance(each, Message) for each in prompt):
        return tuple(prompt)
    raise ConfigError("a prompt is text, or messages", hint='Give "...", or [llm_call.message("user", "...")].')
