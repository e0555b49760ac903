from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_call.core.domain.messages import Media, Reasoning, Text, ToolCall, ToolResult
from llm_call.core.domain.redaction import placeholder, redacted
from llm_call.core.domain.response import FinishReason, Notice, Response
from llm_call.core.domain.trace import Attempt, Failure, Round, Skipped, Timings, Trace
from llm_call.core.domain.verdict import Problem, Repair, Verdict

# What somebody said: more than a word, and found nowhere by chance.
SAID = st.text(max_size=60).map(lambda text: f"zQ7 x9 {text}")


def untouched(value: Any) -> Any:
    return value


def trace(said: str) -> Trace:
    """A trace with `said` in every place where a peer or a validator may put it."""
    failure = Failure(kind="BadRequestError", message=said, status=400, code=said, request_id=said)
    problem = Problem(code=said, message=said, path=f"/{said}", expected=said, got=said)
    repair = Repair(kind="quote", start=0, end=1, before=said, after=said, risk="safe")
    response = Response(
        model=said,
        parts=(
            Text(text=said, provider_data={"x": {"y": said}}),
            Reasoning(text=said, signature=said),
            ToolCall(id=said, name=said, arguments=said),
            ToolResult(call_id=said, parts=(Text(text=said),)),
            Media(media_type="image/png", data=said.encode("utf-8", "surrogatepass"), url=said, name=said),
        ),
        finish_reason=FinishReason(unified="stop", raw=said),
        id=said,
        notices=(Notice(field=said, fate="dropped", message=said),),
        provider_data={"openai_chat": {said: said}},
    )
    verdict = Verdict(validator="schema", valid=False, value={said: said}, problems=(problem,), repairs=(repair,))
    attempts = (
        Attempt(number=1, target="a/b", started=0, duration=1, failure=failure, timings=Timings(head=0.5, end=1)),
        Attempt(number=2, target="a/b", started=3, duration=1, wait=2, why="ServerError 502"),
    )
    whole = Round(number=1, rung="ask", attempts=attempts, verdicts=(verdict,), response=response)
    return Trace(model="a/b", rounds=(whole,), duration=4, skipped=(Skipped(target="c/d", why="no key"),))


@given(SAID)
def test_of_the_structure_nothing_that_was_said_is_left_wherever_it_stood(said: str) -> None:
    shown = repr(redacted(trace(said), "structure", untouched))
    assert "zQ7" not in shown
    assert repr(placeholder(said))[1:-1] in shown


@given(SAID)
def test_at_the_level_of_words_errors_and_problems_speak_and_payloads_are_held_back(said: str) -> None:
    (each,) = redacted(trace(said), "words", untouched).rounds
    assert each.attempts[0].failure is not None
    assert each.attempts[0].failure.message == said
    assert each.verdicts[0].problems[0].message == said
    assert each.response is not None
    assert "zQ7" not in repr(each.response.parts[:2])
    assert each.response.text.startswith(placeholder(said))


def test_payloads_are_what_was_said_without_bytes_values_and_unknown_fields() -> None:
    (each,) = redacted(trace("zQ7 said"), "payloads", untouched).rounds
    assert each.response is not None
    assert each.response.parts == (
        Text(text="zQ7 said"),
        Reasoning(text="zQ7 said"),
        ToolCall(id="zQ7 said", name="zQ7 said", arguments="zQ7 said"),
        Text(text="[the result of a tool: 1 parts]"),
        Text(text="[image/png]"),
    )
    assert each.response.provider_data == {}
    assert (each.verdicts[0].value, each.verdicts[0].repairs) == (None, ())


def test_times_targets_kinds_and_names_stay() -> None:
    before = trace("short-name_1")
    after = redacted(before, "structure", untouched)
    assert (after.model, after.duration, after.skipped) == (before.model, before.duration, before.skipped)
    first, second = after.attempts
    assert second == before.attempts[1]
    assert first.failure is not None
    assert (first.failure.kind, first.failure.status, first.failure.code) == ("BadRequestError", 400, "short-name_1")
    assert first.timings == before.attempts[0].timings
    assert after.rounds[0].verdicts[0].problems[0].code == "short-name_1"


@pytest.mark.parametrize(("kind", "stays"), [("ConnectionFailedError", True), ("ProtocolError", False)])
def test_errors_in_which_no_peer_had_its_say_keep_their_words(kind: str, stays: bool) -> None:
    failure = Failure(kind=kind, message="refused by the host")
    tried = Attempt(number=1, target="a/b", started=0, duration=1, failure=failure)
    before = Trace(model="a/b", rounds=(Round(number=1, rung="ask", attempts=(tried,)),))
    after = redacted(before, "structure", untouched).attempts[0].failure
    assert after is not None
    assert (after.message == "refused by the host") is stays


@pytest.mark.parametrize("level", ["structure", "words", "payloads"])
def test_secrets_are_hidden_at_every_level(level: Any) -> None:
    def hide(value: Any) -> Any:
        return msgspec.json.decode(msgspec.json.encode(value).replace(b"sk-secret", b"<hidden>"))

    shown = repr(redacted(trace("sk-secret"), level, hide))
    assert "sk-secret" not in shown
    assert "<hidden>" in shown


def test_equal_texts_can_be_told_to_be_equal() -> None:
    assert placeholder("hello") == "[5 characters, sha256 2cf24dba]"
    assert placeholder("hello") != placeholder("hellp")
