"""Conversations that outlast the process.

An exchange is what was said since the last answer, and the answer: it is kept whole, in one transaction, or not at
all. What was said and got no accepted answer is the conversation's draft, which the next exchange takes away.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from llm_call.core.domain.errors import ConfigError, ConversationError
from llm_call.core.domain.keys import near_names
from llm_call.core.domain.messages import Message
from llm_call.core.store.database import Database

_KIND = 0x4C4C434E  # "LLCN"
_MIGRATIONS = (
    """
    CREATE TABLE conversation (
        id TEXT PRIMARY KEY, title TEXT NOT NULL, model TEXT, system TEXT, draft BLOB NOT NULL,
        created REAL NOT NULL, updated REAL NOT NULL
    );
    CREATE TABLE exchange (
        conversation TEXT NOT NULL REFERENCES conversation (id) ON DELETE CASCADE, number INTEGER NOT NULL,
        model TEXT, at REAL NOT NULL, messages BLOB NOT NULL, PRIMARY KEY (conversation, number)
    )
    """,
)
_TITLE = 60
_SUMMARY = (
    "SELECT id, title, model, created, updated,"
    " (SELECT count(*) FROM exchange WHERE conversation = id) FROM conversation"
)

Messages = tuple[Message, ...]


class ConversationSummary(Struct, frozen=True, kw_only=True):
    """A conversation in the list of them. `title` is how it began; times are in seconds since 1970, in UTC."""

    id: str
    title: str
    model: str | None
    created: float
    updated: float
    turns: int


class StoredConversation(Struct, frozen=True, kw_only=True):
    """A conversation as it was kept. `model` answered last; `draft` is what was said last and got no answer."""

    model: str | None = None
    system: str | None = None
    exchanges: tuple[Messages, ...] = ()
    draft: Messages = ()


class ConversationStore:
    """The conversations in the file at `path`. Its methods block, for some milliseconds. Several processes may share it.

    Every method raises a `ConfigError` where the file cannot be used.
    """

    def __init__(self, path: str | Path, *, now: Callable[[], float] = time.time) -> None:
        self._database = Database(Path(path), kind=_KIND, migrations=_MIGRATIONS)
        self._now = now

    def load(self, identity: str) -> StoredConversation | None:
        """The conversation `identity`; `None` where there is none."""
        with self._database.reading() as connection:
            query = "SELECT model, system, draft FROM conversation WHERE id = ?"
            row = connection and connection.execute(query, (identity,)).fetchone()
            if row is None:
                return None
            query = "SELECT messages FROM exchange WHERE conversation = ? ORDER BY number"
            exchanges = tuple(_decoded(body) for (body,) in connection.execute(query, (identity,)))
        return StoredConversation(model=row[0], system=row[1], draft=_decoded(row[2]), exchanges=exchanges)

    def existing(self, identity: str) -> StoredConversation:
        """The conversation `identity`.

        Raises:
            ConfigError: There is none; the hint names near ones.
        """
        stored = self.load(identity)
        if stored is None:
            near = near_names(identity, [each.id for each in self.summaries()])
            hint = f"Did you mean {' or '.join(near)}?" if near else "`llm-call conversations list` lists them."
            raise ConfigError(f"there is no conversation {identity!r}", hint=hint)
        return stored

    def check(self, identity: str, *, after: int) -> None:
        """See that the conversation has `after` exchanges.

        Raises:
            ConversationError: It has more or fewer.
        """
        with self._database.reading() as connection:
            if connection is not None:
                _expect(connection, identity, after)

    def append(self, identity: str, messages: Messages, *, after: int, model: str, system: str | None) -> None:
        """Keep an exchange with `model` that follows `after` earlier ones.

        Raises:
            ConversationError: There are more or fewer by now; nothing was kept.
        """
        with self._database.writing() as connection:
            self._put(connection, identity, messages, system=system)
            _expect(connection, identity, after)
            values = (identity, after, model, self._now(), msgspec.json.encode(messages))
            connection.execute("INSERT INTO exchange VALUES (?, ?, ?, ?, ?)", values)
            query = "UPDATE conversation SET model = ?, draft = '[]' WHERE id = ?"
            connection.execute(query, (model, identity))

    def keep_draft(self, identity: str, messages: Messages, *, system: str | None) -> None:
        """Keep what was said and got no answer, in the place of an earlier draft."""
        with self._database.writing() as connection:
            self._put(connection, identity, messages, system=system)
            query = "UPDATE conversation SET draft = ? WHERE id = ?"
            connection.execute(query, (msgspec.json.encode(messages), identity))

    def drop_last(self, identity: str, *, after: int) -> None:
        """Forget the last exchange, which follows `after` earlier ones.

        Raises:
            ConversationError: It is not the last one any more.
        """
        with self._database.writing() as connection:
            _expect(connection, identity, after + 1)
            connection.execute("DELETE FROM exchange WHERE conversation = ? AND number = ?", (identity, after))
            connection.execute("UPDATE conversation SET updated = ? WHERE id = ?", (self._now(), identity))

    def summaries(self) -> tuple[ConversationSummary, ...]:
        """All conversations, the one that was used last first."""
        with self._database.reading() as connection:
            rows = connection.execute(f"{_SUMMARY} ORDER BY updated DESC, id").fetchall() if connection else ()
        names = ConversationSummary.__struct_fields__
        return tuple(ConversationSummary(**dict(zip(names, row, strict=True))) for row in rows)

    def delete(self, identity: str) -> None:
        """Forget a conversation; nothing happens where there is none."""
        with self._database.writing() as connection:
            connection.execute("DELETE FROM conversation WHERE id = ?", (identity,))

    def _put(self, connection: Any, identity: str, messages: Messages, *, system: str | None) -> None:
        now = self._now()
        connection.execute(
            "INSERT INTO conversation VALUES (:id, :title, NULL, :system, '[]', :now, :now)"
            " ON CONFLICT (id) DO UPDATE SET system = :system, updated = :now",
            {"id": identity, "title": _title(messages), "system": system, "now": now},
        )


def _expect(connection: Any, identity: str, count: int) -> None:
    query = "SELECT count(*) FROM exchange WHERE conversation = ?"
    (found,) = connection.execute(query, (identity,)).fetchone()
    if found != count:
        raise ConversationError(
            f"conversation {identity} was continued elsewhere: it has {found} exchanges, not {count}",
            hint="Open it again, and ask again.",
        )


def _decoded(body: bytes | str) -> Messages:
    try:
        return msgspec.json.decode(body, type=Messages)
    except msgspec.MsgspecError as error:
        raise ConfigError(f"a conversation holds what cannot be read: {error}", hint="Restore the file.") from error


def _title(messages: Messages) -> str:
    words = " ".join(word for each in messages if each.role == "user" for word in each.text.split())
    return words if len(words) <= _TITLE else f"{words[: _TITLE - 3]}..."
