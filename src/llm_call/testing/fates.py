"""What becomes of every field of a request in every dialect, found out by encoding it: the table of `docs/dialects.md`.

Rule: a field is probed with a request that has it beside one that has it not. Where it leaves no trace, neither in the
wire nor in a notice nor in a refusal, it was dropped silently: that is an `AssertionError`, and there is no table.
A text, a number or an object of a probe has to be found in the wire word for word where no notice speaks of it; for a
switch or a word of our own it is enough that the wire changes. A new field of the domain's values is probed by itself.
"""

from base64 import b64encode
from collections.abc import Iterator, Mapping
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from llm_call.core.domain.errors import UnsupportedError
from llm_call.core.domain.messages import Media, Message, Part, Reasoning, Text, ToolCall, ToolResult, message
from llm_call.core.domain.profile import DialectName, Profile
from llm_call.core.domain.request import OutputSpec, Request, Settings, Tool, ToolChoice
from llm_call.core.domain.response import Fate
from llm_call.core.providers.registry import DIALECTS, codec
from llm_call.core.wire.base import Codec, WireRequest
from llm_call.testing.laws import is_named

MARK = "probe"
"""How a text of a probe begins that has to be found in the wire."""

ORDER: tuple[Fate | Literal["refused"], ...] = ("kept", "translated", "emulated", "dropped", "refused")


class Probe(Struct, frozen=True, kw_only=True):
    """A field under the name that the table gives it: `with_it` says in `values` what `without` does not say.

    `path` is where it stands in `with_it`, as notices name it.
    """

    group: str
    field: str
    path: str
    with_it: Request
    without: Request
    values: tuple[Any, ...]
    profile: Profile = Profile()


class Outcome(Struct, frozen=True, kw_only=True):
    """What became of a field, and what the notices or the refusal say of it."""

    fate: Fate | Literal["refused"]
    why: tuple[str, ...] = ()


def outcome(dialect: Codec, probe: Probe) -> Outcome:
    """What becomes of the probed field.

    Raises:
        AssertionError: It is dropped silently.
    """
    without = dialect.encode_request(probe.without, stream=False, profile=probe.profile)
    try:
        wire = dialect.encode_request(probe.with_it, stream=False, profile=probe.profile)
    except UnsupportedError as error:
        return Outcome(fate="refused", why=(error.message.rpartition(": ")[2],))
    notices = [each for each in wire.notices if each not in without.notices and is_named(probe.path, [each])]
    if notices:
        fate = max((notice.fate for notice in notices), key=ORDER.index)
        return Outcome(fate=fate, why=tuple(dict.fromkeys(notice.message for notice in notices)))
    added = list(_added(_said(without), _said(wire)))
    found = [value for value in probe.values if _stands(value, added)]
    missing = [value for value in probe.values if _has_to_be_found(value) and value not in found]
    if missing or not added:
        raise AssertionError(
            f"{dialect.name} drops {probe.field} silently: {missing or probe.values} is not in the body"
        )
    return Outcome(fate="kept" if len(found) == len(probe.values) else "translated")


def _said(wire: WireRequest) -> Any:
    return {"path": wire.path, "headers": dict(wire.headers), "body": msgspec.json.decode(wire.body)}


def _added(before: Any, after: Any) -> Iterator[Any]:
    """Every value that `after` has and `before` has not in the same place; lists are compared as wholes too."""
    if before == after:
        return
    yield after
    if isinstance(after, dict):
        known: Mapping[str, Any] = before if isinstance(before, dict) else {}
        for name, value in after.items():
            yield from _added(known.get(name), value)
    elif isinstance(after, list):
        for index, value in enumerate(after):
            old = before[index] if isinstance(before, list) and index < len(before) else None
            yield from _added(old, value)


def _stands(value: Any, added: list[Any]) -> bool:
    """Whether `value` stands in one of `added`: a text as a part of one, in any case or in base64; a number too."""
    if isinstance(value, bool | Mapping):
        return any(type(each) is type(value) and each == value for each in added)
    plain = str(value).casefold()
    coded = b64encode(str(value).encode()).decode().casefold()
    texts = [str(each).casefold() for each in added if isinstance(each, str | int | float)]
    return any(plain in text or coded in text for text in texts)


