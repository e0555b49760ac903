import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_call.core.domain.messages import Reasoning, Text, ToolCall
from llm_call.core.domain.response import FinishReason, Notice, Response, Usage
from llm_call.core.domain.trace import Attempt, Failure, Round, Skipped, Timings, Trace
from llm_call.core.domain.verdict import Problem, accepted, rejected
from llm_call.core.timeline import ASCII, Glyphs, Line, charted, document, markdown, plain, timeline

LIMITED = Failure(kind="RateLimitError", message="HTTP 429: slow down", status=429, code="limit", request_id="r1")
TRACE = Trace(
    model="a/b",
    duration=4.0,
    skipped=(Skipped(target="c/d", why="c needs a key"),),
    rounds=(
        Round(
            number=1,
            rung="ask",
            attempts=(
                Attempt(number=1, target="a/b", started=0.0, duration=0.5, failure=LIMITED),
                Attempt(
                    number=2,
                    target="a/b",
                    started=2.5,
                    duration=1.0,
                    wait=2.0,
                    why="the server asks for 2 s",
                    usage=Usage(input_tokens=12, output_tokens=8),
                    timings=Timings(held=0.25, head=0.5, first_event=0.75, end=1.0),
                ),
            ),
            verdicts=(accepted("not_empty"), accepted("json"), rejected("contains", Problem(code="c", message="no x"))),
            response=Response(
                model="b-2",
                parts=(Reasoning(text="hm"), Text(text="well | then"), ToolCall(id="1", name="add", arguments="{}")),
                finish_reason=FinishReason(unified="stop", raw="end_turn"),
                notices=(Notice(field="seed", fate="dropped", message="it has none"),),
            ),
        ),
    ),
)


def test_every_attempt_has_its_wait_and_why_and_what_came_of_it() -> None:
    kinds = [(line.kind, line.offset, line.duration) for line in timeline(TRACE)]
    assert kinds == [
        ("skip", 0.0, 0.0),
        ("round", 0.0, 3.5),
        ("attempt", 0.0, 0.5),
        ("wait", 0.5, 2.0),
        ("gate", 2.5, 0.25),
        ("attempt", 2.5, 1.0),
        ("tool", 3.5, 0.0),
        ("answer", 3.5, 0.0),
        ("notice", 3.5, 0.0),
        ("verdict", 3.5, 0.0),
        ("verdict", 3.5, 0.0),
    ]


def test_as_plain_text_it_is_a_line_for_each_of_them() -> None:
    stages = "head after 0.50 s, first event after 0.75 s"
    assert list(plain(timeline(TRACE, [Decimal("0.00003")]))) == [
        "skipped c/d: c needs a key",
        "round 1: ask",
        "     0.00 s  attempt 1 a/b     0.50 s  RateLimitError limit: HTTP 429: slow down (request r1)",
        "     0.50 s  wait              2.00 s  the server asks for 2 s",
        "     2.50 s  gate a/b          0.25 s  waited for leave to ask",
        f"     2.50 s  attempt 2 a/b     1.00 s  answered, 12 tokens in, 8 out, $0.00003; {stages}",
        "  tool add: {}",
        "  answer b-2: stop (end_turn): [reasoning: hm] well | then",
        "  notice seed: dropped: it has none",
        "  valid: not_empty, json",
        "  rejected by contains: no x",
    ]


def test_bars_stand_where_the_time_passes_and_show_the_stages() -> None:
    rows = [row.text for row in charted(timeline(TRACE), 60, Glyphs()) if row.line.timed and row.indent == 0]
    assert rows == [
        "   0.00 s  attempt 1 a/b  ████                        0.50 s",
        "   0.50 s  wait               ··············          2.00 s",
        "   2.50 s  gate a/b                         ··        0.25 s",
        "   2.50 s  attempt 2 a/b                    ··░░░██   1.00 s",
    ]


def test_a_refused_attempt_is_told_to_have_sent_nothing() -> None:
    failure = Failure(kind="CircuitOpenError", message="open until 3 s")
    tried = Attempt(number=1, target="a/b", started=0, duration=0, failure=failure, sent=False)
    lines = timeline(Trace(model="a/b", rounds=(Round(number=1, rung="ask", attempts=(tried,)),)))
    assert [(line.kind, line.outcome) for line in lines[1:]] == [
        ("gate", "nothing was sent"),
        ("attempt", "CircuitOpenError: open until 3 s"),
    ]


