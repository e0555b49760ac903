import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_call.core.wire.quota import Quota, full_in, next_in, quotas

NOW = {"date": "Sat, 21 Nov 2026 10:00:00 GMT"}


def test_every_form_in_use_is_read() -> None:
    openai = {
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-reset-requests": "1s",
    }
    assert quotas(openai) == (Quota(what="requests", remaining=59, limit=60, resets_in=1.0, gradual=True),)
    anthropic = {
        "anthropic-ratelimit-input-tokens-remaining": "0",
        "anthropic-ratelimit-input-tokens-limit": "30000",
        "anthropic-ratelimit-input-tokens-reset": "2026-11-21T10:00:30Z",
        **NOW,
    }
    assert quotas(anthropic) == (Quota(what="tokens", remaining=0, limit=30_000, resets_in=30.0, gradual=True),)
    plain = {"ratelimit-remaining": "0", "ratelimit-limit": "100", "ratelimit-reset": "12"}
    assert quotas(plain) == (Quota(what="requests", remaining=0, limit=100, resets_in=12.0),)


@pytest.mark.parametrize(
    ("reset", "expected"),
    [
        ("6m0s", 360.0),
        ("20ms", 0.02),
        ("1h2m3.5s", 3723.5),
        ("2.5", 2.5),
        ("2026-11-21T10:00:09Z", 9.0),
        ("2026-11-21T09:00:00Z", 0.0),
        ("1795255230", 30.0),
        ("1795255230000", 30.0),
        ("soon", None),
        ("", None),
        ("-3", None),
        ("9" * 400, None),
    ],
)
def test_a_reset_is_a_duration_a_number_of_seconds_or_a_time(reset: str, expected: float | None) -> None:
    (quota,) = quotas({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": reset, **NOW})
    assert quota.resets_in == expected


def test_nothing_has_to_wait_while_something_is_left() -> None:
    assert next_in({"x-ratelimit-remaining-requests": "1", "x-ratelimit-reset-requests": "60s"}) == 0
    assert next_in({}) == 0


def test_what_comes_back_bit_by_bit_is_waited_for_bit_by_bit() -> None:
    requests = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "60s"}
    assert next_in(requests) == 60
    assert next_in({**requests, "x-ratelimit-limit-requests": "600"}) == 0.1
    tokens = {
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "60s",
        "x-ratelimit-limit-tokens": "1000",
    }
    assert next_in(tokens, tokens=500) == 30
    assert next_in(tokens, tokens=5000) == 60
    assert next_in(tokens) == 60
    assert next_in({"ratelimit-remaining": "0", "ratelimit-reset": "60", "ratelimit-limit": "600"}) == 60


def test_a_rate_limit_error_waits_for_all_that_is_used_up() -> None:
    headers = {
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "9s",
    }
    assert full_in(headers) == 9
    assert full_in({**headers, "x-ratelimit-remaining-tokens": "5"}) == 1
    assert full_in({}) is None


NAMES = [
    f"{start}{part}{end}"
    for start, end in (("x-ratelimit-", "-requests"), ("anthropic-ratelimit-tokens-", ""), ("ratelimit-", ""))
    for part in ("remaining", "limit", "reset")
]


@given(st.dictionaries(st.sampled_from([*NAMES, "date"]), st.text(max_size=20) | st.just("0")), st.integers(0, 10**6))
def test_no_header_is_too_absurd(headers: dict[str, str], tokens: int) -> None:
    assert next_in(headers, tokens) >= 0
    assert (full_in(headers) or 0) >= 0


@pytest.mark.parametrize(
    "date", ["Sat, 21 Nov 2026 10:00:00 +99999999999999", "Sat, 99999999999999999999 Nov 2026 10:00:00 GMT"]
)
def test_a_date_that_is_beyond_all_numbers_says_nothing(date: str) -> None:
    headers = {"ratelimit-remaining": "0", "ratelimit-reset": "2026-11-21T10:00:30Z", "date": date}
    assert next_in(headers) == 0
