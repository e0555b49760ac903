from decimal import Decimal

import pytest

from llm_call.core.domain.response import Usage
from llm_call.core.policy.budget import Budget, Spent

SPENT = Spent(usd=Decimal("0.50"), usage=Usage(input_tokens=60, output_tokens=40), attempts=2)


def test_without_limits_there_is_always_room() -> None:
    assert SPENT.exceeds(Budget()) is None


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        (Budget(attempts=2), "2 of 2 attempts"),
        (Budget(tokens=100), "100 of 100 tokens"),
        (Budget(usd=Decimal("0.5")), "US dollars"),
    ],
)
def test_a_limit_that_is_reached_is_named(budget: Budget, said: str) -> None:
    assert said in (SPENT.exceeds(budget) or "")


def test_a_limit_that_is_not_reached_leaves_room() -> None:
    assert SPENT.exceeds(Budget(attempts=3, tokens=101, usd=Decimal(1))) is None


def test_unknown_usage_counts_as_none() -> None:
    assert Spent(attempts=1).exceeds(Budget(tokens=1)) is None
