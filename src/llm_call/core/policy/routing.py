"""Several targets behind one name: in which order they are asked. Pure: statistics, prices, time and chance come in."""

from collections.abc import Sequence
from decimal import Decimal
from hashlib import blake2b
from math import inf, log
from typing import Annotated, Literal

from msgspec import Struct

from llm_call.core.domain.errors import (
    BadRequestError,
    BudgetExceededError,
    ConfigError,
    ContentFilteredError,
    LLMCallError,
    UnsupportedError,
)
from llm_call.core.domain.request import Request
from llm_call.core.domain.setting import setting

Strategy = Literal["priority", "weighted", "least_latency", "cheapest", "sticky"]

MOST_WEIGHT = 1_000_000.0
HALF_LIFE = 30.0
"""Seconds after which what was measured before counts half."""
LEAST_SHARE = 0.1
"""The least share of the newest measurement in the mean, however soon it follows the last one."""
FAILURE_SECONDS = 10.0
"""What a failure adds to the time that it took."""
STALE_SECONDS = 120.0
"""A target that was not asked for so long is tried again now and then."""
EXPLORED = 0.1
"""The share of calls that begin with a target of which nothing recent is known, while there is one."""


class RouteTarget(Struct, frozen=True, kw_only=True):
    """One of a route's targets: a model, an alias or another route. `weight` 0 is a last resort.

    Weights count where the strategy is `weighted` or `sticky`.
    """

    model: str
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.weight <= MOST_WEIGHT:
            raise ConfigError(
                f"{self.model}: the weight {self.weight} cannot be", hint=f"Use a number from 0 to {MOST_WEIGHT:g}."
            )


class Route(Struct, frozen=True, kw_only=True):
    """Several targets behind one name. A text stands for a target of weight 1.

    The first in order answers; the others are asked when it does not. The order is that of the list (`priority`), by
    chance in proportion to the weights (`weighted`), the fastest of late first (`least_latency`), the cheapest for the
    request first (`cheapest`), or the same for the same conversation (`sticky`).
    """

    targets: Annotated[
        tuple[str | RouteTarget, ...],
        setting("Models, aliases or routes; {model = ..., weight = ...} gives one a weight.", access="free"),
    ]
    strategy: Annotated[Strategy, setting("In which order they are asked.", access="free")] = "priority"

    def __post_init__(self) -> None:
        if not self.targets:
            raise ConfigError("a route needs a target", hint="List the models that stand behind it.")

    @property
    def members(self) -> tuple[RouteTarget, ...]:
        """The targets, each with its weight."""
        return tuple(RouteTarget(model=each) if isinstance(each, str) else each for each in self.targets)


class Latency(Struct, frozen=True, kw_only=True):
    """How long a target takes: an exponentially weighted mean in seconds, last measured at the time `at`."""

    seconds: float
    at: float


def measured(before: Latency | None, seconds: float, *, failed: bool, now: float) -> Latency:
    """The mean with a new measurement in it. It weighs the more, the longer ago the last one was."""
    taken = seconds + FAILURE_SECONDS if failed else seconds
    if before is None:
        return Latency(seconds=taken, at=now)
    share = max(LEAST_SHARE, 1 - 0.5 ** (max(0.0, now - before.at) / HALF_LIFE))
    return Latency(seconds=before.seconds + share * (taken - before.seconds), at=now)


def is_targets_fault(error: LLMCallError) -> bool:
    """Whether `error` says anything of the target: a wrong request, refused content or an empty purse do not."""
    return not isinstance(error, BadRequestError | ContentFilteredError | UnsupportedError | BudgetExceededError)


class Candidate(Struct, frozen=True, kw_only=True):
    """What is known of a target that is to be put in order. `cost` is that of the request, in US dollars."""

    name: str
    weight: float = 1.0
    latency: Latency | None = None
    cost: Decimal | None = None


def order(
    candidates: Sequence[Candidate], strategy: Strategy, *, key: str = "", chance: float = 0.0, now: float = 0.0
) -> tuple[int, ...]:
    """The indices of `candidates` in the order in which they are asked: always each of them once.

    `key` is what a sticky order is for; `chance` is in 0..1; `now` is on the clock of the latencies.
    """
    match strategy:
        case "priority":
            return tuple(range(len(candidates)))
        case "weighted":
            return _by_chance(candidates, chance)
        case "least_latency":
            return _by_latency(candidates, chance, now)
        case "cheapest":
            return _sorted(candidates, [(each.cost is None, each.cost or Decimal(0)) for each in candidates])
        case "sticky":
            return _sorted(candidates, [-_affinity(each, key) for each in candidates])


def conversation_key(request: Request) -> str:
    """What stays the same while a conversation goes on: its beginning, up to the user's first message.

    So its turns go to the same target, where the provider's prompt cache holds that beginning.
    """
    digest = blake2b(digest_size=16)
    for message in request.messages:
        digest.update(message.text.encode("utf-8", "surrogatepass") + b"\0")
        if message.role == "user":
            break
    return digest.hexdigest()


def _sorted(candidates: Sequence[Candidate], keys: Sequence[float] | Sequence[tuple[bool, Decimal]]) -> tuple[int, ...]:
    return tuple(sorted(range(len(candidates)), key=keys.__getitem__))


def _by_chance(candidates: Sequence[Candidate], chance: float) -> tuple[int, ...]:
    """Each place goes to one of those left, in proportion to the weights; what is left of `chance` decides the next."""
    left = {index: each.weight for index, each in enumerate(candidates) if each.weight > 0}
    last = tuple(index for index in range(len(candidates)) if index not in left)
    found: list[int] = []
    while left:
        chosen, chance = _drawn(left, chance)
        del left[chosen]
        found.append(chosen)
    return (*found, *last)


def _drawn(weights: dict[int, float], chance: float) -> tuple[int, float]:
    point = chance * sum(weights.values())
    for index, weight in weights.items():
        if point < weight:
            return index, point / weight
        point -= weight
    return next(reversed(weights)), 0.0  # rounding has carried the point past the last one


def _by_latency(candidates: Sequence[Candidate], chance: float, now: float) -> tuple[int, ...]:
    """The fastest first, those never asked last; but now and then one first of which nothing recent is known."""
    ranked = _sorted(candidates, [each.latency.seconds if each.latency else inf for each in candidates])
    since = [each.latency.at if each.latency else -inf for each in candidates]
    longest = min(ranked, key=since.__getitem__, default=0)
    if chance >= EXPLORED or not ranked or now - since[longest] <= STALE_SECONDS:
        return ranked
    return (longest, *(index for index in ranked if index != longest))


def _affinity(candidate: Candidate, key: str) -> float:
    """Weighted rendezvous hashing (Schindelhauer and Schomaker 2005): no target's score depends on another's."""
    digest = blake2b(f"{key}\0{candidate.name}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    uniform = ((int.from_bytes(digest) >> 12) + 0.5) / 2**52  # 52 bits: never 0, never rounded up to 1
    return candidate.weight / -log(uniform)
