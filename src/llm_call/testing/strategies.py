"""Hypothesis strategies for the domain's values, for property tests of codecs and of what stands on them.

Needs hypothesis, which is no dependency of the library: import this module in tests only.

Rule: cheap to draw, because the laws are tested over thousands of cases. Where the kind of a value matters more than
its length, telling examples stand beside what is drawn at random. What a value keeps for a dialect is made by
`kept_by`, and nowhere else.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

import msgspec
from hypothesis import strategies as st

from llm_call.core.domain.messages import CacheMarker, Media, Message, Part, Reasoning, Role, Text, ToolCall, ToolResult
from llm_call.core.domain.profile import Profile
from llm_call.core.domain.request import OutputSpec, Request, Settings, Tool, ToolChoice
from llm_call.core.domain.response import Fate, Finish, FinishReason, Notice, Response, Usage

Fields = dict[str, Any]

IMAGE_TYPES = ("image/png", "image/jpeg", "image/gif", "image/webp")
AUDIO_TYPES = ("audio/wav", "audio/mpeg", "audio/x-wav", "audio/ogg")
DOCUMENT_TYPES = ("application/pdf", "text/plain", "text/markdown")
HEARING = frozenset({"openai_chat", "gemini"})
"""The dialects that take sounds."""

# What breaks framing, escaping and the cutting of characters, where it can be broken.
TELLING_TEXTS = (
    *("", " ", "a", "Hello, ", "wörld", "日本語", "👩\u200d👩\u200d👧", "\u2028\u2029\ufeff", "\x00\x1f\x7f\x85"),
    *("\n", "\r\n\r\n", 'data: {"x": 1}\n\n', "event: error\n", "[DONE]", '"}\\', "</answer>", '{"a": [1, 2', "null"),
)
# Arguments as models write them: the text counts, not the value.
OBJECTS = ("{}", '{"city": "Pâris"}', '{"a": 1.0, "a" : 1E+2}', '{"n":[1,{"b":null}],"s":"\\u00e9\\n"}', '{ "x" : "" }')
_UNKNOWN: tuple[Fields, ...] = ({"x_a": 1}, {"x_b": {"deep": [1, None, "é"]}}, {"x_c": "\n", "x_d": [False]})
# The reasoning of each dialect: what its parts keep. With a text and without one; some have a signature.
_THOUGHTS: Mapping[str, tuple[Fields, ...]] = {
    "openai_chat": ({"field": "reasoning"}, {"field": "reasoning_content"}),
    "openai_responses": ({"type": "summary_text"}, {"type": "reasoning_text", "id": "rs_1"}),
    "anthropic_messages": ({"type": "thinking"}, {"type": "thinking", "x_kept": 1}),
    "gemini": ({"thought": True}, {"thought": True, "x_kept": 1}),
}
_counts = st.none() | st.sampled_from([0, 1, 2**53]) | st.integers(0, 2**53)
_schema_leaves: st.SearchStrategy[Fields] = st.sampled_from(
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


@cache
def kept_by(dialect: str, fields: st.SearchStrategy[Fields]) -> st.SearchStrategy[Fields]:
    """`provider_data` that keeps `fields` for `dialect`."""
    return fields.map(lambda kept: {dialect: kept} if kept else {})


@cache
def kept_on_the_way(dialect: str, fields: st.SearchStrategy[Fields]) -> st.SearchStrategy[Fields]:
    """The same for a conversation that has been in other dialects too: some of it is theirs."""
    owners = st.sampled_from([*[dialect] * 5, *_THOUGHTS])
    return st.builds(lambda kept, owner: {owner: kept} if kept else {}, fields, owners)


def sampled(dialect: str, *fields: Fields) -> st.SearchStrategy[Fields]:
    """`provider_data` that keeps one of `fields` for `dialect`."""
    return kept_by(dialect, st.sampled_from(fields))


def refused(text: str) -> Text:
    """The text in which a model refuses."""
    return Text(text=text, refusal=True)


@cache
def texts(max_size: int = 20) -> st.SearchStrategy[str]:
    """Any text that UTF-8 can carry, of at most `max_size` characters."""
    telling = [text for text in TELLING_TEXTS if len(text) <= max_size]
    return st.sampled_from(telling) | st.text(st.characters(exclude_categories=["Cs"]), max_size=max_size)


@cache
def names() -> st.SearchStrategy[str]:
    """Names as providers take them: letters, digits, `_` and `-`, 1 to 12 of them."""
    letters = "abcdefghijklmnopqrstuvwxyzABCXYZ0123456789_-"
    return st.sampled_from(["a", "get_weather", "0-_Z"]) | st.text(letters, min_size=1, max_size=12)


@cache
def json_values() -> st.SearchStrategy[Any]:
    """JSON values of a few levels: only what comes back from JSON as it went in."""
    leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts()
    return st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts(), inner, max_size=3), max_leaves=5
    )


@cache
def unknown_fields() -> st.SearchStrategy[Fields]:
    """Fields that no dialect knows, often none; never null or empty."""
    values = json_values().filter(lambda value: value not in (None, [], {}, ""))
    drawn = st.dictionaries(names().map("x_".__add__), values, min_size=1, max_size=1)
    none: st.SearchStrategy[Fields] = st.just({})
    return st.sampled_from([*([{}] * 4), *_UNKNOWN]) | none | none | drawn


@cache
def fields_that_clash(*fields: str) -> st.SearchStrategy[Fields]:
    """Unknown fields, and sometimes one of `fields`, which a dialect has a place of its own for."""
    clash = st.builds(lambda name, text: {name: text}, st.sampled_from(fields), st.sampled_from(TELLING_TEXTS))
    return unknown_fields() | unknown_fields() | unknown_fields() | clash


@cache
def schemas() -> st.SearchStrategy[Fields]:
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


@cache
def settings() -> st.SearchStrategy[Settings]:
    """Settings, most of them not set."""
    numbers = st.sampled_from([None, None, 0.0, 1.0, -0.5]) | st.floats(-2, 2)
    switches = st.sampled_from([None, None, True, False])
    some = st.builds(
        Settings,
        max_output_tokens=st.sampled_from([None, 1, 100_000]),
        temperature=numbers,
        top_p=numbers,
        stop=st.sampled_from([(), (), ("\n",), ("日本", "</answer>")]),
        seed=st.none() | st.integers(),
        frequency_penalty=numbers,
        presence_penalty=numbers,
        logprobs=switches,
        top_logprobs=st.sampled_from([None, None, 0, 20]),
        parallel_tool_calls=switches,
        reasoning_effort=st.sampled_from([None, None, "none", "minimal", "low", "high", "xhigh"]),
    )
    return st.just(Settings()) | some


@cache
def cache_markers() -> st.SearchStrategy[CacheMarker | None]:
    """Prompt-cache markers, mostly none."""
    return st.sampled_from([None, None, None, CacheMarker(), CacheMarker(ttl="5m"), CacheMarker(ttl="1h")])


@cache
def text_parts(dialect: str) -> st.SearchStrategy[Text]:
    """Texts, some that keep a field."""
    kept = kept_on_the_way(dialect, fields_that_clash("type", "text"))
    return st.builds(Text, text=texts()) | st.builds(Text, text=texts(), cache=cache_markers(), provider_data=kept)


@cache
def media(dialect: str) -> st.SearchStrategy[Media]:
    """Media that `dialect` takes: with bytes, some with a URL too, and images that have a URL only."""
    urls = names().map("https://example.org/".__add__) | st.just("data:image/png;base64,iVBORw==")
    common: Fields = {
        "name": st.none() | st.just("report.pdf") | names(),
        "cache": cache_markers(),
        "provider_data": kept_on_the_way(dialect, unknown_fields()),
    }
    types = [*IMAGE_TYPES, *DOCUMENT_TYPES, *(AUDIO_TYPES if dialect in HEARING else ())]
    data = st.sampled_from([b"", b"plain", "wörld".encode()])  # UTF-8, which a text has to be
    return st.builds(
        Media, media_type=st.sampled_from(types), data=data, url=st.none() | st.none() | urls, **common
    ) | st.builds(Media, media_type=st.sampled_from([*IMAGE_TYPES, "image/*"]), url=urls, **common)


@cache
def argument_objects() -> st.SearchStrategy[str]:
    """The arguments of a call, as a model writes them: a JSON object."""
    drawn = st.dictionaries(names(), json_values(), max_size=1).map(lambda each: msgspec.json.encode(each).decode())
    return st.sampled_from(OBJECTS) | st.sampled_from(OBJECTS) | drawn


@cache
def tool_calls(dialect: str) -> st.SearchStrategy[ToolCall]:
    """Tool calls; but for Google's dialect, which refuses it, the arguments may be no JSON at all."""
    inside = st.sampled_from(_UNKNOWN).map(lambda extra: {"function": extra})
    kept = kept_by(dialect, unknown_fields() | unknown_fields() | inside)
    arguments = argument_objects() if dialect == "gemini" else argument_objects() | texts()
    return st.builds(ToolCall, id=names(), name=names(), arguments=arguments, provider_data=kept)


