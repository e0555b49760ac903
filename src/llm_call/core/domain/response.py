"""What is answered: the whole response in the canonical form."""

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

from llm_call.core.domain.messages import Part, ToolCall, text_of

Finish = Literal["stop", "length", "tool_calls", "content_filter", "other"]
Fate = Literal["kept", "translated", "emulated", "dropped"]


class FinishReason(Struct, frozen=True, kw_only=True):
    """Why the model stopped: in one vocabulary for all, and in the provider's own word."""

    unified: Finish
    raw: str | None = None


class Usage(Struct, frozen=True, kw_only=True):
    """Tokens as the provider counted them; `None` is unknown, never guessed.

    `input_tokens` includes those read from a cache and those written to one, `output_tokens` the reasoning ones, as
    OpenTelemetry's GenAI conventions say.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_input_tokens: int | None = None
    cache_write_input_tokens: int | None = None
    reasoning_tokens: int | None = None

    def __add__(self, other: "Usage") -> "Usage":
        """The sum field by field; unknown plus known is known."""
        return Usage(**{name: _add(getattr(self, name), getattr(other, name)) for name in self.__struct_fields__})


def _add(left: int | None, right: int | None) -> int | None:
    if left is None or right is None:
        return right if left is None else left
    return left + right


class Notice(Struct, frozen=True, kw_only=True):
    """What became of a field that could not be handed on as it was."""

    field: str
    fate: Fate
    message: str


class Response(Struct, frozen=True, kw_only=True):
    """One answer. `model` is the one that really answered; unknown wire fields stand in `provider_data` under their dialect."""

    model: str
    parts: tuple[Part, ...] = ()
    finish_reason: FinishReason = FinishReason(unified="stop")
    usage: Usage = Usage()
    id: str | None = None
    notices: tuple[Notice, ...] = ()
    provider_data: Mapping[str, Any] = {}

    @property
    def text(self) -> str:
        """All text parts, joined."""
        return text_of(self.parts)

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The calls that the model asks for, in order."""
        return tuple(part for part in self.parts if isinstance(part, ToolCall))
