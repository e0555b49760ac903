"""One policy in one scenario: a client built from the policy's settings, its calls at random times, what came of them."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import pairwise
from random import Random
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from llm_call.core.client import Client
from llm_call.core.config.building import build_client
from llm_call.core.config.settings import Settings
from llm_call.core.domain.errors import LLMCallError
from llm_call.core.domain.result import Result
from llm_call.core.domain.trace import Attempt
from llm_call.core.options import AskOptions
from llm_call.core.providers.transports import transport_factories
from llm_call.simulation.policies import first_model
from llm_call.simulation.provider import ModelledProvider, ModelledTransport, Provider, note_attempt
from llm_call.simulation.recorded import RecordedProvider, Recording
from llm_call.simulation.report import CallOutcome, PolicyReport, load_of, summed_up
from llm_call.simulation.scenario import Load, Scenario
from llm_call.testing.clock import FakeClock

Progress = Callable[[int, int], None]
"""Hears of each call that has ended: how many have, of how many."""


OPENED = "breaker_opened"
"""The kind of the alert that a breaker has opened."""


class Policy(Struct, frozen=True, kw_only=True):
    """A policy under its name; `model` is what its calls ask."""

    name: str
    settings: Settings
    model: str


def policy_of(name: str, settings: Settings, model: str | None = None) -> Policy:
    """The policy of `settings`.

    Raises:
        ConfigError: No model is named, here or there.
    """
    return Policy(name=name, settings=settings, model=model or first_model(settings.config))


def first_target(policy: Policy) -> str:
    """The name of the target that the policy asks first, where the order is its own.

    Raises:
        ConfigError: The model is unknown.
    """
    return build_client(policy.settings).plan("?", model=policy.model).targets[0].name


def simulate(
    policy: Policy,
    scenario: Scenario,
    *,
    first: str,
    seed: int = 0,
    recording: Recording | None = None,
    progress: Progress = lambda _done, _all: None,
) -> PolicyReport:
    """What comes of `policy` in `scenario`, in virtual time. `first` is the target that the scenario calls so.

    Raises:
        ConfigError: The policy's model is unknown.
    """
    clock = FakeClock()

    def provider_of(name: str) -> Provider:
        chance, load = _chance(seed, name), scenario.load
        if recording is not None and name in recording:
            return RecordedProvider(recording[name], chance, prompt_tokens=load.prompt_tokens)
        model, phases = scenario.model_of(name), scenario.phases_of(name, first)
        return ModelledProvider(
            model, phases, chance, prompt_tokens=load.prompt_tokens, answer_tokens=load.answer_tokens
        )

    told: Counter[str] = Counter()
    transport = ModelledTransport(provider_of, clock.now)
    client = build_client(
        policy.settings,
        transports={name: lambda: transport for name in transport_factories()},
        clock=clock,
        chance=_chance(seed, "the client").random,
        attempt_hooks=(note_attempt,),
        alert=lambda alert: told.update((alert.kind,)),
    )
    outcomes = clock.run(_calls(client, clock, policy, scenario.load, _chance(seed, "the callers"), progress))
    loads = (
        load_of(name, times, list(_outages(scenario, name, first)), scenario.load.duration, scenario.load.rate)
        for name, times in transport.requests.items()
    )
    return summed_up(policy.name, outcomes, loads, openings=told[OPENED])


def _chance(seed: int, what: str) -> Random:
    return Random(f"{seed} {what}")  # noqa: S311  (chance is not secret)


def _outages(scenario: Scenario, name: str, first: str) -> Iterator[tuple[float, float]]:
    for phase in scenario.phases_of(name, first):
        if phase.is_outage:
            yield phase.start, phase.end or scenario.load.duration


async def _calls(
    client: Client, clock: FakeClock, policy: Policy, load: Load, chance: Random, progress: Progress
) -> list[CallOutcome]:
    """The outcomes of all calls, in the order in which they ended."""
    total = max(1, round(load.rate * load.duration))
    prompt = "hello " * max(1, load.prompt_tokens * _CHARACTERS // len("hello "))
    options: AskOptions = {"model": policy.model, "timeout": load.timeout}
    outcomes: list[CallOutcome] = []

    async def call(*, streamed: bool) -> None:
        started = clock.now()
        outcome = await _called(client, prompt, options, streamed=streamed)
        outcomes.append(replace(outcome, seconds=clock.now() - started))
        progress(len(outcomes), total)

    async with asyncio.TaskGroup() as group:
        for _ in range(total):
            group.create_task(call(streamed=chance.random() < load.streamed))
            await asyncio.sleep(chance.expovariate(load.rate))
    await client.close()
    return outcomes


_CHARACTERS = 4  # of a token, about


async def _called(client: Client, prompt: str, options: AskOptions, *, streamed: bool) -> CallOutcome:
    try:
        result = await (_streamed(client, prompt, options) if streamed else client.ask(prompt, **options))
    except LLMCallError as error:
        attempts = error.trace.attempts if error.trace else ()
        return _outcome(attempts, type(error).__name__, Decimal(0))
    return _outcome(result.trace.attempts, None if result.ok else "rejected", result.cost)


async def _streamed(client: Client, prompt: str, options: AskOptions) -> Result[Any]:
    async with client.ask_stream(prompt, **options) as live:
        async for _ in live:
            pass
        return live.result


def _outcome(attempts: tuple[Attempt, ...], failure: str | None, cost: Decimal | None) -> CallOutcome:
    sent = [each for each in attempts if each.sent]
    retries = sum(1 for before, after in pairwise(sent) if before.failure is not None and before.target == after.target)
    return CallOutcome(
        failure=failure, attempts=len(sent), retries=retries, held_off=len(attempts) - len(sent), cost=cost
    )