@cache
def tool_results(dialect: str) -> st.SearchStrategy[ToolResult]:
    """Results of texts."""
    parts = st.lists(text_parts(dialect), max_size=2).map(tuple)
    kept = kept_on_the_way(dialect, unknown_fields())
    return st.builds(
        ToolResult, call_id=names(), parts=parts, is_error=st.booleans(), cache=cache_markers(), provider_data=kept
    )


@cache
def thoughts(dialect: str) -> st.SearchStrategy[Reasoning]:
    """Reasoning as `dialect` brought it, or another, or none."""
    origins = [
        kept_by(origin, st.sampled_from(forms))
        for origin, forms in _THOUGHTS.items()
        for _ in range(4 if origin == dialect else 1)
    ]
    signatures = st.none() | st.just("c2ln") | names()
    return st.builds(Reasoning, text=texts(), signature=signatures, provider_data=st.one_of(st.just({}), *origins))


@cache
def messages(dialect: str) -> st.SearchStrategy[Message]:
    """Messages of every role, with the parts that a role may have, in any order."""
    heard: st.SearchStrategy[Part] = text_parts(dialect) | media(dialect) | tool_results(dialect)
    spoken: st.SearchStrategy[Part] = text_parts(dialect) | texts().map(refused)
    return (
        _messages(dialect, "system", text_parts(dialect))
        | _messages(dialect, "developer", text_parts(dialect))
        | _messages(dialect, "user", heard)
        | _messages(dialect, "assistant", spoken | thoughts(dialect) | tool_calls(dialect))
        | _messages(dialect, "tool", tool_results(dialect), min_size=1)
    )


