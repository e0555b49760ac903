"""A scenario: how much is asked, how each provider behaves in good times, and what goes wrong with it when. Data."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from llm_call.core.domain.errors import ConfigError

BUILT_IN = ("outage", "throttle", "brownout")
FIRST = "first"
"""What a scenario calls the target that the first of the compared policies asks first."""

Share = Annotated[float, Meta(ge=0, le=1)]
Positive = Annotated[float, Meta(gt=0)]


class Load(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is asked: `rate` calls a second, at random times, for `duration` seconds; a share of them `streamed`.

    Each has `prompt_tokens`, an answer of about `answer_tokens`, and at most `timeout` seconds.
    """

    rate: Positive = 10.0
    duration: Positive = 600.0
    prompt_tokens: Annotated[int, Meta(ge=1)] = 400
    answer_tokens: Annotated[int, Meta(ge=1)] = 150
    streamed: Share = 0.0
    timeout: Positive | None = 60.0


class TargetModel(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the targets whose names fit the glob `target` behave while nothing is wrong with them.

    The time to the first token is log-normal: half of them take `first_token` seconds at the most, 99 of 100
    `first_token_p99`. Then come `tokens_per_second`. Beyond `requests_per_minute` or `tokens_per_minute` (none: without
    limit) they refuse with 429; `hints` says whether they tell how long to wait, and what is left.
    """

    target: str = "*"
    first_token: Positive = 0.5
    first_token_p99: Positive = 2.5
    tokens_per_second: Positive = 80.0
    requests_per_minute: Positive | None = None
    tokens_per_minute: Positive | None = None
    hints: bool = True

    def __post_init__(self) -> None:
        if self.first_token_p99 < self.first_token:
            raise ConfigError(f"{self.target}: first_token_p99 is below first_token", hint="It is the slower one.")


class Phase(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is wrong with the targets that fit `target`, from `start` to `end` (seconds; none: to the end).

    Of the requests, a share is `refused` (no connection), `silent` (no byte ever), answered with an error of `status`
    (`errors`), broken off (`resets`), cut short in the middle of a stream (`cuts`), or answered with nothing
    (`empty`): together 1 at the most. Answers take `slowdown` times as long, and limits are `capacity` times theirs.
    `retry_after` is what the errors ask to wait, in seconds.
    """

    target: str = FIRST
    start: Annotated[float, Meta(ge=0)] = 0.0
    end: Positive | None = None
    refused: Share = 0.0
    silent: Share = 0.0
    errors: Share = 0.0
    status: Annotated[int, Meta(ge=400, le=599)] = 503
    retry_after: Annotated[float, Meta(ge=0)] | None = None
    resets: Share = 0.0
    cuts: Share = 0.0
    empty: Share = 0.0
    slowdown: Positive = 1.0
    capacity: Positive = 1.0

    def __post_init__(self) -> None:
        if sum(self.shares) > 1 + 1e-9:
            raise ConfigError(f"a phase of {self.target}: the shares are more than 1", hint="Make them 1 in all.")
        if self.end is not None and self.end <= self.start:
            raise ConfigError(f"a phase of {self.target} ends before it starts", hint="Times are in seconds.")

    @property
    def shares(self) -> tuple[float, ...]:
        """Of the faults, in the order of their names above."""
        return (self.refused, self.silent, self.errors, self.resets, self.cuts, self.empty)

    @property
    def is_outage(self) -> bool:
        """Whether nothing is answered."""
        return self.refused + self.silent + self.errors + self.resets >= 1 - 1e-9


class Scenario(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole. Of several `targets` that fit, the first counts; of several `phases` at a time too."""

    about: str = ""
    load: Load = Load()
    targets: tuple[TargetModel, ...] = ()
    phases: tuple[Phase, ...] = ()

    def model_of(self, name: str) -> TargetModel:
        """How the target `name` behaves."""
        return next((each for each in self.targets if fnmatchcase(name, each.target)), _PLAIN)

    def phases_of(self, name: str, first: str) -> tuple[Phase, ...]:
        """What goes wrong with the target `name`, where `first` is the one that is asked first."""
        return tuple(each for each in self.phases if fnmatchcase(name, first if each.target == FIRST else each.target))


_PLAIN = TargetModel()


def read_scenario(name: str) -> Scenario:
    """The built-in scenario `name`, or the one in the TOML file of that name.

    Raises:
        ConfigError: There is none, or what it says cannot be.
    """
    if name in BUILT_IN:
        return _read(resources.files(__package__).joinpath("scenarios", f"{name}.toml").read_bytes(), name)
    try:
        content = Path(name).read_bytes()
    except OSError as error:
        hint = f"Use {', '.join(BUILT_IN)}, recorded-trace, or a TOML file."
        raise ConfigError(f"scenario {name}: {error.strerror}", hint=hint) from None
    return _read(content, name)


def _read(content: bytes, name: str) -> Scenario:
    import tomllib  # noqa: PLC0415  (start-up: only who simulates has a scenario)

    try:
        said: Mapping[str, Any] = tomllib.loads(content.decode())
        return msgspec.convert(said, Scenario)
    except (ValueError, msgspec.ValidationError) as error:
        raise ConfigError(f"{name}: {error}", hint="docs/simulator.md says what a scenario may hold.") from None
    except ConfigError as error:
        raise ConfigError(f"{name}: {error.message}", hint=error.hint) from None
