"""Which errors that leave a call are worth an alert, and of which level.

The rule: what a person should hear of beyond the caller, who has the error already. The caller's own mistakes (a wrong
argument, a refused prompt, an unknown model) and rejected answers are no alerts.
"""

from collections.abc import Mapping

from llm_call.core.domain.alert import Alert, Fact, Level
from llm_call.core.domain.errors import (
    AllTargetsFailedError,
    APIError,
    AuthenticationError,
    BudgetExceededError,
    CircuitOpenError,
    DeadlineExceededError,
    LLMCallError,
    NoEligibleTargetError,
    PermissionDeniedError,
    ProtocolError,
    RateLimitError,
    ServerError,
    TransportError,
    ValidatorError,
)


def alert_of(error: LLMCallError) -> Alert | None:
    """The alert that `error` is worth where it leaves a call; `None` for none. Its subject is the model asked for."""
    worth = _worth(error)
    if worth is None:
        return None
    level, kind = worth
    subject = error.trace.model if error.trace else ""
    return Alert(level=level, kind=kind, message=error.message, subject=subject, facts=_facts(error))


def alert_of_gate(change: str, place: str, why: str) -> Alert | None:
    """The alert that a change at the gate to `place` is worth: a breaker that has opened, and that it is closed again."""
    if change == "opened":
        message = f"{place} is left alone for a while: {why}"
        return Alert(level="error", kind="breaker_opened", message=message, subject=place)
    if change == "closed":
        return Alert(level="info", kind="breaker_closed", message=f"{place} answers again", subject=place)
    return None


def alert_of_store(status: str, why: str) -> Alert:
    """The alert that a change of the shared store is worth."""
    if status == "back":
        return Alert(level="info", kind="shared_state_back", message=why, subject="state")
    return Alert(level="warning", kind="shared_state_away", message=why, subject="state")


def _worth(error: LLMCallError) -> tuple[Level, str] | None:
    match error:
        case AllTargetsFailedError(errors=errors):
            levels = {worth[0] if (worth := _worth(each)) else None for each in errors}
            return "critical" if levels == {"critical"} else "error", "all_targets_failed"
        case RateLimitError(retryable=False) | PermissionDeniedError(status=402):
            return "critical", "out_of_quota"
        case AuthenticationError() | PermissionDeniedError():
            return "critical", "credential_refused"
    return next((worth for types, worth in _BY_TYPE.items() if isinstance(error, types)), None)


_BY_TYPE: Mapping[tuple[type[LLMCallError], ...], tuple[Level, str]] = {
    (BudgetExceededError,): ("warning", "budget_exceeded"),
    (DeadlineExceededError,): ("warning", "deadline_exceeded"),
    (RateLimitError,): ("warning", "rate_limited"),
    (CircuitOpenError,): ("error", "circuit_open"),
    (NoEligibleTargetError,): ("error", "no_eligible_target"),
    (ServerError, TransportError, ProtocolError): ("error", "target_failed"),
    (ValidatorError,): ("error", "validator_failed"),
}


def _facts(error: LLMCallError) -> Mapping[str, Fact]:
    facts: dict[str, Fact | None] = {"error": type(error).__name__}
    if error.trace is not None:
        facts |= {"attempts": len(error.trace.attempts), "seconds": round(error.trace.duration, 3)}
    if isinstance(error, APIError):
        facts |= {"status": error.status, "code": error.code, "request_id": error.request_id}
    return {name: fact for name, fact in facts.items() if fact is not None}