def _messages(dialect: str, role: Role, parts: st.SearchStrategy[Any], min_size: int = 0) -> st.SearchStrategy[Message]:
    return st.builds(
        Message,
        role=st.just(role),
        parts=st.lists(parts, min_size=min_size, max_size=3).map(tuple),
        name=st.sampled_from([None, None, "ann"]),
        provider_data=kept_on_the_way(dialect, st.just({}) | fields_that_clash("role", "content", "name")),
    )


@cache
def output_specs() -> st.SearchStrategy[OutputSpec]:
    """Any JSON, or a small schema."""
    return st.builds(
        OutputSpec,
        schema=st.none() | schemas(),
        name=st.just("answer") | names(),
        strict=st.sampled_from([None, True, False]),
        description=st.none() | st.just("An answer.") | texts(),
    )


@cache
def requests(dialect: str) -> st.SearchStrategy[Request]:
    """Requests over everything that `dialect` has to carry. A tool is demanded only where there are tools."""
    tools = st.builds(
        Tool,
        name=names(),
        description=st.just("") | texts(),
        parameters=st.just({}) | schemas(),
        strict=st.sampled_from([None, True, False]),
        cache=cache_markers(),
        provider_data=kept_by(dialect, unknown_fields()),
    )
    choices = [ToolChoice(), *(ToolChoice(mode=mode) for mode in ("none", "required"))]
    choices += [ToolChoice(name="f"), ToolChoice(mode="required", name="f")]
    with_tools = st.fixed_dictionaries(
        {
            "tools": st.lists(tools, min_size=1, max_size=2).map(tuple),
            "tool_choice": st.sampled_from([None, *choices]),
        }
    )
    no_tools = st.fixed_dictionaries({"tool_choice": st.sampled_from([None, ToolChoice(), ToolChoice(mode="none")])})
    options: st.SearchStrategy[Fields] = st.sampled_from(
        [{"stream_options": {"x": 1}}, {"stream_options": {"include_usage": False}}]
    )
    return st.builds(
        lambda tooling, **fields: Request(**tooling, **fields),
        no_tools | with_tools,
        model=st.just("m1") | names().map("m".__add__),
        messages=st.lists(messages(dialect), max_size=3).map(tuple),
        settings=settings(),
        output=st.none() | output_specs(),
        provider_options=unknown_fields() | unknown_fields() | options,
        dialect=st.just(dialect),
    )


