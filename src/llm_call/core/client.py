"""The client: plans calls and hands them to the engine. And its synchronous face."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any, Self, Unpack

from msgspec.structs import replace

from llm_call.core.attempts import Attempts
from llm_call.core.cache import MemoryCache, ResponseCache
from llm_call.core.call_config import CallConfig
from llm_call.core.domain.alert import Alert
from llm_call.core.domain.bill import Pricing, known_price
from llm_call.core.domain.embedding import Embeddings
from llm_call.core.domain.errors import ConfigError
from llm_call.core.domain.messages import Message, message
from llm_call.core.domain.request import Request
from llm_call.core.domain.result import Result
from llm_call.core.domain.review import Decision, Pending
from llm_call.core.engine import Engine
from llm_call.core.hooks import AttemptHook, CallHook
from llm_call.core.live import LiveAnswer
from llm_call.core.options import AskOptions, EmbedOptions
from llm_call.core.plan import Plan, without_people
from llm_call.core.planning import Planner
from llm_call.core.policy.alert_levels import alert_of_gate
from llm_call.core.policy.hedging import HedgingPolicy
from llm_call.core.policy.retry import RetryPolicy
from llm_call.core.portal import run_sync
from llm_call.core.providers.registry import TransportName
from llm_call.core.providers.transports import TransportFactory, transport_factories
from llm_call.core.retry import Chance
from llm_call.core.review import CallbackReviewer, Durable, Reviewer, ReviewRequest
from llm_call.core.router import Router
from llm_call.core.state.common import GateChange
from llm_call.core.state.gates import GatePolicies, Gates
from llm_call.core.state.store import SharedStore
from llm_call.core.tools.config import Tooling
from llm_call.core.transport.base import Clock, SystemClock, Timeouts, Transport
from llm_call.core.validation.base import Validator, written


class Client:
    """Asks models. Safe for many calls at once, from any event loop; `close` frees what it holds.

    `router` finds the target of a model name. `transports` says how the transport of a name is made, on first use.
    `default_model` is asked where a call names none. `timeouts` are those of the stages of an attempt, `retry` is the
    policy of the calls that name none. `clock` and `chance` replace time and randomness. `pricing` knows what a charge
    comes to. `call_hooks` are entered around every call, `attempt_hooks` around every attempt (`core.hooks` says how).
    `cache` keeps the answers of calls that have a `cache_key`: in memory, unless another is given here or set later.
    `reviewer` has people decide what the ladder hands to them; without one, what `durable` makes of this client does. It
    keeps calls and reviews beyond the process, and is made on first use.
    `hedging` says when a second target is asked beside one that is late: never, unless it is given.
    `tooling` is what the servers of `mcp_config` are started with; without it they have nothing of our environment.
    `alert` hears of errors that leave a call: `Alerts.send`, for example. `gates` are the
    breakers and limits before each place, whose state is shared through `store` where there is one.
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
        tooling: Tooling | None = None,
        alert: Callable[[Alert], None] | None = None,
        gates: GatePolicies | None = None,
        store: SharedStore | None = None,
        durable: Callable[["Client"], Durable] | None = None,
    ) -> None:
        self.cache = cache or MemoryCache()
        self.router = router or Router()
        self._factories = {**transport_factories(), **(transports or {})}
        self._transports: dict[TransportName, Transport] = {}
        self._wraps: list[Callable[[Transport], Transport]] = []
        self._planner = Planner(
            self.router,
            default_model=default_model,
            timeouts=timeouts,
            retry=retry,
            tooling=tooling,
            cache=lambda: self.cache,
        )
        clock = clock or SystemClock()
        self._store = store
        self._attempts = Attempts(
            self._transport,
            clock=clock,
            chance=chance,
            hooks=attempt_hooks,
            hedging=hedging,
            gates=Gates(gates, clock=clock, listen=None if alert is None else _telling(alert), store=store),
        )
        self.pricing = pricing
        self._call_hooks = tuple(call_hooks)
        self._alert = alert
        self._make_durable = durable
        self._durable: Durable | None = None
        self._reviewer = reviewer
        self._engine = self._engine_of(
            self._attempts, reviewer or (CallbackReviewer(self._hand_over) if durable else None)
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
        return self._reviewed(self._planner.ask(prompt, options))

    def prepare(self, config: Mapping[str, Any]) -> Plan:
        """The plan of the call that `config` (an `llm_config` dictionary) describes, checked without any I/O.

        Raises:
            ConfigError: A key or a value is wrong, the model is unknown, its key is not set.
            UnsupportedError: It asks for what this version does not do.
        """
        return self._reviewed(self._planner.call(config))

    @contextmanager
    def through(self, wrap: Callable[[Transport], Transport]) -> Iterator[None]:
        """While it is open, every attempt of this client goes through `wrap(transport)`: a recorder, for example."""
        self._wraps.append(wrap)
        try:
            yield
        finally:
            self._wraps.remove(wrap)

    @contextmanager
    def hooked(self, hook: AttemptHook) -> Iterator[None]:
        """While it is open, the attempts of calls that begin are made inside `hook` too. Not for several threads."""
        before = self._attempts.hooks
        self._attempts.hooks = (*before, hook)
        try:
            yield
        finally:
            self._attempts.hooks = before

    async def submit(
        self,
        what: str | Sequence[Message] | Mapping[str, Any],
        *,
        key: str | None = None,
        **options: Unpack[AskOptions],
    ) -> str:
        """Begin a durable call and return its id: it goes on, from any process, where this one ends.

        `what` is a prompt with the options of `ask`, or an `llm_config` dictionary. The same `key` again is the same call,
        whatever it says: who does not know whether it was begun can begin it again. No API key is stored: it is looked up in
        the configuration whenever the call goes on.

        Raises:
            ConfigError: An argument is wrong or cannot be stored; nothing was sent.
        """
        plan = self.prepare(what) if isinstance(what, Mapping) else self.plan(what, **options)
        if options.get("api_key") or (isinstance(what, Mapping) and what.get("api_key")):
            raise ConfigError(
                "a durable call takes no api_key: it would have to be stored", hint="Set it in the configuration."
            )
        return await self.durable().submit(_storable(plan.call, plan.validators), plan.request, key=key)

    async def wait(self, what: Result[Any] | str, timeout: float | None = None) -> Result[Any]:  # noqa: ASYNC109  (its own word)
        """What a durable call comes to, or a call that a person is asked about, by its result or its id.

        `timeout` is in seconds. Whoever waits carries on what a process that has ended had begun.

        Raises:
            DeadlineExceededError: It has come to nothing in that time. Nothing is lost: wait again.
            CallAbortedError: A person has ended the call.
            LLMCallError: The call has ended with it.
        """
        if isinstance(what, str):
            return await self.durable().wait(what, timeout)
        return what if what.pending is None else await self.durable().wait(what.pending.id, timeout)

    def durable(self) -> Durable:
        """What keeps this client's calls and reviews.

        Raises:
            ConfigError: Nothing does.
        """
        if self._durable is None:
            if self._make_durable is None:
                raise ConfigError("this client keeps no calls", hint="Give it a store: Client(durable=...).")
            self._durable = self._make_durable(self)
        return self._durable

    def restore(self, call: CallConfig, request: Request) -> Plan:
        """The plan of a call that was stored.

        Raises:
            ConfigError: It cannot be carried out with the settings as they are now.
        """
        return self._reviewed(self._planner.restored(call, request))

    def engine_on(self, made: Callable[..., Attempts], reviewer: Reviewer | None) -> Engine:
        """An engine like this client's own, on attempts that `made` makes from its transports and hooks."""
        return self._engine_of(made(self._transport, hooks=self._attempts.hooks, gates=self._attempts.gates), reviewer)

    async def close(self) -> None:
        """Free the transports and the store. Calls that are under way end; durable ones go on elsewhere, or later."""
        durable, self._durable = self._durable, None
        if durable is not None:
            await durable.close()
        await self._attempts.gates.close()
        if self._store is not None:
            await self._store.close()
        transports, self._transports = self._transports, {}
        for transport in transports.values():
            await transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.close()

    async def _hand_over(self, request: ReviewRequest) -> Pending | Decision:
        return await self.durable().review(request)

    def _engine_of(self, attempts: Attempts, reviewer: Reviewer | None) -> Engine:
        return Engine(
            attempts,
            pricing=self.pricing,
            call_hooks=self._call_hooks,
            observe=self.router.observe,
            reviewer=reviewer,
            alert=self._alert,
        )

    def _reviewed(self, plan: Plan) -> Plan:
        """`plan` with what is needed where its ladder leads to people."""
        if plan.ladder is None or not any(rung.kind == "human" for rung in plan.ladder):
            return plan
        call = plan.call
        if self._reviewer is None and self._make_durable:
            self.durable()  # what it needs is missed here, not when the answer is there
            call = _storable(call, plan.validators)
        return replace(plan, call=call, again=partial(self._again, plan.validators))

    async def _again(self, checks: tuple[Validator, ...], call: CallConfig, request: Request) -> Result[Any]:
        """Carry out a call that a person has go on. They are not asked a second time before it has come to its end."""
        return await self.execute(without_people(self._planner.plan(call, request, checks)))

    def _transport(self, name: TransportName) -> Transport:
        if name not in self._transports:
            self._transports[name] = self._factories[name]()
        transport = self._transports[name]
        for wrap in self._wraps:
            transport = wrap(transport)
        return transport


def _storable(call: CallConfig, checks: tuple[Validator, ...]) -> CallConfig:
    """`call` with its checks in words. The default one is among them, where it is wanted."""
    return replace(call, validation=tuple(map(written, checks)), default_validate=False)


def _telling(alert: Callable[[Alert], None]) -> Callable[[GateChange], None]:
    """Tells people of breakers that open and close."""

    def listen(change: GateChange) -> None:
        told = alert_of_gate(change.kind, change.place, change.why)
        if told is not None:
            alert(told)

    return listen


def _texts(texts: str | Sequence[str]) -> tuple[str, ...]:
    if isinstance(texts, str):
        return (texts,)
    if isinstance(texts, Sequence) and all(isinstance(each, str) for each in texts):
        return tuple(texts)
    raise ConfigError("what is embedded is a text, or texts", hint='Give "...", or ["...", "..."].')
