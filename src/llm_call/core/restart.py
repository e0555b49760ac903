"""Verified restart: a stream that broke off goes on with another attempt only where that repeats what was delivered.

So an answer is never spliced from two texts. What is beyond is held back until everything that the caller has seen was
seen again.
"""

from collections.abc import Iterable

from msgspec.structs import replace

from llm_call.core.domain.events import Event, PartDelta, PartEnd, PartStart, ResponseEnd, ResponseStart
from llm_call.core.domain.messages import Reasoning, Text


class DiffersError(Exception):
    """The new attempt does not repeat what was delivered."""


def text_of(events: Iterable[Event]) -> str:
    """The text of the answer in `events`."""
    texts = set()
    pieces = []
    for event in events:
        if isinstance(event, PartStart) and isinstance(event.part, Text):
            texts.add(event.index)
        elif isinstance(event, PartDelta) and event.index in texts:
            pieces.append(event.text)
    return "".join(pieces)


def is_repeatable(delivered: Iterable[Event]) -> bool:
    """Whether another attempt can be compared with what was delivered: text and reasoning can, tool calls never."""
    return all(isinstance(event.part, Text | Reasoning) for event in delivered if isinstance(event, PartStart))


class Verifier:
    """Compares the events of a new attempt with those that were delivered, and gives what goes beyond them."""

    def __init__(self, delivered: Iterable[Event]) -> None:
        self._starts: dict[int, PartStart] = {}
        self._left: dict[int, str] = {}
        self._ends: dict[int, PartEnd] = {}
        pieces: dict[int, list[str]] = {}
        for event in delivered:
            if isinstance(event, PartStart):
                self._starts[event.index] = event
                pieces[event.index] = []
            elif isinstance(event, PartDelta):
                pieces[event.index].append(event.text)
            elif isinstance(event, PartEnd):
                self._ends[event.index] = event
        self._left = {index: "".join(texts) for index, texts in pieces.items()}
        self._unseen = {*self._starts, *(index for index, text in self._left.items() if text)}
        self._open_ends = set(self._ends)
        self._held: list[Event] = []

    def feed(self, event: Event) -> tuple[Event, ...]:
        """What the caller may have now.

        Raises:
            DiffersError: The attempt says something else.
        """
        beyond = self._beyond(event)
        if isinstance(event, ResponseEnd) and not self._repeated:
            raise DiffersError
        if beyond is not None:
            self._held.append(beyond)
        if not self._repeated or not self._held:
            return ()
        held, self._held = tuple(self._held), []
        return held

    @property
    def _repeated(self) -> bool:
        return not self._unseen and not self._open_ends

    def _beyond(self, event: Event) -> Event | None:
        match event:
            case ResponseStart():
                pass
            case PartStart(index=index) if index in self._starts:
                self._same(event, self._starts[index])
            case PartDelta(index=index) if index in self._starts:
                return self._further(event)
            case PartEnd(index=index) if index in self._ends:
                self._open_ends.discard(index)
                self._same(event, self._ends[index])
            case PartEnd(index=index) if self._left.get(index):
                raise DiffersError
            case _:
                return event
        return None

    def _same(self, event: PartStart | PartEnd, before: PartStart | PartEnd) -> None:
        if event != before or (isinstance(event, PartEnd) and self._left[event.index]):
            raise DiffersError
        if not self._left[event.index]:
            self._unseen.discard(event.index)

    def _further(self, event: PartDelta) -> PartDelta | None:
        left = self._left[event.index]
        if not left.startswith(event.text[: len(left)]):
            raise DiffersError
        self._left[event.index] = left[len(event.text) :]
        if not self._left[event.index]:
            self._unseen.discard(event.index)
        rest = event.text[len(left) :]
        if rest and event.index in self._ends:
            raise DiffersError
        return replace(event, text=rest) if rest else None
