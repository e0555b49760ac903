from typing import Any

import pytest

from llm_call.core.domain.messages import Media, Message, Text, message
from llm_call.core.domain.profile import Profile
from llm_call.core.domain.request import OutputSpec, Request
from llm_call.core.validation.asking import field_list, instruction, with_instruction

PERSON = {"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}}
FIELDS = Profile(schema_hint="fields")


def asked(*messages: Message, output: OutputSpec | None = OutputSpec(schema=PERSON)) -> tuple[Message, ...]:  # noqa: B008  (frozen)
    return with_instruction(Request(model="m", messages=messages, output=output), FIELDS).messages


def test_the_sentence_stands_in_front_of_the_last_question() -> None:
    first, last = asked(message("system", "Be brief."), message("user", "Alice is 34."))
    assert first == message("system", "Be brief.")
    assert last.text == "Answer with JSON that has these fields: name (string), age (integer).\n\nAlice is 34."


def test_a_question_that_begins_with_an_image_keeps_its_order() -> None:
    image = Media(media_type="image/png", data=b"x")
    (only,) = asked(Message(role="user", parts=(image, Text(text="who?"))))
    assert [type(part) for part in only.parts] == [Text, Media, Text]


def test_without_a_question_at_the_end_it_becomes_one() -> None:
    messages = asked(message("user", "hi"), message("assistant", "yes?"))
    assert [each.role for each in messages] == ["user", "assistant", "user"]


def test_nothing_is_said_where_no_form_is_asked_for() -> None:
    assert asked(message("user", "hi"), output=None) == (message("user", "hi"),)


@pytest.mark.parametrize(
    ("profile", "schema", "said"),
    [
        (Profile(), PERSON, ""),
        (Profile(), None, "JSON only"),
        (Profile(output_mode="json"), PERSON, "JSON Schema"),
        (Profile(output_mode="prompted"), PERSON, "JSON Schema"),
        (Profile(output_mode="prompted", schema_hint="fields"), PERSON, "name (string)"),
        (Profile(schema_hint="schema"), PERSON, '"properties"'),
        (FIELDS, {"type": "array"}, '{"type":"array"}'),
        (FIELDS, None, "JSON only"),
        (Profile(output_mode="json"), None, "JSON only"),
    ],
)
def test_what_is_said_depends_on_how_the_model_is_best_asked(profile: Profile, schema: Any, said: str) -> None:
    sentence = instruction(OutputSpec(schema=schema), profile)
    assert said in sentence
    assert bool(sentence) == bool(said)


def test_fields_are_listed_in_words() -> None:
    schema = {
        "properties": {
            "color": {"enum": ["red", "green"]},
            "tags": {"type": "array", "items": {"type": "string"}},
            "home": {"type": "object", "properties": {"city": {"type": ["string", "null"]}}},
            "age": {"type": "integer", "description": "in years"},
            "any": True,
        }
    }
    assert field_list(schema) == (
        "color (one of red, green), tags (list of string), home (object with city (string or null)), "
        "age (integer: in years), any (any)"
    )
