"""What a call came to."""

from decimal import Decimal
from typing import Generic, TypeVar

from msgspec import Struct

from llm_call.core.domain.bill import Bill
from llm_call.core.domain.errors import OutputError
from llm_call.core.domain.response import Response, Usage
from llm_call.core.domain.review import Pending
from llm_call.core.domain.trace import Trace
from llm_call.core.domain.verdict import Repair, Verdict

T = TypeVar("T")


class Result(Struct, Generic[T], frozen=True, kw_only=True):
    """What a call came to.

    `value` is the validated value: the text itself, or the JSON value where one was asked for; `None` when `ok` is
    false, and when the model calls tools instead: see `response.tool_calls`. `usage` and `bill` cover everything that the call caused. `pending` is there while a person is asked: `client.wait(result)` gives what they decide.
    """

    ok: bool
    value: T | None
    response: Response
    trace: Trace
    verdicts: tuple[Verdict, ...] = ()
    repairs: tuple[Repair, ...] = ()
    usage: Usage = Usage()
    bill: Bill = Bill()
    rung: str = "ask"
    pending: Pending | None = None

    @property
    def cost(self) -> Decimal | None:
        """US dollars for everything that the call caused; `None` when a price or a count is unknown."""
        return self.bill.total

    @property
    def text(self) -> str:
        """The answer as the model wrote it."""
        return self.response.text

    @property
    def problems(self) -> tuple[str, ...]:
        """Why the answer was rejected, a line each; empty when it was not."""
        return tuple(str(problem) for verdict in self.verdicts if not verdict.valid for problem in verdict.problems)

    def unwrap(self) -> T:
        """The value.

        Raises:
            OutputError: The answer was rejected; the error holds this result with its whole history.
        """
        if self.pending is not None:
            hint = "`await client.wait(result)` gives what comes of it."
            raise OutputError(f"a person is asked: review {self.pending.id} is open", result=self, hint=hint)
        if not self.ok:
            message = f"the answer was rejected: {'; '.join(self.problems)}"
            raise OutputError(
                message, result=self, hint="The error's trace shows every answer and why it was rejected."
            )
        value: T = self.value  # type: ignore[assignment]  # ok means that there is one
        return value
