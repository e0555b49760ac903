"""What a case looks like: to people in lines, to programs as plain values. Made from what is recorded, and only that."""

from collections.abc import Iterator
from datetime import UTC, datetime

from msgspec import Struct

from llm_call.core.durable.records import Came, Case, Link


class Step(Struct, frozen=True, kw_only=True):
    """A line of the audit: when (UTC), who, through which face, what, and what came of it."""

    id: str
    at: datetime
    by: str
    face: str
    what: str
    outcome: str


def state(case: Case) -> str:
    """The case in a word: running, open, answered, rejected, failed or aborted."""
    came = case.standing
    if case.running is not None or came is None:
        return "running"
    if came.what == "open":
        return "open"
    if came.error is not None:
        return "aborted" if came.error.kind == "CallAbortedError" else "failed"
    return "answered" if came.result is not None and came.result.ok else "rejected"


def audit(case: Case) -> Iterator[Step]:
    """Every step of the case, in order."""
    for link in case.links:
        move = link.move
        what = f"{move.decision.action}" if move else "asked"
        if move and move.decision.reason:
            what += f": {move.decision.reason}"
        yield Step(
            id=link.id,
            at=datetime.fromtimestamp(link.at, UTC),
            by=move.decision.by if move else "",
            face=move.face if move else "",
            what=what,
            outcome=outcome(link),
        )


def outcome(link: Link) -> str:
    """What came of a link, in a line."""
    came = link.came
    if came is None:
        return "under way"
    return "; ".join(filter(None, (_came(came), came.note)))


def _came(came: Came) -> str:
    match came.what:
        case "bounced":
            return f"bounced: {'; '.join(came.objections)}"
        case "late":
            return "too late"
        case "open":
            until = datetime.fromtimestamp(came.expires, UTC)
            return f"a person is asked, level {came.level}, until {until:%Y-%m-%d %H:%M} UTC"
        case "ended":
            if came.error is not None:
                return f"{came.error.kind}: {came.error.fields['message']}"
            return "accepted" if came.result is not None and came.result.ok else "rejected"
