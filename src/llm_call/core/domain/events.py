"""A response in motion: five events; `fold`, which turns them into the response they amount to; `unfold`, its inverse.

The order: one `ResponseStart`; then parts, each `PartStart`, any number of `PartDelta`, `PartEnd`, told apart by
`index` and free to overlap; last one `ResponseEnd`. A stream that stops early has no `ResponseEnd`.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from llm_call.core.domain.messages import Part, Reasoning, Text, ToolCall
from llm_call.core.domain.response import FinishReason, Notice, Response, Usage


class ResponseStart(Struct, frozen=True, kw_only=True, tag="response_start"):
    """The provider has begun to answer."""

    model: str
    id: str | None = None


class PartStart(Struct, frozen=True, kw_only=True, tag="part_start"):
    """A part begins. `part` is its empty form: deltas are appended to it."""

    index: int
    part: Part


class PartDelta(Struct, frozen=True, kw_only=True, tag="part_delta"):
    """More of a part: text, reasoning, or a piece of a tool call's arguments."""

    index: int
    text: str


class PartEnd(Struct, frozen=True, kw_only=True, tag="part_end"):
    """A part is complete. `signature` and `provider_data` are known only now."""

    index: int
    signature: str | None = None
    provider_data: Mapping[str, Any] = {}


class ResponseEnd(Struct, frozen=True, kw_only=True, tag="response_end"):
    """The answer is complete. `notices` say what was lost on its way."""

    finish_reason: FinishReason
    usage: Usage = Usage()
    notices: tuple[Notice, ...] = ()
    provider_data: Mapping[str, Any] = {}


Event = ResponseStart | PartStart | PartDelta | PartEnd | ResponseEnd


def fold(events: Iterable[Event]) -> Response:
    """The response that a complete stream of events amounts to.

    Raises:
        ValueError: The events do not form one complete response.
    """
    folding = Folding()
    for event in events:
        folding.add(event)
    return folding.response()


def unfold(response: Response) -> tuple[Event, ...]:
    """The shortest stream that `fold` turns back into `response`: a part has one delta, or none when it is empty."""
    start = ResponseStart(model=response.model, id=response.id)
    parts = [event for index, part in enumerate(response.parts) for event in _unfolded(index, part)]
    end = ResponseEnd(
        finish_reason=response.finish_reason,
        usage=response.usage,
        notices=response.notices,
        provider_data=response.provider_data,
    )
    return (start, *parts, end)


class Folding:
    """`fold`, an event at a time."""

    def __init__(self) -> None:
        self._start: ResponseStart | None = None
        self._end: ResponseEnd | None = None
        self._parts: dict[int, Part] = {}
        self._pieces: dict[int, list[str]] = {}

    def add(self, event: Event) -> None:
        """Take in the next event."""
        # Every piece of every answer passes here: types are compared, the most frequent first.
        if type(event) is PartDelta:
            self._pieces[event.index].append(event.text)
        elif type(event) is PartStart:
            self._parts[event.index] = event.part
            self._pieces[event.index] = []
        elif type(event) is PartEnd:
            pieces = self._pieces.pop(event.index)
            self._parts[event.index] = _complete(self._parts[event.index], "".join(pieces), event)
        elif type(event) is ResponseStart:
            self._start = event
        elif type(event) is ResponseEnd:
            self._end = event

    def response(self) -> Response:
        """What the events so far amount to.

        Raises:
            ValueError: They do not form one complete response yet.
        """
        if self._start is None or self._end is None or self._pieces:
            raise ValueError("the events do not form a complete response")
        return Response(
            id=self._start.id,
            model=self._start.model,
            parts=tuple(self._parts[index] for index in sorted(self._parts)),
            finish_reason=self._end.finish_reason,
            usage=self._end.usage,
            notices=self._end.notices,
            provider_data=self._end.provider_data,
        )


def _complete(part: Part, added: str, end: PartEnd) -> Part:
    match part:
        case Text():
            part = replace(part, text=part.text + added)
        case Reasoning():
            part = replace(
                part, text=part.text + added, signature=part.signature if end.signature is None else end.signature
            )
        case ToolCall():
            part = replace(part, arguments=part.arguments + added)
    if end.provider_data:
        part = replace(part, provider_data=_joined(part.provider_data, end.provider_data))
    return part


def _unfolded(index: int, part: Part) -> tuple[Event, ...]:
    signature = None
    text = ""
    match part:
        case Text():
            part, text = replace(part, text=""), part.text
        case Reasoning():
            part, text, signature = replace(part, text="", signature=None), part.text, part.signature
        case ToolCall():
            part, text = replace(part, arguments=""), part.arguments
    deltas = (PartDelta(index=index, text=text),) if text else ()
    return (PartStart(index=index, part=part), *deltas, PartEnd(index=index, signature=signature))


def _joined(before: Mapping[str, Any], after: Mapping[str, Any]) -> Mapping[str, Any]:
    """Both, dialect by dialect; where a field stands in both, the later counts."""
    return {**before, **{dialect: {**before.get(dialect, {}), **kept} for dialect, kept in after.items()}}
