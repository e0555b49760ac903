"""Traces that outlast the process: what was tried, for some days, to be looked at when something went wrong.

Rule: a trace is redacted before it is written. What was said is in none of them, unless the store is asked to keep it
(`payloads`); secrets never are. The newest ones stay, within a number of days, of traces and of bytes.
"""

import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from llm_call.core.domain.bill import Charge
from llm_call.core.domain.errors import ConfigError
from llm_call.core.domain.redaction import Level, placeholder, redacted
from llm_call.core.domain.setting import setting
from llm_call.core.domain.trace import Trace
from llm_call.core.store.database import Database

_KIND = 0x4C4C5452  # "LLTR"
_MIGRATIONS = (
    """
    CREATE TABLE trace (
        id TEXT PRIMARY KEY, at REAL NOT NULL, command TEXT NOT NULL, subject TEXT NOT NULL, model TEXT NOT NULL,
        outcome TEXT NOT NULL, attempts INTEGER NOT NULL, duration REAL NOT NULL, size INTEGER NOT NULL, body BLOB NOT NULL
    ) WITHOUT ROWID
    """,
)
_DAY = 24 * 3600.0
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: nothing in it looks like something else
_LENGTH = 10  # characters of an id, of 5 bits each: a time, and chance
_CHANCE_BITS = 10
_EPOCH = 1_735_689_600.0  # 2025-01-01: with 40 bits of milliseconds, ids sort by time until 2059
_SHARES = 10  # a trace that would fill so great a part of the file is kept without what was said
_NEAR = 5  # ids that are named where one is ambiguous
_HINT = "`llm-call trace list` lists them."


class TraceSettings(Struct, frozen=True, kw_only=True):
    """What the commands keep of what was tried."""

    keep: Annotated[bool, setting("Whether the commands keep traces of their calls.", access="free")] = True
    days: Annotated[float, Meta(gt=0), setting("How many days they are kept.", access="trusted")] = 7.0
    payloads: Annotated[
        bool, setting("Keep what was asked and answered too, and the words of errors.", access="trusted")
    ] = False


class CallFacts(Struct, frozen=True, kw_only=True):
    """What a trace does not say of its call.

    `at` is when it began, in seconds since 1970; `command` what asked, `subject` for what (a test case's id). `outcome`
    is answered, rejected or the kind of the error. `asked` is what was asked, in words.
    """

    at: float
    command: str
    subject: str = ""
    outcome: str = ""
    asked: str = ""
    charges: tuple[Charge, ...] = ()


class KeptTrace(Struct, frozen=True, kw_only=True):
    """A trace as it was kept. `payloads`: with what was said; otherwise lengths and digests stand in its place."""

    id: str
    facts: CallFacts
    payloads: bool
    trace: Trace


class TraceSummary(Struct, frozen=True, kw_only=True):
    """A trace in the list of them; `duration` is in seconds."""

    id: str
    at: float
    command: str
    subject: str
    model: str
    outcome: str
    attempts: int
    duration: float


