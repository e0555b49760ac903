"""What follows an answer that was rejected, or no answer at all: the ladder, as data. Pure."""

from typing import Literal

from msgspec import Struct

from llm_call.core.domain.errors import ConfigError

RungKind = Literal["again", "reask", "model", "tools", "human"]
Event = Literal["empty", "rejected", "failed"]
Condition = Literal["empty", "rejected", "failed", "any"]


class Rung(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One way to go on: at most `rounds` times, where `when` fits what has happened.

    `again` puts the same question once more; `reask` puts it with what was wrong; `model` asks another `model`, a name,
    alias or route; `tools` reasks with the tools of the MCP servers of a set; `human` asks a person. `share` (0..1) is
    the part of what is left of the time, the money and the tokens that the rung may use.
    """

    kind: RungKind
    rounds: int = 1
    when: Condition = "rejected"
    model: str | None = None
    tools: str | None = None
    share: float | None = None

    def __post_init__(self) -> None:
        if self.rounds < 0:
            raise ConfigError(f"the rung {self.kind} cannot have {self.rounds} rounds", hint="Use 1 or more.")
        for field in ("model", "tools"):
            if (self.kind == field) != (getattr(self, field) is not None):
                raise ConfigError(
                    f"the rung {self.kind} and {field} do not go together",
                    hint=f'A rung of the kind {field} names one: {{"kind": "{field}", "{field}": ...}}; no other does.',
                )
        if self.share is not None and not 0 < self.share <= 1:
            raise ConfigError(f"the rung {self.kind} cannot have a share of {self.share}", hint="Use 0 < share <= 1.")

    def fits(self, event: Event) -> bool:
        """Whether the rung is for what has happened. An empty answer is a rejected one too."""
        return self.when in {"any", event} or (event == "empty" and self.when == "rejected")


Ladder = tuple[Rung, ...]
ALWAYS = ""
"""The name of the set of tools that a call has from its first question on."""
DEBUG_TOOLS = "debug"
"""The name of the set of tools that a case's `debug_tool_mcp_config` gives."""


class Standing(Struct, frozen=True, kw_only=True):
    """Where a call stands: on which rung (-1: the first question), how many rounds it has had there."""

    rung: int = -1
    rounds: int = 1


def climb(
    ladder: Ladder, standing: Standing, event: Event, *, repeated: bool = False, spent: bool = False
) -> Standing | None:
    """Where to go on after `event`; `None` where the ladder ends.

    `repeated`: the same mistakes as the round before. Asking the same way once more is idle then, so it goes higher.
    `spent`: no model can be asked any more; a person can.
    """
    if 0 <= standing.rung < len(ladder) and not repeated and not spent:
        rung = ladder[standing.rung]
        if standing.rounds < rung.rounds and rung.fits(event):
            return Standing(rung=standing.rung, rounds=standing.rounds + 1)
    for index in range(standing.rung + 1, len(ladder)):
        rung = ladder[index]
        if rung.rounds and rung.fits(event) and (rung.kind == "human" or not spent):
            return Standing(rung=index)
    return None


def default_ladder(rounds: int) -> Ladder:
    """An empty answer is asked for once more; a rejected one is asked for with what was wrong: `rounds` in all."""
    if rounds == 1:
        return ()
    return (Rung(kind="again", when="empty"), Rung(kind="reask", rounds=rounds - 1))


def staged_ladder(rounds: int, *, before_tools: int | None, before_human: int | None) -> Ladder:
    """The ladder of case files: so many rejected answers `before_tools` are given, so many `before_human` is asked.

    Raises:
        ConfigError: Not 1 <= before_tools < before_human <= rounds.
    """
    last = rounds if before_human is None else before_human
    if before_human is not None and not 1 <= before_human <= rounds:
        raise ConfigError(
            f"max_attempts_before_human is {before_human}, of {rounds} attempts",
            hint="It is at least 1 and at most max_attempts.",
        )
    if before_tools is not None and not 1 <= before_tools < last:
        raise ConfigError(
            f"max_attempts_before_tool_use is {before_tools}, of {last} attempts before the next stage",
            hint="It is at least 1, and less than max_attempts_before_human and max_attempts.",
        )
    plain = last if before_tools is None else before_tools
    rungs = list(default_ladder(plain))
    if before_tools is not None:
        rungs.append(Rung(kind="tools", tools=DEBUG_TOOLS, rounds=last - before_tools))
    if before_human is not None:
        rungs.append(Rung(kind="human", when="any"))
    return tuple(rungs)
