"""A call whose attempts are written down, so that another process can go on where one ended.

The engine runs from the start each time, on a clock and chances of its own; each attempt, each wait and the order of
the targets is a step. A step that has ended before is not done again: what it came to is taken from the record, and the
clock is set to what it was then. So the same decisions follow, up to the step that was under way. It is begun anew: an
attempt among them is the only thing that is paid twice, and the trace says so.

The time of such a call is that in which it is worked on; while no process does, it stands still.
"""

import random
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from llm_call.core.attempts import Attempts, Read
from llm_call.core.domain.embedding import Embeddings
from llm_call.core.domain.errors import ConfigError, LLMCallError
from llm_call.core.domain.response import Response
from llm_call.core.domain.trace import Attempt, Trace
from llm_call.core.durable.records import StoredError, written
from llm_call.core.hooks import AttemptScope
from llm_call.core.plan import Plan
from llm_call.core.providers.registry import Target
from llm_call.core.record import CallRecord, charge_of
from llm_call.core.retry import Turn
from llm_call.core.state.gates import Gates, Place
from llm_call.core.transport.base import Clock

A = TypeVar("A", Response, Embeddings)
Record = Callable[[str, Callable[[], Awaitable[str]]], Awaitable[str]]
"""What a named step comes to: from the record where it has ended before, otherwise by doing the work."""

REPEATED = "sent again: the process that had sent it ended before the answer"


class _Entry(Struct, frozen=True, kw_only=True):
    """A step that has ended: in which run of the call, when on its clock, with what."""

    run: str
    at: float
    body: msgspec.Raw


class _Taken(Struct, frozen=True, kw_only=True):
    """What an attempt came to. It is not in the trace where its error arose before it was made.

    `repeated`: an earlier run had begun it too; this is kept, since the run that repeated it may end before the call.
    """

    target: str
    attempt: Attempt | None
    response: Response | None = None
    error: StoredError | None = None
    repeated: bool = False


class _Order(Struct, frozen=True, kw_only=True):
    targets: tuple[str, ...]


class _Leave(Struct, frozen=True, kw_only=True):
    given: bool


class _Nothing(Struct, frozen=True, kw_only=True):
    pass


class Journal:
    """The steps of one run of a call. `run` names it; `repeated` are the numbers of the attempts that were sent again."""

    def __init__(self, identity: str, run: str, record: Record, clock: Clock) -> None:
        self.run = run
        self.repeated: set[int] = set()
        self.chance = random.Random(identity).random  # noqa: S311  (the same again in each run)
        self._record = record
        self._clock = clock
        self._ahead = -clock.now()  # the call's time, less the clock's

    def now(self) -> float:
        """The call's time, in seconds."""
        return self._clock.now() + self._ahead

    async def sleep(self, seconds: float) -> None:
        """Wait, unless an earlier run has waited."""
        if not seconds:
            return

        async def wait() -> _Nothing:
            await self._clock.sleep(seconds)
            return _Nothing()

        await self.step("wait", wait)

    async def step(self, name: str, work: Callable[[], Awaitable[Struct]]) -> tuple[bytes, bool]:
        """What the step comes to, as JSON, and whether it is an earlier run's."""

        async def done() -> str:
            body = msgspec.Raw(msgspec.json.encode(await work()))
            return written(_Entry(run=self.run, at=self.now(), body=body))

        entry = msgspec.json.decode(await self._record(name, done), type=_Entry)
        if entry.run != self.run:
            self._ahead = entry.at - self._clock.now()
        return bytes(entry.body), entry.run != self.run

    async def ordered(self, plan: Plan) -> Plan:
        """`plan` with its targets in the order that its first run has put them in."""
        if plan.order is None:
            return plan
        targets = plan.order(self.chance, self.now())

        async def names() -> _Order:
            return _Order(targets=tuple(target.name for target in targets))

        body, _ = await self.step("order", names)
        order = msgspec.json.decode(body, type=_Order).targets
        known = {target.name: target for target in targets}
        return replace(plan, order=None, targets=tuple(known[name] for name in order if name in known))

    def told(self, trace: Trace) -> Trace:
        """`trace` with a word at each attempt that was sent again."""
        rounds = tuple(
            replace(
                each,
                attempts=tuple(
                    replace(attempt, why=f"{attempt.why}; {REPEATED}" if attempt.why else REPEATED)
                    if attempt.number in self.repeated
                    else attempt
                    for attempt in each.attempts
                ),
            )
            for each in trace.rounds
        )
        return replace(trace, rounds=rounds) if self.repeated else trace


class JournaledAttempts(Attempts):
    """Attempts that are steps of `journal`. It is never hedged: two at once would have no order to be found in again."""

    def __init__(self, journal: Journal, transport: Any, **options: Any) -> None:
        super().__init__(transport, **options, clock=journal, chance=journal.chance)
        self._journal = journal
        self.gates = _JournaledGates(self.gates, journal)  # type: ignore[assignment]  # all that attempts ask of gates

    async def whole(
        self, plan: Plan, record: CallRecord, turn: Turn, sent: Callable[[Target, int], AttemptScope], read: Read[A]
    ) -> A:
        """What `read` makes of the reply to one request, or has made of it in an earlier run.

        Raises:
            ConfigError: The settings have changed since: another target is asked now.
        """
        target, count = plan.targets[turn.target], record.number
        kept: list[A] = []
        failed: list[LLMCallError] = []

        async def begun() -> _Nothing:
            return _Nothing()

        was_begun = (await self._journal.step("begin", begun))[1]

        def made() -> Attempt | None:
            return record.trace(self.clock.now()).attempts[-1] if record.number > count else None

        async def attempt() -> _Taken:
            try:
                kept.append(await super(JournaledAttempts, self).whole(plan, record, turn, sent, read))
            except LLMCallError as error:
                failed.append(error)
                return _Taken(target=target.name, attempt=made(), error=StoredError.of(error), repeated=was_begun)
            return _Taken(target=target.name, attempt=made(), response=kept[0], repeated=was_begun)  # type: ignore[arg-type]  # no embeddings here

        body, _ = await self._journal.step("attempt", attempt)
        taken = msgspec.json.decode(body, type=_Taken)
        if taken.repeated:
            self._journal.repeated.add(count)
        if failed:
            raise failed[0]
        return kept[0] if kept else _again(taken, target, record)  # type: ignore[return-value]


def _again(taken: _Taken, target: Target, record: CallRecord) -> Response:
    """What an earlier run's attempt came to; the record has it as it was then."""
    if taken.target != target.name:
        raise ConfigError(
            f"this call was begun at {taken.target}, and would go on at {target.name}: the settings have changed",
            hint="Go on with the settings that it was begun with.",
        )
    error = None if taken.error is None else taken.error.error()
    if taken.attempt is not None:
        charge = charge_of(target, taken.response.usage) if taken.response else None
        record.replay(taken.attempt, charge=charge, error=error)
    if error is not None:
        raise error
    assert taken.response is not None  # noqa: S101  (there is one or the other)
    return taken.response


class _JournaledGates:
    """Gates whose retry budget is asked once for each retry, however often the call is run."""

    def __init__(self, gates: Gates, journal: Journal) -> None:
        self.enter = gates.enter
        self._gates = gates
        self._journal = journal

    async def may_retry(self, place: Place) -> bool:
        async def asked() -> _Leave:
            return _Leave(given=await self._gates.may_retry(place))

        body, _ = await self._journal.step("may retry", asked)
        return msgspec.json.decode(body, type=_Leave).given