class TraceStore:
    """The traces in the file at `path`: each for `days`, at most `most` of them, all in `max_bytes`.

    `hide` gives a JSON value without secrets (`Secrets.value`): without it nothing could be kept safely, so it has no
    default. Its methods block, for some milliseconds. Several processes may share the file.

    Every method raises a `ConfigError` where the file cannot be used.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        hide: Callable[[Any], Any],
        payloads: bool = False,
        days: float = 7.0,
        most: int = 2_000,
        max_bytes: int = 50 * 1024 * 1024,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._database = Database(Path(path), kind=_KIND, migrations=_MIGRATIONS)
        self._hide = hide
        self._level: Level = "payloads" if payloads else "structure"
        self._seconds = days * _DAY
        self._most = most
        self._max_bytes = max_bytes
        self._now = now

    def keep(self, trace: Trace, facts: CallFacts) -> str:
        """Keep a trace. Its id."""
        return self.keep_all([(trace, facts)])[0]

    def keep_all(self, traces: Sequence[tuple[Trace, CallFacts]]) -> tuple[str, ...]:
        """Keep traces, all or none. Their ids, in their order."""
        made = [self._redacted(trace, facts, self._level) for trace, facts in traces]
        with self._database.writing() as connection:
            connection.execute("PRAGMA secure_delete = ON")  # what has been deleted is not found in the file any more
            ids = tuple(self._put(connection, *each) for each in made)
            self._prune(connection)
        return ids

    def find(self, beginning: str) -> KeptTrace:
        """The trace whose id begins so; the last one where nothing is given.

        Raises:
            ConfigError: There is none, or there are several; the hint says what to do.
        """
        with self._database.reading() as connection:
            identity = self._identity(connection, beginning)
            row = connection.execute("SELECT body FROM trace WHERE id = ?", (identity,)).fetchone()
        try:
            return replace(msgspec.json.decode(row[0], type=KeptTrace), id=identity)
        except msgspec.MsgspecError as error:
            raise ConfigError(f"trace {identity} cannot be read: {error}", hint="Delete it.") from error

    def summaries(self, most: int) -> tuple[TraceSummary, ...]:
        """The newest traces, at most so many, the newest first."""
        names = TraceSummary.__struct_fields__
        query = f"SELECT {', '.join(names)} FROM trace WHERE at > ? ORDER BY id DESC LIMIT ?"  # noqa: S608  (our own names)
        with self._database.reading() as connection:
            rows = connection.execute(query, (self._oldest(), most)).fetchall() if connection else ()
        return tuple(TraceSummary(**dict(zip(names, row, strict=True))) for row in rows)

    def delete(self, beginning: str) -> str:
        """Forget the trace whose id begins so. Its whole id.

        Raises:
            ConfigError: There is none, or there are several.
        """
        with self._database.writing() as connection:
            connection.execute("PRAGMA secure_delete = ON")
            identity = self._identity(connection, beginning)
            connection.execute("DELETE FROM trace WHERE id = ?", (identity,))
        return identity

    def clear(self) -> int:
        """Forget all traces. How many there were."""
        with self._database.writing() as connection:
            connection.execute("PRAGMA secure_delete = ON")
            count: int = connection.execute("DELETE FROM trace").rowcount
        return count

    def _redacted(self, trace: Trace, facts: CallFacts, level: Level) -> tuple[KeptTrace, bytes]:
        asked = facts.asked if level == "payloads" or not facts.asked else placeholder(facts.asked)
        hidden = self._hide(msgspec.to_builtins(replace(facts, asked=asked)))
        kept = KeptTrace(
            id="",
            facts=msgspec.convert(hidden, CallFacts),
            payloads=level == "payloads",
            trace=redacted(trace, level, self._hide),
        )
        body = msgspec.json.encode(kept)
        too_long = len(body) > self._max_bytes // _SHARES and level == "payloads"
        return self._redacted(trace, facts, "structure") if too_long else (kept, body)

    def _put(self, connection: Any, kept: KeptTrace, body: bytes) -> str:
        facts, trace = kept.facts, kept.trace
        (last,) = connection.execute("SELECT max(id) FROM trace").fetchone()
        identity = _next_id(last, self._now())
        about = (facts.at, facts.command, facts.subject, trace.model, facts.outcome, len(trace.attempts))
        values = (identity, *about, trace.duration, len(body), body)
        connection.execute("INSERT INTO trace VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
        return identity

    def _prune(self, connection: Any) -> None:
        connection.execute("DELETE FROM trace WHERE at <= ?", (self._oldest(),))
        # The newest ones that fit stay: from the newest back, their number and the sum of their sizes up to each.
        connection.execute(
            "DELETE FROM trace WHERE id IN (SELECT id FROM (SELECT id, count(*) OVER newer AS number, sum(size)"
            " OVER newer AS room FROM trace WINDOW newer AS (ORDER BY id DESC)) WHERE number > ? OR room > ?)",
            (self._most, self._max_bytes),
        )

    def _identity(self, connection: Any, beginning: str) -> str:
        """The whole id that begins so."""
        wanted = beginning.lower()
        query = "SELECT id FROM trace WHERE at > ? AND substr(id, 1, ?) = ? ORDER BY id DESC LIMIT ?"
        limit = _NEAR if wanted else 1
        values = (self._oldest(), len(wanted), wanted, limit)
        found = [each for (each,) in connection.execute(query, values)] if connection else []
        if not found:
            what = f"there is no trace {beginning!r}" if beginning else "no trace is kept"
            raise ConfigError(what, hint=_HINT if beginning else "Commands keep one of every call that they make.")
        if len(found) > 1:
            raise ConfigError(f"several traces begin with {beginning!r}", hint=f"Say which: {', '.join(found)}.")
        return str(found[0])

    def _oldest(self) -> float:
        return self._now() - self._seconds


def _next_id(last: str | None, now: float) -> str:
    """An id that tells the time, and sorts behind `last` also where the clock has not moved on."""
    bits = (int((now - _EPOCH) * 1000) << _CHANCE_BITS) | secrets.randbits(_CHANCE_BITS)
    if last is not None:
        bits = max(bits, sum(_ALPHABET.index(each) << 5 * place for place, each in enumerate(reversed(last))) + 1)
    return "".join(_ALPHABET[bits >> shift & 31] for shift in range(5 * (_LENGTH - 1), -1, -5))
