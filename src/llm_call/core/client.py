"""The client: plans calls and hands them to the engine. And its synchronous face."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import lru_cache, partial
from typing import Any, Self, TypeVar, Unpack

from msgspec.structs import replace

from llm_call.core.attempts import Attempts
from llm_call.core.cache import Caching, MemoryCache, ResponseCache
from llm_call.core.call_config import CallConfig, read_config
from llm_call.core.domain.bill import Pricing, known_price
from llm_call.core.domain.embedding import Embeddings
from llm_call.core.domain.errors import ConfigError
from llm_call.core.domain.messages import Message, message
from llm_call.core.domain.request import Request
from llm_call.core.domain.result import Result
from llm_call.core.engine import Engine
from llm_call.core.hooks import AttemptHook, CallHook
from llm_call.core.live import LiveAnswer
from llm_call.core.options import AskOptions, EmbedOptions, read_options, validators
from llm_call.core.plan import Plan, Simulated, without_people
from llm_call.core.policy.budget import Budget
from llm_call.core.policy.escalation import DEBUG_TOOLS, Ladder
from llm_call.core.policy.hedging import HedgingPolicy
from llm_call.core.policy.retry import RetryPolicy
from llm_call.core.policy.retry_config import retry_policy
from llm_call.core.providers.registry import Target, TransportName
from llm_call.core.providers.transports import TransportFactory, transport_factories
from llm_call.core.retry import Chance
from llm_call.core.review import Reviewer
from llm_call.core.router import Router
from llm_call.core.transport.base import Clock, Timeouts, Transport
from llm_call.core.validation.base import Validator
from llm_call.core.validation.schema import checker

T = TypeVar("T")


class Client:
    """Asks models. Safe for many calls at once, from any event loop; `close` frees what it holds.

    `router` finds the target of a model name. `transports` says how the transport of a name is made, on first use.
    `default_model` is asked where a call names none. `timeouts` are those of the stages of an attempt, `retry` is the
    policy of the calls that name none. `clock` and `chance` replace time and randomness. `pricing` knows what a charge
    comes to. `call_hooks` are entered around every call, `attempt_hooks` around every attempt (`core.hooks` says how).
    `cache` keeps the answers of calls that have a `cache_key`: in memory, unless another is given here or set later.
    `reviewer` has people decide what the ladder hands to them.
    `hedging` says when a second target is asked beside one that is late: never, unless it is given.
    """

    def __init__(
        self,
        *,
        router: Router | None = None,
        transports: Mapping[TransportName, TransportFactory] | None = None,
        default_model: str | None = None,
        timeouts: Timeouts | None = None,
        retry: RetryPolicy | None = None,
        clock: Clock | None = None,
        chance: Chance | None = None,
        pricing: Pricing = known_price,
        call_hooks: Sequence[CallHook] = (),
        attempt_hooks: Sequence[AttemptHook] = (),
        cache: ResponseCache | None = None,
        reviewer: Reviewer | None = None,
        hedging: HedgingPolicy | None = None,
    ) -> None:
        self.cache = cache or MemoryCache()
        self.router = router or Router()
        self._factories = {**transport_factories(), **(transports or {})}
        self._transports: dict[TransportName, Transport] = {}
        # Most calls of a program have the same options: they are read once.
        self._remembered = lru_cache(_REMEMBERED)(lambda items: read_options({name: value for name, _, value in items}))
        self._wraps: list[Callable[[Transport], Transport]] = []
        self._default_model = default_model
        self._timeouts = timeouts or Timeouts()
        self._retry = retry or RetryPolicy()
        self._engine = Engine(
            Attempts(self._transport, clock=clock, chance=chance, hooks=attempt_hooks, hedging=hedging),
            pricing=pricing,
            call_hooks=call_hooks,
            observe=self.router.observe,
            reviewer=reviewer,
        )

    async def ask(self, prompt: str | Sequence[Message], **options: Unpack[AskOptions]) -> Result[Any]:
        """The model's answer to `prompt`, checked. A rejected answer is a result whose `ok` is false.

        Raises:
            ConfigError: An argument is wrong; nothing was sent.
            LLMCallError: There is no answer; the error's trace tells what was tried.
        """
        return await self.execute(self.plan(prompt, **options))

    def ask_sync(self, prompt: str | Sequence[Message], **options: Unpack[AskOptions]) -> Result[Any]:
        """`ask` for synchronous code; also from inside a running event loop, which it blocks."""
        return run_sync(self.ask(prompt, **options))

    @asynccontextmanager
    async def ask_stream(
        self, prompt: str | Sequence[Message], **options: Unpack[AskOptions]
    ) -> AsyncIterator[LiveAnswer]:
        """The answer as it arrives: iterate it for the text; its `result` is there after the end.

        Raises:
            ConfigError: An argument is wrong; nothing was sent.
            LLMCallError: There is no answer; the error's trace tells what was tried.
        """
        async with self._engine.stream(self.plan(prompt, **options)) as live:
            yield live

    async def call(self, config: Mapping[str, Any]) -> Result[Any]:
        """What the call that `config` (an `llm_config` dictionary) describes comes to.

        Raises:
            ConfigError: A key or a value is wrong; nothing was sent.
            LLMCallError: There is no answer; the error's trace tells what was tried.
        """
        return await self.execute(self.prepare(config))

    def call_sync(self, config: Mapping[str, Any]) -> Result[Any]:
        """`call` for synchronous code; also from inside a running event loop, which it blocks."""
        return run_sync(self.call(config))

    async def execute(self, plan: Plan) -> Result[Any]:
        """Carry out a plan that `plan` or `prepare` made."""
        return await self._engine.execute(plan)

    async def embed(
        self,
        texts: str | Sequence[str],
        *,
        dimensions: int | None = None,
        **options: Unpack[EmbedOptions],
    ) -> Result[Embeddings]:
        """The vectors of `texts`, in their order: `result.value.vectors`.

        `dimensions` is their length, where the model lets it be chosen.

        Raises:
            ConfigError: An argument is wrong; nothing was sent.
            UnsupportedError: The model's dialect has no embeddings.
            LLMCallError: There is no answer; the error's trace tells what was tried.
        """
        said = [message("user", text) for text in _texts(texts)]
        return await self._engine.embed(self.plan(said, default_validate=False, **options), dimensions)

    def embed_sync(
        self,
        texts: str | Sequence[str],
        *,
        dimensions: int | None = None,
        **options: Unpack[EmbedOptions],
    ) -> Result[Embeddings]:
        """`embed` for synchronous code; also from inside a running event loop, which it blocks."""
        return run_sync(self.embed(texts, dimensions=dimensions, **options))

    def plan(self, prompt: str | Sequence[Message], **options: Unpack[AskOptions]) -> Plan:
        """The plan of a call, checked without any I/O.

        Raises:
            ConfigError: An argument is wrong.
        """
        try:
            read = self._remembered(tuple((name, type(value), value) for name, value in options.items()))
        except TypeError:  # something in them, a schema for example, is no key
            read = read_options(options)
        return self._plan(read.call, replace(read.request, messages=_messages(prompt, read.system)), read.validators)

    def prepare(self, config: Mapping[str, Any]) -> Plan:
        """The plan of the call that `config` (an `llm_config` dictionary) describes, checked without any I/O.

        Raises:
            ConfigError: A key or a value is wrong, the model is unknown, its key is not set.
            UnsupportedError: It asks for what this version does not do.
        """
        call, request = read_config(config)
        return self._plan(call, request, validators(call, call.validation))

    @contextmanager
    def through(self, wrap: Callable[[Transport], Transport]) -> Iterator[None]:
        """While it is open, every attempt of this client goes through `wrap(transport)`: a recorder, for example."""
        self._wraps.append(wrap)
        try:
            yield
        finally:
            self._wraps.remove(wrap)

    async def close(self) -> None:
        """Free the transports. Calls that are under way end."""
        transports, self._transports = self._transports, {}
        for transport in transports.values():
            await transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.close()

    def _plan(self, call: CallConfig, request: Request, checks: tuple[Validator, ...]) -> Plan:
        model = call.target or self._default_model or self.router.default_model()
        choice = self.router.choose(
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
        return Plan(
            model=model,
            request=request,
            targets=choice.targets,
            skipped=choice.skipped,
            order=choice.order,
            elsewhere=self._elsewhere(ladder or (), call, request),
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
            toolsets=_toolsets(call),
            simulated=Simulated(rate_limits=int(call.simulate_rate_limit), primary_down=call.simulate_primary_failure),
            caching=self._caching(call),
            retry=self._retry if call.retry_config is None else retry_policy(call.retry_config),
            call=replace(call, api_key=None) if call.api_key else call,
            again=partial(self._again, checks),
        )

    async def _again(self, checks: tuple[Validator, ...], call: CallConfig, request: Request) -> Result[Any]:
        """Carry out a call that a person has go on. They are not asked a second time before it has come to its end."""
        return await self.execute(without_people(self._plan(call, request, checks)))

    def _elsewhere(self, ladder: Ladder, call: CallConfig, request: Request) -> dict[str, tuple[Target, ...]]:
        """The targets of the models that the ladder names."""
        models = [rung.model for rung in ladder if rung.model is not None]
        return {model: self.router.choose(model, request, strict=call.strict).targets for model in models}

    def _transport(self, name: TransportName) -> Transport:
        if name not in self._transports:
            self._transports[name] = self._factories[name]()
        transport = self._transports[name]
        for wrap in self._wraps:
            transport = wrap(transport)
        return transport

    def _caching(self, call: CallConfig) -> Caching | None:
        if not call.cache_key:
            return None
        return Caching(cache=self.cache, name=call.cache_key, refresh=call.force_refresh)


_REMEMBERED = 256


def _toolsets(call: CallConfig) -> dict[str, Mapping[str, Any]]:
    sets = {"": call.mcp_config, DEBUG_TOOLS: _only(call.debug_tool_mcp_config, call.debug_tool_name)}
    return {name: servers for name, servers in sets.items() if servers}


def _only(config: Mapping[str, Any] | None, name: str | None) -> Mapping[str, Any] | None:
    """The one server that is named, where one is."""
    servers = (config or {}).get("mcpServers")
    if name is None or not isinstance(servers, Mapping):
        return config
    if name not in servers:
        raise ConfigError(
            f"debug_tool_name: there is no server {name!r} in debug_tool_mcp_config",
            hint=f"There are {', '.join(servers) or 'none'}.",
        )
    return {"mcpServers": {name: servers[name]}}


def _messages(prompt: str | Sequence[Message], system: str | None) -> tuple[Message, ...]:
    said = (message("user", prompt),) if isinstance(prompt, str) else _checked(prompt)
    return (message("system", system), *said) if system else said


def _texts(texts: str | Sequence[str]) -> tuple[str, ...]:
    if isinstance(texts, str):
        return (texts,)
    if isinstance(texts, Sequence) and all(isinstance(each, str) for each in texts):
        return tuple(texts)
    raise ConfigError("what is embedded is a text, or texts", hint='Give "...", or ["...", "..."].')


def _checked(prompt: Sequence[Message]) -> tuple[Message, ...]:
    if isinstance(prompt, Sequence) and all(isinstance(each, Message) for each in prompt):
        return tuple(prompt)
    raise ConfigError("a prompt is text, or messages", hint='Give "...", or [llm_call.message("user", "...")].')


class _Portal:
    """An event loop in a thread of its own, for synchronous callers."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="llm_call", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread runs; a forked process has none."""
        return self._thread.is_alive()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # an interrupt in this thread ends the call in the other
            raise


_portal: _Portal | None = None
_portal_lock = threading.Lock()


def run_sync(coroutine: Coroutine[Any, Any, T]) -> T:
    """What `coroutine` returns, run on the library's own event loop in another thread."""
    global _portal  # noqa: PLW0603  (one thread for the process)
    with _portal_lock:
        if _portal is None or not _portal.alive:
            _portal = _Portal()
    return _portal.run(coroutine)
