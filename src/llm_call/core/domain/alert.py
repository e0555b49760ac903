"""What people should hear of: one alert, told by whatever part of the library has seen something."""

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

Level = Literal["info", "warning", "error", "critical"]
LEVELS: tuple[Level, ...] = ("info", "warning", "error", "critical")
"""From the least to the gravest. `critical`: nothing works there until a person acts."""

Fact = str | int | float


class Alert(Struct, frozen=True, kw_only=True):
    """Something that people should hear of.

    `kind` is one word for what has happened (`all_targets_failed`), `subject` what it has happened to (the name of a
    model, the id of a review): alerts that have both in common repeat each other. `at` is in seconds since the epoch;
    `None` until it is sent. Known secrets are masked before anybody is told.
    """

    level: Level
    kind: str
    message: str
    subject: str = ""
    facts: Mapping[str, Fact] = {}
    at: float | None = None
