"""Asking a person: what is handed over, and who takes it."""

from collections.abc import Awaitable, Callable
from decimal import Decimal
from inspect import isawaitable
from typing import Any, Protocol

from msgspec import Struct

from llm_call.core.call_config import CallConfig
from llm_call.core.domain.bill import Charge
from llm_call.core.domain.request import Request
from llm_call.core.domain.response import Response
from llm_call.core.domain.result import Result
from llm_call.core.domain.review import Decision, Pending, Reason
from llm_call.core.domain.trace import Trace
from llm_call.core.domain.verdict import Verdict
from llm_call.core.validation.reask import problem_lines


class ReviewRequest(Struct, frozen=True, kw_only=True):
    """A call that a person must decide, with all that is needed to go on without the process that made it.

    `call` and `request` are the call; it holds no key. `response` is the last answer, which `verdicts` reject; there is
    none where no target answered, and `error` says why. `charges` are what it has caused so far, `spent` their sum in
    US dollars where that is known. `objections` say why the last decision could not be applied.
    """

    call: CallConfig
    request: Request
    reason: Reason
    trace: Trace
    response: Response | None = None
    verdicts: tuple[Verdict, ...] = ()
    error: str = ""
    charges: tuple[Charge, ...] = ()
    spent: Decimal | None = None
    objections: tuple[str, ...] = ()

    @property
    def problems(self) -> tuple[str, ...]:
        """Why a person is asked, a line each."""
        return problem_lines(self.verdicts) or ((self.error,) if self.error else ())


Given = Pending | Decision


class Reviewer(Protocol):
    """Has people decide."""

    async def review(self, request: ReviewRequest) -> Given:
        """The decision, where it can be waited for; otherwise where it will be found."""


class Durable(Reviewer, Protocol):
    """Keeps calls and reviews beyond the process (`core.durable`)."""

    async def submit(self, call: CallConfig, request: Request, *, key: str | None = None) -> str:
        """Begin a durable call, unless one was begun with this `key`. Its id."""

    async def wait(self, identity: str, timeout: float | None = None) -> Result[Any]:  # noqa: ASYNC109  (its own word)
        """What a call, or a review of one, comes to."""

    async def close(self) -> None:
        """Let go of the store."""


class CallbackReviewer:
    """Has `function` decide, at once: for programs that need no durability. It may be a coroutine function.

    A decision that cannot be applied bounces: the function is asked again, with `objections`, five times at most.
    """

    def __init__(self, function: Callable[[ReviewRequest], Given | Awaitable[Given]]) -> None:
        self._function = function

    async def review(self, request: ReviewRequest) -> Given:
        """What the function decides."""
        given = self._function(request)
        return await given if isawaitable(given) else given
