"""Status, code and headers to errors."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from llm_call.core.wire.http_errors import asked_wait, decode_http_error, decode_stream_error


def failure(status: int, headers: dict[str, str] | None = None, /, **error: Any) -> APIError:
    return decode_http_error(status, headers or {}, msgspec.json.encode({"error": error}))


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (302, APIError, False),
        (400, BadRequestError, False),
        (401, AuthenticationError, False),
        (402, PermissionDeniedError, False),
        (403, PermissionDeniedError, False),
        (404, NotFoundError, False),
        (408, ServerError, True),
        (409, ServerError, True),
        (413, BadRequestError, False),
        (422, BadRequestError, False),
        (429, RateLimitError, True),
        (500, ServerError, True),
        (502, ServerError, True),
        (503, OverloadedError, True),
        (504, ServerError, True),
        (529, OverloadedError, True),
    ],
)
def test_the_status_decides_whatever_the_words_say(status: int, kind: type[APIError], retryable: bool) -> None:
    error = failure(status, message="rate_limit context_length_exceeded insufficient_quota", type="whatever")
    assert type(error) is kind
    assert (error.status, error.retryable, error.code) == (status, retryable, "whatever")


@pytest.mark.parametrize(
    ("status", "codes", "kind", "code"),
    [
        (400, {"code": "context_length_exceeded", "type": "invalid_request_error"}, ContextWindowExceededError, None),
        (
            400,
            {"code": 400, "type": "exceed_context_size_error"},
            ContextWindowExceededError,
            "exceed_context_size_error",
        ),
        (400, {"code": "content_filter"}, ContentFilteredError, None),
        (403, {"code": None, "type": "content_policy_violation"}, ContentFilteredError, "content_policy_violation"),
        (400, {"code": "unsupported_parameter", "type": "invalid_request_error"}, BadRequestError, None),
        (500, {"code": "content_filter"}, ServerError, None),
        (429, {"code": 429, "status": "RESOURCE_EXHAUSTED"}, RateLimitError, "RESOURCE_EXHAUSTED"),
        (404, {"code": 404}, NotFoundError, "404"),
    ],
)
def test_a_code_refines_the_status(status: int, codes: dict[str, Any], kind: type[APIError], code: str | None) -> None:
    error = failure(status, message="no", **codes)
    assert type(error) is kind
    assert error.code == (code or codes["code"])


@pytest.mark.parametrize("code", sorted(OUT_OF_QUOTA))
def test_an_empty_purse_is_not_retried(code: str) -> None:
    error = failure(429, message="pay", type=code, code=code)
    assert type(error) is RateLimitError
    assert not error.retryable


def test_a_prompt_that_is_too_long_is_told_by_how_much() -> None:
    error = failure(400, code=400, type="exceed_context_size_error", message="no", n_prompt_tokens=5000, n_ctx=4096)
    assert isinstance(error, ContextWindowExceededError)
    assert (error.prompt_tokens, error.window) == (5000, 4096)
    assert "shorten it by 904 tokens" in error.hint


def test_a_prompt_that_is_too_long_may_come_without_figures() -> None:
    error = failure(400, code="context_length_exceeded", message="no", n_ctx="4096")
    assert isinstance(error, ContextWindowExceededError)
    assert (error.prompt_tokens, error.window) == (None, None)
    assert "larger window" in error.hint


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error": {"message": "no\\u001b[31m\\nway"}}', "HTTP 502: no [31m way"),
        (b'{"error": "no way"}', "HTTP 502: no way"),
        (b'{"object": "error", "message": "no way", "code": 5}', "HTTP 502: no way"),
        (b'{"detail": "no way"}', "HTTP 502: no way"),
        (b'[{"error": {"message": "no way"}}]', "HTTP 502: no way"),
        (b'{"error": {}}', "HTTP 502 Bad Gateway (text/html)"),
        (b"<html>Oops</html>", "HTTP 502 Bad Gateway (text/html)"),
        (b"", "HTTP 502 Bad Gateway (text/html)"),
        (b"[" * 5000, "HTTP 502 Bad Gateway (text/html)"),
        (b"\xff\xfe", "HTTP 502 Bad Gateway (text/html)"),
    ],
)
def test_every_form_of_body_gives_a_message(body: bytes, message: str) -> None:
    error = decode_http_error(502, {"content-type": "text/html; charset=utf-8", "x-request-id": "r1"}, body)
    assert (error.message, error.request_id, type(error)) == (message, "r1", ServerError)


@pytest.mark.parametrize(
    "secret",
    [
        "sk-proj-abcDEF123456",
        "Bearer abcdefgh.12345",
        "AIzaSyA1234567890",
        "gsk_0123456789abc",
        "api_key=hunter2hunter2",
    ],
)
@pytest.mark.parametrize("before", ["", "x" * 489 + " "])
def test_what_looks_like_a_key_is_masked_even_where_the_excerpt_ends(secret: str, before: str) -> None:
    error = decode_http_error(401, {}, msgspec.json.encode({"error": {"message": f"{before}wrong: {secret}, sorry"}}))
    assert secret[8:] not in error.body + error.message
    assert secret[:14] not in error.body + error.message
    assert len(error.body) <= 500


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "120"}, 120.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "9", "retry-after-ms": "1500"}, 9.0),
        ({"retry-after": "1", "retry-after-ms": "1500"}, 1.5),
        ({"retry-after": "-3", "retry-after-ms": "1500"}, 1.5),
        ({"retry-after": "9", "retry-after-ms": "soon"}, 9.0),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "1e999"}, 86_400.0),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 30.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT", "date": "Wed, 21 Oct 2026 07:28:30 GMT"}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT"}, None),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m0s"}, 360.0),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "20ms"}, 0.02),
        (
            {"retry-after": "2", "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m0s"},
            2.0,  # when all of it is back is later than when the next request may come
        ),
        (
            {
                "x-ratelimit-remaining-tokens": "0",
                "x-ratelimit-reset-tokens": "2s",
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-requests": "1m",
            },
            60.0,
        ),
        ({"x-ratelimit-remaining-requests": "3", "x-ratelimit-reset-requests": "20ms"}, None),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "a while"}, None),
    ],
)
def test_the_servers_hint_is_read_and_clamped(headers: dict[str, str], seconds: float | None) -> None:
    assert failure(429, headers, message="slow down").retry_after == pytest.approx(seconds)


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_hint_is_too_odd(hint: str, date: str) -> None:
    seconds = failure(429, {"retry-after": hint, "retry-after-ms": hint, "date": date}).retry_after
    assert seconds is None or 0 <= seconds <= 86_400


def test_a_server_that_says_do_not_retry_is_obeyed() -> None:
    assert not failure(503, {"x-should-retry": "false"}, message="no").retryable
    assert not failure(429, {"x-should-retry": "False"}, message="no").retryable
    assert failure(503, {"x-should-retry": "true"}, message="no").retryable


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": 429, "message": "x"}, RateLimitError),
        ({"code": 502, "message": "x"}, ServerError),
        ({"code": 503, "type": "unavailable_error"}, OverloadedError),
        ({"code": 400, "type": "exceed_context_size_error"}, ContextWindowExceededError),
        ({"type": "overloaded_error"}, OverloadedError),
        ({"type": "billing_error"}, PermissionDeniedError),
        ({"type": "request_too_large"}, BadRequestError),
        ({"type": "timeout_error"}, ServerError),
        ({"type": "invalid_request_error", "code": "content_filter"}, ContentFilteredError),
        ({"type": "rate_limit_error", "code": None}, RateLimitError),
        ({"code": "some_new_code"}, ServerError),
        ("it broke", ServerError),
    ],
)
def test_an_error_inside_a_stream_goes_by_its_code(error: Any, kind: type[APIError]) -> None:
    found = decode_stream_error({"error": error})
    assert type(found) is kind
    assert found.status is None
    assert found.message.startswith("the stream carries an error: ")


@given(st.integers(100, 599), st.binary(max_size=60) | st.from_regex(rb'\{"(error|message)": ?(\{.*\}|".*"|[0-9])\}'))
def test_any_failure_becomes_an_api_error(status: int, body: bytes) -> None:
    assert decode_http_error(status, {}, body).status == status


@pytest.mark.parametrize(
    ("hint", "noted"),
    [("-3", "asked to wait -3 s, of which 0 s"), ("1e9", "1e+09 s, of which 86400 s"), ("inf", "inf s")],
)
def test_an_absurd_hint_is_noted(hint: str, noted: str) -> None:
    assert noted in failure(429, {"retry-after": hint}, message="slow down").hint


def test_a_hint_that_is_heeded_needs_no_note() -> None:
    assert "asked to wait" not in failure(429, {"retry-after": "120"}, message="slow down").hint


@pytest.mark.parametrize(
    ("status", "what_to_do"),
    [
        (400, "Change or leave out"),
        (422, "Change or leave out"),
        (429, "less often"),
        (500, "ask again later"),
        (503, "Ask again later"),
    ],
)
def test_every_failure_says_what_to_do(status: int, what_to_do: str) -> None:
    assert what_to_do in failure(status, message="no").hint
    assert what_to_do in decode_http_error(status, {}, b"<html>no</html>").hint


@pytest.mark.parametrize("code", sorted(OUT_OF_QUOTA))
def test_a_quota_that_is_used_up_is_not_to_be_waited_for(code: str) -> None:
    assert "billing" in failure(429, code=code).hint
    assert "billing" in decode_stream_error({"error": {"code": code}}).hint


@pytest.mark.parametrize(
    "when", ["Sat, 21 Nov 2026 10:00:00 +99999999999999", "Sat, 99999999999999999999 Nov 2026 10:00 GMT"]
)
def test_a_time_that_is_beyond_all_numbers_asks_for_nothing(when: str) -> None:
    assert asked_wait({"retry-after": when, "date": "Sat, 21 Nov 2026 10:00:00 GMT"}) is None
