"""Policies in scenarios: what the simulator says is what the engine does."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from llm_call.core.domain.errors import ConfigError
from llm_call.simulation.policies import read_policy, settings_of
from llm_call.simulation.report import PolicyReport
from llm_call.simulation.run import Policy, first_target, policy_of, simulate
from llm_call.simulation.scenario import Load, Phase, Scenario, TargetModel

ROOT = Path(__file__).parent.parent.parent.parent
ONE = 'default_model = "openai/gpt-4o-mini"\n[breaker]\nenabled = false\n[retry_budget]\nenabled = false\n'
TWO = 'default_model = "r"\n[routes.r]\ntargets = ["openai/gpt-4o-mini", "anthropic/claude-haiku-4-5"]\n'
FIRST = "openai/gpt-4o-mini"
DOWN = Phase(start=30, end=60, refused=1.0)


def policy(folder: Path, text: str) -> Policy:
    file = folder / "policy.toml"
    file.write_text(text, encoding="utf-8")
    return policy_of("p", read_policy(file)[0])


def run(folder: Path, text: str, *phases: Phase, **load: Any) -> PolicyReport:
    scenario = Scenario(load=Load(**{"rate": 2, "duration": 90, **load}), phases=phases)
    return simulate(policy(folder, text), scenario, first=FIRST)


def test_in_good_times_every_call_is_one_attempt(tmp_path: Path) -> None:
    report = run(tmp_path, ONE)
    assert (report.calls, report.success, report.attempts_per_call, report.failures) == (180, 1.0, 1.0, {})
    assert report.cost is not None
    assert report.cost > 0
    assert [(each.target, each.requests) for each in report.targets] == [(FIRST, 180)]


def test_the_same_seed_gives_the_same_report_and_another_one_another(tmp_path: Path) -> None:
    asked, scenario = policy(tmp_path, TWO), Scenario(load=Load(duration=60), phases=(DOWN,))
    one, again, other = (simulate(asked, scenario, first=FIRST, seed=seed) for seed in (1, 1, 2))
    assert one == again
    assert one != other


def test_an_outage_of_the_only_target_is_felt_and_retries_multiply_it(tmp_path: Path) -> None:
    report = run(tmp_path, f"{ONE}[retry]\nmax_attempts = 3\nmax_delay = 0.1", DOWN)
    (load,) = report.targets
    assert 0.5 < report.success < 0.8
    assert report.failures == {"ConnectionFailedError": report.calls - round(report.success * report.calls)}
    assert load.seconds_down == 30
    assert report.retries == pytest.approx(2 * report.failures["ConnectionFailedError"], abs=3)
    assert (load.rate_down or 0) * 30 == pytest.approx(3 * report.failures["ConnectionFailedError"], abs=3)


def test_retries_and_attempts_are_those_that_were_sent(tmp_path: Path) -> None:
    text = 'default_model = "openai/gpt-4o-mini"\n[retry]\nmax_attempts = 8\n[retry_budget]\nenabled = false'
    report = run(tmp_path, text, Phase(start=5, refused=1.0), rate=4)
    requests = report.targets[0].requests
    assert report.held_off > requests
    assert report.retries < requests == round(report.attempts_per_call * report.calls)


def test_a_second_target_answers_while_the_first_is_down(tmp_path: Path) -> None:
    report = run(tmp_path, TWO, DOWN)
    assert report.success == 1.0
    assert {each.target for each in report.targets} == {FIRST, "anthropic/claude-haiku-4-5"}


def test_a_target_that_is_throttled_refuses_what_is_too_much(tmp_path: Path) -> None:
    scenario = Scenario(load=Load(rate=2, duration=120), targets=(TargetModel(requests_per_minute=60),))
    report = simulate(policy(tmp_path, f"{ONE}[retry]\nmax_attempts = 1"), scenario, first=FIRST)
    assert 0.3 < report.success < 0.6  # one a second, and ten seconds' worth at once
    assert "RateLimitError" in report.failures


@pytest.mark.parametrize(
    ("phase", "failure"),
    [
        (Phase(silent=1.0), "DeadlineExceededError"),
        (Phase(errors=1.0, status=503), "OverloadedError"),
        (Phase(errors=1.0, status=401), "AuthenticationError"),
        (Phase(resets=1.0), "ConnectionFailedError"),
        (Phase(empty=1.0), "rejected"),
        (Phase(cuts=1.0), "StreamInterruptedError"),
    ],
)
def test_each_fault_is_the_one_that_the_engine_knows(tmp_path: Path, phase: Phase, failure: str) -> None:
    report = run(tmp_path, f"{ONE}[retry]\nmax_attempts = 1", phase, duration=5, streamed=float(phase.cuts))
    assert report.failures == {failure: report.calls}


@pytest.mark.parametrize("streamed", [0.0, 1.0])
@pytest.mark.parametrize(
    "model", ["openai/gpt-4o", "anthropic/claude-haiku-4-5", "gemini/gemini-2.5-flash", "responses/gpt-4o"]
)
def test_every_dialect_is_spoken(tmp_path: Path, model: str, streamed: float) -> None:
    report = run(tmp_path, f'default_model = "{model}"', duration=5, streamed=streamed)
    assert (report.success, report.failures) == (1.0, {})
    assert report.cost is not None


def test_slow_answers_take_longer(tmp_path: Path) -> None:
    plain, slow = run(tmp_path, ONE), run(tmp_path, ONE, Phase(slowdown=3))
    assert plain.p50 is not None
    assert slow.p50 == pytest.approx(plain.p50 * 3)
    assert plain.p50 < (plain.p95 or 0) < (plain.p99 or 0)


def test_a_policy_file_acts_on_nothing(tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text(f'{ONE}[cassette]\npath = "tape.jsonl"\n[telemetry]\nenabled = true\n', encoding="utf-8")
    settings, passed_over = read_policy(file)
    assert passed_over == ("cassette", "telemetry")
    assert settings.config.cassette.path is None
    assert not settings.config.telemetry.enabled


def test_a_policy_that_names_no_model_and_a_file_that_is_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no model"):
        policy_of("p", settings_of({}))
    with pytest.raises(ConfigError, match="no policy file"):
        read_policy(tmp_path / "none.toml")


@pytest.mark.parametrize("file", sorted((ROOT / "examples" / "policies").glob("*.toml")), ids=lambda file: file.name)
def test_the_example_policies_can_be_used(file: Path) -> None:
    assert first_target(policy_of(file.stem, read_policy(file)[0]))


def test_a_report_is_json(tmp_path: Path) -> None:
    told = msgspec.json.decode(msgspec.json.encode(run(tmp_path, TWO, DOWN, duration=40)))
    assert told["targets"][0]["seconds_down"] == 10
