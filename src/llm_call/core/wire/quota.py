"""What the headers of an answer say is left of a limit, and when more is there.

The forms in use: `x-ratelimit-*-requests` and `-tokens` (OpenAI and many after it; resets are durations such as `6m0s`,
`20ms`), `anthropic-ratelimit-*` (resets are times: RFC 3339, or seconds since 1970, read against the response's own
`Date`), and plain `ratelimit-*` or `x-ratelimit-*` (resets are seconds, or a time). Header names are in lower case. Pure.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal

from msgspec import Struct

_DURATION_PIECE = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_EPOCH, _EPOCH_MS = 1e9, 1e11  # a number as large is no duration but a time since 1970; a larger one in milliseconds


class _Form(Struct, frozen=True):
    """The names of the headers of one limit. `gradual`: its reset is when all of it is there again, bit by bit."""

    what: Literal["requests", "tokens"]
    remaining: str
    limit: str
    reset: str
    gradual: bool


def _form(what: Literal["requests", "tokens"], pattern: str, *, gradual: bool = True) -> _Form:
    remaining, limit, reset = map(pattern.format, ("remaining", "limit", "reset"))
    return _Form(what, remaining, limit, reset, gradual)


# OpenAI: the time until the limit "resets to its initial state"; Anthropic: when it "will be fully replenished".
_FORMS = (
    _form("requests", "x-ratelimit-{}-requests"),
    _form("tokens", "x-ratelimit-{}-tokens"),
    _form("requests", "anthropic-ratelimit-requests-{}"),
    _form("tokens", "anthropic-ratelimit-tokens-{}"),
    _form("tokens", "anthropic-ratelimit-input-tokens-{}"),
    _form("tokens", "anthropic-ratelimit-output-tokens-{}"),
    _form("requests", "ratelimit-{}", gradual=False),
    _form("requests", "x-ratelimit-{}", gradual=False),
)
_REMAINING = tuple(form.remaining for form in _FORMS)
_SUBSCRIPTION = "anthropic-ratelimit-unified"


class Quota(Struct, frozen=True, kw_only=True):
    """One limit: what is left of it, of how much; `resets_in` seconds all of it is there again.

    `gradual`: it comes back bit by bit until then, and not all at once.
    """

    what: Literal["requests", "tokens"]
    remaining: int
    limit: int | None = None
    resets_in: float | None = None
    gradual: bool = False

    def wait(self, amount: int) -> float:
        """Seconds until `amount` of it is there, when nothing is left; 0 when something is, or nobody says."""
        if self.remaining > 0 or self.resets_in is None:
            return 0.0
        if self.gradual and self.limit and amount:
            return self.resets_in * min(amount / self.limit, 1.0)
        return self.resets_in


def quotas(headers: Mapping[str, str]) -> tuple[Quota, ...]:
    """Every limit that the headers of an answer speak of."""
    found = []
    for form in _FORMS:
        remaining = _count(headers.get(form.remaining))
        if remaining is not None:
            found.append(
                Quota(
                    what=form.what,
                    remaining=remaining,
                    limit=_count(headers.get(form.limit)),
                    resets_in=_wait(headers.get(form.reset, ""), headers),
                    gradual=form.gradual,
                )
            )
    return tuple(found)


def next_in(headers: Mapping[str, str], tokens: int = 0) -> float:
    """Seconds until a request of so many `tokens` (0: unknown) fits; 0 where something of each limit is left."""
    if "0" not in map(headers.get, _REMAINING):
        return 0.0  # nearly always, and asked at every answer
    return max(quota.wait(1 if quota.what == "requests" else tokens) for quota in quotas(headers))


def full_in(headers: Mapping[str, str]) -> float | None:
    """Seconds until all of every limit that is used up is there again; `None` where none is, or nobody says."""
    waits = [quota.resets_in for quota in quotas(headers) if quota.remaining == 0]
    if headers.get(f"{_SUBSCRIPTION}-status") == "rejected":
        waits.append(_wait(headers.get(f"{_SUBSCRIPTION}-reset", ""), headers))
    return max((wait for wait in waits if wait is not None), default=None)


def _count(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdecimal() and len(text) < 16 else None  # noqa: PLR2004  (digits of a quadrillion)


def _wait(text: str, headers: Mapping[str, str]) -> float | None:
    """A reset in seconds from now, not below 0: a duration, a number of seconds, or a time."""
    duration = _duration(text)
    if duration is not None:
        return duration
    time, now = _time(text), _http_date(headers.get("date", ""))
    return max((time - now).total_seconds(), 0.0) if time and now else None


def _duration(text: str) -> float | None:
    if _is_number(text):
        return float(text) if float(text) < _EPOCH else None
    pieces = _DURATION_PIECE.findall(text)
    if not pieces or "".join(number + unit for number, unit in pieces) != text:
        return None
    return sum(float(number) * _SECONDS[unit] for number, unit in pieces)


def _time(text: str) -> datetime | None:
    try:
        if _is_number(text):
            seconds = float(text)
            return datetime.fromtimestamp(seconds / 1000 if seconds >= _EPOCH_MS else seconds, UTC)
        time = datetime.fromisoformat(text)
    except (ValueError, OverflowError, OSError):
        return None
    return time if time.tzinfo else None


def _is_number(text: str) -> bool:
    return text.isascii() and text.replace(".", "", 1).isdecimal()


def _http_date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo else None
