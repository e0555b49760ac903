"""The gate before each place: whether an attempt may go out now, and what becomes known of the place when it is over.

    with await gates.enter(place, tokens=900, patience=10.0) as permit:
        ...                                     # the attempt
        permit.succeeded(seconds, headers, usage)    # or permit.failed(error, seconds)

A gate holds the place's breaker, its places for calls at a time, its rates, and the retry budget of its credential. The
rule: what a permit has taken goes back exactly once, however the attempt ends; one that says nothing of its outcome was
cancelled and proves nothing. Without anything to wait for, entering awaits nothing.
"""

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from hashlib import blake2b
from math import inf
from types import TracebackType
from typing import Self
from weakref import WeakValueDictionary

from msgspec import Struct

from llm_call.core.domain.errors import CircuitOpenError, LocalLimitError, RateLimitError
from llm_call.core.domain.response import Usage
from llm_call.core.policy.breaker import BreakerPolicy
from llm_call.core.policy.limits import ConcurrencyPolicy, Limit
from llm_call.core.policy.outcome import hint
from llm_call.core.policy.retry_budget import RetryBudgetPolicy
from llm_call.core.state.buckets import Meter, Retries
from llm_call.core.state.circuit import Circuit, SharedCircuit
from llm_call.core.state.common import Clock, Common, GateChange, key
from llm_call.core.state.slots import Slots
from llm_call.core.state.store import SharedStore
from llm_call.core.wire.quota import next_in

_DOMAIN = b"llm_call: the credential of a place"
_LONGEST_HOLD = 60.0  # seconds that a header can hold a place for; then it is asked, and says itself
_MOMENT = 1e-6  # seconds; shorter waits are none
_IDLE = 900.0  # seconds after which an unused gate is dropped


class Place(Struct, frozen=True, kw_only=True, cache_hash=True):
    """What fails or is throttled as one: a model at a provider, under one credential, of which only a digest is here."""

    provider: str
    model: str
    base_url: str = ""
    credential: str = ""

    @property
    def name(self) -> str:
        """What people are told."""
        return f"{self.provider}/{self.model}"

    def __repr__(self) -> str:
        return f"Place({self.name!r})"


def place_of(provider: str, model: str, base_url: str, headers: Mapping[str, str]) -> Place:
    """The place that a request with these fixed headers goes to: the endpoint's, as they are before a request is signed.

    The digest is the same in every process, so that they can share what they know of the place.
    """
    if not headers:
        return Place(provider=provider, model=model, base_url=base_url)
    said = "\0".join(f"{name.lower()}\0{value}" for name, value in sorted(headers.items()))
    digest = blake2b(said.encode("utf-8", "surrogateescape"), key=_DOMAIN, digest_size=8)
    return Place(provider=provider, model=model, base_url=base_url, credential=digest.hexdigest())


class GatePolicies(Struct, frozen=True, kw_only=True):
    """What holds at the gates. The first of `limits`, globs over `provider/model`, that fits a place counts.

    All places of one credential that the same glob fits share that limit.
    """

    breaker: BreakerPolicy = BreakerPolicy()
    concurrency: ConcurrencyPolicy = ConcurrencyPolicy()
    retry_budget: RetryBudgetPolicy = RetryBudgetPolicy()
    limits: Mapping[str, Limit] = {}

    def glob_of(self, place: Place) -> str | None:
        """The glob whose limit holds for `place`."""
        return next((glob for glob in self.limits if fnmatchcase(place.name.lower(), glob.lower())), None)


class _Gate:
    """Everything that is kept of one place."""

    __slots__ = ("circuit", "held_until", "meter", "own_circuits", "place", "retries", "slots", "used")

    def __init__(self, place: Place, circuit: Circuit, slots: Slots, meter: Meter | None, retries: Retries) -> None:
        self.place = place
        self.circuit = circuit
        self.slots = slots
        self.meter = meter
        self.retries = retries
        self.held_until = -inf
        self.used = 0.0
        self.own_circuits: dict[BreakerPolicy, Circuit] | None = None

    def is_idle(self, now: float) -> bool:
        """Whether nothing would be lost with it."""
        phase = self.circuit.phase
        resting = phase.state == "closed" or phase.until < now
        return self.slots.is_idle and self.used + _IDLE < now and resting


