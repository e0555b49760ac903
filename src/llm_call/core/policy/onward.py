"""To which other target a failure leads. Pure: what a target is like comes in as facts."""

from collections.abc import Callable, Sequence

from msgspec import Struct

from llm_call.core.domain.errors import (
    AuthenticationError,
    ContextWindowExceededError,
    PermissionDeniedError,
    RateLimitError,
)

Onward = Callable[[int, Exception], int | None]
"""The index of the target that may be asked after the one with the given index has failed with the given error."""


class TargetFacts(Struct, frozen=True, kw_only=True):
    """A target as it matters here: who pays for it (opaque), and how many tokens its window has, where known."""

    credential: str
    window: int | None = None


def onward(facts: Sequence[TargetFacts], failed: int, error: Exception) -> int | None:
    """The next target in order that may do better than the `failed` one.

    A refused credential is not tried elsewhere; a request that was too long goes to a larger window, or an unknown one.
    """
    later = range(failed + 1, len(facts))
    match error:
        case ContextWindowExceededError():
            here = facts[failed].window
            return next((index for index in later if _is_larger(facts[index].window, here)), None)
        case AuthenticationError() | PermissionDeniedError() | RateLimitError(retryable=False):
            return next((index for index in later if facts[index].credential != facts[failed].credential), None)
        case _:
            return next(iter(later), None)


def _is_larger(window: int | None, than: int | None) -> bool:
    return window is None or than is None or window > than
