"""What is asked: one request in the canonical form that every dialect is translated to and from."""

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

from llm_call.core.domain.messages import CacheMarker, Message

ToolMode = Literal["auto", "none", "required"]


class Settings(Struct, frozen=True, kw_only=True):
    """How to generate. `None` leaves a setting to the provider; `max_output_tokens` is in tokens."""

    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: str | None = None


class Tool(Struct, frozen=True, kw_only=True):
    """A function that the model may call. `parameters` is a JSON Schema; `provider_data` is that of `messages`."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = {}
    strict: bool | None = None
    cache: CacheMarker | None = None
    provider_data: Mapping[str, Any] = {}


class ToolChoice(Struct, frozen=True, kw_only=True):
    """Whether a tool is called: freely, never, necessarily, or necessarily the one of this `name`."""

    mode: ToolMode = "auto"
    name: str | None = None


class OutputSpec(Struct, frozen=True, kw_only=True):
    """The form that the answer must have: any JSON (`schema` is `None`) or a JSON Schema with a name."""

    schema: Mapping[str, Any] | None = None
    name: str = "answer"
    strict: bool | None = None
    description: str | None = None


class Request(Struct, frozen=True, kw_only=True):
    """One question to one model. `model` is the provider's own name.

    `provider_options` go to the wire unchanged. Where the request itself came over a wire, `dialect` is the one it came
    in, and they go out in no other.
    """

    model: str
    messages: tuple[Message, ...]
    settings: Settings = Settings()
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    output: OutputSpec | None = None
    provider_options: Mapping[str, Any] = {}
    dialect: str | None = None
