from typing import Any

import pytest

from llm_call.core.domain.errors import ConfigError
from llm_call.core.policy.breaker import BreakerPolicy
from llm_call.core.policy.breaker_config import breaker_policy


def test_the_documented_defaults_are_5_failures_2_successes_60_seconds_3_half_open() -> None:
    assert breaker_policy({}) == BreakerPolicy(
        window=60, failures=5, open_seconds=60, max_open_seconds=60, probes=(3,), successes=2
    )


def test_every_key_and_the_alias_have_their_meaning() -> None:
    keys = {"failure_threshold": 2, "window_size": 10, "timeout": 3, "success_threshold": 4, "half_open_max_calls": 5}
    assert breaker_policy({**keys, "excluded_exceptions": ["KeyError"]}) == BreakerPolicy(
        window=10, failures=2, open_seconds=3, max_open_seconds=3, probes=(5,), successes=4, excluded=("KeyError",)
    )


@pytest.mark.parametrize(
    "config",
    [
        {"failure_threshold": 0},
        {"timeout": 0},
        {"timeout": "long"},
        {"half_open": 1, "half_open_max_calls": 2},
        {"excluded_exceptions": "KeyError"},
        {"limit": 3},
    ],
)
def test_what_cannot_be_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="circuit_breaker_config"):
        breaker_policy(config)
