"""What MCP servers say, in our words: the names of tools, and what a tool gave."""

import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from llm_call.core.domain.messages import Media, Text

NAME_LENGTH = 64
"""Characters in a tool's name at most, of letters, digits, _ and -: what OpenAI's and Anthropic's APIs take."""

_NO_NAME = re.compile(r"[^a-zA-Z0-9_-]")


def unique_names(tools: Sequence[tuple[str, str]], taken: Collection[str]) -> list[str]:
    """A name for each (server, tool): the tool's own, with the server's before it only where that is not enough."""
    own = [_clean(tool) for _, tool in tools]
    count = Counter([*own, *taken])
    names: list[str] = []
    used = set(taken)
    for (server, _), name in zip(tools, own, strict=True):
        names.append(_free(name if count[name] == 1 else _clean(f"{server}__{name}"), used))
        used.add(names[-1])
    return names


def _free(name: str, used: Collection[str]) -> str:
    """`name`, or with a number behind it."""
    found, number = name, 1
    while found in used:
        number += 1
        found = f"{name[: NAME_LENGTH - len(str(number)) - 1]}_{number}"
    return found


def _clean(name: str) -> str:
    return _NO_NAME.sub("_", name)[:NAME_LENGTH] or "tool"


def parts(result: Any) -> list[Text | Media]:
    """What a tool gave. Structured content mostly stands in a text too, and then is not said twice."""
    found: list[Text | Media] = [_part(block) for block in result.content]
    if result.structured_content is not None and not any(isinstance(part, Text) for part in found):
        found.append(Text(text=msgspec.json.encode(result.structured_content).decode()))
    return found


def _part(block: Any) -> Text | Media:
    match block.type:
        case "text":
            return Text(text=block.text)
        case "image" | "audio":
            return _media(block.mime_type, block.data, block.type)
        case "resource_link":
            return Text(text=f"{block.name}: {block.uri}")
        case _:
            resource = block.resource
            if hasattr(resource, "text"):
                return Text(text=resource.text)
            return _media(resource.mime_type or "application/octet-stream", resource.blob, str(resource.uri))


def _media(media_type: str, data: str, what: str) -> Text | Media:
    try:
        return Media(media_type=media_type, data=b64decode(data, validate=True))
    except (Base64Error, ValueError):
        return Text(text=f"[{what}: it is damaged]")
