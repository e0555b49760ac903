"""When to ask again, whom, and when to stop."""

from collections.abc import Mapping, Sequence
from math import inf

from msgspec import Struct

from llm_call.core.domain.errors import CircuitOpenError, ConfigError
from llm_call.core.policy.backoff import Backoff
from llm_call.core.policy.decision import Decision, Failed, GiveUp, NextTarget, Retry
from llm_call.core.policy.outcome import OutcomeKind, classify, hint, kind_of

PATIENCE = 5.0
LONGEST_WAIT = 300.0


class RetryPolicy(Struct, frozen=True, kw_only=True):
    """At most `max_attempts` for each target, and no wait that ends after `deadline` (seconds of the caller's clock).

    `patience` is the longest wait that a server may ask for while another target is left to go to; `longest_wait`, also
    in seconds, where there is neither another target nor a deadline. `limits` are further limits on the attempts at a
    target that may fail with an outcome of a kind, such as {"timeout": 1}. Where `waits_for_breaker` is false,
    an open breaker ends it at once; else it is waited for where there is no other target: no longer than `patience`
    unless there is a deadline.
    """

    max_attempts: int = 3
    backoff: Backoff = Backoff()
    deadline: float | None = None
    patience: float = PATIENCE
    longest_wait: float = LONGEST_WAIT
    limits: Mapping[OutcomeKind, int] = {}
    waits_for_breaker: bool = True

    def __post_init__(self) -> None:
        if self.max_attempts < 1:
            raise ConfigError("max_attempts must be at least 1", hint="1 means: ask once, never again.")

    def decide(
        self, failures: Sequence[Failed], *, onward: int | None, now: float, chance: float, affordable: bool = True
    ) -> Decision:
        """What to do after the last of `failures`. Wait = max(the server's hint, the backoff)."""
        last = failures[-1]
        outcome = classify(last.error)
        here = [failed for failed in failures if failed.target == last.target]
        tried = len(here)
        if outcome == "never":
            return GiveUp(why="asking again cannot help")
        why = "no target is left"
        if outcome == "again":
            delay = max(hint(last.error), self.backoff.delay(tried, chance))
            alike = sum(kind_of(failed.error) == kind_of(last.error) for failed in here) if self.limits else 0
            refused = self._refused(
                last.error, tried, alike, delay, now, affordable=affordable, elsewhere=onward is not None
            )
            if refused is None:
                return Retry(delay=delay, why=_reason(last.error, delay))
            why = refused
        if onward is not None:
            return NextTarget(target=onward, why=_short(last.error))
        return GiveUp(why=why)

    def _refused(
        self, error: Exception, tried: int, alike: int, delay: float, now: float, *, affordable: bool, elsewhere: bool
    ) -> str | None:
        """Why the same target is not asked again; `None` if it is."""
        asked, kind = hint(error), kind_of(error)
        ends = inf if self.deadline is None else self.deadline
        endless = self.deadline is None and asked > self.longest_wait
        refusals = (
            (tried >= self.max_attempts, "no attempt is left"),
            (alike >= self.limits.get(kind, alike + 1), f"no attempt is left after {kind}"),
            (
                isinstance(error, CircuitOpenError) and not self._waits(asked, elsewhere=elsewhere),
                "its breaker is open",
            ),
            (elsewhere and asked > self.patience, "another target is free"),
            (not affordable, "the retry budget is used up"),
            (endless, "the server asks for too long a wait"),
            (now + delay >= ends, "no time is left"),
        )
        return next((why for refused, why in refusals if refused), None)

    def _waits(self, seconds: float, *, elsewhere: bool) -> bool:
        """Whether an open breaker is waited for: by a call that has a deadline for it, or not for long."""
        brief = self.deadline is not None or seconds <= self.patience
        return self.waits_for_breaker and brief and not elsewhere


def _reason(error: Exception, delay: float) -> str:
    asked = hint(error)
    return f"{_short(error)}, the server asks for {asked:g} s" if asked and asked >= delay else _short(error)


def _short(error: Exception) -> str:
    status = getattr(error, "status", None)
    return f"{type(error).__name__} {status}" if status else type(error).__name__