def _has_to_be_found(value: Any) -> bool:
    return value.startswith(MARK) if isinstance(value, str) else not isinstance(value, bool | Struct)


def table() -> dict[str, dict[str, dict[DialectName, Outcome]]]:
    """Group, field, dialect: what becomes of it.

    Raises:
        AssertionError: A field is dropped silently.
    """
    groups: dict[str, dict[str, dict[DialectName, Outcome]]] = {}
    for name in DIALECTS:
        for probe in probes(name):
            groups.setdefault(probe.group, {}).setdefault(probe.field, {})[name] = outcome(codec(name), probe)
    return groups


# Probes

_HELLO = Request(model="m1", messages=(message("user", "hello"),))
_TOOL = Tool(name="add", parameters={"type": "object", "properties": {}})
_SCHEMA: Mapping[str, Any] = {"type": "object", "properties": {MARK: {"type": "string"}}, "additionalProperties": False}
_CALL = ToolCall(id="call_1", name="add", arguments="{}")
_ANY = Profile()
_OTHERWISE: Mapping[str, Any] = {
    "parameters": _SCHEMA,
    "parallel_tool_calls": False,
    "reasoning_effort": "low",
    "stop": (f"{MARK}_stop",),
    "name": f"{MARK}_name",
}
_SHOWN = f"{MARK}!"  # what the bytes of a probe's media say: in base64 it has no padding
# An answer of each dialect that holds a thought and, where the dialect has it, what signs or seals the thought.
_SIGNED = f"{MARK}_signature"
_THOUGHT = f"{MARK}_thought"
_ANSWERS: Mapping[DialectName, Any] = {
    "openai_chat": {"choices": [{"message": {"reasoning_content": _THOUGHT}, "finish_reason": "stop"}]},
    "openai_responses": {
        "output": [
            {
                "type": "reasoning",
                "summary": [{"type": "summary_text", "text": _THOUGHT}],
                "encrypted_content": _SIGNED,
            }
        ]
    },
    "anthropic_messages": {"content": [{"type": "thinking", "thinking": _THOUGHT, "signature": _SIGNED}]},
    "gemini": {
        "candidates": [{"content": {"parts": [{"text": _THOUGHT, "thought": True, "thoughtSignature": _SIGNED}]}}]
    },
}


def probes(dialect: DialectName) -> Iterator[Probe]:
    """Every field of a request, as `dialect` may be asked to carry it."""
    yield from _settings()
    yield from _tools()
    yield from _outputs()
    yield from _messages()
    yield from _media()
    yield from _calls()
    yield from _reasoning(dialect)


def _settings() -> Iterator[Probe]:
    without = replace(_HELLO, tools=(_TOOL,))
    for name, value in _samples(Settings):
        with_it = replace(without, settings=Settings(**{name: value}))
        yield _probe("Settings", f"settings.{name}", with_it, without, value)
    option = f"{MARK}_option"
    with_it = replace(without, provider_options={option: 417})
    yield _probe("Settings", "provider_options", with_it, without, 417, path=f"provider_options.{option}")


def _tools() -> Iterator[Probe]:
    without = replace(_HELLO, tools=(_TOOL,))
    for name, value in _samples(Tool):
        with_it = replace(_HELLO, tools=(replace(_TOOL, **{name: value}),))
        yield _probe("Tools", f"tools[].{name}", with_it, without, value, path=f"tools[0].{name}")
    modes = get_args(ToolChoice.__annotations__["mode"])
    for choice in (*(ToolChoice(mode=mode) for mode in modes), ToolChoice(name="add")):
        with_it = replace(without, tool_choice=choice)
        field = "tool_choice: " + ("a name" if choice.name else choice.mode)
        yield _probe("Tools", field, with_it, without, choice.name or choice.mode, path="tool_choice")


