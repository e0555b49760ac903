"""Whose fields are kept: `provider_data` is `{dialect: fields}`, and goes out in that dialect only.

Rule: a codec sees plain fields, and its own alone. What it has read is marked with its name at its border
(`marked_request`, `marked_events`); what it is to write is reduced there to its own (`own_request`, `own_response`,
`OwnEvents`). What a request loses so is named in a Notice. A signature of reasoning is its dialect's like any field.
Cache markers, which not every target takes, are left out on the same walk.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, TypeVar

from msgspec.structs import replace

from llm_call.core.domain.events import Event, PartEnd, PartStart, ResponseEnd
from llm_call.core.domain.messages import Media, Message, Part, Reasoning, Text, ToolResult
from llm_call.core.domain.request import Request, Tool
from llm_call.core.domain.response import Response
from llm_call.core.wire.base import Notices

Keeper = TypeVar("Keeper", bound=Message | Part | Tool | PartEnd | ResponseEnd)
P = TypeVar("P", bound=Part)
_MARKABLE = (Text, Media, ToolResult, Tool)


class _Change(Protocol):
    """What becomes of a value that keeps something or is marked, and stands at `field`; `None` leaves it out."""

    def __call__(self, value: Keeper, field: str) -> Keeper | None: ...


def marked_request(request: Request, dialect: str) -> Request:
    """`request`, which came in `dialect`, with that said of all that it keeps."""
    return replace(_walked(request, lambda value, _: _marked(value, dialect)), dialect=dialect)


def marked_events(events: Iterable[Event], dialect: str) -> tuple[Event, ...]:
    """`events`, which came in `dialect`, with that said of all that they keep."""
    marked: list[Event] = []
    for event in events:  # every piece of every stream passes here: types are compared, nothing is called
        if type(event) is PartStart:
            keeps = event.part.provider_data
            marked.append(replace(event, part=_marked(event.part, dialect)) if keeps else event)
        elif type(event) is PartEnd or type(event) is ResponseEnd:
            marked.append(_marked(event, dialect) if event.provider_data else event)
        else:
            marked.append(event)
    return tuple(marked)


def own_request(request: Request, dialect: str, notices: Notices, *, cache_markers: bool = False) -> Request:
    """`request` with what it keeps of `dialect`, unmarked, and nothing else; with its cache markers where they are taken.

    An empty text that keeps something of another dialect alone stood for a part that only that one knows: it is left
    out.
    """
    if request.dialect is not None and request.dialect != dialect:
        request = _without_options(request, notices)
    if not _may_keep(request):
        return request
    left_out: list[str] = []

    def own(value: Keeper, field: str) -> Keeper | None:
        lost = [name for name, kept in value.provider_data.items() if name != dialect and _says_something(kept)]
        # What is lost with a foreign thought is the whole of it: its codec says so.
        if not isinstance(value, Reasoning):
            for name in lost:
                notices.add(f"{field}.provider_data.{name}", "dropped", "it goes back to the dialect it came in alone")
        if lost and isinstance(value, Text) and not value.text and dialect not in value.provider_data:
            left_out.append(field)
            return None
        if not cache_markers and isinstance(value, _MARKABLE) and value.cache is not None:
            notices.add(f"{field}.cache", "dropped", "there are no markers here: what can be cached is, without them")
            value = replace(value, cache=None)
        return _own(value, dialect)

    walked = _walked(request, own)
    notices.pass_over(left_out)
    return walked


def _without_options(request: Request, notices: Notices) -> Request:
    for name in request.provider_options:
        notices.add(f"provider_options.{name}", "dropped", f"it came in {request.dialect}, and says nothing here")
    return replace(request, provider_options={})


def own_response(response: Response, dialect: str) -> Response:
    """`response` with what it keeps of `dialect`, unmarked, and nothing else."""
    parts = tuple(_own(part, dialect) for part in response.parts)
    return replace(response, parts=parts, provider_data=_own_fields(response.provider_data, dialect))


class OwnEvents:
    """The same for the events of one stream, an event at a time."""

    def __init__(self, dialect: str) -> None:
        self._dialect = dialect
        self._foreign: set[int] = set()  # the thoughts of another dialect

    def __call__(self, event: Event) -> Event:
        """`event` with what it keeps of the dialect, unmarked, and nothing else."""
        match event:
            case PartStart(index=index, part=part):
                if isinstance(part, Reasoning) and self._dialect not in part.provider_data:
                    self._foreign.add(index)
                return replace(event, part=_own(part, self._dialect))
            case PartEnd(index=index) if index in self._foreign:
                return PartEnd(index=index)
            case PartEnd() | ResponseEnd() if event.provider_data:
                return _own(event, self._dialect)
        return event


def _walked(request: Request, change: _Change) -> Request:
    messages = (_message(each, f"messages[{index}]", change) for index, each in enumerate(request.messages))
    tools = (change(tool, f"tools[{index}]") or tool for index, tool in enumerate(request.tools))
    return replace(request, messages=tuple(messages), tools=tuple(tools))


def _may_keep(request: Request) -> bool:
    """Whether a walk through `request` may find something. Plain loops: every call of every user is asked this."""
    for message in request.messages:
        if message.provider_data:
            return True
        for part in message.parts:
            if part.provider_data or type(part) is not Text or part.cache is not None:
                return True
    return any(tool.provider_data or tool.cache for tool in request.tools)


def _message(message: Message, field: str, change: _Change) -> Message:
    message = change(message, field) or message
    return replace(message, parts=_parts(message.parts, field, change))


def _parts(parts: tuple[P, ...], field: str, change: _Change) -> tuple[P, ...]:
    changed = (_part(part, f"{field}.parts[{index}]", change) for index, part in enumerate(parts))
    return tuple(part for part in changed if part is not None)


def _part(part: P, field: str, change: _Change) -> P | None:
    if isinstance(part, ToolResult):
        part = replace(part, parts=_parts(part.parts, field, change))
    return change(part, field)


def _marked(value: Keeper, dialect: str) -> Keeper:
    return replace(value, provider_data={dialect: value.provider_data}) if value.provider_data else value


def _own(value: Keeper, dialect: str) -> Keeper:
    if isinstance(value, Reasoning) and dialect not in value.provider_data:
        return replace(value, provider_data={}, signature=None)
    return replace(value, provider_data=_own_fields(value.provider_data, dialect)) if value.provider_data else value


def _own_fields(kept: Mapping[str, Any], dialect: str) -> Mapping[str, Any]:
    own = kept.get(dialect)
    return own if isinstance(own, Mapping) else {}


def _says_something(kept: Any) -> bool:
    """Whether `kept` holds more than marks of what a codec made up itself: a null, or an id that is one."""
    if not isinstance(kept, Mapping):
        return kept is not None
    return any(value is not None and value != _MADE_UP for value in kept.values())


_MADE_UP = {"id": None}
