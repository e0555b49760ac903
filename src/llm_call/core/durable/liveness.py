"""Whether a process that has begun something is still there: it holds a lock as long as it lives.

The operating system, or the database server, lets go of the lock when the process ends, however it ends. So nobody has
to write down that he is alive, and nobody is taken for dead because he was slow.
"""

import fcntl
import hashlib
import os
from pathlib import Path
from typing import Any, Protocol


class Liveness(Protocol):
    """The locks of the processes that share a store. Its methods block."""

    def hold(self, executor: str) -> None:
        """Be alive as `executor`."""

    def is_dead(self, executor: str) -> bool:
        """Whether nobody is alive as `executor`, who is not ourselves."""

    def release(self) -> None:
        """Be no longer alive."""


def liveness_of(url: str) -> Liveness:
    """The locks for the store at `url`: of files beside a file, of the server where there is one."""
    if url.startswith("sqlite:///"):
        return FileLocks(Path(f"{url.removeprefix('sqlite:///')}.locks"))
    return ServerLocks(url)


class FileLocks:
    """A file for each process, in a folder beside the store."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: tuple[int, Path] | None = None

    def hold(self, executor: str) -> None:
        """Be alive as `executor`."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / executor
        file = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.lockf(file, fcntl.LOCK_EX)
        self._held = file, path

    def is_dead(self, executor: str) -> bool:
        """Whether nobody is alive as `executor`, who is not ourselves."""
        try:
            file = os.open(self._folder / executor, os.O_RDWR)
        except FileNotFoundError:
            return True
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        finally:
            os.close(file)
        return True

    def release(self) -> None:
        """Be no longer alive."""
        if self._held is not None:
            file, path = self._held
            self._held = None
            path.unlink(missing_ok=True)
            os.close(file)


class ServerLocks:
    """An advisory lock of a PostgreSQL server for each process, held by a connection of its own."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: Any = None

    def hold(self, executor: str) -> None:
        """Be alive as `executor`."""
        import psycopg  # noqa: PLC0415  (DBOS brings it along)

        self._connection = psycopg.connect(self._url, autocommit=True, application_name="llm-call")
        self._connection.execute("SELECT pg_advisory_lock(%s)", (_key(executor),))

    def is_dead(self, executor: str) -> bool:
        """Whether nobody is alive as `executor`, who is not ourselves."""
        key = _key(executor)
        (free,) = self._connection.execute("SELECT pg_try_advisory_lock(%s)", (key,)).fetchone()
        if free:
            self._connection.execute("SELECT pg_advisory_unlock(%s)", (key,))
        return bool(free)

    def release(self) -> None:
        """Be no longer alive."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _key(executor: str) -> int:
    return int.from_bytes(hashlib.sha256(executor.encode()).digest()[:8], "big", signed=True)
