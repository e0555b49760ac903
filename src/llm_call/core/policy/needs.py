"""What a request needs of a model, held against what is known of one. What is unknown excludes nobody."""

from collections.abc import Iterator
from fnmatch import fnmatchcase

from msgspec import Struct

from llm_call.core.domain.messages import Media, Message, Part, Reasoning, Text, ToolCall, ToolResult
from llm_call.core.domain.profile import Profile
from llm_call.core.domain.request import Request
from llm_call.core.domain.response import Usage

CHARACTERS_A_TOKEN = 4
"""OpenAI's rule of thumb for English text. Good for comparing prices, too rough for refusing anything."""
ASSUMED_OUTPUT_TOKENS = 1000


class Needs(Struct, frozen=True, kw_only=True):
    """What a request needs: these media types, tools, a schema mode of the provider's own, room for tokens.

    `texts` are what the model has to read, without media and without the definitions of tools.
    """

    media: tuple[str, ...] = ()
    tools: bool = False
    own_schema_mode: bool = False
    output_tokens: int | None = None
    texts: tuple[str, ...] = ()

    @property
    def characters(self) -> int:
        """How many characters the model has to read."""
        return sum(map(len, self.texts))

    def least_tokens(self) -> int:
        """A lower bound: the number of words. Tokenizers split a text at white space before anything else."""
        return sum(len(text.split()) for text in self.texts)

    def estimated_usage(self) -> Usage:
        """A rough guess, for comparing prices: all the output that is allowed, or 1,000 tokens."""
        read = self.characters // CHARACTERS_A_TOKEN
        return Usage(input_tokens=read, output_tokens=self.output_tokens or ASSUMED_OUTPUT_TOKENS)


def needs_of(request: Request, *, strict: bool = False) -> Needs:
    """What `request` needs. `strict`: being told its schema in words is not enough."""
    parts = tuple(_parts(request.messages))
    return Needs(
        media=tuple(sorted({part.media_type for part in parts if isinstance(part, Media)})),
        tools=bool(request.tools) or any(isinstance(part, ToolCall | ToolResult) for part in parts),
        own_schema_mode=strict and request.output is not None and request.output.schema is not None,
        output_tokens=request.settings.max_output_tokens,
        texts=tuple(map(_read, parts)),
    )


def shortfall(needs: Needs, profile: Profile) -> str:
    """Why a model of this profile cannot take the request, in a few words; empty when nothing is known against it."""
    return ", ".join(_reasons(needs, profile))


def _reasons(needs: Needs, profile: Profile) -> Iterator[str]:
    for media_type in needs.media:
        if profile.media is not None and not any(_may_be(media_type, seen) for seen in profile.media):
            yield f"takes no {media_type}"
    if needs.tools and profile.tools is False:
        yield "has no tools"
    if needs.own_schema_mode and profile.output_mode != "native":
        yield "has no schema mode of its own, and the call is strict"
    if _more(needs.output_tokens, profile.output_tokens):
        yield f"writes {profile.output_tokens} tokens at most, {needs.output_tokens} are asked for"
    window = profile.context_tokens
    # A word is a character at least: most texts need not be counted.
    if window is not None and needs.characters > window and (least := needs.least_tokens()) > window:
        yield f"reads {window} tokens at most, the request has {least} words"


def _may_be(media_type: str, seen: str) -> bool:
    """Whether what is asked for may be what is seen: either side may be a pattern (of a URL only `image/*` is known)."""
    return fnmatchcase(media_type, seen) or fnmatchcase(seen, media_type)


def _more(asked: int | None, limit: int | None) -> bool:
    return asked is not None and limit is not None and asked > limit


def _parts(messages: tuple[Message, ...]) -> Iterator[Part]:
    for message in messages:
        for part in message.parts:
            yield part
            if isinstance(part, ToolResult):
                yield from part.parts


def _read(part: Part) -> str:
    match part:
        case Text(text=text) | Reasoning(text=text) | ToolCall(arguments=text):
            return text
        case _:
            return ""
