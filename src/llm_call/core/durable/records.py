"""What is written down: forms of calls, results and errors that JSON holds, and what a review has come to.

A call is one workflow, a review of it a chain of them: `ID` opens it, `ID.1`, `ID.2`, ... are the decisions in their
order. A decision is only begun when the one before it has ended, and its number is its workflow's name, so that of two
people who decide at once one is the next and the other comes after. What the chain comes to is read off it, never kept
beside it.
"""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct

from llm_call.core.call_config import CallConfig
from llm_call.core.domain import errors
from llm_call.core.domain.bill import Bill, Charge, Pricing
from llm_call.core.domain.errors import AllTargetsFailedError, LLMCallError
from llm_call.core.domain.request import Request
from llm_call.core.domain.response import Response, Usage
from llm_call.core.domain.result import Result
from llm_call.core.domain.review import Decision
from llm_call.core.domain.trace import Trace
from llm_call.core.domain.verdict import Repair, Verdict
from llm_call.core.review import ReviewRequest


class StoredError(Struct, frozen=True, kw_only=True):
    """An error of the one tree: its class, what it holds, and the errors that it sums up."""

    kind: str
    fields: dict[str, Any]
    trace: Trace | None = None
    errors: "tuple[StoredError, ...]" = ()

    @classmethod
    def of(cls, error: LLMCallError) -> "StoredError":
        """`error`, written down. What JSON does not hold of it is left out."""
        held = {name: value for name, value in vars(error).items() if isinstance(value, str | int | float | None)}
        inner = error.errors if isinstance(error, AllTargetsFailedError) else ()
        return cls(kind=type(error).__name__, fields=held, trace=error.trace, errors=tuple(map(cls.of, inner)))

    def error(self) -> LLMCallError:
        """The error again."""
        kind = getattr(errors, self.kind, LLMCallError)
        made: LLMCallError = kind.__new__(kind)
        Exception.__init__(made, self.fields["message"])
        vars(made).update(self.fields, trace=self.trace)
        if isinstance(made, AllTargetsFailedError):
            made.errors = tuple(each.error() for each in self.errors)
        return made


class StoredResult(Struct, frozen=True, kw_only=True):
    """A result without the prices, which are looked up by whoever reads it."""

    ok: bool
    value: Any
    response: Response
    trace: Trace
    verdicts: tuple[Verdict, ...]
    repairs: tuple[Repair, ...]
    usage: Usage
    charges: tuple[Charge, ...]
    rung: str

    @classmethod
    def of(cls, result: Result[Any]) -> "StoredResult":
        """`result`, written down."""
        same = {name: getattr(result, name) for name in cls.__struct_fields__ if name != "charges"}
        return cls(**same, charges=result.bill.charges)

    def result(self, pricing: Pricing) -> Result[Any]:
        """The result again."""
        same = {name: getattr(self, name) for name in self.__struct_fields__ if name != "charges"}
        return Result(**same, bill=Bill(self.charges, pricing))


class Question(Struct, frozen=True, kw_only=True):
    """A call as it begins. It holds no key."""

    call: CallConfig
    request: Request


class Move(Struct, frozen=True, kw_only=True):
    """A decision as it came: through which face, when (seconds since 1970). The same `key` again is the same decision."""

    review: str
    decision: Decision
    face: str
    at: float
    key: str = ""


_MOVES = ("ended", "open")
What = Literal["ended", "open", "bounced", "late"]


class Came(Struct, frozen=True, kw_only=True):
    """What a workflow came to: the call has ended, or a person is asked at `level` until `expires`, or nothing changed.

    `objections` say why a decision bounced, `note` what else there is to know.
    """

    what: What
    result: StoredResult | None = None
    error: StoredError | None = None
    asked: ReviewRequest | None = None
    level: int = 0
    expires: float = 0.0
    objections: tuple[str, ...] = ()
    note: str = ""


class Link(Struct, frozen=True, kw_only=True):
    """A workflow of a chain: when it began (seconds since 1970), the decision that it is, what it came to if it has."""

    id: str
    at: float
    executor: str
    move: Move | None = None
    came: Came | None = None


class Case(Struct, frozen=True, kw_only=True):
    """A chain. The last link may be under way; all others have ended."""

    id: str
    links: tuple[Link, ...]

    @property
    def standing(self) -> Came | None:
        """What the call has come to so far; `None` while its first workflow is under way."""
        told = [link.came for link in self.links if link.came and link.came.what in _MOVES]
        return told[-1] if told else None

    @property
    def asked(self) -> ReviewRequest | None:
        """What a person was asked last; `None` where nobody was."""
        asked = [link.came.asked for link in self.links if link.came and link.came.asked]
        return asked[-1] if asked else None

    @property
    def turn(self) -> int:
        """The number of the link that put the case where it stands: a page to decide on is good for one turn."""
        return max((number(each.id) for each in self.links if each.came and each.came.what in _MOVES), default=0)

    @property
    def running(self) -> Link | None:
        """The link that is under way."""
        return self.links[-1] if self.links[-1].came is None else None

    @property
    def decided(self) -> Move | None:
        """The decision that ended it."""
        ends = (link.move for link in self.links if link.came and link.came.what == "ended")
        return next(ends, None)


def written(value: Struct) -> str:
    """`value` as JSON."""
    return msgspec.json.encode(value).decode()


def chain(identity: str, links: Sequence[Link]) -> Case:
    """The case of these links, in the order of their numbers."""
    return Case(id=identity, links=tuple(sorted(links, key=lambda link: number(link.id))))


def number(workflow: str) -> int:
    """The number of a decision's workflow; 0 for the one that opens the chain."""
    _, dot, count = workflow.partition(".")
    return int(count) if dot else 0
