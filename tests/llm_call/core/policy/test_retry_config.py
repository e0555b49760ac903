from typing import Any

import pytest

from llm_call.core.domain.errors import ConfigError
from llm_call.core.policy.backoff import Backoff
from llm_call.core.policy.retry import RetryPolicy
from llm_call.core.policy.retry_config import retry_config, retry_policy


def test_the_keys_of_case_files_and_their_aliases_mean_the_same() -> None:
    expected = RetryPolicy(
        max_attempts=5, backoff=Backoff(base=2, factor=3, cap=9, jitter=(0.75, 1.25), strategy="exponential")
    )
    theirs = {"max_attempts": 5, "initial_delay": 2, "backoff_factor": 3, "max_delay": 9, "use_jitter": True, "jitter_range": 0.25}  # fmt: skip
    ours = {"max_attempts": 5, "base_delay": 2, "exponential_base": 3, "max_delay": 9, "jitter": True, "jitter_range": 0.25}  # fmt: skip
    assert retry_policy(theirs) == retry_policy(ours) == expected


def test_the_documented_defaults() -> None:
    assert retry_policy({}) == RetryPolicy(max_attempts=3, backoff=Backoff(base=1, cap=60, jitter=(0.5, 1.5)))


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"max_atempts": 3}, "max_attempts"),
        ({"max_attempts": "three"}, "max_attempts"),
        ({"max_attempts": 0}, "at least 1"),
        ({"initial_delay": 1, "base_delay": 2}, "twice"),
        ({"strategy": "magic"}, "strategy"),
    ],
)
def test_what_is_wrong_is_named(config: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        retry_policy(config)
    assert said in caught.value.message + caught.value.hint


def test_a_breaker_is_there_where_it_is_asked_for() -> None:
    keys = {"circuit_breaker_config": {"failure_threshold": 2}}
    assert retry_config(keys).breaker() is None
    breaker = retry_config({**keys, "enable_circuit_breaker": True}).breaker()
    assert breaker is not None
    assert breaker.failures == 2


def test_a_breaker_that_cannot_be_is_refused_even_where_it_is_not_enabled() -> None:
    with pytest.raises(ConfigError, match="circuit_breaker_config: unknown key 'failure_limit'"):
        retry_config({"circuit_breaker_config": {"failure_limit": 2}})
