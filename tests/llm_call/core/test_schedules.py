"""Deterministic simulation: random schedules of faults, cancellations and clock jumps, and the laws that all of them keep.

Each schedule is drawn from one seed: its calls, targets, limits, the peer's answers, who leaves when. A failure names
its seed; `LLM_CALL_SEED=<seed> pytest tests/llm_call/core/test_schedules.py -k laws` runs that one alone.
"""

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from itertools import pairwise
from random import Random
from typing import Any, Literal

import pytest

from llm_call.core.attempts import Attempts
from llm_call.core.call_config import Recovery
from llm_call.core.domain.errors import LLMCallError
from llm_call.core.domain.events import PartDelta, PartStart
from llm_call.core.domain.messages import Reasoning, Text, message
from llm_call.core.domain.profile import Prices, Profile
from llm_call.core.domain.request import Request, Settings
from llm_call.core.domain.response import Usage
from llm_call.core.domain.result import Result
from llm_call.core.domain.trace import Attempt, Failure, Trace
from llm_call.core.engine import Engine
from llm_call.core.hooks import AttemptScope, CallScope
from llm_call.core.plan import Plan
from llm_call.core.policy.backoff import Backoff
from llm_call.core.policy.breaker import BreakerPolicy
from llm_call.core.policy.budget import Budget
from llm_call.core.policy.escalation import Condition, Ladder, Rung, RungKind
from llm_call.core.policy.limits import ConcurrencyPolicy, Limit
from llm_call.core.policy.retry import RetryPolicy
from llm_call.core.policy.retry_budget import RetryBudgetPolicy
from llm_call.core.providers.registry import Target, codec
from llm_call.core.state.common import GateChange
from llm_call.core.state.gates import GatePolicies, Gates
from llm_call.core.transport.base import Endpoint, Timeouts
from llm_call.core.transport.deadline import _watches
from llm_call.core.validation import build
from llm_call.testing.chaos import ACCEPTED, ChaoticTransport, Sent
from llm_call.testing.clock import FakeClock
from llm_call.testing.gate_laws import (
    faults_of_breakers,
    faults_of_concurrency,
    faults_of_rate,
    faults_of_retries,
)

SCHEDULES = {"test": 10_000, "prove": 100_000}
SEED = os.environ.get("LLM_CALL_SEED")  # read before the environment is emptied for the tests

Mode = Literal["plain", "live"]
PRICES = Prices(input=Decimal(1000), output=Decimal(2000))
CODEC = codec("openai_chat")
CHECKS = (build("contains", {"required_text": ACCEPTED}),)


class Call:
    """One call of a schedule: what it is given, when its caller leaves, and what came of it."""

    def __init__(self, number: int, chance: Random, targets: tuple[Target, ...]) -> None:
        self.number = number
        self.begins = chance.choice((0.0, 0.0, 0.1, 7.0))
        self.mode: Mode = chance.choice(("plain", "live"))
        self.plan = _plan(number, chance, targets)
        self.cancelled_after = chance.choice((None, None, None, 0.0, 0.2, 3.0, 40.0))
        self.leaves_after = chance.choice((None, None, None, 0, 1, 5))
        self.pause = chance.choice((0.0, 0.0, 0.0, 0.4))
        self.begun = self.ended = self.paused = 0.0
        self.got: dict[str, str] = {}
        self.cancelled_at: float | None = None
        self.left = False
        self.open_at_end: list[Sent] = []
        self.outcome: Result[Any] | LLMCallError | asyncio.CancelledError | None = None

    @property
    def trace(self) -> Trace | None:
        return self.outcome.trace if isinstance(self.outcome, Result | LLMCallError) else None

    @property
    def stayed(self) -> bool:
        return self.cancelled_at is None and not self.left

    def __repr__(self) -> str:
        plan = self.plan
        return (
            f"call {self.number} {self.mode} {plan.recovery} {plan.budget} {plan.timeouts} {plan.retry} {plan.ladder} "
            f"rounds={plan.rounds} cancelled={self.cancelled_at} left={self.left} got={self.got} -> {self.outcome!r}"
        )


def _target(index: int, chance: Random) -> Target:
    profile = Profile(
        context_tokens=chance.choice((None, 1000, 100_000)),
        prices=PRICES,
        reasoning=chance.choice((None, True)),
        stream_only=chance.random() < 0.1,
    )
    return Target(
        name=f"p/{index}",
        provider="p",
        model=str(index),
        endpoint=Endpoint(base_url="p", headers={"authorization": chance.choice(("one", "two"))}),
        codec=CODEC,
        transport="http",
        profile=profile,
    )


