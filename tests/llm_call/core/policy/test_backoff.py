import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_call.core.domain.errors import ConfigError
from llm_call.core.policy.backoff import Backoff

delays = st.floats(0, 1e6)
strategies = st.sampled_from(["immediate", "basic", "linear", "exponential", "fibonacci", "custom"])


@given(strategies, delays, st.floats(0, 10), delays, st.integers(1, 10**6), st.floats(0, 1), st.booleans())
def test_a_delay_is_finite_and_between_nothing_and_the_cap(
    strategy: str, base: float, factor: float, cap: float, failures: int, chance: float, jitter: bool
) -> None:
    backoff = Backoff(
        strategy=strategy,  # type: ignore[arg-type]  # drawn from the names
        base=base,
        factor=factor,
        cap=cap,
        jitter=(0.0, 1.0) if jitter else None,
        delays=(base,),
    )
    delay = backoff.delay(failures, chance)
    assert math.isfinite(delay)
    assert 0 <= delay <= cap


def test_full_jitter_spreads_over_the_whole_delay() -> None:
    backoff = Backoff(base=2, cap=100)
    assert [backoff.delay(3, chance) for chance in (0.0, 0.5, 1.0)] == [0, 4, 8]


@pytest.mark.parametrize("name", ["base", "factor", "cap"])
def test_negative_values_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="negative"):
        Backoff(**{name: -1})  # type: ignore[arg-type]  # the name varies
