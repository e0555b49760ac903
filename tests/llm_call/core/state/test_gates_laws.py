"""Whatever happens in whatever order, with cancellations at any moment: nothing leaks, and no bound is crossed."""

import asyncio
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from llm_call.core.domain.errors import BadRequestError, CircuitOpenError, RateLimitError, ServerError
from llm_call.core.policy.limits import ConcurrencyPolicy, Limit
from llm_call.core.state.common import GateChange
from llm_call.core.state.gates import GatePolicies, Gates, Permit, Place
from llm_call.testing.clock import FakeClock

PLACE = Place(provider="p", model="m")
ERRORS: dict[str, Exception] = {
    "down": ServerError("x", status=500),
    "busy": RateLimitError("x", status=429, retry_after=2.0),
    "wrong": BadRequestError("x", status=400),
}
ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(
            ["enter", "enter", "enter", "impatient", "cancel", "down", "busy", "wrong", "ok", "leave", "time"]
        ),
        st.integers(0, 20),
        st.floats(0, 8),
    ),
    max_size=50,
)
POLICIES = st.builds(
    GatePolicies,
    concurrency=st.builds(ConcurrencyPolicy, most=st.integers(1, 4) | st.none()),
    limits=st.sampled_from([{}, {"*": Limit(requests_per_minute=30, tokens_per_minute=600)}]),
)


class Machine:
    """Calls that enter, wait, end in all ways and are cancelled, as the actions say."""

    def __init__(self, policies: GatePolicies) -> None:
        self.clock = FakeClock()
        self.gates = Gates(policies, clock=self.clock, listen=self.told)
        self.entering: list[asyncio.Task[Permit]] = []
        self.inside: list[Permit] = []
        self.news: list[GateChange] = []

    def told(self, change: GateChange) -> None:
        self.news.append(change)

    async def step(self, action: str, which: int, seconds: float) -> None:
        if action in {"enter", "impatient"}:
            patience = seconds if action == "impatient" else None
            self.entering.append(asyncio.ensure_future(self.gates.enter(PLACE, tokens=50, patience=patience)))
        elif action == "cancel" and self.entering:
            self.entering[which % len(self.entering)].cancel()
        elif action == "time":
            await asyncio.sleep(seconds)
        elif self.inside and action not in {"cancel", "enter"}:
            self.end(self.inside.pop(which % len(self.inside)), action, seconds)
        for _ in range(which % 3):  # a cancellation may meet a call at any of its awaits
            await asyncio.sleep(0)
        self.collect()

    def end(self, permit: Permit, action: str, seconds: float) -> None:
        if action == "ok":
            permit.succeeded(seconds, {})
        elif action == "leave":
            permit.release()
        else:
            permit.failed(ERRORS[action], seconds)

    def collect(self) -> None:
        for task in [task for task in self.entering if task.done()]:
            self.entering.remove(task)
            if not task.cancelled() and task.exception() is None:
                self.inside.append(task.result())
            elif not task.cancelled():
                assert isinstance(task.exception(), CircuitOpenError | RateLimitError)

    async def finish(self) -> None:
        while self.entering or self.inside:
            for task in self.entering:
                task.cancel()
            await asyncio.sleep(0)
            self.collect()
            while self.inside:
                self.inside.pop().release()


@given(POLICIES, ACTIONS)
def test_no_permit_is_leaked_and_no_bound_is_crossed(policies: GatePolicies, actions: list[Any]) -> None:
    machine = Machine(policies)

    async def main() -> None:
        for action in actions:
            await machine.step(*action)
            if gate := machine.gates._gates.get(PLACE):
                assert len(machine.inside) <= gate.slots.under_way
                assert gate.slots.under_way <= (policies.concurrency.most or 999)
                assert len(gate.circuit.phase.probes) <= max(policies.breaker.probes)
        await machine.finish()

    machine.clock.run(main())
    if gate := machine.gates._gates.get(PLACE):
        assert gate.slots.is_idle
        assert gate.circuit.phase.probes == ()
    if not any(action == "down" for action, *_ in actions):
        assert not any(change.kind == "opened" for change in machine.news)


@given(ACTIONS, st.integers(1, 120))
def test_the_permits_of_a_rate_never_exceed_it(actions: list[Any], per_minute: int) -> None:
    machine = Machine(GatePolicies(limits={"*": Limit(requests_per_minute=per_minute)}))
    entered = 0

    async def main() -> None:
        nonlocal entered
        for action in actions:
            before = set(map(id, machine.inside))
            await machine.step(*action)
            entered += sum(id(permit) not in before for permit in machine.inside)
            assert entered <= per_minute * machine.clock.now() / 60 + per_minute + 1e-6
        await machine.finish()

    machine.clock.run(main())
