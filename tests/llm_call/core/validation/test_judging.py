import pytest

from llm_call.core.domain.errors import ConfigError, ValidatorError
from llm_call.core.domain.request import OutputSpec
from llm_call.core.domain.response import Finish
from llm_call.core.domain.verdict import Problem, Verdict, accepted
from llm_call.core.validation import build
from llm_call.core.validation.base import Answer, Context, Validator
from llm_call.core.validation.judging import Judgement, judge

PERSON = OutputSpec(schema={"type": "object", "required": ["name"]})
CONTAINS = build("contains", {"required_text": "yes"})


class Saying:
    """A validator that says what it is told to say."""

    name = "saying"

    def __init__(self, verdict: Verdict | Exception) -> None:
        self.verdict = verdict
        self.seen: list[tuple[str, int]] = []

    def validate(self, answer: Answer, context: Context) -> Verdict:
        self.seen.append((answer.text, context.round))
        if isinstance(self.verdict, Exception):
            raise self.verdict
        return self.verdict


def judged(
    text: str, *validators: Validator, output: OutputSpec | None = None, finish_reason: Finish = "stop"
) -> Judgement:
    answer = Answer(text, schema=output.schema if output else None, finish_reason=finish_reason)
    return judge(answer, output=output, validators=validators, context=Context(round=2))


def test_text_that_nobody_minds_is_its_own_value() -> None:
    assert judged("hello") == Judgement(ok=True, value="hello", verdicts=())


def test_every_validator_of_a_tier_is_heard() -> None:
    judgement = judged("no", CONTAINS, build("min_length", {"min_length": 5}), build("length", {"max_length": 9}))
    assert [verdict.valid for verdict in judgement.verdicts] == [False, False, True]
    assert not judgement.ok


def test_a_form_that_does_not_hold_ends_the_judgement() -> None:
    later = Saying(accepted("saying"))
    judgement = judged("{}", later, output=PERSON)
    assert [verdict.validator for verdict in judgement.verdicts] == ["schema"]
    assert (judgement.ok, later.seen) == (False, [])


def test_the_value_is_the_json_that_was_asked_for() -> None:
    judgement = judged('Here: {"name": "Ann"}', output=PERSON)
    assert (judgement.ok, judgement.value) == (True, {"name": "Ann"})
    assert judged('Here: {"a": 1}', output=OutputSpec()).value == {"a": 1}


def test_what_was_changed_to_read_a_value_is_told() -> None:
    judgement = judged('{"name": "Ann", "name": "Bob"}', output=PERSON)
    assert [repair.kind for repair in judgement.repairs] == ["duplicate_key"]


@pytest.mark.parametrize("output", [None, PERSON])
def test_an_answer_that_was_cut_off_is_never_accepted(output: OutputSpec | None) -> None:
    judgement = judged('{"name": "Ann"}', output=output, finish_reason="length")
    assert not judgement.ok
    assert judgement.verdicts[0].problems[0].code == "incomplete"


def test_only_what_must_hold_rejects() -> None:
    hint = Verdict(validator="saying", valid=False, severity="should", problems=(Problem(code="x", message="x"),))
    assert judged("hello", Saying(hint)).ok


def test_a_validator_sees_the_answer_and_the_round() -> None:
    saying = Saying(accepted("saying"))
    judged("hello", saying)
    assert saying.seen == [("hello", 2)]


def test_a_validator_that_breaks_is_named_and_our_own_errors_pass() -> None:
    with pytest.raises(ValidatorError, match="'saying' failed: ZeroDivisionError: oops"):
        judged("hello", Saying(ZeroDivisionError("oops")))
    with pytest.raises(ConfigError, match="mine"):
        judged("hello", Saying(ConfigError("mine")))
