import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_call.core.domain.errors import ConfigError
from llm_call.core.policy.escalation import Event, Ladder, Rung, Standing, climb, default_ladder, staged_ladder

FIRST = Standing()
EVENTS: tuple[Event, ...] = ("empty", "rejected", "failed")


def path(ladder: Ladder, *events: Event) -> list[str | None]:
    """The kinds of the rungs that follow one another."""
    found: list[str | None] = []
    standing: Standing | None = FIRST
    for event in events:
        standing = climb(ladder, standing, event) if standing else None
        found.append(ladder[standing.rung].kind if standing else None)
    return found


def test_by_default_a_rejected_answer_is_reasked_and_an_empty_one_first_asked_for_once_more() -> None:
    assert path(default_ladder(3), "rejected", "rejected", "rejected") == ["reask", "reask", None]
    assert path(default_ladder(3), "empty", "empty", "rejected", "rejected") == ["again", "reask", "reask", None]
    assert path(default_ladder(1), "rejected") == [None]
    assert path(default_ladder(3), "failed") == [None]


def test_the_stages_of_case_files_come_in_their_order() -> None:
    ladder = staged_ladder(5, before_tools=2, before_human=4)
    assert path(ladder, "rejected", "rejected", "rejected", "rejected", "rejected") == [
        "reask",
        "tools",
        "tools",
        "human",
        None,
    ]
    assert path(staged_ladder(3, before_tools=1, before_human=None), "rejected", "rejected", "rejected") == [
        "tools",
        "tools",
        None,
    ]


@pytest.mark.parametrize(("tools", "human"), [(4, 4), (3, 2), (0, 2), (5, None), (None, 6), (None, 0)])
def test_stages_that_cannot_follow_one_another_are_refused(tools: int | None, human: int | None) -> None:
    with pytest.raises(ConfigError, match="max_attempts_before"):
        staged_ladder(5, before_tools=tools, before_human=human)


def test_the_same_mistake_again_leads_higher() -> None:
    ladder = (Rung(kind="reask", rounds=5), Rung(kind="model", model="openai/big"))
    assert climb(ladder, Standing(rung=0), "rejected") == Standing(rung=0, rounds=2)
    assert climb(ladder, Standing(rung=0), "rejected", repeated=True) == Standing(rung=1)


def test_where_no_model_can_be_asked_any_more_a_person_still_can() -> None:
    ladder = (Rung(kind="reask", rounds=5), Rung(kind="human", when="any"))
    assert climb(ladder, Standing(rung=0), "rejected", spent=True) == Standing(rung=1)


@pytest.mark.parametrize(
    "wrong", [{"kind": "model"}, {"kind": "reask", "model": "x"}, {"kind": "tools"}, {"kind": "reask", "rounds": -1}, {"kind": "reask", "share": 0.0}, {"kind": "reask", "share": 1.5}]
)  # fmt: skip
def test_a_rung_that_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        Rung(**wrong)  # type: ignore[arg-type]


RUNGS = st.builds(Rung, kind=st.sampled_from(["again", "reask", "human"]), rounds=st.integers(0, 3), when=st.sampled_from(["empty", "rejected", "failed", "any"]))  # fmt: skip


@given(st.lists(RUNGS, max_size=5), st.lists(st.sampled_from(EVENTS), min_size=30, max_size=30))
def test_a_ladder_ends_and_is_never_climbed_downwards(rungs: list[Rung], events: list[Event]) -> None:
    ladder, standing, steps = tuple(rungs), FIRST, 0
    for event in events:
        following = climb(ladder, standing, event)
        if following is None:
            break
        assert following.rung > standing.rung or following.rounds == standing.rounds + 1
        assert ladder[following.rung].fits(event)
        assert following.rounds <= ladder[following.rung].rounds
        standing, steps = following, steps + 1
    assert steps <= sum(rung.rounds for rung in ladder)
