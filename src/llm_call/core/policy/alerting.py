"""Who is told of an alert, and who has heard enough of it. Pure: the time comes in.

A receiver is told of an alert at once. What repeats it (the same kind and subject) within the cooldown is counted, and
the next one that is told says how many there were; one of a higher level than was told is no repetition. More than
`burst` alerts a minute are counted too, whatever they are about. So nothing is lost: for each receiver, what was told,
what the deliveries count and what is still to be counted add up to what it should have heard of.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Annotated

from msgspec import Meta, Struct
from msgspec.structs import replace

from llm_call.core.domain.alert import LEVELS, Alert, Level
from llm_call.core.domain.setting import setting

MINUTE = 60.0
MOST_REMEMBERED = 256
"""Kinds and subjects that are remembered for each receiver; of older ones only the counts are kept."""


class Rule(Struct, frozen=True, kw_only=True):
    """What one receiver hears of. Times are in seconds."""

    level: Annotated[Level, setting("The least level that it is told of.", access="free")] = "warning"
    kinds: Annotated[tuple[str, ...], setting("Globs of the kinds that it is told of.", access="free")] = ("*",)
    cooldown: Annotated[
        float, Meta(ge=0), setting("Seconds in which repetitions of an alert are only counted.", access="free")
    ] = 300.0
    burst: Annotated[
        int, Meta(ge=1, le=1000), setting("Alerts in a minute; further ones are only counted.", access="free")
    ] = 20

    def wants(self, alert: Alert) -> bool:
        """Whether the receiver hears of `alert` at all."""
        return rank(alert.level) >= rank(self.level) and any(fnmatchcase(alert.kind, kind) for kind in self.kinds)


class Delivery(Struct, frozen=True, kw_only=True):
    """One alert for one receiver: the `repeats` since it was told of the last one like it, and how many `others` it missed."""

    receiver: str
    alert: Alert
    repeats: int = 0
    others: int = 0

    @property
    def count(self) -> int:
        """How many alerts this tells of."""
        return 1 + self.repeats + self.others

    @property
    def title(self) -> str:
        """Level, kind and subject, in one line."""
        return " ".join(f"{self.alert.level}: {self.alert.kind} {self.alert.subject}".split())

    @property
    def missed(self) -> str:
        """What this receiver was not told of, in words; empty when that is nothing."""
        repeats = f"and {self.repeats} more since the last one" if self.repeats else ""
        others = f"{self.others} other alert{'s were' if self.others > 1 else ' was'} held back" if self.others else ""
        return "; ".join(filter(None, (repeats, others)))

    @property
    def line(self) -> str:
        """All of it but the facts, in one line."""
        missed = f" ({self.missed})" if self.missed else ""
        return " ".join(f"{self.title}: {self.alert.message}{missed}".split())

    @property
    def time(self) -> str:
        """When it happened, as RFC 3339 writes it."""
        return datetime.fromtimestamp(self.alert.at or 0.0, UTC).isoformat(timespec="milliseconds")


class Told(Struct, frozen=True, kw_only=True):
    """What a receiver was last told about one kind and subject, when, and how many were counted since."""

    level: Level
    at: float
    repeats: int = 0


class History(Struct, frozen=True, kw_only=True):
    """What one receiver was told, and missed.

    `told` is the last of each kind and subject, oldest first; `recent` when it was told, in the last minute; `others`
    how many it missed that are not counted as repeats.
    """

    told: Mapping[tuple[str, str], Told] = {}
    recent: tuple[float, ...] = ()
    others: int = 0

    @property
    def uncounted(self) -> int:
        """How many alerts it has missed that no delivery has told of yet."""
        return self.others + sum(each.repeats for each in self.told.values())


State = Mapping[str, History]
"""Receiver -> what it was told. The first state is an empty one."""


def decide(rules: Mapping[str, Rule], state: State, alert: Alert, now: float) -> tuple[State, tuple[Delivery, ...]]:
    """Who is told of `alert`, and what to remember. `now` is in seconds from anywhere."""
    changed: dict[str, History] = {}
    deliveries = []
    for receiver, rule in rules.items():
        if rule.wants(alert):
            changed[receiver], delivery = _heard(receiver, rule, state.get(receiver, History()), alert, now)
            if delivery is not None:
                deliveries.append(delivery)
    return ({**state, **changed} if changed else state), tuple(deliveries)


def given_back(state: State, delivery: Delivery) -> State:
    """The state when `delivery` did not reach its receiver: the next one that does tells how many that were."""
    history = state.get(delivery.receiver, History())
    return {**state, delivery.receiver: replace(history, others=history.others + delivery.count)}


def rank(level: Level) -> int:
    """The place of `level` among the levels; the least is 0."""
    return LEVELS.index(level)


def _heard(receiver: str, rule: Rule, history: History, alert: Alert, now: float) -> tuple[History, Delivery | None]:
    key = (alert.kind, alert.subject)
    last = history.told.get(key)
    if last is not None and now - last.at < rule.cooldown and rank(alert.level) <= rank(last.level):
        return _counted(history, key, last), None
    recent = tuple(at for at in history.recent if now - at < MINUTE)
    if len(recent) >= rule.burst:
        return _counted(history, key, last), None
    delivery = Delivery(receiver=receiver, alert=alert, repeats=last.repeats if last else 0, others=history.others)
    others = {each: told for each, told in history.told.items() if each != key}
    told = {**others, key: Told(level=alert.level, at=now)}
    return _trimmed(History(told=told, recent=(*recent, now))), delivery


def _counted(history: History, key: tuple[str, str], last: Told | None) -> History:
    if last is None:
        return replace(history, others=history.others + 1)
    return replace(history, told={**history.told, key: replace(last, repeats=last.repeats + 1)})


def _trimmed(history: History) -> History:
    if len(history.told) <= MOST_REMEMBERED:
        return history
    oldest, *_ = history.told
    told = {each: told for each, told in history.told.items() if each != oldest}
    return replace(history, told=told, others=history.others + history.told[oldest].repeats)
