"""Google's error bodies: beside code, status and message they have typed details, which say more.

Rule: as everywhere, status and codes decide. A wrong API key comes with the status 400 and is known by its
`ErrorInfo.reason` alone; how long to wait stands in `RetryInfo.retryDelay`.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from llm_call.core.domain.errors import APIError, AuthenticationError, BadRequestError, ContentFilteredError
from llm_call.core.wire.http_errors import decode_http_error, decode_stream_error, excerpt, read_report, retry_after

_WRONG_KEY = frozenset({"API_KEY_INVALID", "API_KEY_EXPIRED"})


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
    reason = next((entry["reason"] for entry in entries if _is_wrong_key(entry)), None)
    if reason is not None and type(error) is BadRequestError:
        error = _wrong_key(error, reason)
    if error.retry_after is None:
        delays = [delay for entry in entries if (delay := _delay(entry.get("retryDelay"))) is not None]
        error.retry_after = max(delays, default=None)
    return error


def _is_wrong_key(entry: Mapping[str, Any]) -> bool:
    reason = entry.get("reason")
    return type(reason) is str and reason in _WRONG_KEY


def _wrong_key(error: APIError, reason: str) -> AuthenticationError:
    return AuthenticationError(
        error.message,
        status=error.status,
        code=reason,
        request_id=error.request_id,
        retry_after=error.retry_after,
        body=error.body,
        hint="Check the credential of this provider.",
    )


def _delay(duration: Any) -> float | None:
    """A protobuf duration in JSON (`"34.07s"`) in seconds, clamped as the same hint in a header is."""
    if type(duration) is not str or not duration.endswith("s"):
        return None
    return retry_after({"retry-after": duration.removesuffix("s")})
