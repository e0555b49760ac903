"""What a policy sees, and what it may decide."""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct


class Failed(Struct, frozen=True, kw_only=True):
    """An attempt that failed: on which target (its index), with what, when (seconds of the caller's clock)."""

    target: int
    error: Exception
    at: float


class Retry(Struct, frozen=True, kw_only=True):
    """Ask the same target again after `delay` seconds."""

    delay: float
    why: str


class NextTarget(Struct, frozen=True, kw_only=True):
    """Ask the target with the index `target` at once."""

    target: int
    why: str


class GiveUp(Struct, frozen=True, kw_only=True):
    """Raise what failed last."""

    why: str


Decision = Retry | NextTarget | GiveUp


class Policy(Protocol):
    """Decides what follows a failure. Pure: the same history, time and chance give the same decision."""

    def decide(
        self, failures: Sequence[Failed], *, onward: int | None, now: float, chance: float, affordable: bool = True
    ) -> Decision:
        """What to do now.

        `failures` is never empty; `onward` is the index of the target that may be asked next, if there is one; `chance`
        is in 0..1; `affordable` is false where the retry budget has no retry left.
        """
