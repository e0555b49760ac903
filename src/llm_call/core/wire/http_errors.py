"""What an HTTP failure means: status, code and headers in, one `APIError` out; the same for every dialect.

Rule: an error is classified by its status and its code, never by words in its message. Secrets that a server echoes
are masked before anything is kept. Pure: a `Retry-After` date is read against the response's own `Date`.
"""

import re
from collections.abc import Iterable, Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from math import isnan
from typing import Any

import msgspec
from msgspec import Struct

from llm_call.core.domain.errors import (
    OUT_OF_QUOTA,
    APIError,
    AuthenticationError,
    BadRequestError,
    ContentFilteredError,
    ContextWindowExceededError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
)
from llm_call.core.wire.quota import full_in

MAX_RETRY_AFTER = 86_400.0
BODY_EXCERPT = 500

_BY_STATUS: Mapping[int, type[APIError]] = {
    401: AuthenticationError,
    402: PermissionDeniedError,
    403: PermissionDeniedError,
    404: NotFoundError,
    408: ServerError,
    409: ServerError,
    429: RateLimitError,
    503: OverloadedError,
    529: OverloadedError,
}
# These codes say more than the 4xx status that they come with.
_REFINED: Mapping[str, type[APIError]] = {
    "context_length_exceeded": ContextWindowExceededError,
    "exceed_context_size_error": ContextWindowExceededError,  # llama.cpp
    "content_filter": ContentFilteredError,
    "content_policy_violation": ContentFilteredError,
    **dict.fromkeys(OUT_OF_QUOTA, RateLimitError),
}
# Inside a stream there is no status: the code or type alone tells.
_BY_CODE: Mapping[str, type[APIError]] = {
    **_REFINED,
    "authentication_error": AuthenticationError,
    "billing_error": PermissionDeniedError,
    "invalid_api_key": AuthenticationError,
    **dict.fromkeys(("INVALID_ARGUMENT", "FAILED_PRECONDITION", "OUT_OF_RANGE"), BadRequestError),  # Google
    "UNAUTHENTICATED": AuthenticationError,
    "PERMISSION_DENIED": PermissionDeniedError,
    "NOT_FOUND": NotFoundError,
    "RESOURCE_EXHAUSTED": RateLimitError,
    "UNAVAILABLE": OverloadedError,
    "invalid_request_error": BadRequestError,
    "model_not_found": NotFoundError,
    "not_found_error": NotFoundError,
    "overloaded_error": OverloadedError,
    "permission_error": PermissionDeniedError,
    "rate_limit_error": RateLimitError,
    "rate_limit_exceeded": RateLimitError,
    "request_too_large": BadRequestError,
    "timeout_error": ServerError,
    "unavailable_error": OverloadedError,  # llama.cpp
}
HINTS: Mapping[type[APIError], str] = {
    BadRequestError: "Change or leave out what the message names: not every model takes every setting.",
    AuthenticationError: "Check the credential of this provider.",
    PermissionDeniedError: "Check what this credential may use, and its billing.",
    NotFoundError: "Check the model's name and the base URL.",
    ContextWindowExceededError: "Shorten the prompt or use a model with a larger window.",
    ContentFilteredError: "The provider refuses this content; the same request will be refused again.",
    RateLimitError: "Ask less often, or name another model in fallback_models.",
    ServerError: "The server is at fault: ask again later, or name another model in fallback_models.",
    OverloadedError: "Ask again later, or name another model in fallback_models.",
    APIError: "The server answered with no success and no error; check the base URL.",
}
_SECRET = re.compile(
    r"(?i:\bbearer)\s+[^\s\"',}]{6,}"
    r"|\b(?:(?:sk|pk|rk|xai|nvapi|pplx)-|(?:gsk|hf|ghp|sk|r8)_|AIza|AKIA|ya29\.|eyJ)[\w.*-]{6,}"
    r"|(?i:\b(?:x-)?api[-_ ]?key|\bauthorization)[\"']?\s*[:=]\s*[\"']?[^\s\"',}]{6,}"
)
_PHRASES = {int(each): each.phrase for each in HTTPStatus}


class Report(Struct, frozen=True, kw_only=True):
    """What an error body says: its message, its codes (most telling first), an HTTP status in it, and the rest."""

    message: str
    codes: tuple[str, ...] = ()
    status: int | None = None
    details: Mapping[str, Any] = {}


def decode_http_error(status: int, headers: Mapping[str, str], body: bytes) -> APIError:
    """The error that a failed response carries. Header names are in lower case; any body is fine."""
    report = read_report(_json(body))
    kind, code = _error_type(status, report), _code(report)
    error = kind(
        _message(status, report, headers),
        status=status,
        code=code,
        request_id=headers.get("x-request-id"),
        body=excerpt(body, BODY_EXCERPT),
        hint=_hint(kind, code),
    )
    take_wait(error, asked_wait(headers))
    _take_facts(error, report)
    if headers.get("x-should-retry", "").lower() == "false":
        error.retryable = False
    return error


def decode_stream_error(payload: Any) -> APIError:
    """The error that an event inside a stream carries: no status, no headers; without a known code, the server's."""
    report = read_report(payload)
    kind = _error_type(report.status, report) if report.status else _named_type(report, ServerError)
    code = _code(report)
    error = kind(
        f"the stream carries an error: {report.message or code or 'it does not say which'}",
        code=code,
        body=excerpt(msgspec.json.encode(payload), BODY_EXCERPT),
        hint=_hint(kind, code),
    )
    _take_facts(error, report)
    return error


