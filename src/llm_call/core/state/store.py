"""State that several users change, one atomic step at a time, wherever it is kept.

The rule: what a step saw is what it replaces, and the time is the store's. A step is a pure function, because it is done
again where another user was quicker.
"""

from collections.abc import Callable
from typing import Literal, Protocol, TypeAlias, TypeVar

from msgspec import Struct

S = TypeVar("S")
A = TypeVar("A")

Change: TypeAlias = Callable[[S | None, float], tuple[S | None, A]]
"""From the state and the time: the state that replaces it, and the answer. `None` is no state: none yet, or no more."""


class StoreChange(Struct, frozen=True, kw_only=True):
    """What is told, once, of a shared store. `why` is a line for people, without secrets.

    `away`: it cannot be used, and until it is `back` each process goes by a state of its own. `unreadable`: what it
    holds under one key is none of ours; of that key alone each process has a state of its own.
    """

    status: Literal["away", "back", "unreadable"]
    why: str


class SharedStore(Protocol):
    """Where states are kept. Safe for many calls at once, in several event loops and threads.

    Its time is in seconds and counts from anywhere: only differences mean something, and only between times of one
    state, since a state never moves from one store to another.
    """

    async def update(self, key: str, type_: type[S], change: Change[S, A], *, expires: float) -> A:
        """The answer of `change`, whose state has replaced the one that it saw.

        `change` has to be pure: it may be called again, in another task. `expires` is how many seconds after its last
        change the state is forgotten; a `change` that leaves the state as it was does not count. One that is cancelled
        may have been carried out or not.
        """

    async def read(self, key: str, type_: type[S]) -> tuple[S | None, float]:
        """The state as it is, and the time."""

    async def close(self) -> None:
        """Free what is held."""
