"""Who is told of an alert: laws over random series of alerts, and the words of a delivery."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from llm_call.core.domain.alert import LEVELS, Alert, Level
from llm_call.core.policy.alerting import MINUTE, MOST_REMEMBERED, Delivery, Rule, State, decide, given_back, rank


class Event(Struct, frozen=True):
    alert: Alert
    at: float


class Told(Struct, frozen=True):
    delivery: Delivery
    at: float


ALERTS = st.builds(
    Alert,
    level=st.sampled_from(LEVELS),
    kind=st.sampled_from("abc"),
    subject=st.sampled_from("xy"),
    message=st.just("m"),
)
STEPS = st.lists(st.tuples(ALERTS, st.sampled_from([0.0, 0.5, 3.0, 20.0, 59.0, 60.0, 200.0])), max_size=60)
RULES = st.builds(
    Rule,
    level=st.sampled_from(LEVELS),
    kinds=st.sampled_from([("*",), ("a", "b*"), ("c",)]),
    cooldown=st.sampled_from([0.0, 3.0, 60.0, 100.0]),
    burst=st.integers(1, 5),
)


def events(steps: Sequence[tuple[Alert, float]]) -> list[Event]:
    now, series = 0.0, []
    for alert, pause in steps:
        now += pause
        series.append(Event(alert, now))
    return series


def run(series: Sequence[Event], **rules: Rule) -> tuple[State, list[Told]]:
    state: State = {}
    told = []
    for event in series:
        state, deliveries = decide(rules, state, event.alert, event.at)
        told += [Told(each, event.at) for each in deliveries]
    return state, told


def key(alert: Alert) -> tuple[str, str]:
    return alert.kind, alert.subject


@given(steps=STEPS, rule=RULES)
def test_what_is_told_counted_and_still_to_be_counted_adds_up(steps: list[tuple[Alert, float]], rule: Rule) -> None:
    series = events(steps)
    state, told = run(series, one=rule)
    wanted = sum(rule.wants(event.alert) for event in series)
    uncounted = state["one"].uncounted if "one" in state else 0
    assert sum(each.delivery.count for each in told) + uncounted == wanted


@given(steps=STEPS, rule=RULES)
def test_nothing_is_told_twice_within_the_cooldown_unless_its_level_rises(
    steps: list[tuple[Alert, float]], rule: Rule
) -> None:
    _, told = run(events(steps), one=rule)
    for number, later in enumerate(told):
        for earlier in told[:number]:
            same = key(earlier.delivery.alert) == key(later.delivery.alert)
            if same and later.at - earlier.at < rule.cooldown:
                assert rank(later.delivery.alert.level) > rank(earlier.delivery.alert.level)


@given(steps=STEPS, rule=RULES)
def test_no_minute_has_more_than_the_burst(steps: list[tuple[Alert, float]], rule: Rule) -> None:
    _, told = run(events(steps), one=rule)
    for each in told:
        assert sum(each.at - MINUTE < other.at <= each.at for other in told) <= rule.burst


@given(steps=STEPS, rule=RULES)
def test_what_is_wanted_and_not_told_has_a_reason(steps: list[tuple[Alert, float]], rule: Rule) -> None:
    series = events(steps)
    state: State = {}
    told: list[Told] = []
    for event in series:
        state, deliveries = decide({"one": rule}, state, event.alert, event.at)
        if rule.wants(event.alert) and not deliveries:
            known = any(
                key(each.delivery.alert) == key(event.alert)
                and event.at - each.at < rule.cooldown
                and rank(each.delivery.alert.level) >= rank(event.alert.level)
                for each in told
            )
            assert known or sum(event.at - each.at < MINUTE for each in told) >= rule.burst
        told += [Told(each, event.at) for each in deliveries]


@given(steps=STEPS, rules=st.tuples(RULES, RULES))
def test_receivers_do_not_know_each_other(steps: list[tuple[Alert, float]], rules: tuple[Rule, Rule]) -> None:
    series = events(steps)
    _, both = run(series, one=rules[0], two=rules[1])
    _, alone = run(series, two=rules[1])
    assert [each for each in both if each.delivery.receiver == "two"] == alone


def alert(level: Level = "error", kind: str = "k", subject: str = "s", message: str = "m") -> Alert:
    return Alert(level=level, kind=kind, subject=subject, message=message)


def test_the_next_one_after_the_cooldown_says_how_many_there_were() -> None:
    state, told = run([Event(alert(), float(now)) for now in (0, 1, 2, 299, 300)], one=Rule())
    assert [(each.at, each.delivery.repeats) for each in told] == [(0, 0), (300, 3)]
    assert told[-1].delivery.line == "error: k s: m (and 3 more since the last one)"
    assert state["one"].uncounted == 0


def test_a_level_that_rises_breaks_through_and_one_that_falls_does_not() -> None:
    levels: list[Level] = ["warning", "error", "warning", "error", "critical", "critical"]
    _, told = run([Event(alert(level), 1.0) for level in levels], one=Rule())
    assert [(each.delivery.alert.level, each.delivery.repeats) for each in told] == [
        ("warning", 0),
        ("error", 0),
        ("critical", 2),
    ]


def test_beyond_the_burst_even_a_rising_level_is_only_counted() -> None:
    series = [Event(alert("warning"), 0.0), Event(alert(kind="other"), 1.0), Event(alert("critical"), 2.0)]
    _, told = run([*series, Event(alert(kind="third"), 61.0)], one=Rule(burst=1))
    assert [each.delivery.line for each in told] == [
        "warning: k s: m",
        "error: third s: m (1 other alert was held back)",
    ]


def test_what_is_not_wanted_leaves_no_trace() -> None:
    state: State = {}
    assert decide({"one": Rule(level="error")}, state, alert("warning"), 0.0) == (state, ())
    assert decide({"one": Rule(kinds=("breaker_*",))}, state, alert(), 0.0) == (state, ())
    assert len(decide({"one": Rule(kinds=("breaker_*",))}, state, alert(kind="breaker_open"), 0.0)[1]) == 1


def test_old_subjects_are_forgotten_but_not_their_counts() -> None:
    rule = Rule(burst=1000)
    series = [Event(alert(subject=str(number)), 0.0) for number in range(2 * MOST_REMEMBERED) for _ in range(2)]
    state, told = run(series, one=rule)
    assert len(state["one"].told) == MOST_REMEMBERED
    assert sum(each.delivery.count for each in told) + state["one"].uncounted == len(series)


def test_what_did_not_arrive_is_told_of_by_the_next_delivery() -> None:
    rules = {"one": Rule(cooldown=0)}
    state, (first,) = decide(rules, {}, alert(), 0.0)
    state, (second,) = decide(rules, given_back(state, first), alert(), 1.0)
    state, (third,) = decide(rules, given_back(state, second), alert(), 2.0)
    assert (second.others, third.others) == (1, 2)
    assert state["one"].uncounted == 0


@pytest.mark.parametrize("text", ["two\nlines", "a\ttab", "  room  "])
def test_a_line_is_one_line(text: str) -> None:
    delivery = Delivery(receiver="one", alert=alert(kind="k", subject=text, message=text))
    assert delivery.line == f"error: k {' '.join(text.split())}: {' '.join(text.split())}"
    assert "\n" not in delivery.title


def test_time_is_in_utc() -> None:
    at = Delivery(receiver="one", alert=Alert(level="info", kind="k", message="m", at=1.5))
    assert at.time == "1970-01-01T00:00:01.500+00:00"
