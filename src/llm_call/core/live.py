"""An answer on its way to the caller."""

from collections.abc import AsyncIterator, Callable
from typing import Any

from llm_call.core.domain.errors import LLMCallError, StreamInterruptedError
from llm_call.core.domain.events import Event, Folding, PartDelta, PartStart
from llm_call.core.domain.messages import Text
from llm_call.core.domain.response import Response
from llm_call.core.domain.result import Result


class LiveAnswer:
    """Iterate it for the text as it arrives, or `events` for everything. `result` is there after the last one.

    `finish` judges the whole response; it is called once, at the end. `fail` is told of a break in its place.
    """

    def __init__(
        self,
        first: Event,
        rest: AsyncIterator[Event],
        finish: Callable[[Response], Result[Any]],
        fail: Callable[[LLMCallError], object],
    ) -> None:
        self._first = first
        self._rest = rest
        self._finish = finish
        self._fail = fail
        self._folding = Folding()
        self._text: list[str] = []
        self._text_parts: set[int] = set()
        self._result: Result[Any] | None = None

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
            broken = StreamInterruptedError(
                f"the answer broke off: {error.message}", text="".join(self._text), hint=error.hint
            )
            self._fail(broken)
            raise broken from error
        self._result = self._finish(self._folding.response())

    def _take(self, event: Event) -> None:
        self._folding.add(event)
        if isinstance(event, PartStart) and isinstance(event.part, Text):
            self._text_parts.add(event.index)
        elif isinstance(event, PartDelta) and event.index in self._text_parts:
            self._text.append(event.text)
