"""Responses that outlast the process: the response cache on disk."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from llm_call.core.domain.response import Response
from llm_call.core.store.database import Database

_KIND = 0x4C4C4352  # "LLCR"
_MIGRATIONS = (
    """
    CREATE TABLE response (key TEXT PRIMARY KEY, kept REAL NOT NULL, size INTEGER NOT NULL, body BLOB NOT NULL);
    CREATE INDEX response_by_age ON response (kept, size)
    """,
)


class SQLiteCache:
    """A `ResponseCache` in the file at `path`: each response for at most `seconds` (a week), all in `max_bytes`.

    The oldest make room for a new one. Several processes may share the file.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        seconds: float = 7 * 24 * 3600.0,
        max_bytes: int = 256 * 1024 * 1024,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._database = Database(Path(path), kind=_KIND, migrations=_MIGRATIONS)
        self._seconds = seconds
        self._max_bytes = max_bytes
        self._now = now

    async def get(self, key: str) -> Response | None:
        """What was kept under `key`, if it still is.

        Raises:
            ConfigError: The file cannot be read.
        """
        return await asyncio.to_thread(self._get, key)

    async def put(self, key: str, response: Response) -> None:
        """Keep `response` under `key`.

        Raises:
            ConfigError: The file cannot be written.
        """
        await asyncio.to_thread(self._put, key, msgspec.json.encode(response))

    def _get(self, key: str) -> Response | None:
        with self._database.reading() as connection:
            if connection is None:
                return None
            query = "SELECT body FROM response WHERE key = ? AND kept > ?"
            row = connection.execute(query, (key, self._now() - self._seconds)).fetchone()
        return None if row is None else msgspec.json.decode(row[0], type=Response)

    def _put(self, key: str, body: bytes) -> None:
        with self._database.writing() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO response VALUES (?, ?, ?, ?)", (key, self._now(), len(body), body)
            )
            connection.execute("DELETE FROM response WHERE kept <= ?", (self._now() - self._seconds,))
            # The newest ones that fit stay: from the newest back, the sum of the sizes up to each.
            connection.execute(
                "DELETE FROM response WHERE key IN (SELECT key FROM (SELECT key, sum(size) OVER"
                " (ORDER BY kept DESC, key) AS room FROM response) WHERE room > ?)",
                (self._max_bytes,),
            )
