import pytest

from llm_call.core.domain.errors import (
    AttemptTimeoutError,
    AuthenticationError,
    BadRequestError,
    BudgetExceededError,
    ConfigError,
    ConnectionFailedError,
    ContentFilteredError,
    ContextWindowExceededError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    ProtocolError,
    RateLimitError,
    ServerError,
    StreamInterruptedError,
    UnsupportedError,
)
from llm_call.core.policy.outcome import classify


def final(error: Exception) -> Exception:
    """The same error, of which the peer has said that asking again is no use."""
    error.retryable = False  # type: ignore[attr-defined]  # ours, all of them
    return error


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (ConnectionFailedError("x"), "again"),
        (StreamInterruptedError("x"), "again"),
        (AttemptTimeoutError("x", stage="connect"), "again"),
        (AttemptTimeoutError("x", stage="first byte"), "elsewhere"),
        (AttemptTimeoutError("x", stage="between bytes"), "elsewhere"),
        (AttemptTimeoutError("x"), "elsewhere"),
        (ProtocolError("x"), "again"),
        (ServerError("x", status=500), "again"),
        (final(ServerError("x", status=500)), "elsewhere"),
        (OverloadedError("x", status=529), "again"),
        (RateLimitError("x", status=429), "again"),
        (final(RateLimitError("x", status=429, code="insufficient_quota")), "elsewhere"),
        (AuthenticationError("x", status=401), "elsewhere"),
        (PermissionDeniedError("x", status=403), "elsewhere"),
        (ContextWindowExceededError("x", status=400), "elsewhere"),
        (UnsupportedError("x"), "elsewhere"),
        (BadRequestError("x", status=422), "never"),
        (NotFoundError("x", status=404), "never"),
        (ContentFilteredError("x", status=400), "never"),
        (BudgetExceededError("x"), "never"),
        (ConfigError("x"), "never"),
        (KeyError("x"), "never"),
        (PermissionError("x"), "never"),
        (OSError("x"), "again"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value,
)
def test_what_each_failure_means(error: Exception, outcome: str) -> None:
    assert classify(error) == outcome


def test_words_in_a_message_mean_nothing() -> None:
    assert classify(BadRequestError("rate limit, overloaded, try again", status=400)) == "never"
    assert classify(ServerError("invalid api key", status=500)) == "again"
