"""An answer on its way to the caller."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, Self

from llm_call.core.domain.errors import LLMCallError, StreamInterruptedError, TransportError
from llm_call.core.domain.events import Event, Folding, PartDelta, PartStart, unfold
from llm_call.core.domain.messages import Text
from llm_call.core.domain.response import Response
from llm_call.core.domain.result import Result

_BEGUN = "Ask again: an answer that has begun to arrive is not retried by itself."


class LiveAnswer:
    """Iterate it for the text as it arrives, or `events` for everything. `result` is there after the last one.

    `finish` judges the whole response; it is called once, at the end. `fail` is told of a break in its place.
    """

    def __init__(
        self,
        first: Event,
        rest: AsyncIterator[Event],
        finish: Callable[[Response], Awaitable[Result[Any]]],
        fail: Callable[[LLMCallError], object] | None = None,
    ) -> None:
        self._first = first
        self._rest = rest
        self._finish = finish
        self._fail = fail
        self._folding = Folding()
        self._text: list[str] = []
        self._text_parts: set[int] = set()
        self._result: Result[Any] | None = None

    @classmethod
    def of(cls, result: Result[Any]) -> Self:
        """An answer that is there already, as the events that it could have come in."""
        first, *rest = unfold(result.response)

        async def finish(_response: Response) -> Result[Any]:
            return result

        return cls(first, _each(rest), finish)

    @property
    def complete(self) -> bool:
        """Whether the answer has been read to its end."""
        return self._result is not None

    @property
    def result(self) -> Result[Any]:
        """What the call came to.

        Raises:
            LLMCallError: The answer has not been read to its end.
        """
        if self._result is None:
            raise LLMCallError("the answer is not complete yet", hint="Read the stream to its end first.")
        return self._result

    async def __aiter__(self) -> AsyncIterator[str]:
        async for event in self.events():
            if isinstance(event, PartDelta) and event.index in self._text_parts:
                yield event.text

    async def events(self) -> AsyncIterator[Event]:
        """The events of the response, in order.

        Raises:
            StreamInterruptedError: The answer broke off; its `text` is what had arrived.
        """
        self._take(self._first)
        yield self._first
        try:
            async for event in self._rest:
                self._take(event)
                yield event
        except LLMCallError as error:
            hint = _BEGUN if isinstance(error, TransportError) else error.hint
            broken = StreamInterruptedError(
                f"the answer broke off: {error.message}", text="".join(self._text), hint=hint
            )
            if self._fail is not None:
                self._fail(broken)
            raise broken from error
        self._result = await self._finish(self._folding.response())

    def _take(self, event: Event) -> None:
        self._folding.add(event)
        if isinstance(event, PartStart) and isinstance(event.part, Text):
            self._text_parts.add(event.index)
        elif isinstance(event, PartDelta) and event.index in self._text_parts:
            self._text.append(event.text)


async def _each(events: Iterable[Event]) -> AsyncIterator[Event]:
    for event in events:
        yield event
