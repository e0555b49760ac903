from llm_call.core.domain.errors import AuthenticationError, ContextWindowExceededError, RateLimitError, ServerError
from llm_call.core.policy.onward import TargetFacts, onward

SMALL, LARGE, UNKNOWN = (
    TargetFacts(credential=name, window=window) for name, window in (("a", 8), ("b", 9), ("c", None))
)
TOO_LONG = ContextWindowExceededError("too long", status=400)


def test_what_may_pass_leads_to_the_next_in_order() -> None:
    assert onward((SMALL, LARGE), 0, ServerError("down")) == 1
    assert onward((SMALL, LARGE), 1, ServerError("down")) is None


def test_what_was_too_long_goes_to_a_larger_or_unknown_window_only() -> None:
    assert onward((LARGE, SMALL, UNKNOWN), 0, TOO_LONG) == 2
    assert onward((SMALL, SMALL, LARGE), 0, TOO_LONG) == 2
    assert onward((LARGE, SMALL), 0, TOO_LONG) is None


def test_a_refused_credential_is_not_tried_at_another_model() -> None:
    same = TargetFacts(credential="a")
    assert onward((SMALL, same, LARGE), 0, AuthenticationError("no", status=401)) == 2
    empty = RateLimitError("no quota", status=429)
    empty.retryable = False
    assert onward((SMALL, same), 0, empty) is None
    assert onward((SMALL, same), 0, RateLimitError("slow down", status=429)) == 1
