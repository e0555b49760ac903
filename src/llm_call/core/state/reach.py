"""Whether something that may be away is asked: always while it answers; after a failure by one attempt at a time.

A breaker for the store that breakers live in, and as simple as that allows: no window, no ratio. An attempt that is
cancelled needs no notice: it only means that the next one waits its time.
"""

from collections.abc import Callable
from threading import Lock

_FIRST_WAIT = 0.5  # seconds
_LONGEST_WAIT = 30.0  # seconds


class Reach:
    """Safe for several threads. `now` is a clock, in seconds; `least` the shortest wait between two attempts."""

    def __init__(self, now: Callable[[], float], *, least: float = 0.0) -> None:
        self._now = now
        self._least = max(least, _FIRST_WAIT)
        self._wait = self._least
        self._next = 0.0
        self._failures = 0
        self._lock = Lock()
        self.away = False

    def rests(self) -> bool:
        """Whether an attempt is out of the question now."""
        return self.away and self._now() < self._next

    def attempt(self) -> int | None:
        """What names one attempt; `None`: not now."""
        with self._lock:
            if self.away:
                now = self._now()
                if now < self._next:
                    return None
                self._next = now + self._wait
            return self._failures

    def failed(self, attempt: int) -> bool:
        """Say that `attempt` failed. Whether that is news: not, where another one had failed since it began."""
        with self._lock:
            if attempt != self._failures:
                return False
            news = not self.away
            self._wait = self._least if news else min(2 * self._wait, max(self._least, _LONGEST_WAIT))
            self._next = self._now() + self._wait
            self._failures += 1
            self.away = True
            return news

    def succeeded(self, attempt: int) -> bool:
        """Say that `attempt` did what it was to do. Whether that is news."""
        with self._lock:
            news = self.away and attempt == self._failures
            if news:
                self.away = False
            return news