def _outputs() -> Iterator[Probe]:
    group, spec = "The form of the answer", OutputSpec(schema=_SCHEMA)
    modes: Mapping[str, Profile] = {
        "": Profile(),
        ", where the model has no schema mode": Profile(output_mode="json"),
        ", where it has no JSON mode either": Profile(output_mode="prompted"),
    }
    for said, profile in modes.items():
        for field, wanted, value in (("any JSON", OutputSpec(), "json"), ("a schema", spec, _SCHEMA)):
            with_it = replace(_HELLO, output=wanted)
            yield _probe(group, f"{field}{said}", with_it, _HELLO, value, path="output", profile=profile)
    for name, value in _samples(OutputSpec):
        if name != "schema":
            with_it = replace(_HELLO, output=replace(spec, **{name: value}))
            yield _probe(group, f"output.{name}", with_it, replace(_HELLO, output=spec), value)


def _messages() -> Iterator[Probe]:
    group, mark, hello = "Messages", f"{MARK}_text", _HELLO.messages
    yield _probe(group, "role: user", _asked(*hello, message("user", mark)), _HELLO, mark, path="messages[1]")
    yield _probe(group, "role: assistant", _asked(*hello, message("assistant", mark)), _HELLO, mark, path="messages[1]")
    yield _probe(
        group, "role: system, first", _asked(message("system", mark), *hello), _HELLO, mark, path="messages[0]"
    )
    yield _probe(
        group, "role: system, later", _asked(*hello, message("system", mark)), _HELLO, mark, path="messages[1]"
    )
    yield _probe(group, "role: developer", _asked(message("developer", mark), *hello), _HELLO, mark, path="messages[0]")
    named = _asked(replace(hello[0], name=f"{MARK}_name"))
    yield _probe(group, "name", named, _HELLO, f"{MARK}_name", path="messages[0].name")
    plain = Text(text="hi")
    for name, value in _samples(Text):
        with_it, without = (_answered(each) for each in (replace(plain, **{name: value}), plain))
        yield _probe(group, f"Text.{name}", with_it, without, value, path=f"messages[1].parts[0].{name}")


def _media() -> Iterator[Probe]:
    kinds: Mapping[str, str] = {
        "image": "image/png",
        "PDF": "application/pdf",
        "text file": "text/plain",
        "sound": "audio/wav",
        "film": "video/mp4",
    }
    url = f"https://example.org/{MARK}"
    for said, media_type in kinds.items():
        yield _seen(f"{said}, by its bytes", Media(media_type=media_type, data=_SHOWN.encode()), "data", _SHOWN)
        yield _seen(f"{said}, by its URL", Media(media_type=media_type, url=url), "url", url)
    data_url = "data:image/png;base64," + b64encode(_SHOWN.encode()).decode()
    yield _seen("image, by a data URL", Media(media_type="image/png", url=data_url), "url", _SHOWN)
    typed, untyped = (Media(media_type=media_type, url=url) for media_type in ("image/png", "image/*"))
    yield _seen("image by its URL: media_type", typed, "media_type", "image/png", untyped)
    for name, value in _samples(Media):
        for said in ("image", "PDF") if name not in {"media_type", "data", "url"} else ():
            plain = Media(media_type=kinds[said], data=b"-")
            yield _seen(f"{said}: {name}", replace(plain, **{name: value}), name, value, plain)


def _seen(field: str, part: Media, name: str, value: Any, plain: Media | None = None) -> Probe:
    """Media beside a text, or beside the same that lacks one thing."""
    with_it, without = (
        _asked(Message(role="user", parts=(Text(text="see"), *parts))) for parts in ((part,), (plain,) if plain else ())
    )
    return _probe("Media", field, with_it, without, value, path=f"messages[0].parts[1].{name}")


