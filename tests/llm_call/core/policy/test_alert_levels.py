from typing import Any

import pytest

from llm_call.core.domain.errors import (
    AllTargetsFailedError,
    APIError,
    AttemptTimeoutError,
    AuthenticationError,
    BadRequestError,
    BudgetExceededError,
    CircuitOpenError,
    ConfigError,
    ContentFilteredError,
    DeadlineExceededError,
    LLMCallError,
    MissingCredentialError,
    NoEligibleTargetError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    ProtocolError,
    RateLimitError,
    StreamInterruptedError,
    UnknownModelError,
    UnsupportedError,
    ValidatorError,
)
from llm_call.core.domain.trace import Attempt, Round, Trace
from llm_call.core.policy.alert_levels import alert_of
from llm_call.core.wire.http_errors import decode_http_error

OUT_OF_QUOTA = decode_http_error(429, {}, b'{"error": {"message": "no money", "code": "insufficient_quota"}}')


@pytest.mark.parametrize(
    ("error", "level", "kind"),
    [
        (OUT_OF_QUOTA, "critical", "out_of_quota"),
        (PermissionDeniedError("pay", status=402), "critical", "out_of_quota"),
        (PermissionDeniedError("no", status=403), "critical", "credential_refused"),
        (AuthenticationError("no", status=401), "critical", "credential_refused"),
        (RateLimitError("slow", status=429), "warning", "rate_limited"),
        (BudgetExceededError("used up"), "warning", "budget_exceeded"),
        (DeadlineExceededError("too late"), "warning", "deadline_exceeded"),
        (CircuitOpenError("open"), "error", "circuit_open"),
        (NoEligibleTargetError("none"), "error", "no_eligible_target"),
        (OverloadedError("busy", status=529), "error", "target_failed"),
        (AttemptTimeoutError("silent"), "error", "target_failed"),
        (StreamInterruptedError("cut"), "error", "target_failed"),
        (ProtocolError("no JSON"), "error", "target_failed"),
        (ValidatorError("broken"), "error", "validator_failed"),
    ],
)
def test_it_is_worth_an_alert(error: LLMCallError, level: str, kind: str) -> None:
    found = alert_of(error)
    assert found is not None
    assert (found.level, found.kind, found.message) == (level, kind, error.message)


@pytest.mark.parametrize(
    "error",
    [
        ConfigError("wrong"),
        UnknownModelError("typo"),
        MissingCredentialError("not set"),
        UnsupportedError("no tools"),
        BadRequestError("no", status=400),
        NotFoundError("no such model", status=404),
        ContentFilteredError("no", status=400),
        APIError("teapot", status=418),
    ],
)
def test_the_callers_own_mistakes_are_not(error: LLMCallError) -> None:
    assert alert_of(error) is None


@pytest.mark.parametrize(
    ("errors", "level"),
    [
        ((OUT_OF_QUOTA, AuthenticationError("no")), "critical"),
        ((OUT_OF_QUOTA, OverloadedError("busy")), "error"),
        ((OUT_OF_QUOTA, BadRequestError("no")), "error"),
        ((), "error"),
    ],
)
def test_that_no_target_answered_is_critical_where_each_waits_for_a_person(errors: Any, level: str) -> None:
    found = alert_of(AllTargetsFailedError("none", errors=errors))
    assert found is not None
    assert (found.level, found.kind) == (level, "all_targets_failed")


def test_it_says_which_model_after_how_many_attempts_and_what_the_peer_said() -> None:
    error = OverloadedError("busy", status=529, code="overloaded", request_id="r1")
    attempt = Attempt(number=1, target="openai/x", started=0, duration=1)
    rounds = (Round(number=1, rung="ask", attempts=(attempt, attempt)),)
    error.trace = Trace(model="smart", rounds=rounds, duration=2.34567)
    found = alert_of(error)
    assert found is not None
    assert found.subject == "smart"
    assert found.at is None
    assert found.facts == {
        "error": "OverloadedError",
        "attempts": 2,
        "seconds": 2.346,
        "status": 529,
        "code": "overloaded",
        "request_id": "r1",
    }
