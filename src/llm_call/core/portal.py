"""The library's own event loop, in a thread of its own, for synchronous callers."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Portal:
    """An event loop in a thread of its own, for synchronous callers."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="llm_call", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread runs; a forked process has none."""
        return self._thread.is_alive()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # an interrupt in this thread ends the call in the other
            raise


_portal: _Portal | None = None
_portal_lock = threading.Lock()


def run_sync(coroutine: Coroutine[Any, Any, T]) -> T:
    """What `coroutine` returns, run on the library's own event loop in another thread."""
    global _portal  # noqa: PLW0603  (one thread for the process)
    with _portal_lock:
        if _portal is None or not _portal.alive:
            _portal = _Portal()
    return _portal.run(coroutine)
