import json
from collections.abc import Callable
from typing import Any

import pytest

from llm_call.testing.scripted import ScriptedReply, error_reply

Make = Callable[..., Any]


def vectors(count: int) -> ScriptedReply:
    data = [{"index": index, "embedding": [index, 0.5]} for index in range(count)]
    body = {"object": "list", "model": "e", "data": data, "usage": {"prompt_tokens": 2, "total_tokens": 2}}
    return ScriptedReply(pieces=(json.dumps(body).encode(),), headers={"content-type": "application/json"})


def test_each_text_has_its_vector_on_a_line(shell: Make) -> None:
    ours = shell(vectors(2))
    done = ours("embed", "one", "two", "-m", "openai/e", "--dimensions", "2")
    assert [json.loads(line) for line in done.stdout.splitlines()] == [[0, 0.5], [1, 0.5]]
    assert ours.transport.bodies[0]["input"] == ["one", "two"]
    assert ours.transport.bodies[0]["dimensions"] == 2


def test_a_dash_stands_for_the_lines_of_standard_input(shell: Make) -> None:
    ours = shell(vectors(2))
    assert ours("embed", "-", "-m", "openai/e", input="one\n\ntwo\n").exit_code == 0
    assert ours.transport.bodies[0]["input"] == ["one", "two"]


@pytest.mark.parametrize("texts", [["-"], ["one", " "]])
def test_texts_of_nothing_are_refused_before_anything_is_sent(shell: Make, texts: list[str]) -> None:
    ours = shell(vectors(1))
    done = ours("embed", *texts, "-m", "openai/e", input="\n")
    assert (done.exit_code, done.stdout, ours.transport.requests) == (2, "", [])
    assert "no text to embed" in done.stderr


def test_no_vectors_is_one_line_and_the_exit_code_of_ask(shell: Make) -> None:
    done = shell(error_reply(401))("embed", "one", "-m", "openai/e")
    assert (done.exit_code, done.stdout) == (4, "")
    assert done.stderr.startswith("error: ")
