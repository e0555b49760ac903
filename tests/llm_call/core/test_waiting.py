"""Calls that wait in backoff do nothing. What they cost in memory is measured by benchmarks/waiting.py."""

import asyncio

from llm_call.core.client import Client
from llm_call.core.policy.breaker import BreakerPolicy
from llm_call.core.policy.retry_budget import RetryBudgetPolicy
from llm_call.core.router import Router
from llm_call.core.state.gates import GatePolicies
from llm_call.testing.clock import FakeClock
from llm_call.testing.scripted import ScriptedTransport, chat_reply, error_reply

CALLS = 1_000


class CountingClock(FakeClock):
    """Counts how often time has moved on: how often the event loop woke up for a timer."""

    jumps = 0

    def advance(self, seconds: float) -> None:
        self.jumps += 1
        super().advance(seconds)


def test_a_thousand_calls_that_wait_for_the_same_moment_wake_up_once() -> None:
    clock = CountingClock()
    peer = ScriptedTransport(*[error_reply(503, headers={"retry-after": "60"})] * CALLS, chat_reply("ok"))
    router = Router(credentials={"OPENAI_API_KEY": "x"})
    gates = GatePolicies(breaker=BreakerPolicy(enabled=False), retry_budget=RetryBudgetPolicy(enabled=False))
    client = Client(router=router, transports={"http": lambda: peer}, clock=clock, gates=gates)

    async def ask_all() -> list[str]:
        asked = [client.ask("x" * 1024, model="openai/gpt-4o-mini", timeout=90) for _ in range(CALLS)]
        return [result.text for result in await asyncio.gather(*asked)]

    assert clock.run(ask_all()) == ["ok"] * CALLS
    assert len(peer.requests) == 2 * CALLS
    assert clock.now() == 60
    assert clock.jumps == 1