def read_report(payload: Any) -> Report:
    """What an error body says, in any of the forms in use: `{"error": {...}}`, `{"error": "..."}`, flat, in a list."""
    if isinstance(payload, list) and payload:
        payload = payload[0]
    if not isinstance(payload, Mapping):
        return Report(message="")
    error = payload.get("error") or payload
    if not isinstance(error, Mapping):
        return Report(message=_one_line(str(error)), codes=_texts([payload.get("code"), payload.get("type")]))
    message = error.get("message") or error.get("detail") or error.get("error") or ""
    number = error.get("code")
    return Report(
        message=_one_line(message if isinstance(message, str) else repr(message)),
        codes=_texts([error.get("code"), error.get("type"), error.get("status")]),
        status=number if type(number) is int and 400 <= number <= 599 else None,  # noqa: PLR2004  # HTTP's failures
        details=error,
    )


def take_wait(error: APIError, seconds: float | None) -> None:
    """Take in how long the server asks to wait, the longest of several times that it says.

    Between 0 and a day it is as it says; what is beyond is clamped and noted.
    """
    if seconds is None or (error.retry_after is not None and seconds <= error.retry_after):
        return
    error.retry_after = min(max(seconds, 0.0), MAX_RETRY_AFTER)
    if error.retry_after != seconds:
        note = f"The server asked to wait {seconds:g} s, of which {error.retry_after:g} s are heeded."
        error.hint = f"{error.hint} {note}".strip()


def asked_wait(headers: Mapping[str, str]) -> float | None:
    """How many seconds the server asks to wait, whatever it says; `None` when it does not say.

    That is the longer of `retry-after-ms` and `Retry-After` (seconds, or a date relative to the response's own `Date`).
    Without either it is the reset of a limit of which nothing remains, in any of the forms that `quota` reads: that
    tells when all of it will be back, which is later than when the next request may come.
    """
    asked = (
        _number(headers.get("retry-after-ms"), 0.001),
        _number(headers.get("retry-after"), 1.0),
        _until(headers.get("retry-after"), headers.get("date")),
    )
    return max((seconds for seconds in asked if seconds is not None), default=full_in(headers))


def excerpt(body: bytes, limit: int) -> str:
    """The first `limit` characters of `body`, printable, in one line, with anything that looks like a key masked."""
    return _one_line(body[: limit * 8].decode("utf-8", "replace"), limit)


def _one_line(text: str, limit: int = BODY_EXCERPT) -> str:
    # Masked before it is cut, so that no key is cut short of its form.
    masked = _SECRET.sub("[masked]", text[: limit * 4])
    return " ".join("".join(each if each.isprintable() else " " for each in masked).split())[:limit]


def _error_type(status: int, report: Report) -> type[APIError]:
    if 400 <= status < 500:  # noqa: PLR2004  # HTTP's classes of status
        refined = next((_REFINED[code] for code in report.codes if code in _REFINED), None)
        return refined or _BY_STATUS.get(status, BadRequestError)
    return _BY_STATUS.get(status, ServerError if status >= 500 else APIError)  # noqa: PLR2004  # the same


def _named_type(report: Report, default: type[APIError]) -> type[APIError]:
    return next((_BY_CODE[code] for code in report.codes if code in _BY_CODE), default)


def _code(report: Report) -> str | None:
    """The code that tells most: one that refines the status, else the first word, else the number."""
    words = [code for code in report.codes if not code.isdecimal()] or list(report.codes)
    return next((code for code in words if code in _REFINED), words[0] if words else None)


def _message(status: int, report: Report, headers: Mapping[str, str]) -> str:
    if report.message:
        return f"HTTP {status}: {report.message}"
    kind = headers.get("content-type", "").partition(";")[0].strip()
    return " ".join(filter(None, ["HTTP", str(status), _PHRASES.get(status), f"({kind})" if kind else ""]))


def _hint(kind: type[APIError], code: str | None) -> str:
    if code in OUT_OF_QUOTA:
        return "Asking again will not help: check the plan and the billing of this account."
    return HINTS.get(kind, "")


def _take_facts(error: APIError, report: Report) -> None:
    """Take in what follows from the code, and by how much a prompt is too long."""
    if error.code in OUT_OF_QUOTA:
        error.retryable = False
    prompt, window = report.details.get("n_prompt_tokens"), report.details.get("n_ctx")  # llama.cpp
    if isinstance(error, ContextWindowExceededError) and type(prompt) is int and type(window) is int:
        error.prompt_tokens, error.window = prompt, window
        error.hint = (
            f"The prompt has {prompt} tokens, the window {window}: shorten it by {prompt - window} tokens and leave "
            "room for the answer, or use a model with a larger window."
        )


def _json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return None


def _texts(values: Iterable[Any]) -> tuple[str, ...]:
    return tuple(_one_line(str(value), 100) for value in values if type(value) in {str, int} and value != "")


def _number(text: str | None, unit: float) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return None if isnan(value) else value * unit


def _until(text: str | None, now: str | None) -> float | None:
    try:
        return (parsedate_to_datetime(text or "") - parsedate_to_datetime(now or "")).total_seconds()
    except (TypeError, ValueError, OverflowError):  # not a date, or one of the two without its zone
        return None
