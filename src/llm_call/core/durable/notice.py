"""Telling the people of a level that there is something to decide: a POST with a signed link.

A link is good for one decision of one level of one review, until that level's time is up. It is signed with what all
who share the store share; nothing about it has to be stored.
"""

import hashlib
import hmac
from collections.abc import Awaitable, Callable

import msgspec
from msgspec import Struct

from llm_call.core.domain.errors import LLMCallError
from llm_call.core.durable.settings import ReviewSettings
from llm_call.core.review import ReviewRequest
from llm_call.core.transport.base import Endpoint, Timeouts
from llm_call.core.transport.http import HttpTransport
from llm_call.core.wire.base import WireRequest

_TIMES = Timeouts(connect=5.0, first_byte=10.0, between_bytes=10.0, total=15.0)


class Notice(Struct, frozen=True, kw_only=True):
    """What is posted. `link` is a page that shows the review and takes the decision; `expires` is in seconds since 1970."""

    review: str
    level: int
    reason: str
    problems: tuple[str, ...]
    expires: float
    link: str


def token(secret: str, *, review: str, level: int, turn: int, expires: float) -> str:
    """The token of a link: until when it is good, and the signature."""
    until = int(expires)
    return f"{until}-{_signature(secret, review, level, turn, until)}"


def is_good(given: str, secret: str, *, review: str, level: int, turn: int, now: float) -> bool:
    """Whether `given` is the token of a link to this turn of the review, and its time is not up."""
    until, _, signature = given.partition("-")
    if not until.isdecimal() or len(until) > 15 or int(until) <= now:  # noqa: PLR2004  (more digits are no time)
        return False
    return hmac.compare_digest(signature.encode(), _signature(secret, review, level, turn, int(until)).encode())


def _signature(secret: str, review: str, level: int, turn: int, until: int) -> str:
    said = msgspec.json.encode([review, level, turn, until])
    return hmac.new(secret.encode(), said, hashlib.sha256).hexdigest()


class Notifier:
    """Tells the people of a level. `secret` gives what links are signed with."""

    def __init__(self, settings: ReviewSettings, secret: Callable[[], Awaitable[str]]) -> None:
        self._settings = settings
        self._secret = secret

    async def tell(self, asked: ReviewRequest, *, review: str, level: int, turn: int, expires: float) -> str:
        """Post to the level's webhook; what became of it. A review is open whether or not anybody could be told."""
        if level >= len(self._settings.webhooks):
            return ""
        link = await self.link(review=review, level=level, turn=turn, expires=expires)
        notice = Notice(
            review=review, level=level, reason=asked.reason, problems=asked.problems, expires=expires, link=link
        )
        try:
            status = await _post(self._settings.webhooks[level], msgspec.json.encode(notice))
        except LLMCallError as error:
            return f"the webhook of level {level} could not be told: {error.message}"
        return f"the webhook of level {level} was told: HTTP {status}"

    async def link(self, *, review: str, level: int, turn: int, expires: float) -> str:
        """The page of the review, for one decision."""
        made = token(await self._secret(), review=review, level=level, turn=turn, expires=expires)
        return f"{self._settings.base_url}/review/{review}?token={made}"


async def _post(url: str, body: bytes) -> int:
    transport = HttpTransport()
    request = WireRequest(path="", body=body, headers={"content-type": "application/json"})
    try:
        async with transport.open(Endpoint(base_url=url), request, _TIMES) as reply:
            return reply.status
    finally:
        await transport.close()
