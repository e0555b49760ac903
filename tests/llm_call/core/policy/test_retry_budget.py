from hypothesis import given
from hypothesis import strategies as st

from llm_call.core.policy.retry_budget import RetryBudget, RetryBudgetPolicy, spend

POLICY = RetryBudgetPolicy()


def spent(budget: RetryBudget | None, retries: int, *, successes: int = 0, now: float = 0.0) -> tuple[RetryBudget, int]:
    budget, enough = spend(budget, POLICY, successes, now)
    given_out = int(enough)
    for _ in range(retries - 1):
        budget, enough = spend(budget, POLICY, 0, now)
        given_out += enough
    return budget, given_out


def test_ten_retries_are_there_at_rest_and_time_brings_them_back() -> None:
    budget, given_out = spent(None, 30)
    assert given_out == 10
    assert spent(budget, 30, now=50.0)[1] == 5
    assert spent(budget, 30, now=1e6)[1] == 10


def test_a_fifth_of_the_successes_can_be_retried_and_a_hundred_saved_up() -> None:
    budget, _ = spent(None, 30)
    assert spent(budget, 300, successes=100)[1] == 20
    assert spent(budget, 300, successes=10**6)[1] == 100


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 12), st.floats(0, 100)), max_size=40))
def test_retries_are_paid_for_by_the_floor_by_successes_and_by_time(steps: list[tuple[int, int, float]]) -> None:
    budget, now, successes, retries = None, 0.0, 0, 0
    for new, wanted, step in steps:
        now += step
        successes += new
        for at in range(wanted):
            budget, enough = spend(budget, POLICY, 0 if at else new, now)
            retries += enough
            assert budget.level >= 0
        if not wanted:
            successes -= new  # nobody told the budget
        assert retries <= POLICY.floor + POLICY.ratio * successes + POLICY.per_second * now + 1e-6
