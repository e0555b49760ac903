"""Hooks: a user's own code around every call, or around every attempt.

A hook is a function that takes a scope and gives a context manager. What stands before its `yield` runs first and may
replace the scope's request; what stands after it sees what came of it; an error passes through the `yield`:

    @contextmanager
    def logged(call: CallScope) -> Iterator[None]:
        yield
        print(call.model, call.result.usage)

Hooks are entered in their order and left in the opposite one. They run between two awaits: they must not block. The
hooks of a streamed attempt are left when its answer is complete, those of the call when its context is left: that may
happen in another task than the one they were entered in.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import TypeVar

from llm_call.core.domain.request import Request
from llm_call.core.domain.response import Response
from llm_call.core.domain.result import Result
from llm_call.core.providers.registry import Target
from llm_call.core.retry import Turn
from llm_call.core.wire.base import WireRequest

S = TypeVar("S")


class CallScope:
    """A call: `request` may be replaced before it begins; `result` is there when it has ended well."""

    __slots__ = ("model", "request", "result", "stream")

    def __init__(self, model: str, request: Request, *, stream: bool) -> None:
        self.model = model
        self.request = request
        self.stream = stream
        self.result: Result[object] | None = None


class AttemptScope:
    """An attempt: `wire`, which carries no credential yet, may be replaced; `response` is there when it has ended well.

    `number` counts from 1 over the whole `call`; `turn` says what this attempt waited for, and why. `request` is what
    `wire` was made from. `first_event` is how long the first event of a stream took, in seconds.
    """

    __slots__ = ("call", "first_event", "number", "request", "response", "target", "turn", "wire")

    def __init__(
        self, number: int, target: Target, wire: WireRequest, *, call: CallScope, request: Request, turn: Turn
    ) -> None:
        self.number = number
        self.target = target
        self.wire = wire
        self.call = call
        self.request = request
        self.turn = turn
        self.response: Response | None = None
        self.first_event: float | None = None


CallHook = Callable[[CallScope], AbstractContextManager[None]]
AttemptHook = Callable[[AttemptScope], AbstractContextManager[None]]


def entered(hooks: Sequence[Callable[[S], AbstractContextManager[None]]], scope: S) -> ExitStack:
    """All `hooks` around what follows."""
    with ExitStack() as stack:
        for hook in hooks:
            stack.enter_context(hook(scope))
        return stack.pop_all()
