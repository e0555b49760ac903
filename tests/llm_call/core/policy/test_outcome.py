import msgspec
import pytest

from llm_call.core.domain.errors import (
    OUT_OF_QUOTA,
    APIError,
    AttemptTimeoutError,
    AuthenticationError,
    BadRequestError,
    BudgetExceededError,
    CircuitOpenError,
    ConfigError,
    ConnectionFailedError,
    ContentFilteredError,
    ContextWindowExceededError,
    DeadlineExceededError,
    LocalLimitError,
    NoEligibleTargetError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    ProcessFailedError,
    ProtocolError,
    RateLimitError,
    ServerError,
    StreamInterruptedError,
    UnsupportedError,
)
from llm_call.core.policy.outcome import OutcomeKind, classify, hint, kind_of
from llm_call.core.wire.http_errors import decode_http_error


def final(error: Exception) -> Exception:
    """The same error, of which the peer has said that asking again is no use."""
    error.retryable = False  # type: ignore[attr-defined]  # ours, all of them
    return error


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (ConnectionFailedError("x"), "again"),
        (StreamInterruptedError("x"), "again"),
        (AttemptTimeoutError("x", stage="connect"), "elsewhere"),
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
        (CircuitOpenError("x"), "again"),
        (LocalLimitError("x"), "elsewhere"),
        (ProcessFailedError("x"), "again"),
        (PermissionDeniedError("x", status=402), "elsewhere"),
        (BadRequestError("x", status=422), "never"),
        (NotFoundError("x", status=404), "never"),
        (ContentFilteredError("x", status=400), "never"),
        (APIError("x", status=302), "never"),
        (NoEligibleTargetError("x"), "never"),
        (DeadlineExceededError("x"), "never"),
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


@pytest.mark.parametrize(
    ("status", "code", "outcome", "kind"),
    [
        (408, None, "again", "server"),
        (409, None, "again", "server"),
        (500, None, "again", "server"),
        (502, None, "again", "server"),
        (503, None, "again", "overloaded"),
        (504, None, "again", "server"),
        (529, None, "again", "overloaded"),
        (429, "rate_limit_exceeded", "again", "rate_limit"),
        *((429, code, "elsewhere", "quota") for code in sorted(OUT_OF_QUOTA)),
        (402, None, "elsewhere", "quota"),
        (403, "billing_error", "elsewhere", "quota"),
        (403, "insufficient_quota", "elsewhere", "quota"),
        (401, None, "elsewhere", "credential"),
        (403, None, "elsewhere", "credential"),
        (400, "context_length_exceeded", "elsewhere", "context"),
        (400, None, "never", "request"),
        (404, None, "never", "request"),
        (413, None, "never", "request"),
        (422, None, "never", "request"),
        (400, "content_filter", "never", "filtered"),
        (302, None, "never", "other"),
    ],
)
def test_what_each_answer_of_a_server_means(status: int, code: str | None, outcome: str, kind: str) -> None:
    error = decode_http_error(status, {}, msgspec.json.encode({"error": {"message": "x", "code": code}}))
    assert (classify(error), kind_of(error)) == (outcome, kind)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ConnectionFailedError("x"), "connection"),
        (StreamInterruptedError("x"), "connection"),
        (ProcessFailedError("x"), "connection"),
        (AttemptTimeoutError("x"), "timeout"),
        (ProtocolError("x"), "protocol"),
        (UnsupportedError("x"), "request"),
        (CircuitOpenError("x"), "other"),
        (ConnectionResetError(), "connection"),
        (TimeoutError(), "timeout"),
        (ValueError(), "other"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value,
)
def test_what_kind_each_other_failure_is(error: Exception, kind: OutcomeKind) -> None:
    assert kind_of(error) == kind


def test_the_hint_is_the_wait_that_is_asked_for() -> None:
    assert hint(RateLimitError("x", retry_after=3)) == 3
    assert hint(RateLimitError("x")) == 0
    assert hint(OSError()) == 0
