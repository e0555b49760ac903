"""Recorded traces are providers: their latencies, their failures."""

from pathlib import Path

import msgspec
import pytest

from llm_call.core.domain.errors import ConfigError
from llm_call.core.domain.response import Usage
from llm_call.core.domain.trace import Attempt, Failure, Round, Trace
from llm_call.simulation.policies import read_policy
from llm_call.simulation.recorded import read_recording
from llm_call.simulation.report import PolicyReport
from llm_call.simulation.run import policy_of, simulate
from llm_call.simulation.scenario import Load, Scenario

TARGET = "openai/gpt-4o-mini"
GOOD = Attempt(number=1, target=TARGET, started=0, duration=2.5, usage=Usage(input_tokens=9, output_tokens=30))


def failed(kind: str, duration: float = 0.5, status: int | None = None, retry_after: float | None = None) -> Attempt:
    failure = Failure(kind=kind, message="", status=status, retry_after=retry_after)
    return Attempt(number=1, target=TARGET, started=0, duration=duration, failure=failure)


def traces(*attempts: Attempt) -> list[Trace]:
    return [Trace(model="m", rounds=(Round(number=1, rung="ask", attempts=(each,)),)) for each in attempts]


def written(folder: Path, content: bytes) -> Path:
    file = folder / "traces.json"
    file.write_bytes(content)
    return file


def run(folder: Path, *attempts: Attempt, streamed: float = 0.0) -> PolicyReport:
    file = written(folder, b"\n".join(map(msgspec.json.encode, traces(*attempts))))
    policy = folder / "policy.toml"
    policy.write_text(f'default_model = "{TARGET}"\n[retry]\nmax_attempts = 1\n', encoding="utf-8")
    load = Load(rate=2, duration=100, streamed=streamed)
    recording = read_recording(file)
    return simulate(policy_of("p", read_policy(policy)[0]), Scenario(load=load), first=TARGET, recording=recording)


@pytest.mark.parametrize("form", ["lines", "list", "one"])
def test_traces_are_read_as_lines_as_a_list_and_alone(tmp_path: Path, form: str) -> None:
    told = traces(GOOD, GOOD) if form != "one" else traces(GOOD)
    content = b"\n".join(map(msgspec.json.encode, told)) if form != "list" else msgspec.json.encode(told)
    recording = read_recording(written(tmp_path, content))
    assert [each.duration for each in recording[TARGET]] == [2.5] * len(told)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"a": 1}', b'{"rounds": []}\n{"rounds": 3}', b"\xff"])
def test_a_file_without_traces_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ConfigError):
        read_recording(written(tmp_path, content))
    with pytest.raises(ConfigError):
        read_recording(tmp_path / "none.json")


def test_what_our_own_side_ended_says_nothing_of_the_provider(tmp_path: Path) -> None:
    file = written(tmp_path, msgspec.json.encode(traces(GOOD, failed("Abandoned"), failed("DeadlineExceededError"))))
    assert len(read_recording(file)[TARGET]) == 1


@pytest.mark.parametrize("streamed", [0.0, 1.0])
def test_answers_take_as_long_as_they_took(tmp_path: Path, streamed: float) -> None:
    report = run(tmp_path, GOOD, streamed=streamed)
    assert report.success == 1.0
    assert [report.p50, report.p99] == pytest.approx([2.5, 2.5])


@pytest.mark.parametrize(
    ("attempt", "kind"),
    [
        (failed("RateLimitError", status=429, retry_after=7), "RateLimitError"),
        (failed("ServerError", status=500), "ServerError"),
        (failed("ConnectionFailedError"), "ConnectionFailedError"),
        (failed("AttemptTimeoutError"), "DeadlineExceededError"),
        (failed("ProtocolError"), "ProtocolError"),
    ],
)
def test_failures_come_as_often_as_they_came(tmp_path: Path, attempt: Attempt, kind: str) -> None:
    report = run(tmp_path, GOOD, attempt, attempt, attempt)
    assert report.success == pytest.approx(0.25, abs=0.1)
    assert set(report.failures) == {kind}


def test_streams_that_were_cut_are_cut(tmp_path: Path) -> None:
    report = run(tmp_path, failed("StreamInterruptedError"), streamed=1.0)
    assert report.failures == {"StreamInterruptedError": report.calls}
