"""A SQLite file that several processes share: its owner's alone, of a known format, never a half-written one.

The rules:

- The file is made with mode 0600, missing folders with 0700.
- Every use opens the file and closes it again: nothing has to be closed by others, and nothing crosses a fork. That
  costs 0.3 ms to read and 1.6 ms to write on a quiet machine and ten times that on a busy disk (measured, SQLite
  3.40), so it belongs in a thread.
- A write is one transaction that begins as the writer (`BEGIN IMMEDIATE`): others wait for it, `_PATIENCE` at most.
- What is no such file, or is of a newer format, is refused and left as it is.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from llm_call.core.domain.errors import ConfigError

_PATIENCE = 5.0  # seconds to wait for another writer


class Database:
    """The file at `path`. `kind` (32 bits) marks files of one kind; `migrations[n]` leads from format n to n + 1."""

    def __init__(self, path: Path, *, kind: int, migrations: Sequence[str]) -> None:
        self.path = path
        self._kind = kind
        self._migrations = migrations

    @contextmanager
    def reading(self) -> Iterator[Any]:
        """A connection to read from; `None` where there is no file yet.

        Raises:
            ConfigError: The file cannot be read, or is none of ours.
        """
        if not self.path.exists():
            yield None
            return
        with self._connection() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Any]:
        """A connection inside a transaction, which is committed at the end or undone by an error.

        Raises:
            ConfigError: The file cannot be written, or is none of ours.
        """
        self._create()
        with self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def _create(self) -> None:
        owned_file(self.path)

    @contextmanager
    def _connection(self) -> Iterator[Any]:
        import sqlite3  # noqa: PLC0415  (start-up: most calls keep nothing)

        try:
            with closing(sqlite3.connect(self.path, timeout=_PATIENCE, isolation_level=None)) as connection:
                self._check(connection)
                yield connection
        except sqlite3.OperationalError as error:
            raise ConfigError(f"{self.path}: {error}", hint="Is it in use, on a full disk, or not yours?") from error
        except sqlite3.DatabaseError as error:
            hint = "Move the file away, or restore it; it was left as it is."
            raise ConfigError(f"{self.path} cannot be read: {error}", hint=hint) from error

    def _check(self, connection: Any) -> None:
        used = connection.execute("SELECT 1 FROM sqlite_master").fetchone() is not None  # before: it may just be made
        kind, version = self._header(connection)
        if kind not in (0, self._kind) or (kind == 0 and used):
            raise ConfigError(f"{self.path} is a SQLite file of something else", hint="Give another path.")
        if version > len(self._migrations):
            message = f"{self.path} has format {version}; this version knows up to {len(self._migrations)}"
            raise ConfigError(message, hint="Update llm_call, or give another path.")
        if version < len(self._migrations):
            self._migrate(connection)
        connection.execute("PRAGMA foreign_keys = ON")

    def _header(self, connection: Any) -> tuple[int, int]:
        """What kind of file it is, and its format; 0 and 0 in an empty one."""
        return _pragma(connection, "application_id"), _pragma(connection, "user_version")

    def _migrate(self, connection: Any) -> None:
        connection.execute("PRAGMA journal_mode = WAL")  # kept in the file: readers do not wait for a writer
        connection.execute("BEGIN IMMEDIATE")
        _, version = self._header(connection)  # another process may have been quicker
        for statements in self._migrations[version:]:
            for statement in statements.split(";"):
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {self._kind}")
        connection.execute(f"PRAGMA user_version = {len(self._migrations)}")
        connection.execute("COMMIT")


def owned_file(path: Path) -> None:
    """Make the file at `path`, if there is none, as its owner's alone.

    Raises:
        ConfigError: It cannot be made.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint="Give another path, or free this one.") from error


def _pragma(connection: Any, name: str) -> int:
    value: int = connection.execute(f"PRAGMA {name}").fetchone()[0]
    return value