class Permit:
    """Leave for one attempt, as a context. Exactly one of its methods ends it, or else leaving the context does.

    `waited` is how long it was held back, in seconds; `probe`: its breaker is half-open.
    """

    __slots__ = ("_circuit", "_common", "_ended", "_gate", "_lease", "_number", "_tokens", "waited")

    def __init__(self, common: Common, gate: _Gate, circuit: Circuit, lease: float | None, tokens: int) -> None:
        self._common = common
        self._gate = gate
        self._circuit = circuit
        self._lease = lease
        self._tokens = tokens
        self._number = gate.slots.number()
        self._ended = False
        self.waited = 0.0

    @property
    def probe(self) -> bool:
        """Whether the place is being tried."""
        return self._lease is not None

    def succeeded(self, seconds: float, headers: Mapping[str, str], usage: Usage | None = None) -> None:
        """It was answered, after `seconds`, with these headers (their names in lower case) and this usage."""
        if self._ended:
            return
        wait = next_in(headers, self._tokens)
        self._ended = True
        gate, common = self._gate, self._common
        with common.lock:
            now = common.clock.now()
            self._circuit.succeeded(seconds, self._lease, now)
            gate.retries.successes += 1
            if wait:
                self._hold(now, wait, "nothing is left of its limit")
            if gate.meter is not None and usage is not None:
                gate.meter.settle(self._unused(usage))
            gate.slots.succeeded(now)
            gate.slots.give_back()
        common.tell()

    def failed(self, error: Exception, seconds: float) -> None:  # noqa: ARG002  (a failure counts, fast or slow)
        """It failed after `seconds`. What `error` is decides what that says of the place."""
        if self._ended:
            return
        self._ended = True
        with self._common.lock:
            now = self._common.clock.now()
            self._circuit.failed(error, self._lease, now)
            if isinstance(error, RateLimitError) and error.retryable:
                self._throttled(error, now)
            self._gate.slots.give_back()
        self._common.tell()

    def release(self) -> None:
        """It was cancelled, or came to nothing: that proves nothing."""
        if self._ended:
            return
        self._ended = True
        with self._common.lock:
            self._circuit.released(self._lease)
            self._gate.slots.give_back()
        self._common.tell()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._ended:
            self.release()

    def _unused(self, usage: Usage) -> int:
        """How many of the reserved tokens were not used; 0 where the answer does not say."""
        if usage.input_tokens is None and usage.output_tokens is None:
            return 0
        return self._tokens - (usage.input_tokens or 0) - (usage.output_tokens or 0)

    def _throttled(self, error: RateLimitError, now: float) -> None:
        slots = self._gate.slots
        if slots.throttled(self._number, now):
            why = f"a rate limit: at most {int(slots.limit)} at a time"
            self._common.news.append(GateChange(kind="slowed", place=self._gate.place.name, why=why))
        if hint(error):
            self._hold(now, hint(error), "the server asks to wait")

    def _hold(self, now: float, seconds: float, why: str) -> None:
        gate, seconds = self._gate, min(seconds, _LONGEST_HOLD)
        if now >= gate.held_until:
            news = GateChange(kind="held", place=gate.place.name, why=why, seconds=seconds)
            self._common.news.append(news)
        gate.held_until = max(gate.held_until, now + seconds)


