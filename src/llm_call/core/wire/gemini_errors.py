"""Google's error bodies: beside code, status and message they have typed details, which say more.

Rule: as everywhere, status and codes decide. What the status 400 does not tell (a wrong API key, above all) is told by
`ErrorInfo.reason`, in the words of `google.api.ErrorReason`; how long to wait stands in `RetryInfo.retryDelay`.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from llm_call.core.domain.errors import (
    APIError,
    AuthenticationError,
    BadRequestError,
    ContentFilteredError,
    PermissionDeniedError,
    RateLimitError,
)
from llm_call.core.wire.http_errors import (
    HINTS,
    asked_wait,
    decode_http_error,
    decode_stream_error,
    excerpt,
    read_report,
    take_wait,
)

_BY_REASON: Mapping[str, type[APIError]] = {
    **dict.fromkeys(
        (
            *("API_KEY_INVALID", "API_KEY_EXPIRED", "CREDENTIALS_MISSING"),
            *("ACCESS_TOKEN_EXPIRED", "ACCESS_TOKEN_TYPE_UNSUPPORTED", "ACCOUNT_STATE_INVALID"),
        ),
        AuthenticationError,
    ),
    **dict.fromkeys(
        (
            *("BILLING_DISABLED", "SERVICE_DISABLED", "CONSUMER_INVALID", "CONSUMER_SUSPENDED", "USER_PROJECT_DENIED"),
            *("API_KEY_SERVICE_BLOCKED", "API_KEY_HTTP_REFERRER_BLOCKED", "API_KEY_IP_ADDRESS_BLOCKED"),
            *("API_KEY_ANDROID_APP_BLOCKED", "API_KEY_IOS_APP_BLOCKED", "ACCESS_TOKEN_SCOPE_INSUFFICIENT"),
        ),
        PermissionDeniedError,
    ),
    **dict.fromkeys(("RATE_LIMIT_EXCEEDED", "RESOURCE_QUOTA_EXCEEDED"), RateLimitError),
}


def failed(status: int, headers: Mapping[str, str], body: bytes) -> APIError:
    """The error that a failed response carries. Header names are in lower case; any body is fine."""
    try:
        payload = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        payload = None
    return _with_details(decode_http_error(status, headers, body), payload)


def failed_in_answer(payload: Any) -> APIError:
    """The error that stands in the place of an answer, or of a piece of one."""
    if isinstance(payload, list) and payload:
        payload = payload[0]
    return _with_details(decode_stream_error(payload), payload)


def blocked(feedback: Mapping[str, Any]) -> ContentFilteredError:
    """The error for a prompt that was refused: a success without an answer. `feedback` says why."""
    reason = excerpt(str(feedback.get("blockReason")).encode("utf-8", "replace"), 60)
    said = feedback.get("blockReasonMessage")
    more = f": {excerpt(said.encode('utf-8', 'replace'), 200)}" if isinstance(said, str) and said else ""
    return ContentFilteredError(
        f"the prompt was blocked ({reason}){more}",
        code=reason,
        body=excerpt(msgspec.json.encode(feedback), 500),
        hint="The provider refuses this content; the same request will be refused again.",
    )


def _with_details(error: APIError, payload: Any) -> APIError:
    details = read_report(payload).details.get("details")
    entries = [entry for entry in details if isinstance(entry, dict)] if isinstance(details, list) else []
    reason = next((entry["reason"] for entry in entries if _is_telling(entry)), None)
    if reason is not None and type(error) is BadRequestError:
        error = _named(error, reason)
    delays = [delay for entry in entries if (delay := _delay(entry.get("retryDelay"))) is not None]
    take_wait(error, max(delays, default=None))
    return error


def _is_telling(entry: Mapping[str, Any]) -> bool:
    reason = entry.get("reason")
    return type(reason) is str and reason in _BY_REASON


def _named(error: APIError, reason: str) -> APIError:
    """What the status called a bad request, as what its reason says it is."""
    kind = _BY_REASON[reason]
    return kind(
        error.message,
        status=error.status,
        code=reason,
        request_id=error.request_id,
        retry_after=error.retry_after,
        body=error.body,
        hint=HINTS.get(kind, ""),
    )


def _delay(duration: Any) -> float | None:
    """A protobuf duration in JSON (`"34.07s"`) in seconds."""
    if type(duration) is not str or not duration.endswith("s"):
        return None
    return asked_wait({"retry-after": duration.removesuffix("s")})
