"""The chat dialect's old words for tools, which old clients still say: `functions`, `function_call`, role `function`.

Rule: a request in old words is put into those of today before it is read, so that nothing else has to know them. Calls of
the old form have no ids: each is given one by the place of its message, and its result the same.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct

from llm_call.core.wire.reading import MalformedError, unnamed

_WORDS = frozenset({"functions", "function_call"})


class _Name(Struct):
    name: str


class _Words(Struct):
    functions: list[dict[str, Any]] | None = None
    function_call: Literal["auto", "none"] | _Name | None = None


class _Said(Struct):
    role: str = ""
    name: str | None = None
    function_call: _Name | None = None


class _Messages(Struct):
    messages: list[_Said] = []


def is_legacy(raw: Any) -> bool:
    """Whether a request has something in the old words."""
    if type(raw) is not dict:
        return False
    messages = raw.get("messages")
    return not raw.keys().isdisjoint(_WORDS) or any(
        type(each) is dict and ("function_call" in each or each.get("role") == "function")
        for each in (messages if type(messages) is list else ())
    )


def modern(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The same request in the words of today.

    Raises:
        MalformedError: It says the same twice, or a result stands before its call.
        ValidationError: Of msgspec: a value is of the wrong type.
    """
    words, said = msgspec.convert(raw, _Words), msgspec.convert(raw, _Messages)
    request = unnamed(raw, _WORDS)
    if words.functions:
        _add(request, "tools", [{"type": "function", "function": each} for each in words.functions], "functions")
    if isinstance(words.function_call, _Name):
        choice = {"type": "function", "function": {"name": words.function_call.name}}
        _add(request, "tool_choice", choice, "function_call")
    elif words.function_call is not None:
        _add(request, "tool_choice", words.function_call, "function_call")
    if said.messages:
        request["messages"] = list(_messages(said.messages, raw["messages"]))
    return request


def _add(request: dict[str, Any], name: str, value: Any, word: str) -> None:
    if request.get(name):
        raise MalformedError(f"$.{word} says in an old word what $.{name} says")
    request[name] = value


def _messages(messages: Sequence[_Said], raw: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    calls: dict[str, str] = {}  # the ids of the latest calls, by the names of their functions
    for index, (said, given) in enumerate(zip(messages, raw, strict=True)):
        if said.role == "function":
            yield {**given, "role": "tool", "tool_call_id": _id_of(said, calls, index)}
        elif said.function_call is None:
            yield unnamed(given, _WORDS)
        else:
            identity = calls[said.function_call.name] = f"function_call_{index}"
            message = unnamed(given, _WORDS)
            call = {"id": identity, "type": "function", "function": given["function_call"]}
            _add(message, "tool_calls", [call], f"messages[{index}].function_call")
            yield message


def _id_of(said: _Said, calls: Mapping[str, str], index: int) -> str:
    identity = calls.get(said.name or "")
    if identity is None:
        raise MalformedError(f"$.messages[{index}]: no function_call of {said.name!r} stands before this result")
    return identity
