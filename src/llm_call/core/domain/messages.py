"""What is said: messages and the parts they are made of. Pure values.

`provider_data`, wherever it stands, keeps what a dialect said that no other field holds: `{dialect: {field: value}}`.
It goes back to that dialect as it came, and to no other.
"""

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

Role = Literal["system", "developer", "user", "assistant", "tool"]


class CacheMarker(Struct, frozen=True, kw_only=True):
    """The prompt up to and with what bears this is worth caching: for `ttl`, or as long as the provider thinks best."""

    ttl: Literal["5m", "1h"] | None = None


class Text(Struct, frozen=True, kw_only=True, tag="text"):
    """Plain text. `refusal` says that it is the model's refusal to answer."""

    text: str
    refusal: bool = False
    cache: CacheMarker | None = None
    provider_data: Mapping[str, Any] = {}


class Media(Struct, frozen=True, kw_only=True, tag="media"):
    """An image, a document or a sound: bytes, or a URL that the provider opens. Never a path."""

    media_type: str
    data: bytes | None = None
    url: str | None = None
    name: str | None = None
    cache: CacheMarker | None = None
    provider_data: Mapping[str, Any] = {}


class Reasoning(Struct, frozen=True, kw_only=True, tag="reasoning"):
    """What a model thought before it answered. `signature` goes back to the dialect it came in, untouched."""

    text: str
    signature: str | None = None
    provider_data: Mapping[str, Any] = {}


class ToolCall(Struct, frozen=True, kw_only=True, tag="tool_call"):
    """A call that the model asks for. `arguments` is the JSON text exactly as the model wrote it."""

    id: str
    name: str
    arguments: str
    provider_data: Mapping[str, Any] = {}


class ToolResult(Struct, frozen=True, kw_only=True, tag="tool_result"):
    """What a tool gave back for the call `call_id`."""

    call_id: str
    parts: tuple[Text | Media, ...] = ()
    is_error: bool = False
    cache: CacheMarker | None = None
    provider_data: Mapping[str, Any] = {}


Part = Text | Media | Reasoning | ToolCall | ToolResult


class Message(Struct, frozen=True, kw_only=True):
    """One turn."""

    role: Role
    parts: tuple[Part, ...] = ()
    name: str | None = None
    provider_data: Mapping[str, Any] = {}

    @property
    def text(self) -> str:
        """All text parts, joined."""
        return text_of(self.parts)


def message(role: Role, text: str) -> Message:
    """A message of one text part."""
    return Message(role=role, parts=(Text(text=text),))


def text_of(parts: tuple[Part, ...]) -> str:
    """All text parts of `parts`, joined."""
    return "".join(part.text for part in parts if isinstance(part, Text))
