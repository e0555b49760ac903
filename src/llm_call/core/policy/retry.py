"""When to ask again, whom, and when to stop."""

from collections.abc import Sequence

from msgspec import Struct

from llm_call.core.domain.errors import ConfigError
from llm_call.core.policy.backoff import Backoff
from llm_call.core.policy.decision import Decision, Failed, GiveUp, NextTarget, Retry
from llm_call.core.policy.outcome import classify, hint


class RetryPolicy(Struct, frozen=True, kw_only=True):
    """At most `max_attempts` for each target, and no wait that ends after `deadline` (seconds of the caller's clock)."""

    max_attempts: int = 3
    backoff: Backoff = Backoff()
    deadline: float | None = None

    def __post_init__(self) -> None:
        if self.max_attempts < 1:
            raise ConfigError("max_attempts must be at least 1", hint="1 means: ask once, never again.")

    def decide(self, failures: Sequence[Failed], *, targets: int, now: float, chance: float) -> Decision:
        """What to do after the last of `failures`. Wait = max(the server's hint, the backoff)."""
        last = failures[-1]
        outcome = classify(last.error)
        tried = sum(failed.target == last.target for failed in failures)
        if outcome == "never":
            return GiveUp(why="asking again cannot help")
        if outcome == "again" and tried < self.max_attempts:
            delay = max(hint(last.error), self.backoff.delay(tried, chance))
            if self.deadline is None or now + delay < self.deadline:
                return Retry(delay=delay, why=_reason(last.error, delay))
        if last.target + 1 < targets:
            return NextTarget(why=_short(last.error))
        return GiveUp(why="no attempt is left" if tried >= self.max_attempts else "no target or time is left")


def _reason(error: Exception, delay: float) -> str:
    asked = hint(error)
    return f"{_short(error)}, the server asks for {asked:g} s" if asked and asked >= delay else _short(error)


def _short(error: Exception) -> str:
    status = getattr(error, "status", None)
    return f"{type(error).__name__} {status}" if status else type(error).__name__