@cache
def profiles() -> st.SearchStrategy[Profile]:
    """Profiles of every output mode, some with keywords that are not enforced and a limit on strings, or markers."""
    return st.builds(
        Profile,
        output_mode=st.sampled_from(["native", "json", "prompted"]),
        unenforced_keywords=st.sampled_from([(), ("not", "uniqueItems", "patternProperties"), ("pattern",)]),
        string_limit=st.sampled_from([None, None, 1, 100]),
        cache_markers=st.booleans(),
        schema_rule=st.sampled_from(["any", "closed", "strict"]),
    )


@cache
def counts() -> st.SearchStrategy[int | None]:
    """A count of tokens, or that it is not known."""
    return _counts


@cache
def sizes() -> st.SearchStrategy[tuple[int, ...]]:
    """How many bytes each piece of a stream has; the last one goes for all that follow. See `laws.cut`."""
    drawn = st.lists(st.integers(0, 400), min_size=1, max_size=4).map(lambda each: (*each, 4096))
    return st.sampled_from([(1,), (2,), (3,), (7,), (64,), (4096,)]) | drawn | drawn


@cache
def any_parts(dialect: str) -> st.SearchStrategy[Part]:
    """Parts of every kind."""
    return text_parts(dialect) | media(dialect) | thoughts(dialect) | tool_calls(dialect) | tool_results(dialect)


@cache
def any_responses() -> st.SearchStrategy[Response]:
    """Answers of any parts in any order, with notices: more than a provider sends."""
    fates: st.SearchStrategy[Fate] = st.sampled_from(["kept", "translated", "emulated", "dropped"])
    finishes: st.SearchStrategy[Finish] = st.sampled_from(["stop", "length", "tool_calls", "content_filter", "other"])
    return st.builds(
        Response,
        model=names(),
        id=st.none() | names(),
        parts=st.lists(st.sampled_from(list(_THOUGHTS)).flatmap(any_parts), max_size=4).map(tuple),
        finish_reason=st.builds(FinishReason, unified=finishes, raw=st.none() | names()),
        usage=st.builds(Usage, **dict.fromkeys(Usage.__struct_fields__, _counts)),
        provider_data=kept_by("openai_chat", unknown_fields()),
        notices=st.lists(st.builds(Notice, field=names(), fate=fates, message=texts()), max_size=2).map(tuple),
    )


def cuts(data: bytes) -> st.SearchStrategy[tuple[bytes, ...]]:
    """`data` in pieces, cut anywhere; pieces may be empty, one byte each, or the whole."""
    places = st.lists(st.integers(0, len(data)), max_size=12).map(sorted)
    single = st.just(tuple(data[index : index + 1] for index in range(len(data))))
    return single | places.map(
        lambda at: tuple(data[start:end] for start, end in zip([0, *at], [*at, len(data)], strict=True))
    )
