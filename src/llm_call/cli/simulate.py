"""`llm-call simulate`: policies side by side, in virtual time."""

from collections.abc import Callable
from pathlib import Path
from time import monotonic

import msgspec
import typer
from msgspec.structs import replace

from llm_call.cli.output import print_table, say
from llm_call.core.domain.errors import ConfigError
from llm_call.simulation.policies import read_policy
from llm_call.simulation.recorded import Recording, read_recording
from llm_call.simulation.report import CALLS, LOADS, Report, call_lines, load_lines
from llm_call.simulation.run import Policy, first_target, policy_of, simulate
from llm_call.simulation.scenario import Scenario, read_scenario

RECORDED = "recorded-trace"
_PATIENCE = 1.0  # seconds without a word
_MOST = 10_000_000  # calls of one run: about an hour of computing for each million


def run(
    files: list[Path],
    scenario: str,
    *,
    traces: Path | None,
    model: str | None,
    calls: int | None,
    rate: float | None,
    duration: float | None,
    seed: int,
    as_json: bool,
) -> None:
    """Simulate each policy and print the tables, or the report as JSON.

    Raises:
        ConfigError: A file cannot be read, or what it says cannot be.
    """
    played, recording = _scenario(scenario, traces)
    played = _offered(played, calls, rate, duration)
    policies = [_policy(file, model) for file in files]
    first = first_target(policies[0])
    reports = []
    for policy in policies:
        told = _teller(policy.name)
        reports.append(simulate(policy, played, first=first, seed=seed, recording=recording, progress=told))
    report = Report(scenario=scenario, about=played.about, seed=seed, policies=tuple(reports))
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode(report), indent=2).decode())
    else:
        _print(report)


def _scenario(name: str, traces: Path | None) -> tuple[Scenario, Recording | None]:
    if (name == RECORDED) != (traces is not None):
        raise ConfigError(
            f"{RECORDED} needs a file of traces, and no other scenario has one",
            hint=f"Use --scenario {RECORDED} --traces FILE.",
        )
    if traces is None:
        return read_scenario(name), None
    return Scenario(about=f"As recorded in {traces}."), read_recording(traces)


def _offered(scenario: Scenario, calls: int | None, rate: float | None, duration: float | None) -> Scenario:
    """`scenario` with as many calls as are asked for: of calls, rate and duration, two give the third."""
    load = scenario.load
    rate = rate or (calls / duration if calls and duration else load.rate)
    duration = duration or (calls / rate if calls else load.duration)
    if not rate * duration <= _MOST:  # not a number is none either
        raise ConfigError(f"{rate:g} calls/s for {duration:g} s are too many", hint=f"At most {_MOST:,} calls.")
    if calls and round(rate * duration) != calls:
        raise ConfigError(f"{rate:g} calls/s for {duration:g} s are not {calls}", hint="Leave one of the three out.")
    begins = min((phase.start for phase in scenario.phases), default=0.0)
    if duration <= begins:
        say(f"nothing goes wrong: the last call begins after {duration:g} s, the first fault after {begins:g} s")
    return replace(scenario, load=replace(load, rate=rate, duration=duration))


def _policy(file: Path, model: str | None) -> Policy:
    settings, passed_over = read_policy(file)
    if passed_over:
        say(f"{file}: {', '.join(passed_over)}: no part of a simulation")
    return policy_of(file.stem, settings, model)


def _teller(name: str) -> Callable[[int, int], None]:
    """Says on standard error how far it is, once a second."""
    last = monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal last
        if monotonic() - last > _PATIENCE:
            last = monotonic()
            say(f"{name}: {done} of {total} calls")

    return tell


def _print(report: Report) -> None:
    if report.about:
        say(report.about)
    print_table(CALLS, call_lines(report.policies))
    typer.echo()
    print_table(LOADS, load_lines(report.policies))