def _plan(number: int, chance: Random, targets: tuple[Target, ...]) -> Plan:
    recoveries: tuple[Recovery, ...] = ("verified", "verified", "off", "buffer")
    return Plan(
        model="m",
        request=Request(model="", messages=(message("user", "hi"),), settings=Settings(seed=number)),
        targets=targets[: chance.randint(1, len(targets))],
        elsewhere={"other": targets[-1:]},
        validators=CHECKS if chance.random() < 0.7 else (),
        retry=_retry(chance),
        budget=Budget(
            seconds=chance.choice((None, None, 0.01, 1.0, 5.02, 30.0, 600.0)),
            usd=chance.choice((None, None, Decimal("0.01"), Decimal("0.05"))),
            tokens=chance.choice((None, None, 15, 40)),
            attempts=chance.choice((None, None, 1, 2, 4)),
        ),
        rounds=chance.randint(1, 4),
        ladder=_ladder(chance),
        timeouts=Timeouts(
            connect=chance.choice((0.5, 10.0)),
            first_byte=chance.choice((1.0, 120.0)),
            between_bytes=chance.choice((0.5, 60.0)),
            first_token=chance.choice((0.25, 12.0)),
            total=chance.choice((2.0, 600.0)),
        ),
        stream=chance.random() < 0.3,
        recovery=chance.choice(recoveries),
    )


def _retry(chance: Random) -> RetryPolicy:
    backoff = Backoff(
        strategy=chance.choice(("immediate", "basic", "linear", "exponential", "fibonacci")),
        base=chance.choice((0.0, 0.5, 10.0)),
    )
    return RetryPolicy(
        max_attempts=chance.randint(1, 4), backoff=backoff, longest_wait=chance.choice((10.0, 300.0)), patience=5.0
    )


def _ladder(chance: Random) -> Ladder | None:
    if chance.random() < 0.5:
        return None
    rungs = []
    kinds: tuple[RungKind, ...] = ("again", "reask", "model")
    conditions: tuple[Condition, ...] = ("empty", "rejected", "failed", "any")
    for _ in range(chance.randint(0, 3)):
        kind, when = chance.choice(kinds), chance.choice(conditions)
        rungs.append(
            Rung(kind=kind, rounds=chance.randint(1, 2), when=when, model="other" if kind == "model" else None)
        )
    return tuple(rungs)


def _policies(chance: Random) -> GatePolicies:
    """Often the defaults; small numbers otherwise, so that a few calls come upon them."""
    return GatePolicies(
        breaker=_breaker(chance) if chance.random() < 0.7 else BreakerPolicy(),
        concurrency=ConcurrencyPolicy(
            adaptive=chance.random() < 0.7,
            start=chance.choice((None, None, 1, 3)),
            most=chance.choice((None, None, 1, 2)),
            calm=chance.choice((0.0, 60.0)),
        ),
        retry_budget=RetryBudgetPolicy(
            enabled=chance.random() < 0.9,
            floor=chance.choice((0.0, 1.0, 2.0, 10.0)),
            ratio=chance.choice((0.0, 0.2, 1.0)),
            per_second=chance.choice((0.02, 0.1)),  # a gate that is dropped after 900 s has its floor again
            most=chance.choice((1.0, 100.0)),
        ),
        limits=_limits(chance),
    )


def _breaker(chance: Random) -> BreakerPolicy:
    return BreakerPolicy(
        enabled=chance.random() < 0.9,
        window=chance.choice((1.0, 20.0, 60.0)),
        failure_ratio=chance.choice((0.1, 0.3, 0.5)),
        failures=chance.choice((None, 1, 1, 2, 3)),
        slow_seconds=chance.choice((None, None, None, 0.5)),
        open_seconds=chance.choice((0.1, 1.0, 5.0)),
        max_open_seconds=chance.choice((2.0, 30.0)),
        probes=chance.choice(((1,), (2,), (1, 2, 4), (1, 1), (3, 1))),
        successes=chance.choice((None, None, 1, 2)),
    )


