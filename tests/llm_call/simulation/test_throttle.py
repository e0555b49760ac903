"""A place that takes half of what is asked: what it can do is done, and every call that it has no room for hears so."""

from collections.abc import Callable
from pathlib import Path

import pytest

from llm_call.simulation.policies import read_policy
from llm_call.simulation.report import PolicyReport
from llm_call.simulation.run import policy_of, simulate
from llm_call.simulation.scenario import Load, Phase, Scenario, TargetModel

FIRST, SECOND = "openai/gpt-4o-mini", "anthropic/claude-haiku-4-5"
RATE, GOOD, THROTTLED = 5.0, 30.0, 150.0
THROTTLE = Scenario(
    load=Load(rate=RATE, duration=GOOD + THROTTLED, timeout=30),
    targets=(TargetModel(target=FIRST, requests_per_minute=60 * RATE),),
    phases=(Phase(start=GOOD, capacity=0.5),),
)
CAPACITY = (GOOD + THROTTLED / 2) / (GOOD + THROTTLED)
"""The share of all calls that can be answered at the most, but for some that may come at once, and some afterwards."""


PATIENT = f"""
default_model = "{FIRST}"
retry = {{ max_attempts = 6, base_delay = 1.0 }}
"""
TWO_TARGETS = f"""
default_model = "both"
routes.both.targets = ["{FIRST}", "{SECOND}"]
"""
CONFIGURED = f"""
limits."*".requests_per_minute = {30 * RATE}
"""
Throttled = Callable[[str], PolicyReport]


@pytest.fixture
def throttled(tmp_path: Path) -> Throttled:
    """What comes of a policy, given as TOML."""

    def throttled(said: str) -> PolicyReport:
        file = tmp_path / "policy.toml"
        file.write_text(said, encoding="utf-8")
        return simulate(policy_of("it", read_policy(file)[0]), THROTTLE, first=FIRST, seed=1)

    return throttled


@pytest.mark.parametrize("policy", [PATIENT, PATIENT + CONFIGURED], ids=["learned", "configured"])
def test_under_throttling_a_place_answers_nearly_what_it_can(throttled: Throttled, policy: str) -> None:
    report = throttled(policy)
    assert report.success > CAPACITY - 0.05
    assert set(report.failures) == {"LocalLimitError"}, "what would come too late is not sent"
    assert report.targets[0].requests < 1.1 * report.success * report.calls


def test_under_throttling_half_of_the_answers_are_nearly_as_quick_as_ever(throttled: Throttled) -> None:
    report = throttled(PATIENT)
    assert report.p50 is not None
    assert report.p50 < 5


def test_what_a_throttled_place_has_no_room_for_goes_to_the_next_after_one_wait(throttled: Throttled) -> None:
    report = throttled(TWO_TARGETS)
    assert report.success == 1
    assert report.p99 is not None
    assert report.p99 < 12
