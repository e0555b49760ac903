"""What every dialect writes with: the pieces of a request's body that do not differ from one to the other."""

import re
from base64 import b64encode
from collections.abc import Callable, Collection, Mapping, Sequence
from math import isfinite
from typing import Any

import msgspec

from llm_call.core.domain.errors import UnsupportedError
from llm_call.core.domain.messages import Message, Part, Text, ToolResult
from llm_call.core.domain.request import Settings, ToolChoice
from llm_call.core.wire.base import Notices

ANY_IMAGE = "image/*"  # the type of an image of which only the URL is known
STORED_FILE = "application/octet-stream"  # the type of a file of which only the provider's id is known
FILE_NAME = "document"  # what a file without a name is called where one is demanded

_PATH_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]*")
Located = Sequence[tuple[str, Part]]  # parts, each with its place in the request
encode_json = msgspec.json.Encoder().encode


def encode_body(make: Callable[[], object]) -> bytes:
    """What `make` gives, as JSON.

    Raises:
        UnsupportedError: It cannot be written as JSON.
    """
    try:
        return encode_json(make())
    except (TypeError, ValueError, RecursionError) as error:
        raise UnsupportedError(
            f"the request cannot be written as JSON: {error}", hint="Look for what is no JSON value, or no Unicode."
        ) from error


def path_name(model: str) -> str:
    """`model`, where it can stand in a path.

    Raises:
        UnsupportedError: It could change the path.
    """
    if not _PATH_NAME.fullmatch(model):
        raise UnsupportedError(
            f"the model's name {model[:60]!r} cannot stand in a path",
            hint="A name has letters, digits, '.', '_', '@' and '-', and begins with a letter or a digit.",
        )
    return model


def add_settings(body: dict[str, Any], settings: Settings, fields: Mapping[str, str]) -> None:
    """Add the settings that are set, each under its name in `fields`.

    Raises:
        UnsupportedError: A number is not finite.
    """
    for name, field in fields.items():
        value = getattr(settings, name)
        if value is not None:
            if type(value) is float and not isfinite(value):
                raise UnsupportedError(f"settings.{name} is {value}, which JSON cannot say", hint="Give a number.")
            body[field] = value


def check_choice(choice: ToolChoice, *, has_tools: bool) -> None:
    """Refuse a choice that cannot be met.

    Raises:
        UnsupportedError: It demands a call and there are no tools, or it says none and names one.
    """
    if choice.mode == "none" and choice.name is not None:
        raise UnsupportedError("tool_choice says none and names a tool", hint="Leave one of the two out.")
    if not has_tools and (choice.mode == "required" or choice.name is not None):
        raise UnsupportedError("tool_choice demands a call and there are no tools", hint="Give the tools.")


def is_plain(part: Part) -> bool:
    """Whether a part is a text and nothing else."""
    return type(part) is Text and not part.provider_data and not part.refusal and part.cache is None


def plain_text(message: Message) -> str | None:
    """The text of a message that is one text and nothing else; `None` for any other, and for one of role tool."""
    parts = message.parts
    if len(parts) != 1 or message.name is not None or message.provider_data or message.role == "tool":
        return None
    part = parts[0]
    if type(part) is not Text or part.provider_data or part.refusal or part.cache is not None:
        return None
    return part.text


def split_results(message: Message, located: Located, field: str) -> tuple[list[tuple[str, ToolResult]], Located]:
    """The tool results of a message, for dialects in which each is a message of its own, and the rest of its parts.

    Raises:
        UnsupportedError: They stand where none may stand, or a message of role tool has something else, or nothing.
    """
    results = [(where, part) for where, part in located if isinstance(part, ToolResult)]
    rest = [(where, part) for where, part in located if not isinstance(part, ToolResult)]
    if (results and message.role not in {"tool", "user"}) or (message.role == "tool" and (rest or not results)):
        raise UnsupportedError(
            f"{field}: tool results stand in a message of role tool, which holds nothing else",
            hint="Put the other parts into a message of their own.",
        )
    return results, rest


def content(
    located: Located, write: Callable[[Part, str], dict[str, Any]], field: str, notices: Notices
) -> str | list[dict[str, Any]]:
    """The content of a message: a single plain text as it is, anything else as the parts that `write` makes."""
    if not located:
        notices.add(f"{field}.parts", "translated", "no part at all is sent as an empty text")
        return ""
    first = located[0][1]
    if len(located) == 1 and isinstance(first, Text) and is_plain(first):
        return first.text
    return [write(part, where) for where, part in located]


def beside(
    known: dict[str, Any], extra: Mapping[str, Any], reserved: Collection[str], place: str, notices: Notices
) -> dict[str, Any]:
    """`known`, and what `extra`, which stands at `place` in the request, says beside it."""
    if not extra:
        return known
    taken = {*reserved, *known}
    for name in sorted(extra.keys() & taken):
        notices.add(f"{place}.{name}", "dropped", "the dialect's own field says this")
    return {name: value for name, value in extra.items() if name not in taken} | known


def as_mapping(value: Any) -> Mapping[str, Any]:
    """`value` where it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def data_url(media_type: str, data: bytes) -> str:
    """A data URL (RFC 2397)."""
    return f"data:{media_type};base64,{base64_text(data)}"


def base64_text(data: bytes) -> str:
    """`data` in base64."""
    return b64encode(data).decode("ascii")
