"""The one tree of errors.

LLMCallError                     every error: `hint` says what to do, `retryable`, `trace` tells what was tried
├ ConfigError                    the caller's own settings or arguments are wrong
│ ├ UnknownModelError            `did_you_mean`
│ ├ UnknownProviderError         `did_you_mean`
│ └ MissingCredentialError
├ UnsupportedError               refused before any I/O
├ TransportError                 no answer came through
│ ├ ConnectionFailedError
│ ├ AttemptTimeoutError
│ ├ StreamInterruptedError       `text` is what had arrived
│ └ ProcessFailedError
├ ProtocolError                  the peer sent what cannot be read, or a 200 without an answer
├ APIError                       the peer said no: `status`, `code`, `request_id`, `retry_after`, `body`
│ ├ BadRequestError
│ │ └ ContextWindowExceededError
│ ├ AuthenticationError, PermissionDeniedError, NotFoundError
│ ├ ContentFilteredError
│ ├ RateLimitError
│ │ └ LocalLimitError            a limit held it back longer than it could wait: nothing was sent
│ └ ServerError
│   └ OverloadedError
├ PolicyError                    a limit of the caller's was reached
│ ├ CircuitOpenError            `retry_after`
│ ├ BudgetExceededError, DeadlineExceededError
│ └ NoEligibleTargetError
├ ValidatorError                 a validator could not decide: its fault, not the answer's
├ ConversationError              what was said could not be kept: `result` is the answer
├ CallAbortedError               a person has ended the call: `by`
├ OutputError                    the answer is still rejected after the last round: `result`
└ AllTargetsFailedError          one line an attempt
"""

from collections.abc import Callable
from typing import Any

from llm_call.core.domain.trace import Failure, Trace

OUT_OF_QUOTA = frozenset(
    {
        "insufficient_quota",
        "billing_hard_limit_reached",
        "billing_not_active",
        "exceeded_current_quota_error",  # Moonshot
    }
)
"""The codes with which a peer says that waiting does not help: somebody has to pay."""