def _limits(chance: Random) -> dict[str, Limit]:
    found = {}
    for glob in ("p/0", "p/*"):
        if chance.random() < 0.3:
            found[glob] = Limit(
                requests_per_minute=chance.choice((1.0, 2.0, 6.0, None, None)),
                tokens_per_minute=chance.choice((20.0, 60.0, 100.0, None, None)),
            )
    return found


class Schedule:
    """Everything that happens, from one seed."""

    def __init__(self, seed: int) -> None:
        chance = Random(seed)  # noqa: S311  (chance is not secret)
        self.clock = FakeClock()
        targets = tuple(_target(index, chance) for index in range(chance.randint(1, 3)))
        words = [
            " ".join(["so", *(chance.choice(("a", "be", "see")) for _ in range(size)), ACCEPTED]) for size in (3, 6)
        ]
        texts = (words[0], words[0], words[0], words[1], f"no {words[0][:-3]}", "")
        self.calls = [Call(number, chance, targets) for number in range(chance.choice((1, 2, 3, 3, 6)))]
        self.jumps = [
            (chance.uniform(0, 8), chance.choice((0.5, 20.0, 1e4))) for _ in range(chance.choice((0, 0, 1, 2)))
        ]
        self.peer = ChaoticTransport(chance, self.clock.now, calm=chance.choice((0.0, 0.3, 0.7)), texts=texts)
        self.hooks: list[str] = []
        self.policies = _policies(chance)
        self.gates = Gates(self.policies, clock=self.clock, listen=self._heard)
        self.engine = Engine(
            Attempts(
                lambda _: self.peer,
                clock=self.clock,
                chance=chance.random,
                hooks=(self._attempt_hook,),
                gates=self.gates,
            ),
            call_hooks=(self._call_hook,),
        )
        self.left_behind: list[str] = []

    def _heard(self, change: GateChange) -> None:
        self.peer.log.append((self.clock.now(), change.kind, change))

    @contextmanager
    def _attempt_hook(self, _scope: AttemptScope) -> Iterator[None]:
        with self._noted("attempt"):
            yield

    @contextmanager
    def _call_hook(self, _scope: CallScope) -> Iterator[None]:
        with self._noted("call"):
            yield

    @contextmanager
    def _noted(self, what: str) -> Iterator[None]:
        self.hooks.append(what)
        try:
            yield
        finally:
            self.hooks.remove(what)

    def run(self) -> None:
        self.clock.run(self._run())

    async def _run(self) -> None:
        jumps = [asyncio.create_task(self._jump(*each)) for each in self.jumps]
        await asyncio.gather(*(self._called(call) for call in self.calls))
        for each in jumps:
            each.cancel()
        await asyncio.gather(*jumps, return_exceptions=True)
        for _ in range(5):  # a stream that its reader has left is closed by the event loop itself
            await asyncio.sleep(0)
        self.left_behind = [repr(task) for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        loop: Any = asyncio.get_running_loop()
        self.left_behind += [
            repr(each) for each in loop._scheduled if not each.cancelled() and "_ring" not in repr(each)
        ]
        if loop in _watches:
            self.left_behind += [repr(each) for each in _watches[loop].calls]

    async def _jump(self, when: float, seconds: float) -> None:
        await asyncio.sleep(when)
        self.clock.advance(seconds)

    async def _called(self, call: Call) -> None:
        await asyncio.sleep(call.begins)
        task = asyncio.create_task(self._asked(call))

        def cancel() -> None:
            if task.cancel():
                call.cancelled_at = self.clock.now()

        if call.cancelled_after is not None:
            timer = asyncio.get_running_loop().call_later(call.cancelled_after, cancel)
            task.add_done_callback(lambda _: timer.cancel())
        try:
            call.outcome = await task
        except (LLMCallError, asyncio.CancelledError) as error:
            call.outcome = error

    async def _asked(self, call: Call) -> Result[Any] | None:
        call.begun = call.ended = self.clock.now()
        try:
            return await (self.engine.execute(call.plan) if call.mode == "plain" else self._streamed(call))
        finally:
            call.ended = self.clock.now()
            call.open_at_end = [sent for sent in self.peer.of(call.number) if sent.closed is None]

    async def _streamed(self, call: Call) -> Result[Any] | None:
        kinds: dict[int, str] = {}
        async with self.engine.stream(call.plan) as live:
            number = 0
            async for event in live.events():
                if isinstance(event, PartStart):
                    kinds[event.index] = _kind(event.part)
                elif isinstance(event, PartDelta):
                    call.got[kinds[event.index]] = call.got.get(kinds[event.index], "") + event.text
                if number == call.leaves_after:
                    call.left = True
                    return None
                number += 1
                call.paused += call.pause
                await asyncio.sleep(call.pause)
            return live.result


def _kind(part: object) -> str:
    return "text" if isinstance(part, Text) else "reasoning" if isinstance(part, Reasoning) else "call"


# The laws


def the_call_ends_as_it_should(call: Call, sent: list[Sent]) -> None:
    """With a result, an error of ours with its trace, or, where it was cancelled, so."""
    if call.cancelled_at is not None:
        assert isinstance(call.outcome, asyncio.CancelledError)
    elif call.left:
        assert call.outcome is None
    else:
        assert isinstance(call.outcome, Result | LLMCallError)
        assert call.trace is not None


def everything_is_closed_and_nothing_follows(call: Call, sent: list[Sent]) -> None:
    """When the call ends, nothing is open at the peer; after a cancellation nothing is sent."""
    assert call.open_at_end == []
    assert all(each.opened <= call.ended for each in sent)
    if call.cancelled_at is not None:
        assert all(each.opened <= call.cancelled_at for each in sent)


def the_trace_tells_every_attempt(call: Call, sent: list[Sent]) -> None:
    """Each request, in its order, with its reason and its wait."""
    if call.trace is None:
        return
    attempts = [each for each in call.trace.attempts if each.sent]
    assert [each.target for each in attempts] == [each.place for each in sent]
    assert [each.number for each in call.trace.attempts] == list(range(1, len(call.trace.attempts) + 1))
    for attempt, request in zip(attempts, sent, strict=True):
        held = attempt.timings.held if attempt.timings else 0.0
        assert abs(call.begun + attempt.started + held - request.opened) < 1e-6
    for before, after in pairwise(call.trace.attempts):
        assert after.started >= before.started + before.duration + after.wait - 1e-6
    for each in call.trace.rounds:
        assert (each.attempts[0].wait, each.attempts[0].why) == (0, "")
        for before, after in pairwise(each.attempts):
            assert before.failure is not None
            assert after.why
            assert after.wait >= (before.failure.retry_after or 0.0) * (after.target == before.target)


def the_limits_hold(call: Call, sent: list[Sent]) -> None:
    """No attempt after the deadline or beyond the budget; money and tokens go over by one attempt at the most."""
    budget = call.plan.budget
    if budget.attempts is not None:
        assert len(sent) <= budget.attempts
    if budget.seconds is not None:
        assert all(each.opened < call.begun + budget.seconds for each in sent)
    if call.trace is None or not call.trace.attempts:
        return
    used = sum((each.usage for each in call.trace.attempts[:-1] if each.usage), start=Usage())
    if budget.tokens is not None:
        assert (used.input_tokens or 0) + (used.output_tokens or 0) < budget.tokens
    if budget.usd is not None and used != Usage():
        assert (PRICES.cost(used) or 0) < budget.usd


def the_time_holds(call: Call, jumped: float) -> None:
    """The call ends within its time, but for how far the clock jumped and how long its own caller paused."""
    if call.plan.budget.seconds is not None:
        assert call.ended - call.begun <= call.plan.budget.seconds + jumped + call.paused + 1e-6


def a_target_is_asked_no_oftener_than_it_may(call: Call, sent: list[Sent]) -> None:
    """The policy's attempts for each target in each round; nothing that is not to be asked again is."""
    if call.trace is None:
        return
    for each in call.trace.rounds:
        for name in {attempt.target for attempt in each.attempts}:
            asked = sum(attempt.target == name for attempt in each.attempts)
            assert asked <= call.plan.retry.max_attempts
        for before, after in pairwise(each.attempts):
            _may_follow(call, before, after)


def _may_follow(call: Call, before: Attempt, after: Attempt) -> None:
    assert before.failure is not None
    kind, same = before.failure.kind, before.target == after.target
    assert kind not in {"BadRequestError", "NotFoundError", "ContentFilteredError", "DeadlineExceededError"}
    keys = {target.name: target.endpoint.headers["authorization"] for target in call.plan.targets}
    if kind in {"AuthenticationError", "PermissionDeniedError"} or _is_out_of_quota(before.failure):
        assert keys[before.target] != keys[after.target]
    if kind == "ContextWindowExceededError":
        assert not same
    if kind == "AttemptTimeoutError":
        assert not same or before.failure.message == "unreachable"


def _is_out_of_quota(failure: Failure) -> bool:
    return failure.kind == "RateLimitError" and failure.code == "insufficient_quota"


def an_answer_that_arrived_is_returned(call: Call, sent: list[Sent]) -> None:
    """Whatever limit was crossed meanwhile: unless its caller has left, or has seen the beginning of another one."""
    if not call.stayed:
        return
    streamed = call.mode == "live" and call.plan.recovery != "buffer"
    for each in sent:
        accepted = (
            streamed or "call" in each.said or not call.plan.validators or each.said.get("text", "").endswith(ACCEPTED)
        )
        if each.whole and accepted and _begins_with(each.said, call.got):
            assert isinstance(call.outcome, Result), each
            assert streamed or call.outcome.ok
            assert each is sent[-1]
            assert call.outcome.response.text == each.said.get("text", "")


def a_stream_is_the_beginning_of_one_answer(call: Call, sent: list[Sent]) -> None:
    """Never of two, spliced; and the whole of it, where it ends well."""
    if call.mode != "live" or not call.got:
        return
    sources = [each for each in sent if _begins_with(each.said, call.got)]
    assert sources
    if isinstance(call.outcome, Result):
        assert any(each.finished and each.said == call.got for each in sources)
    if call.got.get("call") and call.plan.recovery != "buffer":
        assert sources == [sent[-1]] or sources[-1] is sent[-1]
    if call.plan.recovery == "buffer":
        assert isinstance(call.outcome, Result) or not call.stayed


def _begins_with(said: dict[str, str], got: dict[str, str]) -> bool:
    return all(said.get(kind, "").startswith(text) for kind, text in got.items())


LAWS: tuple[Callable[[Call, list[Sent]], None], ...] = (
    the_call_ends_as_it_should,
    everything_is_closed_and_nothing_follows,
    the_trace_tells_every_attempt,
    the_limits_hold,
    a_target_is_asked_no_oftener_than_it_may,
    an_answer_that_arrived_is_returned,
    a_stream_is_the_beginning_of_one_answer,
)


# The laws of the gates


def the_breakers_hold(schedule: Schedule) -> Iterator[str]:
    """Nothing goes out while one is open; probes are as few as they may be; only faults of the place open it."""
    policy = schedule.policies.breaker

    def is_fault(sent: Sent, at: float) -> bool:
        seconds = (at if sent.closed is None else sent.closed) - sent.opened
        slow = policy.slow_seconds is not None and seconds > policy.slow_seconds - 1e-6
        if slow or sent.late or _is_too_late(schedule.calls[sent.call].plan, sent, seconds):
            return True
        status = sent.fate[:3]
        if status.isdigit():
            return status.startswith("5") or status in {"408", "409"}
        return sent.fate not in {"good", "limited"}

    return faults_of_breakers(schedule.peer.log, policy, is_fault)


def _is_too_late(plan: Plan, sent: Sent, seconds: float) -> bool:
    timeouts = plan.timeouts
    first = min(timeouts.first_token, timeouts.first_token_reasoning)
    return seconds >= timeouts.total - 1e-6 or (not sent.said and seconds >= first - 1e-6)


def as_many_are_out_as_may_be(schedule: Schedule) -> Iterator[str]:
    """At most as many at a time at each place as it may have."""
    return faults_of_concurrency(schedule.peer.log, schedule.policies.concurrency)


def retries_are_paid_for(schedule: Schedule) -> Iterator[str]:
    """Of each credential."""
    repeats = {sent for call in schedule.calls for sent in _repeats(call, schedule.peer.of(call.number))}
    return faults_of_retries(schedule.peer.log, schedule.policies.retry_budget, repeats)


def _repeats(call: Call, sent: list[Sent]) -> Iterator[Sent]:
    """Of a call that tells nothing of its rounds: where it had but one."""
    if call.trace is None:
        one = call.mode == "live" and call.plan.recovery != "buffer"
        yield from (after for before, after in pairwise(sent if one else []) if before.place == after.place)
        return
    requests = iter(sent)
    for each in call.trace.rounds:
        asked = [next(requests) for attempt in each.attempts if attempt.sent]
        yield from (after for before, after in pairwise(asked) if before.place == after.place)


def the_rates_hold(schedule: Schedule) -> Iterator[str]:
    """The requests and the tokens a minute of each limit."""
    groups: dict[tuple[str, str], list[Sent]] = {}
    for sent in schedule.peer.requests:
        glob = next((each for each in schedule.policies.limits if each in {sent.place, "p/*"}), None)
        if glob is not None:
            groups.setdefault((glob, sent.credential), []).append(sent)
    for (glob, _), group in groups.items():
        limit = schedule.policies.limits[glob]
        slack = _left_while_waiting(schedule)
        jumped = sum(seconds for _, seconds in schedule.jumps) / 60
        if limit.requests_per_minute is not None:
            amounts = dict.fromkeys(group, (1.0, 0.0))
            extra = slack + limit.requests_per_minute * jumped
            yield from faults_of_rate(schedule.peer.log, limit.requests_per_minute, amounts, extra)
        if limit.tokens_per_minute is not None:
            amounts = {sent: (sent.size // 4, max(sent.size // 4 - 15, 0)) for sent in group}
            extra = slack * max(sent.size // 4 for sent in group) + limit.tokens_per_minute * jumped
            yield from faults_of_rate(schedule.peer.log, limit.tokens_per_minute, amounts, extra)


def _left_while_waiting(schedule: Schedule) -> int:
    """How many have left the queue, whose share is used by others though its time has gone by."""
    traces = [call.trace for call in schedule.calls]
    told = sum(not each.sent and each.duration > 0 for trace in traces if trace for each in trace.attempts)
    return told + sum(_may_have_waited(call, schedule.peer.of(call.number)) for call in schedule.calls)


def _may_have_waited(call: Call, sent: list[Sent]) -> bool:
    """Whether its caller may have left in a queue: it tells of no attempt, and nothing was out when it ended."""
    return call.trace is None and not any(each.closed == call.ended for each in sent)


def no_permit_is_lost(schedule: Schedule) -> Iterator[str]:
    """When all is over, nothing is under way at any gate, however it ended."""
    for place, gate in schedule.gates._gates.items():
        if not gate.slots.is_idle:
            yield f"{place} has {gate.slots.under_way} under way"
        if gate.circuit.phase.probes:
            yield f"{place} has probes out: {gate.circuit.phase}"


GATE_LAWS: tuple[Callable[[Schedule], Iterator[str]], ...] = (
    the_breakers_hold,
    as_many_are_out_as_may_be,
    retries_are_paid_for,
    the_rates_hold,
    no_permit_is_lost,
)


def hold(seed: int) -> None:
    """Run the schedule of `seed` and look at every law."""
    schedule = Schedule(seed)
    schedule.run()
    assert schedule.left_behind == []
    assert schedule.hooks == []
    for call in schedule.calls:
        sent = schedule.peer.of(call.number)
        try:
            for law in LAWS:
                law(call, sent)
            the_time_holds(call, sum(seconds for _, seconds in schedule.jumps))
        except AssertionError as error:
            error.add_note(f"{call!r}\n{sent}\n{call.trace.attempts if call.trace else ''}")
            raise
    for gate_law in GATE_LAWS:
        found = list(gate_law(schedule))
        if found:
            log = "\n".join(f"{at:g} {what} {subject}" for at, what, subject in schedule.peer.log)
            raise AssertionError(f"{gate_law.__name__}: {found}\n{schedule.policies}\n{log}\n{schedule.calls}")


@pytest.mark.schedules
def test_random_schedules_keep_the_laws(
    pytestconfig: pytest.Config, record_property: Callable[[str, object], None]
) -> None:
    first = int(pytestconfig.getoption("hypothesis_seed") or 0)
    count = SCHEDULES[os.environ.get("LLM_CALL_TEST_PROFILE", "test")]
    seeds = [int(SEED)] if SEED else range(first, first + count)
    for seed in seeds:
        try:
            hold(seed)
        except BaseException as error:
            error.add_note(f"replay it with LLM_CALL_SEED={seed} pytest tests/llm_call/core/test_schedules.py -k laws")
            raise
    record_property("examples", len(seeds))


def test_a_seed_gives_the_same_schedule_again() -> None:
    def told(seed: int) -> list[str]:
        schedule = Schedule(seed)
        schedule.run()
        return [repr(each) for each in schedule.peer.requests] + [f"{call.ended} {call.got}" for call in schedule.calls]

    assert all(told(seed) == told(seed) for seed in range(50))
