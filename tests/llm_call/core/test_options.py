from typing import Any

import pytest

from llm_call.core.client import Client
from llm_call.core.domain.errors import ConfigError
from llm_call.core.domain.request import Tool, ToolChoice
from llm_call.core.options import read_options
from llm_call.core.router import Router
from llm_call.testing.scripted import ScriptedTransport, chat_reply


def sent(**options: Any) -> dict[str, Any]:
    transport = ScriptedTransport(chat_reply("ok"))
    client = Client(router=Router(credentials={"MISTRAL_API_KEY": "k"}), transports={"http": lambda: transport})
    client.ask_sync("hi", model="mistral/m", **options)
    return transport.bodies[0]


def test_settings_reach_the_wire_under_their_names_there() -> None:
    body = sent(max_tokens=9, temperature=0.5, top_p=0.9, stop=["END"], reasoning_effort="low")
    wanted = {"max_tokens": 9, "temperature": 0.5, "top_p": 0.9, "stop": ["END"], "reasoning_effort": "low"}
    assert wanted.items() <= body.items()


def test_tools_and_the_choice_among_them_reach_the_wire() -> None:
    body = sent(tools=[Tool(name="look", parameters={"type": "object"})], tool_choice="required")
    assert body["tools"][0]["function"]["name"] == "look"
    assert body["tool_choice"] in {"required", "any"}
    assert read_options({"tool_choice": ToolChoice(name="look")}).request.tool_choice == ToolChoice(name="look")


def test_provider_options_reach_the_wire_as_they_are() -> None:
    assert sent(provider_options={"safe_prompt": True})["safe_prompt"] is True


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tools": [{"name": "look"}]}, "Tool"),
        ({"tool_choice": "sometimes"}, "sometimes"),
        ({"max_tokens": "many"}, "int"),
        ({"stop": 1}, "array"),
        ({"validate": 5}, "validate"),
        ({"validate": "contains"}, "validate"),
        ({"tools": 5}, "tools"),
        ({"system": 5}, "system"),
        ({"provider_options": 5}, "provider_options"),
        ({"tempo": 1}, "tempo"),
    ],
)
def test_what_is_wrong_is_said(options: Any, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Client().plan("hi", **options)
    assert said in caught.value.message


def test_options_that_were_read_before_are_not_mixed_up_with_equal_ones() -> None:
    client = Client()
    assert client.plan("hi", model="local/smollm2-135m", max_tokens=1).request.settings.max_output_tokens == 1
    with pytest.raises(ConfigError):
        client.plan("hi", model="local/smollm2-135m", max_tokens=True)


def test_each_prompt_has_its_own_messages_whatever_was_read_before() -> None:
    client = Client()
    plans = [client.plan(text, model="local/smollm2-135m", system="Be brief.") for text in ("one", "two")]
    assert [[message.text for message in plan.request.messages] for plan in plans] == [
        ["Be brief.", "one"],
        ["Be brief.", "two"],
    ]


def test_nothing_given_is_as_good_as_left_out() -> None:
    options: Any = dict.fromkeys(("validate", "tools", "tool_choice", "provider_options", "system", "schema", "retry"))
    assert read_options(options) == read_options({})
