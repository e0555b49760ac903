"""Hypothesis strategies for the domain's values, for property tests of codecs and of what stands on them.

Needs hypothesis, which is no dependency of the library: import this module in tests only.
"""

from typing import Any

from hypothesis import strategies as st
from msgspec.structs import replace

from llm_call.core.domain.messages import Media, Message, Part, Reasoning, Role, Text, ToolCall, ToolResult
from llm_call.core.domain.profile import Profile
from llm_call.core.domain.request import OutputSpec, Request, Settings, Tool, ToolChoice
from llm_call.core.domain.response import Fate, Finish, FinishReason, Notice, Response, Usage

IMAGE_TYPES = ("image/png", "image/jpeg", "image/gif", "image/webp")
AUDIO_TYPES = ("audio/wav", "audio/mpeg", "audio/x-wav", "audio/ogg")
DOCUMENT_TYPES = ("application/pdf", "text/plain", "text/markdown")

_counts = st.none() | st.integers(0, 2**53)
_schema_leaves: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        {"type": "string"},
        {"type": "string", "pattern": "^a+$"},
        {"type": "string", "minLength": 2, "maxLength": 5},
        {"type": "integer", "minimum": 0},
        {"type": ["string", "null"]},
        {"enum": ["red", "green"]},
        {"const": 1},
        {},
    ]
)


def texts(max_size: int = 20) -> st.SearchStrategy[str]:
    """Any text that UTF-8 can carry, of at most `max_size` characters."""
    return st.text(st.characters(exclude_categories=["Cs"]), max_size=max_size)


def names() -> st.SearchStrategy[str]:
    """Names as providers take them: letters, digits, `_` and `-`, 1 to 12 of them."""
    return st.text("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789_-", min_size=1, max_size=12)


def json_values() -> st.SearchStrategy[Any]:
    """JSON values of a few levels: only what comes back from JSON as it went in."""
    leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts()
    return st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts(), inner, max_size=3), max_leaves=5
    )


def unknown_fields() -> st.SearchStrategy[dict[str, Any]]:
    """Fields that no dialect knows, as `provider_data` keeps them, often none; never null or empty."""
    values = json_values().filter(lambda value: value not in (None, [], {}))
    return st.just({}) | st.dictionaries(names().map("x_".__add__), values, min_size=1, max_size=2)


def fields_that_clash(*fields: str) -> st.SearchStrategy[dict[str, Any]]:
    """`provider_data` with unknown fields, and sometimes with `fields`, which dialects have a place of their own for."""
    clash = st.dictionaries(st.sampled_from(fields), texts(), min_size=1, max_size=1)
    return unknown_fields() | unknown_fields() | clash


def schemas() -> st.SearchStrategy[dict[str, Any]]:
    """Small JSON Schemas; keywords occur as names of properties too."""
    keys = names() | st.sampled_from(["not", "pattern", "uniqueItems", "type"])
    return st.recursive(
        _schema_leaves,
        lambda inner: (
            st.fixed_dictionaries(
                {"type": st.just("object"), "properties": st.dictionaries(keys, inner, max_size=3)},
                optional={"additionalProperties": st.booleans() | inner, "patternProperties": st.just({"^x": {}})},
            )
            | st.fixed_dictionaries(
                {"type": st.just("array"), "items": inner}, optional={"uniqueItems": st.just(value=True)}
            )
            | st.lists(inner, min_size=1, max_size=2).map(lambda each: {"anyOf": each})
            | inner.map(lambda each: {"not": each})
        ),
        max_leaves=4,
    )


def settings() -> st.SearchStrategy[Settings]:
    """Settings, each set or not."""
    numbers = st.none() | st.floats(-2, 2)
    return st.builds(
        Settings,
        max_output_tokens=st.none() | st.integers(1, 100_000),
        temperature=numbers,
        top_p=numbers,
        stop=st.lists(texts(5), max_size=2).map(tuple),
        seed=st.none() | st.integers(),
        frequency_penalty=numbers,
        presence_penalty=numbers,
        logprobs=st.none() | st.booleans(),
        top_logprobs=st.none() | st.integers(0, 20),
        parallel_tool_calls=st.none() | st.booleans(),
        reasoning_effort=st.none() | st.sampled_from(["low", "high"]),
    )


def text_parts() -> st.SearchStrategy[Text]:
    """Texts, some with `provider_data`."""
    return st.builds(Text, text=texts(), provider_data=fields_that_clash("type", "text"))


def media() -> st.SearchStrategy[Media]:
    """Media with bytes, some with a URL too, and images that have a URL only."""
    common: dict[str, Any] = {"name": st.none() | names(), "provider_data": unknown_fields()}
    types = st.sampled_from(IMAGE_TYPES + AUDIO_TYPES + DOCUMENT_TYPES)
    urls = names().map("https://example.org/".__add__) | st.just("data:image/png;base64,iVBORw==")
    return st.builds(
        Media, media_type=types, data=st.binary(max_size=20), url=st.none() | st.none() | urls, **common
    ) | st.builds(Media, media_type=st.sampled_from([*IMAGE_TYPES, "image/*"]), url=urls, **common)


def tool_calls() -> st.SearchStrategy[ToolCall]:
    """Tool calls; the arguments are mostly JSON, as models are."""
    arguments = st.dictionaries(names(), st.integers(), max_size=2).map(lambda each: str(each).replace("'", '"'))
    inside = st.builds(lambda extra: {"function": extra}, unknown_fields().filter(bool))
    extra = unknown_fields() | unknown_fields() | inside
    return st.builds(ToolCall, id=names(), name=names(), arguments=arguments | texts(), provider_data=extra)


