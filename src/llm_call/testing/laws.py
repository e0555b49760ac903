"""The laws of `core.wire.base`, as checks that a test of any codec can make. Pure: no strategy, no test framework.

Each check gives what breaks the law, in words; nothing is good.
"""

from collections.abc import Callable, Iterable, Iterator
from copy import copy
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from llm_call.core.domain.events import Event, PartDelta, PartEnd, PartStart, ResponseEnd, ResponseStart
from llm_call.core.domain.messages import Media, Part, Reasoning, Text, ToolCall, ToolResult
from llm_call.core.domain.profile import Profile
from llm_call.core.domain.request import Request
from llm_call.core.domain.response import Notice, Response
from llm_call.core.wire.base import Codec, StreamEncoder, WireRequest

RequestReader = Callable[[WireRequest], tuple[Request, bool]]
"""What reads a request that a codec wrote: the request, and whether its answer is to be streamed."""


# Streams


def cut(data: bytes, sizes: Iterable[int]) -> Iterator[bytes]:
    """`data` in pieces of `sizes` bytes; the last size, which is not 0, goes for all that follow."""
    at, size = 0, 1
    for size in sizes:
        yield data[at : at + size]
        at += size
    for start in range(at, len(data), size):
        yield data[start : start + size]


def decoded(codec: Codec, pieces: Iterable[bytes]) -> list[Event]:
    """The events of one stream, which ends behind the last of `pieces`."""
    decoder = codec.stream_decoder()
    events = [event for piece in pieces for event in decoder.feed(piece)]
    return [*events, *decoder.close()]


def encoded(encoder: StreamEncoder, events: Iterable[Event]) -> bytes:
    """The bytes of one stream."""
    return b"".join(map(encoder.encode, events))


def events_of(response: Response, piece: int) -> Iterator[Event]:
    """`response` as a stream brings it, the text of its parts in pieces of `piece` characters.

    Of a part everything is known at its start, but for its text and its signature.
    """
    yield ResponseStart(model=response.model, id=response.id)
    for index, part in enumerate(response.parts):
        empty, text = _emptied(part)
        yield PartStart(index=index, part=empty)
        for start in range(0, len(text), piece):
            yield PartDelta(index=index, text=text[start : start + piece])
        yield PartEnd(index=index, signature=part.signature if isinstance(part, Reasoning) else None)
    yield ResponseEnd(finish_reason=response.finish_reason, usage=response.usage, provider_data=response.provider_data)


def _emptied(part: Part) -> tuple[Part, str]:
    match part:
        case ToolCall(arguments=arguments):
            return replace(part, arguments=""), arguments
        case Reasoning(text=text):
            return replace(part, text="", signature=None), text
        case Text(text=text):
            return replace(part, text=""), text
    return part, ""


def disorder(events: Iterable[Event]) -> Iterator[str]:
    """What breaks the order of a stream's events, which may be unfinished: see `core.domain.events`."""
    started = ended = False
    seen: set[int] = set()
    still_open: set[int] = set()
    for event in events:
        if ended or started is isinstance(event, ResponseStart):
            yield f"a {type(event).__name__} {'after the end' if ended else 'out of its place'}"
        match event:
            case ResponseStart():
                started = True
            case PartStart(index=index):
                if index in seen:
                    yield f"the part {index} starts again"
                seen.add(index)
                still_open.add(index)
            case PartDelta(index=index) | PartEnd(index=index) if index not in still_open:
                yield f"the part {index} is not open for a {type(event).__name__}"
            case PartEnd(index=index):
                still_open.remove(index)
            case ResponseEnd():
                ended = True
                yield from (f"the part {index} has no end" for index in sorted(still_open))


# Requests


def unnamed_changes(
    codec: Codec,
    read: RequestReader,
    request: Request,
    *,
    stream: bool,
    profile: Profile,
    unified: Callable[[Request], Request] = copy,
) -> list[str]:
    """The fields of `request` that are not what they were on the way to the wire and back, and that no notice names.

    `unified` gives the normal form of a request, where the dialect says two things in one way.
    """
    wire = codec.encode_request(request, stream=stream, profile=profile)
    back, streamed = read(wire)
    unnamed = [path for path in differences(unified(request), unified(back)) if not is_named(path, wire.notices)]
    # A notice about all messages is about their number and order: what is said in them has to be there all the same.
    close = [notice for notice in wire.notices if notice.field != "messages"]
    unnamed += [path for path in lost_words(request, back) if not is_named(path, close)]
    return unnamed + ([] if streamed is stream is wire.stream else ["stream"])


def lost_words(request: Request, back: Request) -> Iterator[str]:
    """The paths of what is said in `request`, or called, or shown, and stands nowhere in the messages of `back`."""
    there = "\0".join(words for _, words in _words(back))
    for path, words in _words(request):
        if words not in there:
            yield path


def _words(request: Request) -> Iterator[tuple[str, str]]:
    for number, message in enumerate(request.messages):
        for index, part in enumerate(message.parts):
            yield from _words_of(part, f"messages[{number}].parts[{index}]")


def _words_of(part: Part, path: str) -> Iterator[tuple[str, str]]:
    match part:
        case Text(text=text) | Reasoning(text=text):
            yield f"{path}.text", text
        case ToolCall():
            yield from ((f"{path}.{name}", getattr(part, name).strip()) for name in ("id", "name", "arguments"))
        case Media(data=data, url=url):
            yield f"{path}.data", "" if data is None else data.hex()
            yield f"{path}.url", url or ""
        case ToolResult(call_id=call_id):
            yield f"{path}.call_id", call_id
            for index, inner in enumerate(part.parts):
                yield from _words_of(inner, f"{path}.parts[{index}]")


def differences(left: Any, right: Any, path: str = "") -> Iterator[str]:
    """The paths at which two values differ; of lists that differ in length, the path of the list."""
    if isinstance(left, Struct) and type(left) is type(right):
        for name in left.__struct_fields__:
            yield from differences(getattr(left, name), getattr(right, name), f"{path}.{name}".removeprefix("."))
    elif isinstance(left, tuple) and isinstance(right, tuple) and len(left) == len(right):
        for index, pair in enumerate(zip(left, right, strict=True)):
            yield from differences(*pair, f"{path}[{index}]")
    elif left != right:
        yield path


def is_named(path: str, notices: Iterable[Notice]) -> bool:
    """Whether a notice speaks of `path`: of the same field, of one above it, or (of a list's length) of one in it."""
    return any(_covers(notice.field, path) for notice in notices)


def _covers(field: str, path: str) -> bool:
    return any(
        short == long or (long.startswith(short) and long[len(short)] in ".[")
        for short, long in ((field, path), (path, field))
    )
