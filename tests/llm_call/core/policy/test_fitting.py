import pytest

from llm_call.core.domain.messages import message
from llm_call.core.domain.profile import Profile
from llm_call.core.domain.request import Request, Settings
from llm_call.core.policy.fitting import fitted

THINKS = Profile(reasoning_refuses=("temperature", "top_p"), default_effort="medium")
ON_REQUEST = Profile(reasoning_refuses=("temperature", "top_p"))


def request(**settings: object) -> Request:
    return Request(model="m", messages=(message("user", "hi"),), settings=Settings(**settings))  # type: ignore[arg-type]


def test_what_nothing_is_known_of_is_left_alone() -> None:
    asked = request(temperature=0.5, stop=("a",))
    assert fitted(asked, Profile()) == (asked, ())
    assert fitted(asked, Profile())[0] is asked


def test_what_a_model_never_takes_is_left_out_and_said() -> None:
    found, notices = fitted(request(stop=("a",), seed=3), Profile(refuses=("stop", "logprobs")))
    assert found.settings == Settings(seed=3)
    assert [(notice.field, notice.fate) for notice in notices] == [("stop", "dropped")]


@pytest.mark.parametrize(
    ("profile", "effort", "kept"),
    [
        (THINKS, None, False),
        (THINKS, "low", False),
        (THINKS, "none", True),
        (ON_REQUEST, None, True),
        (ON_REQUEST, "low", False),
        (ON_REQUEST, "none", True),
    ],
)
def test_what_a_model_does_not_take_while_it_reasons_depends_on_the_effort(
    profile: Profile, effort: str | None, kept: bool
) -> None:
    found, notices = fitted(request(temperature=0.0, reasoning_effort=effort), profile)
    assert found.settings.temperature == (0.0 if kept else None)
    assert len(notices) == (0 if kept else 1)
    assert found.settings.reasoning_effort == effort
