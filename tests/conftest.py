"""What every test stands on: no key, no settings and no folder of the person who runs it; profiles for properties."""

import os
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

_HEALTH = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture)
# How many cases a property is tested with; and, as `<profile>-laws`, the laws that the whole design stands on.
for _profile, _cases, _laws in (("test", 60, 2_000), ("prove", 1_500, 10_000)):
    settings.register_profile(
        _profile,
        max_examples=_cases,
        derandomize=_profile == "test",
        deadline=None,
        database=None,
        suppress_health_check=_HEALTH,
    )
    settings.register_profile(f"{_profile}-laws", settings.get_profile(_profile), max_examples=_laws)
settings.load_profile(os.environ.get("LLM_CALL_TEST_PROFILE", "test"))

# A shell that starts the tests in the background has them ignore interrupts, and with them every program they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

_FOREIGN = ("LLM_CALL_", "OPENAI_", "ANTHROPIC_", "GEMINI_", "GOOGLE_", "AZURE_", "AWS_", "CLOUDSDK_")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if (name.startswith(_FOREIGN) and name != "LLM_CALL_TEST_PROFILE") or name.upper() in _PROXIES:
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    if "llm_call.core.api" in sys.modules:  # its client and settings are one for the process: here, for the test
        monkeypatch.setattr("llm_call.core.api._client", None)
        monkeypatch.setattr("llm_call.core.api._settings", None)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many examples those laws were tried with that draw their own, in the words of hypothesis, for `make prove`."""
    for report in terminalreporter.getreports("passed"):
        examples = dict(report.user_properties).get("examples")
        if examples and terminalreporter.config.getoption("hypothesis_show_statistics"):
            terminalreporter.write_line(f"{report.nodeid}:\n\n  - {examples} passing examples, 0 failing examples\n")
