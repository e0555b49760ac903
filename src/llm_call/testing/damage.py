"""What a bad peer or a bad network does to an answer, as values that can be drawn, shown and applied to any bytes.

Needs hypothesis, which is no dependency of the library: import this module in tests only.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import msgspec
from hypothesis import strategies as st
from msgspec import Struct

ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, -1, 0, 1, 1.5, 2**64, "", "x", "error", "text", "\n\n"),
    *([], [None], [[]], [{}], {}, {"type": None}, {"type": "error"}, {"text": 1}, {"index": -1}),
)
STRAY_FRAMES = (
    *(b"data: [DONE]", b"data: null", b"data: {}", b"data: []", b'data: "x"', b"data:", b"data: {", b": ping", b"x"),
    *(b"event: error\ndata: {}", b'data: {"error": {"message": "m"}}', b'data: {"type": "error", "error": 1}'),
    *(b"event: error\ndata: no json", b'event: ping\ndata: {"type": "ping"}', b'data: {"type": 1}', b"data: \xff\xfe"),
    *(b"data: " + b"[" * 3_000, b'data: {"choices": [{}]}', b'data: {"candidates": [{"content": {"parts": [{}]}}]}'),
)


class Splice(Struct, frozen=True):
    """At a `share` of the bytes, `removed` of them give way to `put`."""

    share: float
    removed: int
    put: bytes

    def apply(self, data: bytes) -> bytes:
        """`data`, damaged."""
        at = round(self.share * len(data))
        return data[:at] + self.put + data[at + self.removed :]


class Truncation(Struct, frozen=True):
    """Only a `share` of the bytes arrives."""

    share: float

    def apply(self, data: bytes) -> bytes:
        """`data`, damaged."""
        return data[: round(self.share * len(data))]


class Frames(Struct, frozen=True):
    """Events of a stream get lost, come twice, or change places: `order` names those that come, in their order.

    A number is taken modulo the number of events; where `rest` is true, those behind the first `len(order)` follow.
    """

    order: tuple[int, ...]
    rest: bool

    def apply(self, data: bytes) -> bytes:
        """`data`, damaged."""
        frames = _frames(data)
        picked = [frames[number % len(frames)] for number in self.order] if frames else []
        return _joined(picked + (frames[len(self.order) :] if self.rest else []))


class Stray(Struct, frozen=True):
    """An event comes that does not belong there, before the one of this `number`."""

    number: int
    frame: bytes

    def apply(self, data: bytes) -> bytes:
        """`data`, damaged."""
        frames = _frames(data)
        frames.insert(self.number % (len(frames) + 1), self.frame)
        return _joined(frames)


class Oddity(Struct, frozen=True):
    """One value in the JSON of a body, or of an event of a stream, is another, or missing where `value` is `...`."""

    frame: int
    node: int
    value: Any

    def apply(self, data: bytes) -> bytes:
        """`data`, damaged; as it was where there is no JSON in the place."""
        frames = _frames(data)
        if not frames:
            return data
        number = self.frame % len(frames)
        frame = frames[number]
        head, mark, json = (b"", b"", frame) if frame[:1] in b"{[" else frame.partition(b"data: ")
        frames[number] = head + mark + self._changed(json)
        return _joined(frames) if len(frames) > 1 else frames[0]

    def _changed(self, json: bytes) -> bytes:
        try:
            whole = msgspec.json.decode(json)
        except (ValueError, RecursionError):
            return json
        places = list(islice(_places(whole), 400))
        if not places:
            return msgspec.json.encode(None if self.value is ... else self.value)
        container, key = places[self.node % len(places)]
        if self.value is ...:
            del container[key]
        else:
            container[key] = self.value
        return msgspec.json.encode(whole)


Damage = Splice | Truncation | Frames | Stray | Oddity


def damages() -> st.SearchStrategy[tuple[Damage, ...]]:
    """One to three things that go wrong, one after the other; every other time, odd values alone."""
    shares, numbers = st.floats(0, 1), st.integers(0, 60)
    odd = st.builds(Oddity, numbers, numbers, st.sampled_from([*ODD_VALUES, ...]))
    put = st.sampled_from([b"", b"\n", b"\n\n", b"}", b'"', b"\xff", b"\x00"]) | st.binary(max_size=3)
    each: st.SearchStrategy[Damage] = (
        st.builds(Splice, shares, st.integers(0, 3), put)
        | st.builds(Truncation, shares)
        | st.builds(Frames, st.lists(st.integers(0, 12), max_size=6).map(tuple), st.booleans())
        | st.builds(Stray, numbers, st.sampled_from(STRAY_FRAMES))
        | odd
    )
    odds: st.SearchStrategy[tuple[Damage, ...]] = st.lists(odd, min_size=1, max_size=2).map(tuple)
    return odds | st.lists(each, min_size=1, max_size=3).map(tuple)


def damaged(data: bytes, damages: Iterable[Damage]) -> bytes:
    """`data` after all of `damages`."""
    for damage in damages:
        data = damage.apply(data)
    return data


def _frames(data: bytes) -> list[bytes]:
    return [frame for frame in data.replace(b"\r\n", b"\n").split(b"\n\n") if frame]


def _joined(frames: Iterable[bytes]) -> bytes:
    return b"".join(frame + b"\n\n" for frame in frames)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in a JSON value: the list or object, and the index or key in it."""
    entries = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    for key, inner in entries:
        yield value, key
        yield from _places(inner)
