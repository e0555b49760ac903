"""What a failure means: by its kind, status and code, never by words in a message."""

from typing import Literal

from llm_call.core.domain.errors import (
    APIError,
    AttemptTimeoutError,
    AuthenticationError,
    ContextWindowExceededError,
    LLMCallError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
    UnsupportedError,
)

Outcome = Literal["again", "elsewhere", "never"]
"""Ask the same target again; ask only another one; ask nobody."""

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


def classify(error: Exception) -> Outcome:
    """What `error` means for the next attempt."""
    match error:
        case AttemptTimeoutError(stage=stage):
            # A silent route is not asked again.
            return "again" if stage == "connect" else "elsewhere"
        case AuthenticationError() | PermissionDeniedError() | ContextWindowExceededError() | UnsupportedError():
            return "elsewhere"
        case RateLimitError() | ServerError():
            # The peer may say that the same request will not do better: no quota left, `x-should-retry: false`.
            return "again" if error.retryable else "elsewhere"
        case LLMCallError():
            return "again" if error.retryable else "never"
        case _:
            return "never" if isinstance(error, NEVER_RETRIED) else "again"


def hint(error: Exception) -> float:
    """The server's own wish, in seconds; 0 without one."""
    return (error.retry_after or 0.0) if isinstance(error, APIError) else 0.0
