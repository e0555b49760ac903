"""An outage is not multiplied: one of two targets is out under load, and callers do not notice."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from llm_call.simulation.policies import read_policy
from llm_call.simulation.run import first_target, policy_of, simulate
from llm_call.simulation.scenario import Load, Phase, Scenario

POLICY = Path(__file__).parent.parent.parent.parent / "examples" / "policies" / "two_targets.toml"
LOADS = {"test": Load(rate=5, duration=600), "prove": Load(rate=50, duration=3600)}


@pytest.mark.schedules
def test_a_target_that_is_out_is_asked_less_than_2_percent_of_normal_and_every_call_succeeds(
    record_property: Callable[[str, object], None],
) -> None:
    load = LOADS[os.environ.get("LLM_CALL_TEST_PROFILE", "test")]
    policy = policy_of("two targets", read_policy(POLICY)[0])
    out = Scenario(load=load, phases=(Phase(refused=1.0),))
    report = simulate(policy, out, first=first_target(policy))
    dead, alive = report.targets
    assert report.success == 1.0
    assert dead.seconds_down == load.duration
    assert dead.share_of_normal is not None
    assert dead.share_of_normal < 0.02
    assert alive.requests == report.calls
    record_property("examples", report.calls)