def _calls() -> Iterator[Probe]:
    group, without = "Calls of tools and their results", _answered(_CALL)
    samples = {"id": f"{MARK}_id", "name": f"{MARK}_call", "arguments": '{"x":417}'}
    for name, value in samples.items():
        with_it, said = _answered(replace(_CALL, **{name: value})), 417 if name == "arguments" else value
        yield _probe(group, f"ToolCall.{name}", with_it, without, said, path=f"messages[1].parts[0].{name}")
    broken = _answered(replace(_CALL, arguments=f"{MARK} {{"))
    field = "ToolCall.arguments that are no JSON"
    yield _probe(group, field, broken, without, f"{MARK} {{", path="messages[1].parts[0].arguments")
    hi, said_again = Text(text="hi"), Text(text=f"{MARK}_result")
    shown = Media(media_type="image/png", data=_SHOWN.encode())
    plain = ToolResult(call_id=_CALL.id, parts=(hi,))
    yield _returned("a text", replace(plain, parts=(said_again,)), "parts[0]", said_again.text, plain)
    yield _returned("several texts", replace(plain, parts=(hi, said_again)), "parts[1]", said_again.text, plain)
    yield _returned("an image", replace(plain, parts=(shown,)), "parts[0]", _SHOWN, plain)
    for name, value in _samples(ToolResult):
        if name not in {"call_id", "parts"}:
            yield _returned(name, replace(plain, **{name: value}), name, value, plain)


def _returned(field: str, result: ToolResult, inside: str, value: Any, plain: ToolResult) -> Probe:
    with_it, without = (_answered(_CALL, Message(role="tool", parts=(each,))) for each in (result, plain))
    group, path = "Calls of tools and their results", f"messages[2].parts[0].{inside}"
    return _probe(group, f"ToolResult: {field}", with_it, without, value, path=path)


def _reasoning(dialect: DialectName) -> Iterator[Probe]:
    names, hi = tuple(DIALECTS), Text(text="hi")
    own, foreign = _thought(dialect), _thought(names[names.index(dialect) - 1])
    without = _answered(hi, *_HELLO.messages)
    for field, part in {
        "from the same dialect, with its signature if it has one": own,
        "from the same dialect, its signature lost": replace(own, signature=None),
        "from another dialect": foreign,
        "of no origin": Reasoning(text=_THOUGHT),
    }.items():
        with_it = _asked(*_HELLO.messages, Message(role="assistant", parts=(part, hi)), *_HELLO.messages)
        values = (_THOUGHT,) if part.signature is None else (_THOUGHT, part.signature)
        yield _probe("Reasoning", field, with_it, without, values, path="messages[1].parts[0]")


def _thought(dialect: DialectName) -> Reasoning:
    answer = codec(dialect).decode_response(msgspec.json.encode(_ANSWERS[dialect]))
    return next(part for part in answer.parts if isinstance(part, Reasoning))


def _asked(*messages: Message) -> Request:
    return replace(_HELLO, messages=messages)


def _answered(part: Part, *more: Message) -> Request:
    """A question, an answer of one part, and `more`. Calls need their tool."""
    return replace(_asked(*_HELLO.messages, Message(role="assistant", parts=(part,)), *more), tools=(_TOOL,))


def _probe(
    group: str,
    field: str,
    with_it: Request,
    without: Request,
    value: Any,
    *,
    path: str = "",
    profile: Profile = _ANY,
) -> Probe:
    values = value if isinstance(value, tuple) else (value,)
    return Probe(
        group=group,
        field=field,
        path=path or field,
        with_it=with_it,
        without=without,
        values=values,
        profile=profile,
    )


# Values


def _samples(kind: type[Struct]) -> Iterator[tuple[str, Any]]:
    """A value for each field of `kind` but `provider_data`, which is no field of ours."""
    for field in msgspec.structs.fields(kind):
        if field.name != "provider_data":
            yield field.name, _OTHERWISE.get(field.name, _sample(field.type, field.name))


def _sample(kind: Any, name: str) -> Any:
    """A value of the type `kind`, as telling as the type allows."""
    kinds = [each for each in get_args(kind) if each is not NoneType]
    if get_origin(kind) is Literal:
        return kinds[0]
    if NoneType in get_args(kind):
        return _sample(kinds[0], name)
    simple: Mapping[Any, Any] = {str: f"{MARK}_{name}", int: 417, float: 0.417, bool: True, bytes: _SHOWN.encode()}
    if kind in simple:
        return simple[kind]
    if isinstance(kind, type) and issubclass(kind, Struct):
        return kind()
    return _SCHEMA if get_origin(kind) is not tuple else ()
