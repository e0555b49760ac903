"""Asking a person: what the engine hands over, and who takes it."""

from typing import Protocol

from msgspec import Struct

from llm_call.core.call_config import CallConfig
from llm_call.core.domain.request import Request
from llm_call.core.domain.response import Response
from llm_call.core.domain.review import Decision, Pending, Reason
from llm_call.core.domain.trace import Trace
from llm_call.core.domain.verdict import Verdict


class ReviewRequest(Struct, frozen=True, kw_only=True):
    """A call that a person must decide, with all that is needed to go on without the process that made it.

    `call` and `request` are the call; it holds no key. `response` is the last answer, which `verdicts` reject; there is
    none where no target answered, and `error` says why.
    """

    call: CallConfig
    request: Request
    reason: Reason
    trace: Trace
    response: Response | None = None
    verdicts: tuple[Verdict, ...] = ()
    error: str = ""


class Reviewer(Protocol):
    """Has people decide."""

    async def review(self, request: ReviewRequest) -> Pending | Decision:
        """The decision, where it can be waited for; otherwise where it will be found."""