def test_another_target_is_asked_for_a_reason_too() -> None:
    tried = Attempt(number=2, target="c/d", started=1, duration=1, why="ServerError 502")
    lines = timeline(Trace(model="a/b", rounds=(Round(number=1, rung="ask", attempts=(tried,)),)))
    assert lines[1].outcome == "answered (after ServerError 502)"


def test_costs_are_given_to_attempts_only_where_there_is_one_for_each() -> None:
    cost = Decimal("0.5")
    assert [line.cost for line in timeline(TRACE, [cost]) if line.kind == "attempt"] == [None, cost]
    assert not any(line.cost for line in timeline(TRACE, [cost, cost]))


def test_a_round_from_the_cache_has_no_attempt() -> None:
    lines = timeline(Trace(model="a/b", rounds=(Round(number=1, rung="cache", response=Response(model="b")),)))
    assert [line.kind for line in lines] == ["round", "answer"]
    assert list(charted(lines, 80, Glyphs()))


def test_markdown_is_a_table_that_no_answer_can_break() -> None:
    rows = markdown(timeline(TRACE)).splitlines()
    assert rows[1] == "|---:|---|---:|---|"
    assert all(row.replace("\\|", "").count("|") == 5 for row in rows)
    assert r"\[reasoning: hm] well \| then" in rows[9]


def test_the_document_is_the_trace_with_its_version() -> None:
    told = json.loads(document(TRACE, [Decimal("0.5")], id="x"))
    assert (told["version"], told["id"], told["costs"]) == (1, "x", ["0.5"])
    assert told["trace"]["rounds"][0]["attempts"][1]["timings"]["held"] == 0.25


texts = st.text(max_size=30)
seconds = st.floats(0, 3000)


@st.composite
def traces(draw: Any) -> Trace:
    def attempt(number: int) -> Attempt:
        timings = Timings(held=draw(seconds), head=draw(seconds), first_event=draw(st.none() | seconds), end=1.0)
        wait = draw(seconds)
        return Attempt(
            number=number,
            target=draw(texts),
            started=wait + draw(seconds),
            duration=draw(seconds),
            wait=wait,
            why=draw(texts),
            failure=draw(st.none() | texts.map(lambda text: Failure(kind=text, message=text))),
            timings=draw(st.sampled_from([None, timings])),
            sent=draw(st.booleans()),
        )

    parts = tuple(Text(text=text) for text in draw(st.lists(texts, max_size=2)))
    rounds = tuple(
        Round(
            number=number,
            rung="ask",
            attempts=tuple(map(attempt, range(draw(st.integers(0, 3))))),
            response=Response(model=draw(texts), parts=parts),
            verdicts=(rejected(draw(texts), Problem(code="c", message=draw(texts))),),
        )
        for number in range(draw(st.integers(0, 2)))
    )
    return Trace(model=draw(texts), rounds=rounds)


@given(traces(), st.integers(20, 200), st.sampled_from([Glyphs(), ASCII]))
def test_no_text_steers_a_terminal_and_every_bar_fits(trace: Trace, width: int, glyphs: Glyphs) -> None:
    lines = timeline(trace)
    assert all(text.isprintable() for text in plain(lines))
    for row in charted(lines, width, glyphs):
        assert row.text.isprintable()
        if row.line.timed and row.indent == 0:
            assert len(row.text) <= max(width, 31)  # narrower than that, nothing can be shown
    assert all(row.isprintable() for row in markdown(lines).splitlines())


def test_an_attempt_of_no_length_that_could_be_drawn_has_its_bar() -> None:
    brief = Attempt(number=1, target="a/b", started=0.0, duration=2.3e-309, timings=Timings(held=1.0, end=1.0))
    lines = timeline(Trace(model="m", rounds=(Round(number=1, rung="ask", attempts=(brief,)),), duration=2.3e-309))
    assert any("a/b" in row.text for row in charted(lines, 80, Glyphs()))


def test_a_long_name_is_cut_in_its_middle() -> None:
    line = Line(kind="attempt", text="attempt 1 openrouter/meta-llama/llama-3.3-70b-instruct", duration=1.0)
    text = next(charted([line], 60, ASCII)).text
    assert len(text) == 60
    assert "attempt 1 " in text
    assert "~" in text
    assert "instruct" in text


@pytest.mark.parametrize("width", [80, 120])
def test_a_row_is_as_wide_as_the_terminal(width: int) -> None:
    rows = [row for row in charted(timeline(TRACE), width, Glyphs()) if row.line.timed and row.indent == 0]
    assert {len(row.text) for row in rows} == {width}