class LLMCallError(Exception):
    """The root. `hint` is one sentence that says what to do; `trace` is what was tried, where anything was."""

    retryable = False

    def __init__(self, message: str, *, hint: str = "", trace: Trace | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.trace = trace

    def rewrite(self, change: Callable[[str], str]) -> None:
        """Put `change` of every text that may be the peer's in its place."""
        self.message = change(self.message)
        self.args = (self.message,)

    def failure(self) -> Failure:
        """This error as a value for the trace."""
        return Failure(kind=type(self).__name__, message=self.message)


class ConfigError(LLMCallError):
    """The caller's own settings or arguments are wrong."""


class UnknownModelError(ConfigError):
    """No such model. `did_you_mean` lists near names."""

    def __init__(self, message: str, *, did_you_mean: tuple[str, ...] = (), hint: str = "") -> None:
        super().__init__(message, hint=hint or _suggestion(did_you_mean))
        self.did_you_mean = did_you_mean


class UnknownProviderError(UnknownModelError):
    """No row for the provider that the model's prefix names."""


class MissingCredentialError(ConfigError):
    """The provider's credential is not set."""


class UnsupportedError(LLMCallError):
    """The request cannot be expressed for its target; refused before any I/O."""


class TransportError(LLMCallError):
    """No answer came through."""

    retryable = True


class ConnectionFailedError(TransportError):
    """The connection was refused, reset, or could not be made."""


class AttemptTimeoutError(TransportError):
    """One stage of an attempt took too long. `stage` is connect, first byte, between bytes or total."""

    def __init__(self, message: str, *, stage: str = "total", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.stage = stage


class StreamInterruptedError(TransportError):
    """The stream ended without an end. `text` is what had arrived."""

    def __init__(self, message: str, *, text: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.text = text


class ProcessFailedError(TransportError):
    """A process that answers for a model failed."""


class ProtocolError(LLMCallError):
    """The peer sent what cannot be read, or a success without an answer."""

    retryable = True


class APIError(LLMCallError):
    """The peer said no. `retry_after` is its hint in seconds, `body` the start of what it sent (secrets are not in it)."""

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        body: str = "",
        hint: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.code = code
        self.request_id = request_id
        self.retry_after = retry_after
        self.body = body

    def rewrite(self, change: Callable[[str], str]) -> None:
        """Put `change` of every text that may be the peer's in its place."""
        super().rewrite(change)
        self.body = change(self.body)
        self.code = self.code and change(self.code)
        self.request_id = self.request_id and change(self.request_id)

    def failure(self) -> Failure:
        """This error as a value for the trace."""
        return Failure(
            kind=type(self).__name__,
            message=self.message,
            status=self.status,
            code=self.code,
            request_id=self.request_id,
            retry_after=self.retry_after,
        )


class BadRequestError(APIError):
    """The request is wrong as it stands (400, 413, 422)."""


class ContextWindowExceededError(BadRequestError):
    """The request is longer than the model's window: its tokens, and those of the window, where the peer says them."""

    prompt_tokens: int | None = None
    window: int | None = None


class AuthenticationError(APIError):
    """The credential is missing or wrong (401)."""


class PermissionDeniedError(APIError):
    """The credential may not do this (402, 403)."""


class NotFoundError(APIError):
    """No such model or endpoint (404)."""


class ContentFilteredError(APIError):
    """The provider refused the content."""


class RateLimitError(APIError):
    """Too many requests, or no quota left (429)."""

    retryable = True


class LocalLimitError(RateLimitError):
    """A limit of our own, or one that the peer has told us, leaves no room in time: nothing was sent."""


class ServerError(APIError):
    """The peer failed (408, 409, 5xx)."""

    retryable = True


class OverloadedError(ServerError):
    """The peer has no capacity (503, 529)."""


class PolicyError(LLMCallError):
    """A limit of the caller's was reached."""


class CircuitOpenError(PolicyError):
    """The breaker of a place is open: it failed too often of late. `retry_after` is when it will be tried again, in seconds."""

    def __init__(self, message: str, *, retry_after: float | None = None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after

    def failure(self) -> Failure:
        """This error as a value for the trace."""
        return Failure(kind=type(self).__name__, message=self.message, retry_after=self.retry_after)


class BudgetExceededError(PolicyError):
    """The money, the tokens or the attempts are used up."""


class DeadlineExceededError(PolicyError):
    """The time is used up."""


class NoEligibleTargetError(PolicyError):
    """No target can take this request."""


class ValidatorError(LLMCallError):
    """A validator could not decide: its own fault, not the answer's."""


class ConversationError(LLMCallError):
    """The conversation was continued elsewhere meanwhile, or its file cannot be written.

    `result` is the answer that could not be kept; `None` when nothing was asked.
    """

    def __init__(self, message: str, *, result: Any = None, hint: str = "") -> None:
        super().__init__(message, hint=hint, trace=result.trace if result else None)
        self.result = result


class CallAbortedError(LLMCallError):
    """A person who was asked about the call has ended it. `by` is who."""

    def __init__(self, message: str, *, by: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.by = by


class OutputError(LLMCallError):
    """The answer is still rejected after the last round. `result` is the `Result`, with its verdicts and trace."""

    def __init__(self, message: str, *, result: Any, hint: str = "") -> None:
        super().__init__(message, hint=hint, trace=result.trace)
        self.result = result


class AllTargetsFailedError(LLMCallError):
    """No target answered. The message has one line an attempt; `errors` holds the last error of each target.

    `retry_after` is when the first of those that said so may be asked again, in seconds.
    """

    def __init__(self, message: str, *, errors: tuple[LLMCallError, ...], hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.errors = errors
        asked = [getattr(error, "retry_after", None) for error in errors]
        self.retry_after: float | None = min((each for each in asked if each is not None), default=None)


def _suggestion(names: tuple[str, ...]) -> str:
    return f"Did you mean {' or '.join(names)}?" if names else ""
