import pytest

from llm_call.cli.output import exit_code
from llm_call.core.domain.errors import (
    BudgetExceededError,
    ConfigError,
    LLMCallError,
    NoEligibleTargetError,
    RateLimitError,
    UnsupportedError,
)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConfigError("x"), 2),
        (UnsupportedError("x"), 2),
        (NoEligibleTargetError("x"), 2),
        (RateLimitError("x"), 4),
        (BudgetExceededError("x"), 5),
    ],
)
def test_an_exit_code_tells_whose_turn_it_is(error: LLMCallError, expected: int) -> None:
    assert exit_code(error) == expected
