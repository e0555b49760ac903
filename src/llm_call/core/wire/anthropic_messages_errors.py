"""Failures in the Messages dialect: what `http_errors` says of them, and what only this dialect's headers say.

Rule: the body is one of the forms that `http_errors` reads; the headers have names of their own: `request-id`, and
`anthropic-ratelimit-*`, whose resets are times (RFC 3339, or seconds since 1970) and are read against the response's
own `Date`.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from llm_call.core.domain.errors import APIError
from llm_call.core.wire.http_errors import decode_http_error, decode_stream_error, take_wait

_LIMIT = "anthropic-ratelimit-"
_LIMITED = ("requests", "tokens", "input-tokens", "output-tokens")


def decode_error(status: int, headers: Mapping[str, str], body: bytes) -> APIError:
    """The error that a failed response carries. Header names are in lower case; any body is fine."""
    error = decode_http_error(status, headers, body)
    error.request_id = headers.get("request-id") or error.request_id
    if error.retry_after is None:
        take_wait(error, _until_reset(headers))
    return error


def decode_event_error(payload: Any) -> APIError:
    """The error that an event inside a stream carries: it names its request itself."""
    error = decode_stream_error(payload)
    identity = payload.get("request_id") if isinstance(payload, Mapping) else None
    error.request_id = identity if isinstance(identity, str) else None
    return error


def _until_reset(headers: Mapping[str, str]) -> float | None:
    """The seconds until everything that is used up is there again, 0 where that is past."""
    now = _http_date(headers.get("date", ""))
    if now is None:
        return None
    waits = [(reset - now).total_seconds() for reset in _resets(headers)]
    return max(*waits, 0.0) if waits else None


def _resets(headers: Mapping[str, str]) -> Iterator[datetime]:
    for what in _LIMITED:
        reset = _time(headers.get(f"{_LIMIT}{what}-reset", ""))
        if reset is not None and headers.get(f"{_LIMIT}{what}-remaining") == "0":
            yield reset
    reset = _time(headers.get(f"{_LIMIT}unified-reset", ""))  # the limit of a subscription
    if reset is not None and headers.get(f"{_LIMIT}unified-status") == "rejected":
        yield reset


def _time(text: str) -> datetime | None:
    try:
        time = datetime.fromtimestamp(int(text), UTC) if text.isdecimal() else datetime.fromisoformat(text)
    except (ValueError, OverflowError, OSError):
        return None
    return time if time.tzinfo else None


def _http_date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    return date if date.tzinfo else None
