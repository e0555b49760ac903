"""The client: plans calls and hands them to the engine. And its synchronous face."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from decimal import Decimal
from typing import Any, Self, TypedDict, TypeVar, Unpack

from llm_call.core.cache import Caching, MemoryCache, ResponseCache
from llm_call.core.call_config import CallConfig, converted, read_call, read_config, read_validator
from llm_call.core.domain.bill import Pricing, known_price
from llm_call.core.domain.messages import Message, message
from llm_call.core.domain.request import OutputSpec, Request, Settings
from llm_call.core.domain.result import Result
from llm_call.core.engine import Engine, Plan
from llm_call.core.hooks import AttemptHook, CallHook
from llm_call.core.live import LiveAnswer
from llm_call.core.policy.budget import Budget
from llm_call.core.policy.retry import RetryPolicy
from llm_call.core.policy.retry_config import retry_policy
from llm_call.core.providers.registry import TransportName
from llm_call.core.providers.transports import TransportFactory, transport_factories
from llm_call.core.retry import Chance
from llm_call.core.router import Router
from llm_call.core.transport.base import Clock, Timeouts, Transport
from llm_call.core.validation.base import Validator, build
from llm_call.core.validation.schema import checker

T = TypeVar("T")
Check = str | Mapping[str, Any] | Validator


class AskOptions(TypedDict, total=False):
    """What a call may say beside its prompt; everything may be left out.

    `model` is provider/model, an alias, a route or `auto`. `system` is the system prompt. `schema` is a JSON Schema: the value is then JSON that
    fits it. `validate` lists further checks: names, {"type": ..., "params": {...}}, or validators. `rounds` (3) is
    how often the model is asked in all when its answers are rejected. `timeout` (seconds) and `max_cost` (US dollars)
    span everything that the call causes. `retry` has the keys of `retry_config`. `fallback_models` are asked in turn
    when the model gives no answer. `api_base` is any OpenAI-compatible server. `default_validate` (true) refuses an
    empty answer. `strict` (false) refuses what the model's dialect cannot express. `routing_key` keeps calls with the
    same key at the same target of a sticky route. A `cache_key` lets the same question under the same key be answered
    from the client's cache; `force_refresh` (false) asks anew and keeps the new answer.
    """

    model: str | None
    system: str | None
    schema: Mapping[str, Any] | None
    validate: Sequence[Check]
    rounds: int | None
    max_tokens: int | None
    temperature: float | None
    seed: int | None
    timeout: float | None
    max_cost: Decimal | None
    retry: Mapping[str, Any] | None
    fallback_models: Sequence[str]
    api_base: str | None
    api_key: str | None
    default_validate: bool
    strict: bool
    routing_key: str | None
    cache_key: str | None
    force_refresh: bool


class Client:
    """Asks models. Safe for many calls at once, from any event loop; `close` frees what it holds.

    `router` finds the target of a model name. `transports` says how the transport of a name is made, on first use.
    `default_model` is asked where a call names none. `timeouts` are those of the stages of an attempt, `retry` is the
    policy of the calls that name none. `clock` and `chance` replace time and randomness. `pricing` knows what a charge
    comes to. `call_hooks` are entered around every call, `attempt_hooks` around every attempt (`core.hooks` says how).
    `cache` keeps the answers of calls that have a `cache_key`: in memory, unless another is given here or set later.
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
    ) -> None:
        self.cache = cache or MemoryCache()
        self.router = router or Router()
        self._factories = {**transport_factories(), **(transports or {})}
        self._transports: dict[TransportName, Transport] = {}
        self._wraps: list[Callable[[Transport], Transport]] = []
        self._default_model = default_model
        self._timeouts = timeouts or Timeouts()
        self._retry = retry or RetryPolicy()
        self._engine = Engine(
            self._transport,
            clock=clock,
            chance=chance,
            pricing=pricing,
            call_hooks=call_hooks,
            attempt_hooks=attempt_hooks,
            observe=self.router.observe,
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

    def plan(
        self,
        prompt: str | Sequence[Message],
        *,
        system: str | None = None,
        schema: Mapping[str, Any] | None = None,
        validate: Sequence[Check] = (),
        max_tokens: int | None = None,
        temperature: float | None = None,
        seed: int | None = None,
        retry: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Plan:
        """The plan of a call, checked without any I/O. The other `options` are those of `AskOptions`.

        Raises:
            ConfigError: An argument is wrong.
        """
        settings = {"max_output_tokens": max_tokens, "temperature": temperature, "seed": seed}
        request = Request(
            model="",
            messages=_messages(prompt, system),
            settings=converted(settings, Settings, what="ask"),
            output=None if schema is None else OutputSpec(schema=schema),
        )
        call = read_call({"retry_config": retry, **options}, what="ask")
        return self._plan(call, request, validate)

    def prepare(self, config: Mapping[str, Any]) -> Plan:
        """The plan of the call that `config` (an `llm_config` dictionary) describes, checked without any I/O.

        Raises:
            ConfigError: A key or a value is wrong, the model is unknown, its key is not set.
            UnsupportedError: It asks for what this version does not do.
        """
        call, request = read_config(config)
        return self._plan(call, request, call.validation)

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

    def _plan(self, call: CallConfig, request: Request, checks: Sequence[Check]) -> Plan:
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
        validators = tuple(map(_validator, checks))
        if call.default_validate and not any(validator.name in _NOT_EMPTY for validator in validators):
            validators = (build(_NOT_EMPTY[0]), *validators)
        if request.output is not None and request.output.schema is not None:
            checker(request.output.schema)  # a schema that is none is refused here, before the first call
        return Plan(
            model=model,
            request=request,
            targets=choice.targets,
            skipped=choice.skipped,
            order=choice.order,
            validators=validators,
            budget=Budget(seconds=call.timeout, usd=call.max_cost),
            rounds=call.rounds or _rounds(call),
            timeouts=self._timeouts,
            strict=call.strict,
            stream=call.stream,
            caching=self._caching(call),
            retry=self._retry if call.retry_config is None else retry_policy(call.retry_config),
        )

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


_NOT_EMPTY = ("response_not_empty", "not_empty")
_ROUNDS = 3


def _rounds(call: CallConfig) -> int:
    """A case's `max_attempts` bounds its rounds too, as its users expect."""
    attempts = (call.retry_config or {}).get("max_attempts", _ROUNDS)
    return attempts if isinstance(attempts, int) else _ROUNDS


def _messages(prompt: str | Sequence[Message], system: str | None) -> tuple[Message, ...]:
    said = (message("user", prompt),) if isinstance(prompt, str) else tuple(prompt)
    return (message("system", system), *said) if system else said


def _validator(check: Check) -> Validator:
    if isinstance(check, str | Mapping):
        return read_validator(check)
    return check


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
