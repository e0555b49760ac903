from hypothesis import given
from hypothesis import strategies as st

from llm_call.core.domain.messages import message
from llm_call.core.domain.request import Request
from llm_call.core.domain.verdict import Problem, accepted, rejected
from llm_call.core.validation.reask import fingerprint, problem_lines, reask

REQUEST = Request(model="m", messages=(message("system", "s"), message("user", "who?")))
WRONG = rejected("schema", Problem(code="type", message="not an integer", path="/age", expected="integer", got='"x"'))


def test_the_task_stays_and_one_message_tells_what_was_wrong() -> None:
    again = reask(REQUEST, answer='{"age": "x"}', verdicts=[WRONG], chance=0.5)
    assert again.messages[:2] == REQUEST.messages
    assert len(again.messages) == 3
    text = again.messages[2].text
    assert '{"age": "x"}' in text
    assert '1. /age: not an integer (expected integer, got "x")' in text


@given(st.text(), st.floats(0, 1, exclude_max=True))
def test_what_the_model_wrote_stands_between_tags_of_this_call(answer: str, chance: float) -> None:
    text = reask(REQUEST, answer=answer, verdicts=[WRONG], chance=chance).messages[2].text
    tag = f"answer-{int(chance * 0xFFFFFFFF):08x}"
    assert f"<{tag}>\n{answer[:8000]}\n</{tag}>" in text


def test_two_calls_have_different_tags() -> None:
    texts = {reask(REQUEST, answer="a", verdicts=[WRONG], chance=chance).messages[2].text for chance in (0.1, 0.2)}
    assert len(texts) == 2


def test_a_long_answer_is_cut() -> None:
    assert len(reask(REQUEST, answer="x" * 100_000, verdicts=[WRONG], chance=0.0).messages[2].text) < 10_000


def test_each_problem_is_told_once_and_accepted_verdicts_not_at_all() -> None:
    assert problem_lines([WRONG, WRONG, accepted("json")]) == ('/age: not an integer (expected integer, got "x")',)


def test_a_fingerprint_is_the_same_for_the_same_mistake_and_differs_for_another() -> None:
    other = rejected("schema", Problem(code="type", message="not an integer", path="/age", got='"y"'))
    assert fingerprint([WRONG]) == fingerprint([accepted("json"), WRONG])
    assert fingerprint([WRONG]) != fingerprint([other])
