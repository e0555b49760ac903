"""What a box of tools is, and what is checked before one of them runs.

The rule: whatever goes wrong with a tool is told to the model, which may do better; it never ends the call.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from llm_call.core.domain.errors import ConfigError
from llm_call.core.domain.messages import Text, ToolCall, ToolResult
from llm_call.core.domain.request import Tool
from llm_call.core.validation.schema import checker


class ToolBox(Protocol):
    """Tools that can be run, several at a time."""

    @property
    def tools(self) -> tuple[Tool, ...]:
        """What the model is told of."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What the caller should know: which server could not be used and why. For people, not for the model."""

    async def run(self, call: ToolCall, *, seconds: float | None) -> ToolResult:
        """What the tool gives, within `seconds` (`None`: without limit). A failure is a result marked as an error."""


def failed(call: ToolCall, why: str) -> ToolResult:
    """The result that tells the model why it gets no other."""
    return ToolResult(call_id=call.id, parts=(Text(text=why),), is_error=True)


def arguments(call: ToolCall, tool: Tool) -> dict[str, Any] | str:
    """The arguments of `call` for `tool`; or, in words for the model, what is wrong with them."""
    try:
        value = msgspec.json.decode(call.arguments or "{}")
    except (msgspec.DecodeError, RecursionError) as error:
        return f"The arguments are no JSON: {error}"
    if not isinstance(value, dict):
        return "The arguments must be one JSON object."
    problems = checker(tool.parameters).problems(value)
    lines = [f"{each.path or '/'}: {each.message}" for each in problems]
    return "\n".join(["The arguments do not fit the tool's schema:", *lines]) if lines else value


def fault(parameters: Mapping[str, Any]) -> str | None:
    """Why `parameters` cannot be the schema of a tool; `None` where they can."""
    try:
        checker(parameters)
    except ConfigError as error:
        return error.message
    return None
