"""When a model that asks for tools gets them, and when it has to answer. Pure: the calls are run elsewhere.

The rule: a conversation with tools ends within its limits, whatever the model does.
"""

from collections.abc import Collection, Sequence
from typing import Annotated

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from llm_call.core.domain.messages import Media, Text, ToolCall, ToolResult
from llm_call.core.domain.response import Response
from llm_call.core.domain.setting import setting

REPEATS = 3
"""Turns in a row with the very same calls after which nothing new is to be expected."""


class ToolLimits(Struct, frozen=True, kw_only=True):
    """How far a conversation with tools may go."""

    turns: Annotated[int, Meta(ge=1), setting("Answers in a row that may ask for tools.", access="free")] = 8
    calls: Annotated[
        int, Meta(ge=1), setting("Tools that one answer may have run; they run at the same time.", access="free")
    ] = 16
    seconds: Annotated[float, Meta(gt=0), setting("The longest that one tool may run.", access="free")] = 60.0
    result_bytes: Annotated[
        int, Meta(ge=1), setting("The most text that is taken of one result, in bytes.", access="free")
    ] = 100_000
    total_bytes: Annotated[
        int, Meta(ge=1), setting("The most that is taken of all results, images included, in bytes.", access="free")
    ] = 2_000_000


class Turn(Struct, frozen=True, kw_only=True):
    """The calls of one answer that were run, and the size of what they gave, in bytes."""

    calls: tuple[ToolCall, ...]
    size: int


class Run(Struct, frozen=True, kw_only=True):
    """Run `calls`, all at once; `refused` are too many."""

    calls: tuple[ToolCall, ...]
    refused: tuple[ToolCall, ...] = ()


class Finish(Struct, frozen=True, kw_only=True):
    """The response is the answer."""


class Exhausted(Struct, frozen=True, kw_only=True):
    """No tool runs any more: the model has to answer with what it has. `why` is told to it."""

    why: str


Step = Run | Finish | Exhausted


def next_step(response: Response, turns: Sequence[Turn], limits: ToolLimits, *, foreign: Collection[str] = ()) -> Step:
    """What follows `response`, which comes after `turns`.

    `foreign` are the names of tools that the caller runs: an answer that asks for one of them is for the caller.
    """
    calls = response.tool_calls
    if not calls or any(call.name in foreign for call in calls):
        return Finish()
    if len(turns) >= limits.turns:
        return Exhausted(why=f"tools were used in {limits.turns} turns, and more are not allowed")
    if sum(turn.size for turn in turns) >= limits.total_bytes:
        return Exhausted(why=f"the tools gave {limits.total_bytes} bytes, and more are not taken")
    if _goes_in_circles(calls[: limits.calls], turns):
        return Exhausted(why=f"the same call was made {REPEATS} times in a row")
    return Run(calls=calls[: limits.calls], refused=calls[limits.calls :])


def fitted(result: ToolResult, *, text: int, total: int) -> tuple[ToolResult, int]:
    """`result` with at most so many bytes of text, and of text and media in all; and how many it has.

    A note, which is not counted, says how many are left out.
    """
    kept: list[Text | Media] = []
    taken = 0
    for part in result.parts:
        room = min(text, total - taken) if isinstance(part, Text) else total - taken
        size = part_size(part)
        fits = part if size <= room else _cut(part, room)
        if fits is None or (size and not part_size(fits)):
            continue
        kept.append(fits)
        taken += part_size(fits)
        text -= part_size(fits) if isinstance(part, Text) else 0
    if lost := size_of(result) - taken:
        kept.append(Text(text=f"[{lost} bytes more are left out: the result is too large]"))
    return replace(result, parts=tuple(kept)), taken


def size_of(result: ToolResult) -> int:
    """The bytes of a result's text and media."""
    return sum(part_size(part) for part in result.parts)


def part_size(part: Text | Media) -> int:
    """The bytes of a part."""
    return len(_encoded(part.text)) if isinstance(part, Text) else len(part.data or b"")


def _cut(part: Text | Media, room: int) -> Text | None:
    """The start of a text; of an image there is none."""
    return Text(text=_encoded(part.text)[:room].decode("utf-8", "ignore")) if isinstance(part, Text) else None


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _goes_in_circles(calls: Sequence[ToolCall], turns: Sequence[Turn]) -> bool:
    before = turns[-(REPEATS - 1) :]
    asked = _meant(calls)
    return len(before) == REPEATS - 1 and all(_meant(turn.calls) == asked for turn in before)


def _meant(calls: Sequence[ToolCall]) -> list[tuple[str, bytes]]:
    """What is asked for, however it is ordered and spaced."""
    return sorted((call.name, _canonical(call.arguments)) for call in calls)


def _canonical(arguments: str) -> bytes:
    try:
        return msgspec.json.encode(msgspec.json.decode(arguments), order="deterministic")
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return _encoded(arguments)
