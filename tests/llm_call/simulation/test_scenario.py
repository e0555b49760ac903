"""Scenarios are read strictly, and say what goes wrong when."""

from pathlib import Path

import pytest
from msgspec import Struct

from llm_call.core.domain.errors import ConfigError
from llm_call.simulation.scenario import BUILT_IN, Load, Phase, Scenario, TargetModel, read_scenario

ROOT = Path(__file__).parent.parent.parent.parent


@pytest.mark.parametrize("name", [*BUILT_IN, *map(str, sorted((ROOT / "examples" / "scenarios").glob("*.toml")))])
def test_every_scenario_that_comes_along_can_be_read(name: str) -> None:
    scenario = read_scenario(name)
    assert scenario.about
    assert scenario.phases


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[load]\nrate = -1", "rate"),
        ("[load]\nspeed = 3", "speed"),
        ("[[phases]]\nrefused = 0.6\nsilent = 0.6", "shares"),
        ("[[phases]]\nstart = 9\nend = 3", "ends before"),
        ("[[targets]]\nfirst_token = 3", "first_token_p99"),
        ("[[phases", "at the end of an array"),
        ("\xff", "scenario.toml"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "scenario.toml"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError) as caught:
        read_scenario(str(file))
    assert said in caught.value.message
    assert str(file) in caught.value.message


def test_a_scenario_that_is_not_there_says_which_there_are() -> None:
    with pytest.raises(ConfigError) as caught:
        read_scenario("outrage")
    assert "outage, throttle, brownout" in caught.value.hint


def test_targets_and_phases_go_by_names_and_the_first_that_fits_counts() -> None:
    slow = TargetModel(target="openai/*", first_token=2, first_token_p99=3)
    scenario = Scenario(targets=(slow, TargetModel()), phases=(Phase(), Phase(target="*/small")))
    assert scenario.model_of("openai/x") == slow
    assert scenario.model_of("other/x") == TargetModel()
    assert scenario.phases_of("openai/x", "openai/x") == (Phase(),)
    assert scenario.phases_of("a/small", "openai/x") == (Phase(target="*/small"),)


@pytest.mark.parametrize("part", [Load, TargetModel, Phase])
def test_the_page_names_every_field(part: type[Struct]) -> None:
    page = (ROOT / "docs" / "simulator.md").read_text(encoding="utf-8")
    assert [name for name in part.__struct_fields__ if f"`{name}`" not in page] == []
