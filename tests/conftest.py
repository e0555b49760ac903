"""What every test stands on: no key, no settings and no folder of the person who runs it; profiles for properties."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

_HEALTH = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture)
settings.register_profile(
    "test", max_examples=60, derandomize=True, deadline=None, database=None, suppress_health_check=_HEALTH
)
settings.register_profile("prove", max_examples=3000, deadline=None, database=None, suppress_health_check=_HEALTH)
settings.load_profile(os.environ.get("LLM_CALL_TEST_PROFILE", "test"))

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
