"""Google's error bodies."""

from typing import Any

import msgspec
import pytest

from llm_call.core.domain.errors import (
    APIError,
    AuthenticationError,
    BadRequestError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
)
from llm_call.core.wire.gemini import GeminiCodec


def failure(status: int, word: str, *details: Any, headers: dict[str, str] | None = None) -> APIError:
    error = {"code": status, "message": "No AIzaSyA1234567890.", "status": word, "details": list(details)}
    return GeminiCodec().decode_error(status, headers or {}, msgspec.json.encode({"error": error}))


@pytest.mark.parametrize(
    ("status", "word", "kind", "retryable"),
    [
        (400, "INVALID_ARGUMENT", BadRequestError, False),
        (400, "FAILED_PRECONDITION", BadRequestError, False),
        (401, "UNAUTHENTICATED", AuthenticationError, False),
        (403, "PERMISSION_DENIED", PermissionDeniedError, False),
        (404, "NOT_FOUND", NotFoundError, False),
        (429, "RESOURCE_EXHAUSTED", RateLimitError, True),
        (500, "INTERNAL", ServerError, True),
        (503, "UNAVAILABLE", OverloadedError, True),
        (504, "DEADLINE_EXCEEDED", ServerError, True),
    ],
)
def test_the_status_decides(status: int, word: str, kind: type[APIError], retryable: bool) -> None:
    error = failure(status, word)
    assert type(error) is kind
    assert (error.status, error.code, error.retryable) == (status, word, retryable)
    assert error.message == f"HTTP {status}: No [masked]"


def test_a_wrong_key_is_known_by_its_reason_though_the_status_is_that_of_a_bad_request() -> None:
    error = failure(400, "INVALID_ARGUMENT", {"reason": "API_KEY_INVALID", "domain": "googleapis.com"})
    assert type(error) is AuthenticationError
    assert (error.status, error.code, error.message) == (400, "API_KEY_INVALID", "HTTP 400: No [masked]")
    assert "credential" in error.hint
    assert "AIza" not in error.body
    assert type(failure(400, "INVALID_ARGUMENT", {"reason": "OTHER"})) is BadRequestError
    assert type(failure(403, "PERMISSION_DENIED", {"reason": "API_KEY_INVALID"})) is PermissionDeniedError


@pytest.mark.parametrize(
    ("details", "headers", "seconds"),
    [
        ([{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.07s"}], {}, 34.07),
        ([{"retryDelay": "0s"}], {}, 0.0),
        ([{"retryDelay": "3s"}, {"retryDelay": "5s"}, {"violations": []}], {}, 5.0),
        ([{"retryDelay": "7s"}], {"retry-after": "2"}, 7.0),
        ([{"retryDelay": "7s"}], {"retry-after": "20"}, 20.0),
        ([{"retryDelay": "-7s"}], {}, 0.0),
        ([{"retryDelay": "1e99s"}], {}, 86_400.0),
        ([{"retryDelay": "nans"}, {"retryDelay": 5}, {"retryDelay": "soon"}, {"retryDelay": "5"}, 5], {}, None),
        ([], {}, None),
    ],
)
def test_how_long_to_wait_stands_in_the_details_and_is_clamped(
    details: list[Any], headers: dict[str, str], seconds: float | None
) -> None:
    assert failure(429, "RESOURCE_EXHAUSTED", *details, headers=headers).retry_after == seconds


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"<html>", b"null", b"[" * 9999, b"\xff", b'{"error": "no"}', b'{"error": {"details": {}}}'),
        *(b'{"error": {"details": [[]]}}', b'[{"error": {"code": 502, "details": [{"reason": 5}]}}]'),
    ],
)
def test_every_form_of_body_gives_an_error(body: bytes) -> None:
    error = GeminiCodec().decode_error(502, {}, body)
    assert (type(error), error.retry_after) == (ServerError, None)


def test_the_array_of_a_stream_that_failed_at_once_is_read() -> None:
    body = b'[{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "details": [{"retryDelay": "9s"}]}}]'
    error = GeminiCodec().decode_error(429, {}, body)
    assert (type(error), error.code, error.retry_after) == (RateLimitError, "RESOURCE_EXHAUSTED", 9.0)


@pytest.mark.parametrize(
    ("reason", "kind", "retryable"),
    [
        ("CREDENTIALS_MISSING", AuthenticationError, False),
        ("BILLING_DISABLED", PermissionDeniedError, False),
        ("API_KEY_SERVICE_BLOCKED", PermissionDeniedError, False),
        ("RATE_LIMIT_EXCEEDED", RateLimitError, True),
    ],
)
def test_a_reason_says_what_the_status_of_a_bad_request_does_not(
    reason: str, kind: type[APIError], retryable: bool
) -> None:
    error = failure(400, "INVALID_ARGUMENT", {"reason": reason})
    assert (type(error), error.code, error.retryable) == (kind, reason, retryable)


def test_a_wait_that_is_clamped_is_noted() -> None:
    assert "asked to wait -7 s" in failure(429, "RESOURCE_EXHAUSTED", {"retryDelay": "-7s"}).hint


@pytest.mark.parametrize(
    ("word", "kind"), [("RESOURCE_EXHAUSTED", RateLimitError), ("UNAVAILABLE", OverloadedError), ("ODD", ServerError)]
)
def test_in_a_stream_the_word_of_the_status_tells_where_no_number_does(word: str, kind: type[APIError]) -> None:
    decoder = GeminiCodec().stream_decoder()
    with pytest.raises(APIError) as caught:
        decoder.feed(b"data: " + msgspec.json.encode({"error": {"status": word, "message": "x"}}) + b"\n\n")
    assert type(caught.value) is kind
