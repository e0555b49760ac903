"""What a failure means: by its kind, status and code, never by words in a message."""

from typing import Literal

from llm_call.core.domain.errors import (
    OUT_OF_QUOTA,
    APIError,
    AttemptTimeoutError,
    AuthenticationError,
    BadRequestError,
    CircuitOpenError,
    ContentFilteredError,
    ContextWindowExceededError,
    LLMCallError,
    LocalLimitError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    ProtocolError,
    RateLimitError,
    ServerError,
    TransportError,
    UnsupportedError,
)

Outcome = Literal["again", "elsewhere", "never"]
"""Ask the same target again; ask only another one; ask nobody."""

OutcomeKind = Literal[
    "rate_limit",
    "overloaded",
    "server",
    "connection",
    "timeout",
    "protocol",
    "quota",
    "credential",
    "context",
    "request",
    "filtered",
    "other",
]
"""What failed, in the words of limits for each outcome. A broken stream and a failed process are a `connection`."""

# A mistake in the program, or a refusal by the system: asking again changes nothing.
NEVER_RETRIED = (
    TypeError,
    AttributeError,
    NameError,
    LookupError,
    AssertionError,
    NotImplementedError,
    ImportError,
    PermissionError,
)

_KINDS: tuple[tuple[type[Exception] | tuple[type[Exception], ...], OutcomeKind], ...] = (
    (RateLimitError, "rate_limit"),
    (OverloadedError, "overloaded"),
    (ServerError, "server"),
    ((AuthenticationError, PermissionDeniedError), "credential"),
    (ContextWindowExceededError, "context"),
    (ContentFilteredError, "filtered"),
    ((BadRequestError, NotFoundError, UnsupportedError), "request"),
    ((AttemptTimeoutError, TimeoutError), "timeout"),
    ((TransportError, ConnectionError), "connection"),
    (ProtocolError, "protocol"),
)
_PAYMENT_REQUIRED = 402


def classify(error: Exception) -> Outcome:
    """What `error` means for the next attempt."""
    match error:
        case AttemptTimeoutError() | AuthenticationError() | PermissionDeniedError() | UnsupportedError():
            return "elsewhere"  # a silent route is not asked again
        case ContextWindowExceededError() | LocalLimitError():  # the latter has waited for as long as it can, or would
            return "elsewhere"
        case RateLimitError() | ServerError():
            # The peer may say that the same request will not do better: no quota left, `x-should-retry: false`.
            return "again" if error.retryable else "elsewhere"
        case CircuitOpenError():
            return "again"  # nobody was asked: the target may be, when its breaker lets a probe through
        case LLMCallError():
            return "again" if error.retryable else "never"
        case _:
            return "never" if isinstance(error, NEVER_RETRIED) else "again"


def kind_of(error: Exception) -> OutcomeKind:
    """What kind of failure `error` is."""
    if isinstance(error, APIError) and (error.status == _PAYMENT_REQUIRED or error.code in _BILLING):
        return "quota"
    return next((kind for types, kind in _KINDS if isinstance(error, types)), "other")


_BILLING = OUT_OF_QUOTA | {"billing_error", "BILLING_DISABLED"}


def hint(error: Exception) -> float:
    """The wait that is asked for, by the server or by a limit of our own, in seconds; 0 without one."""
    asked: float | None = getattr(error, "retry_after", None)
    return asked or 0.0