class Gates:
    """The gates of a client: safe for many calls, event loops and threads.

    `listen` is told of what changes; it must be quick and not raise. With a `store`, what is known of a place is shared
    with whoever uses the same one, but for the windows of the breakers and the calls at a time.
    """

    def __init__(
        self,
        policies: GatePolicies | None = None,
        *,
        clock: Clock,
        listen: Callable[[GateChange], None] | None = None,
        store: SharedStore | None = None,
    ) -> None:
        self.policies = policies or GatePolicies()
        self._common = Common(clock, listen, store)
        self._gates: dict[Place, _Gate] = {}
        self._meters: WeakValueDictionary[str, Meter] = WeakValueDictionary()
        self._retries: WeakValueDictionary[str, Retries] = WeakValueDictionary()
        self._sweep_at = -inf

    async def enter(
        self, place: Place, *, tokens: int = 0, patience: float | None = None, breaker: BreakerPolicy | None = None
    ) -> Permit:
        """Leave for one attempt at `place`, as soon as its limits allow it; first come, first served.

        `tokens` is what it may use, in and out, as far as that is known; the difference to what it did use is settled
        afterwards. `patience` is how many seconds it can wait; `None` is as long as it takes. `breaker` is one of the
        call's own in the place of the client's; calls with an equal one share it.

        Raises:
            CircuitOpenError: The breaker is open. It never waits for that.
            LocalLimitError: It would have to wait longer than `patience`.
        """
        common = self._common
        with common.lock:
            now = common.clock.now()
            gate = self._gates.get(place) or self._new_gate(place, now)
            gate.used = now
            circuit = gate.circuit if breaker is None else self._own_circuit(gate, breaker)
            if common.store is not None and circuit.phase.state == "closed":
                circuit.look(now)
            if circuit.phase.state == "closed" and gate.meter is None and now >= gate.held_until and gate.slots.take():
                return Permit(common, gate, circuit, None, tokens)
        return await self._enter_in_turn(gate, circuit, tokens, now + (inf if patience is None else patience))

    async def may_retry(self, place: Place) -> bool:
        """Take one from the retry budget of the place's credential; false where nothing is left in it."""
        with self._common.lock:
            now = self._common.clock.now()
            gate = self._gates.get(place) or self._new_gate(place, now)
            gate.used = now
        return await gate.retries.take()

    async def close(self) -> None:
        """End what is done in the background."""
        await self._common.close()

    async def _enter_in_turn(self, gate: _Gate, circuit: Circuit, tokens: int, until: float) -> Permit:
        common = self._common
        entered = common.clock.now()
        self._refuse(gate, circuit, entered, until)
        await self._take_slot(gate, until - entered)
        try:
            lease = await self._admitted(gate, circuit, tokens, until)
        except BaseException:
            with common.lock:
                gate.slots.give_back()
            raise
        with common.lock:
            permit = Permit(common, gate, circuit, lease, tokens)
        permit.waited = common.clock.now() - entered
        return permit

    def _refuse(self, gate: _Gate, circuit: Circuit, now: float, until: float) -> None:
        """Say at once what waiting would not change."""
        with self._common.lock:
            refusal: CircuitOpenError | LocalLimitError | None = circuit.refusal(now)
            if refusal is None and gate.held_until > until:
                refusal = _too_long(gate, gate.held_until - now)
        if refusal is not None:
            raise refusal

    async def _take_slot(self, gate: _Gate, patience: float) -> None:
        with self._common.lock:
            if gate.slots.take():
                return
        try:
            await gate.slots.wait(self._common.lock, patience)
        except TimeoutError:
            raise _too_long(gate, None) from None

    async def _admitted(self, gate: _Gate, circuit: Circuit, tokens: int, until: float) -> float | None:
        """Wait for the rates and for the place, then ask the breaker: the lease of a probe."""
        common = self._common
        now = common.clock.now()
        patience = max(until - now, 0.0)  # who cannot wait at all still takes what is there
        wait = await gate.meter.reserve(tokens, patience) if gate.meter is not None else 0.0
        if wait > patience:
            raise _too_long(gate, wait)
        try:
            await self._wait(gate, now + wait, until)
            return await circuit.admit()
        except BaseException:
            with common.lock:
                if gate.meter is not None:
                    gate.meter.put_back(tokens)
            raise

    async def _wait(self, gate: _Gate, due: float, until: float) -> None:
        clock = self._common.clock
        while (pause := max(due, gate.held_until) - clock.now()) > _MOMENT:
            if gate.held_until > until:  # `due` is within the patience
                raise _too_long(gate, pause)
            await clock.sleep(pause)

    def _own_circuit(self, gate: _Gate, policy: BreakerPolicy) -> Circuit:
        if gate.own_circuits is None:
            gate.own_circuits = {}
        found = gate.own_circuits.get(policy)
        if found is None:
            found = gate.own_circuits[policy] = self._circuit(gate.place, policy)
        return found

    def _circuit(self, place: Place, policy: BreakerPolicy) -> Circuit:
        if self._common.store is None:
            return Circuit(self._common, place.name, policy)
        name = key("breaker", place.name, place.base_url, place.credential, repr(policy))
        return SharedCircuit(self._common, place.name, policy, name)

    def _new_gate(self, place: Place, now: float) -> _Gate:
        if now >= self._sweep_at:
            self._sweep(now)
        gate = self._gates[place] = _Gate(
            place,
            self._circuit(place, self.policies.breaker),
            Slots(self.policies.concurrency, self._common.clock),
            self._meter(place),
            self._budget(place),
        )
        return gate

    def _meter(self, place: Place) -> Meter | None:
        glob = self.policies.glob_of(place)
        if glob is None:
            return None
        name = key("limit", glob, place.provider, place.base_url, place.credential)
        found = self._meters.get(name)
        if found is None:
            found = self._meters[name] = Meter(self._common, self.policies.limits[glob], name)
        return found

    def _budget(self, place: Place) -> Retries:
        name = key("retries", place.provider, place.base_url, place.credential)
        found = self._retries.get(name)
        if found is None:
            found = self._retries[name] = Retries(self._common, self.policies.retry_budget, name)
        return found

    def _sweep(self, now: float) -> None:
        self._sweep_at = now + _IDLE
        for place in [place for place, gate in self._gates.items() if gate.is_idle(now)]:
            del self._gates[place]


def _too_long(gate: _Gate, seconds: float | None) -> LocalLimitError:
    name = gate.place.name
    when = "in time" if seconds is None else f"for another {seconds:.3g} s"
    return LocalLimitError(
        f"{name}: its limits leave no room {when}",
        code="local_limit",
        retry_after=seconds,
        hint="Ask less often, allow more time, or name another model in fallback_models.",
    )
