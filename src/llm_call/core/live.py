"""An answer on its way to the caller."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol, Self

from llm_call.core.domain.errors import LLMCallError
from llm_call.core.domain.events import Event, PartDelta, PartStart, unfold
from llm_call.core.domain.messages import Text
from llm_call.core.domain.response import Response
from llm_call.core.domain.result import Result


class Source(Protocol):
    """Where the events of an answer come from. `response` is there after the last one."""

    response: Response | None

    def events(self) -> AsyncIterator[Event]:
        """The events, in order."""


class LiveAnswer:
    """Iterate it for the text as it arrives, or `events` for everything. `result` is there after the last one.

    `finish` judges the whole response; it is called once, at the end. `leave` hears of an error before the reader does.
    """

    def __init__(
        self,
        source: Source,
        finish: Callable[[Response], Awaitable[Result[Any]]],
        leave: Callable[[LLMCallError], None] = lambda _: None,
    ) -> None:
        self._source = source
        self._finish = finish
        self._leave = leave
        self._result: Result[Any] | None = None

    @classmethod
    def of(cls, result: Result[Any]) -> Self:
        """An answer that is there already, as the events that it could have come in."""

        async def finish(_response: Response) -> Result[Any]:
            return result

        return cls(_Whole(result.response), finish)

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
        texts = set()
        async for event in self.events():
            if isinstance(event, PartDelta):
                if event.index in texts:
                    yield event.text
            elif isinstance(event, PartStart) and isinstance(event.part, Text):
                texts.add(event.index)

    async def events(self) -> AsyncIterator[Event]:
        """The events of the response, in order.

        Raises:
            StreamInterruptedError: The answer broke off; its `text` is what had arrived.
        """
        try:
            async for event in self._source.events():
                yield event
            if self._source.response is not None and self._result is None:
                self._result = await self._finish(self._source.response)
        except LLMCallError as error:
            self._leave(error)
            raise


class _Whole:
    """The events of a response that is there."""

    def __init__(self, response: Response) -> None:
        self.response: Response | None = response
        self._events = unfold(response)

    async def events(self) -> AsyncIterator[Event]:
        for event in self._events:
            yield event