def tool_results() -> st.SearchStrategy[ToolResult]:
    """Results of texts."""
    parts = st.lists(text_parts(), max_size=2).map(tuple)
    return st.builds(ToolResult, call_id=names(), parts=parts, is_error=st.booleans(), provider_data=unknown_fields())


def reasoning() -> st.SearchStrategy[Reasoning]:
    """Reasoning, some with a signature."""
    fields: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
        [{}, {"field": "reasoning"}, {"field": "reasoning_content"}]
    )
    return st.builds(Reasoning, text=texts(), signature=st.none() | names(), provider_data=fields)


def messages() -> st.SearchStrategy[Message]:
    """Messages of every role, with the parts that a role may have, in any order."""
    spoken: st.SearchStrategy[Part] = text_parts() | st.builds(
        Text, text=texts(), provider_data=st.just({"refusal": True})
    )
    return (
        _message("system", text_parts())
        | _message("developer", text_parts())
        | _message("user", text_parts() | media() | tool_results())
        | _message("assistant", spoken | reasoning() | tool_calls())
        | _message("tool", tool_results(), min_size=1)
    )


def _message(role: Role, parts: st.SearchStrategy[Any], min_size: int = 0) -> st.SearchStrategy[Message]:
    return st.builds(
        Message,
        role=st.just(role),
        parts=st.lists(parts, min_size=min_size, max_size=4).map(tuple),
        name=st.none() | names(),
        provider_data=fields_that_clash("role", "content", "name"),
    )


def output_specs() -> st.SearchStrategy[OutputSpec]:
    """Any JSON, or a small schema."""
    return st.builds(
        OutputSpec,
        schema=st.none() | schemas(),
        name=names(),
        strict=st.none() | st.booleans(),
        description=st.none() | texts(),
    )


def requests() -> st.SearchStrategy[Request]:
    """Requests over everything that a dialect has to carry. A tool is demanded only where there are tools."""
    tools = st.builds(
        Tool, name=names(), description=texts(), parameters=st.just({}) | schemas(), strict=st.none() | st.booleans()
    )
    choices = st.sampled_from(
        [
            ToolChoice(mode="auto"),
            ToolChoice(mode="none"),
            ToolChoice(mode="required"),
            ToolChoice(name="f"),
            ToolChoice(mode="required", name="f"),
        ]
    )
    with_tools = st.fixed_dictionaries(
        {"tools": st.lists(tools, min_size=1, max_size=2).map(tuple), "tool_choice": st.none() | choices}
    )
    no_tools = st.fixed_dictionaries({"tool_choice": st.sampled_from([None, ToolChoice(), ToolChoice(mode="none")])})
    options = st.sampled_from([{"stream_options": {"x": 1}}, {"stream_options": {"include_usage": False}}])
    return st.builds(
        lambda tooling, **fields: Request(**tooling, **fields),
        no_tools | with_tools,
        model=names(),
        messages=st.lists(messages(), max_size=3).map(tuple),
        settings=settings(),
        output=st.none() | output_specs(),
        provider_options=unknown_fields() | options,
    )


def profiles() -> st.SearchStrategy[Profile]:
    """Profiles of every output mode, some with keywords that are not enforced and a limit on strings."""
    return st.builds(
        Profile,
        output_mode=st.sampled_from(["native", "json", "prompted"]),
        unenforced_keywords=st.sampled_from([(), ("not", "uniqueItems", "patternProperties"), ("pattern",)]),
        string_limit=st.none() | st.integers(1, 100),
    )


def any_parts() -> st.SearchStrategy[Part]:
    """Parts of every kind."""
    return text_parts() | media() | reasoning() | tool_calls() | tool_results()


def any_responses() -> st.SearchStrategy[Response]:
    """Answers of any parts in any order, with notices: more than a provider sends."""
    fates: st.SearchStrategy[Fate] = st.sampled_from(["kept", "translated", "emulated", "dropped"])
    return st.builds(
        lambda response, parts, notices: replace(response, parts=parts, notices=notices),
        responses(),
        st.lists(any_parts(), max_size=4).map(tuple),
        st.lists(st.builds(Notice, field=names(), fate=fates, message=texts()), max_size=2).map(tuple),
    )


def responses() -> st.SearchStrategy[Response]:
    """Answers with each kind of part in its usual order: reasoning, text, tool calls."""
    parts = st.tuples(
        st.lists(st.builds(Reasoning, text=texts().filter(bool)), max_size=1),
        st.lists(st.builds(Text, text=texts().filter(bool)), max_size=1),
        st.lists(tool_calls(), max_size=3, unique_by=lambda call: call.id),
    ).map(lambda kinds: tuple(part for kind in kinds for part in kind))
    finishes: st.SearchStrategy[Finish] = st.sampled_from(["stop", "length", "tool_calls", "content_filter"])
    return st.builds(
        Response,
        model=names(),
        id=st.none() | names(),
        parts=parts,
        finish_reason=finishes.map(lambda word: FinishReason(unified=word, raw=word)),
        usage=st.builds(
            Usage,
            input_tokens=_counts,
            output_tokens=_counts,
            cached_input_tokens=_counts,
            reasoning_tokens=_counts,
        ),
        provider_data=unknown_fields(),
    )


def cuts(data: bytes) -> st.SearchStrategy[tuple[bytes, ...]]:
    """`data` in pieces, cut anywhere; pieces may be empty, one byte each, or the whole."""
    places = st.lists(st.integers(0, len(data)), max_size=12).map(sorted)
    single = st.just(tuple(data[index : index + 1] for index in range(len(data))))
    return single | places.map(
        lambda at: tuple(data[start:end] for start, end in zip([0, *at], [*at, len(data)], strict=True))
    )
