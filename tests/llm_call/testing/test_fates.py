"""Nothing is dropped silently: every field is probed in every dialect, and a codec that loses one is found out."""

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from llm_call.core.domain.messages import Media, Message, Text, ToolResult
from llm_call.core.domain.profile import DialectName, Profile
from llm_call.core.domain.request import OutputSpec, Request, Settings, Tool
from llm_call.core.domain.response import Notice
from llm_call.core.providers.registry import DIALECTS, codec
from llm_call.core.wire.base import WireRequest
from llm_call.core.wire.openai_chat import OpenAIChatCodec
from llm_call.testing.fates import Probe, outcome, probes

EVERY = [(name, probe) for name in DIALECTS for probe in probes(name)]


class Losing(OpenAIChatCodec):
    """A codec that leaves `lost` out of the body, and says `notices` of it where the request has a seed."""

    def __init__(self, lost: str, *notices: Notice) -> None:
        self.lost = lost
        self.notices = notices

    def encode_request(self, request: Request, *, stream: bool, profile: Profile) -> WireRequest:
        wire = super().encode_request(request, stream=stream, profile=profile)
        body = msgspec.json.encode(without(msgspec.json.decode(wire.body), self.lost))
        said = self.notices if request.settings.seed is not None else ()
        return replace(wire, body=body, notices=(*wire.notices, *said))


def without(value: Any, name: str) -> Any:
    if isinstance(value, Mapping):
        return {key: without(inner, name) for key, inner in value.items() if key != name}
    return [without(each, name) for each in value] if isinstance(value, list) else value


def probe_of(field: str) -> Probe:
    return next(probe for probe in probes("openai_chat") if probe.field == field)


@pytest.mark.parametrize(("name", "probe"), EVERY, ids=[f"{name}-{probe.field}" for name, probe in EVERY])
def test_no_field_is_dropped_silently(name: DialectName, probe: Probe) -> None:
    found = outcome(codec(name), probe)
    assert found.why or found.fate in {"kept", "translated"}


@pytest.mark.parametrize(
    ("field", "lost"),
    [
        ("settings.seed", "seed"),
        ("settings.parallel_tool_calls", "parallel_tool_calls"),
        ("tools[].strict", "strict"),
        ("tool_choice: required", "tool_choice"),
        ("a schema", "schema"),
        ("image, by its bytes", "image_url"),
        ("ToolCall.arguments", "arguments"),
        ("role: system, later", "content"),
    ],
)
def test_a_field_that_vanishes_is_found_out(field: str, lost: str) -> None:
    with pytest.raises(AssertionError, match="silently"):
        outcome(Losing(lost), probe_of(field))


def test_a_notice_about_the_field_makes_it_a_drop_that_was_said() -> None:
    said = Notice(field="settings.seed", fate="dropped", message="no such thing")
    found = outcome(Losing("seed", said), probe_of("settings.seed"))
    assert (found.fate, found.why) == ("dropped", ("no such thing",))


def test_a_notice_about_another_field_says_nothing_of_this_one() -> None:
    said = Notice(field="settings.stop", fate="dropped", message="no such thing")
    with pytest.raises(AssertionError, match="silently"):
        outcome(Losing("seed", said), probe_of("settings.seed"))


@pytest.mark.parametrize(
    "kind", [Settings, Tool, OutputSpec, Text, Media, ToolResult, Message], ids=lambda kind: kind.__name__
)
def test_every_field_of_the_domain_is_probed(kind: type[msgspec.Struct]) -> None:
    """A field that a value of the domain gets later is probed by itself, or this fails."""
    probed = " ".join(probe.path for probe in probes("openai_chat"))
    elsewhere = {"provider_data", "role", "parts", "call_id", "text", "schema"}
    missing = [name for name in kind.__struct_fields__ if name not in elsewhere and f".{name}" not in probed]
    assert not missing
