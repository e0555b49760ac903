"""What is known of models, from the row to the wire."""

from typing import Any

import pytest

from llm_call.core.client import Client
from llm_call.core.domain.errors import UnsupportedError
from llm_call.core.domain.profile import Profile
from llm_call.core.domain.request import Settings
from llm_call.core.providers.registry import Provider
from llm_call.core.providers.rows import PROVIDERS
from llm_call.core.router import Router
from llm_call.testing.scripted import ScriptedTransport, chat_reply

KEYS = {name: "sk-secret" for row in PROVIDERS for name in row.credential_env}
PROFILES = [
    (row.name, profile) for row in PROVIDERS for profile in (row.profile, *row.profiles.values()) if profile is not None
]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}


def asked(model: str, *rows: Provider, **config: Any) -> tuple[dict[str, Any], list[str]]:
    """The body that goes out, and the fields that the notices name."""
    transport = ScriptedTransport(chat_reply('{"a": 1}'))
    ours = Client(router=Router(credentials=KEYS, rows=rows), transports={"http": lambda: transport})
    result = ours.call_sync({"model": model, "question": "hi", **config})
    return transport.bodies[0], [notice.field for notice in result.response.notices if notice.fate == "dropped"]


@pytest.mark.parametrize(("name", "profile"), PROFILES)
def test_a_profile_names_settings_that_there_are(name: str, profile: Profile) -> None:
    assert {*profile.refuses, *profile.reasoning_refuses} <= set(Settings.__struct_fields__), name


def test_the_first_glob_that_matches_counts_then_the_row_then_the_dialect() -> None:
    a, b, c = Profile(context_tokens=1), Profile(context_tokens=2), Profile(context_tokens=3)
    row = Provider(name="x", patterns=(), profile=c, profiles={"m-1*": a, "m*": b})
    assert [row.profile_of(name) for name in ("m-12", "m", "n")] == [a, b, c]
    assert Provider(name="x", patterns=()).profile_of("m") == Profile()
    assert Provider(name="x", patterns=(), codec="anthropic_messages").profile_of("m").output_mode == "prompted"


def test_a_reasoning_model_gets_no_temperature_and_the_longer_word_for_the_limit() -> None:
    body, dropped = asked("openai/o4-mini", temperature=0.5, max_tokens=9)
    assert (body.get("temperature"), body["max_completion_tokens"], dropped) == (None, 9, ["temperature"])
    body, dropped = asked("openai/gpt-4o", temperature=0.5, max_tokens=9)
    assert (body["temperature"], dropped) == (0.5, [])


@pytest.mark.parametrize(
    ("model", "kept"),
    [
        ("gpt-5-mini", False),
        ("gpt-5.6", False),
        ("gpt-5.2", True),
        ("gpt-5.2-chat-latest", False),
        ("gpt-5-chat-latest", True),
        ("gpt-4.1", True),
        ("deepseek/deepseek-v4-pro", False),
    ],
)
def test_temperature_is_for_models_that_do_not_reason_by_themselves(model: str, kept: bool) -> None:
    assert ("temperature" in asked(model, temperature=0.5)[0]) == kept


def test_without_reasoning_they_take_it_too() -> None:
    assert asked("gpt-5.6", temperature=0.5, reasoning_effort="none")[0]["temperature"] == 0.5


@pytest.mark.parametrize(
    ("model", "form"),
    [
        ("gpt-4o", "json_schema"),
        ("gpt-3.5-turbo", "json_object"),
        ("deepseek/deepseek-v4-pro", "json_object"),
        ("groq/llama-3.3-70b-versatile", "json_object"),
        ("groq/openai/gpt-oss-20b", "json_schema"),
    ],
)
def test_a_schema_is_asked_for_in_the_way_that_the_model_has(model: str, form: str) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    body, _ = asked(model, response_format=wanted)
    assert body["response_format"]["type"] == form
    assert ('"integer"' in body["messages"][0]["content"]) == (form == "json_object")


def test_tools_are_refused_before_any_request_where_the_model_has_none() -> None:
    mine = Provider(name="mine", patterns=("mine/*",), base_url="http://localhost:1", profile=Profile(tools=False))
    with pytest.raises(UnsupportedError, match="takes no tools"):
        asked("mine/m", mine, tools=[TOOL])
    assert asked("mine/m", mine)[0]["model"] == "m"


def test_in_strict_mode_a_setting_that_is_refused_is_an_error() -> None:
    transport = ScriptedTransport(chat_reply("x"))
    ours = Client(router=Router(credentials=KEYS), transports={"http": lambda: transport})
    with pytest.raises(UnsupportedError, match="temperature"):
        ours.ask_sync("hi", model="openai/o3", temperature=0.5, strict=True)
    assert transport.bodies == []
