"""What happened: every attempt, every round."""

from msgspec import Struct

from llm_call.core.domain.response import Response, Usage
from llm_call.core.domain.verdict import Verdict


class Failure(Struct, frozen=True, kw_only=True):
    """Why an attempt gave no answer. `retry_after` is the server's hint in seconds."""

    kind: str
    message: str
    status: int | None = None
    code: str | None = None
    request_id: str | None = None
    retry_after: float | None = None


class ToolRun(Struct, frozen=True, kw_only=True):
    """A tool that was run for the model: how long it took in seconds, and the size of what it gave in bytes."""

    name: str
    seconds: float
    is_error: bool = False
    size: int = 0


class Timings(Struct, frozen=True, kw_only=True):
    """When the stages of an attempt were over, in seconds from its start.

    `held` is how long it waited for leave to be sent, `head` when the status had arrived, `first_event` when the first
    event of a stream had; `None` is not reached, or not known.
    """

    held: float = 0.0
    head: float | None = None
    first_event: float | None = None
    end: float


class Attempt(Struct, frozen=True, kw_only=True):
    """One request on the wire. Times are in seconds; `started` counts from the start of the call.

    `sent` is false where it was refused before any request left, by an open breaker for example.
    """

    number: int
    target: str
    started: float
    duration: float
    wait: float = 0.0
    why: str = ""
    usage: Usage | None = None
    failure: Failure | None = None
    timings: Timings | None = None
    sent: bool = True


class Round(Struct, frozen=True, kw_only=True):
    """One question and its judgement. `rung` names how it was asked: `ask` first, then `reask`."""

    number: int
    rung: str
    attempts: tuple[Attempt, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    response: Response | None = None
    tools: tuple[ToolRun, ...] = ()


class Skipped(Struct, frozen=True, kw_only=True):
    """A target behind the name that was asked for which was not tried, and why."""

    target: str
    why: str


class Trace(Struct, frozen=True, kw_only=True):
    """The whole call. `model` is the name that was asked for; `duration` is in seconds."""

    model: str
    rounds: tuple[Round, ...] = ()
    duration: float = 0.0
    skipped: tuple[Skipped, ...] = ()

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """All attempts of all rounds, in order."""
        return tuple(attempt for each in self.rounds for attempt in each.attempts)
