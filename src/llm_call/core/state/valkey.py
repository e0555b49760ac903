"""State shared through a Redis or Valkey server, and what happens while that server is away.

The rule: the server never fails a call, and never holds one up for longer than its time. Where it cannot be used, the
update is done on the state of this process, and told once; then the server is left alone for a while that grows from
half a second to half a minute, and whoever asks it again, for an update or a read, notices its return. What was kept here
meanwhile is not carried over: it is one process' view, and would overwrite what the others have learned. Nor does it last
until the next outage.

Values are MessagePack. The number in the prefix of the keys is the version of what they mean: where a state's fields
change so that an older version would misread them, it is raised, and the versions do not meet.
"""

import asyncio
from collections.abc import Callable
from secrets import token_hex
from time import monotonic
from typing import Any, Literal

import msgspec

from llm_call.core.state.joining import Joining
from llm_call.core.state.memory import MemoryStore
from llm_call.core.state.reach import Reach
from llm_call.core.state.server import AwayError, Server, UnreadableError
from llm_call.core.state.store import A, Change, S, SharedStore, StoreChange

PREFIX = "llm_call:1:"
"""What every key on the server begins with. Users that are to have nothing in common use different databases."""

_ROUNDS = 64  # tries of one update; each that fails means that another process was quicker
_LASTS = 60.0  # seconds that a state is kept here after its last change: as long as a bucket takes to be full again
_encode = msgspec.msgpack.Encoder().encode


class ValkeyStore:
    """A `SharedStore` on the server at `url`. Nothing is opened before the first update.

    `timeout` is the longest that the server may hold an update up, in seconds, with connecting and all tries. `listen`
    is called when something is to be told; it must be quick and must not raise. `local` is where states are kept while
    the server is away. `now` is the clock for the waits between attempts.

    Raises:
        ConfigError: `url` cannot be used.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float = 0.25,
        listen: Callable[[StoreChange], None] | None = None,
        local: SharedStore | None = None,
        now: Callable[[], float] = monotonic,
    ) -> None:
        self._server = Server(url)
        self._timeout = timeout
        self._listen = listen
        self._local = local or MemoryStore()
        self._reach = Reach(now, least=2 * timeout)  # so that one attempt is over before the next
        self._joining = Joining(self._carry_out)
        self._unreadable: set[str] = set()
        self._proof = f"reach:{token_hex(8)}"  # nobody else's

    async def update(self, key: str, type_: type[S], change: Change[S, A], *, expires: float) -> A:
        """The answer of `change`, from the server's state or, while it is away, from this process'."""
        if self._reach.rests():
            return await self._update_here(key, type_, change, expires=expires)
        answer: A = await self._joining.update(key, type_, change, expires=expires)
        return answer

    async def read(self, key: str, type_: type[S]) -> tuple[S | None, float]:
        """The state as it is, and the time; from the server or, while it is away, from this process."""
        attempt = self._reach.attempt()
        if attempt is not None:
            try:
                async with asyncio.timeout(self._timeout):
                    if self._reach.away:
                        await self._change(self._proof, float, lambda _state, now: (now, None), 1.0)
                        self._changed(attempt)
                    held = await self._server.read(PREFIX + key)
                return _decode(held.value, type_), held.time
            except (TimeoutError, AwayError, UnreadableError) as error:
                self._failed(attempt, key, error)
        return await self._local.read(key, type_)

    async def close(self) -> None:
        """Close the connections, once what is on its way has ended. One that is used again opens new ones."""
        await self._server.close()

    async def _carry_out(self, key: str, type_: type[S], change: Change[S, Any], *, expires: float) -> Any:
        attempt = self._reach.attempt()
        if attempt is not None:
            try:
                async with asyncio.timeout(self._timeout):
                    answer, changed = await self._change(key, type_, change, expires)
            except (TimeoutError, AwayError, UnreadableError) as error:
                self._failed(attempt, key, error)
            else:
                if changed:
                    self._changed(attempt)
                return answer
        return await self._update_here(key, type_, change, expires=expires)

    async def _update_here(self, key: str, type_: type[S], change: Change[S, A], *, expires: float) -> A:
        return await self._local.update(key, type_, change, expires=min(expires, _LASTS))

    async def _change(self, key: str, type_: type[S], change: Change[S, A], expires: float) -> tuple[A, bool]:
        """The answer, and whether that changed what the server holds."""
        held = await self._server.read(PREFIX + key)
        for _ in range(_ROUNDS):
            state, answer = change(_decode(held.value, type_), held.time)
            new = b"" if state is None else _encode(state)
            if new == held.value:
                return answer, False
            instead = await self._server.swap(PREFIX + key, held.value, new, expires=expires)
            if instead is None:
                return answer, True
            held = instead
        raise AwayError(f"others were quicker {_ROUNDS} times")

    def _changed(self, attempt: int) -> None:
        """What the server holds was changed, which alone proves that it is back: a replica can be read."""
        if self._reach.succeeded(attempt):
            self._tell("back", "it takes changes again")

    def _failed(self, attempt: int, key: str, error: Exception) -> None:
        if isinstance(error, UnreadableError):
            if key not in self._unreadable:
                self._unreadable.add(key)
                self._tell("unreadable", f"what {PREFIX}{key} holds is none of ours")
        elif self._reach.failed(attempt):
            late = f"no answer within {self._timeout:g} s"
            self._tell("away", late if isinstance(error, TimeoutError) else str(error))

    def _tell(self, status: Literal["away", "back", "unreadable"], why: str) -> None:
        if self._listen is not None:
            self._listen(StoreChange(status=status, why=f"shared state at {self._server.place}: {why}"))


def _decode(value: bytes, type_: type[S]) -> S | None:
    """The state in `value`.

    Raises:
        UnreadableError: There is none.
    """
    try:
        return msgspec.msgpack.decode(value, type=type_) if value else None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UnreadableError from error
