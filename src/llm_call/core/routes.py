"""What one name stands for: aliases, routes, `auto`. And the targets behind it, in order for one call."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from llm_call.core.domain.errors import (
    ConfigError,
    LLMCallError,
    MissingCredentialError,
    NoEligibleTargetError,
    UnknownModelError,
    UnsupportedError,
)
from llm_call.core.domain.profile import Prices
from llm_call.core.domain.request import Request
from llm_call.core.domain.trace import Skipped
from llm_call.core.policy.needs import Needs, needs_of, shortfall
from llm_call.core.policy.routing import (
    Candidate,
    Latency,
    Route,
    Strategy,
    conversation_key,
    is_targets_fault,
    measured,
    order,
)
from llm_call.core.providers.registry import Target

Names = Mapping[str, str | Route]
"""What names stand for: a model's full name, or a route."""

PriceLookup = Callable[[str, str], Prices | None]
"""The prices of a model, by its provider's name and its own; `None` when they are unknown."""

Order = Callable[[Callable[[], float], float], tuple[Target, ...]]
"""The targets in order for one call, by a source of chance (0..1) and the time on the engine's clock."""

MOST_TARGETS = 1000
DEEPEST = 10


class Choice(Struct, frozen=True, kw_only=True):
    """The targets that can take a request, and those that cannot. `order` puts the former in order for each call.

    Without `order` they are in it already.
    """

    targets: tuple[Target, ...]
    skipped: tuple[Skipped, ...] = ()
    order: Order | None = None


class Asked(Struct, frozen=True, kw_only=True):
    """A request, what it needs, and the key that keeps it at its target; without one, its conversation is the key."""

    request: Request
    needs: Needs
    key: str | None = None


class Pool(Struct, frozen=True, kw_only=True):
    """What is left of a route for one request. A route within a route stays together."""

    name: str
    strategy: Strategy
    members: tuple["Pool | Target", ...]
    weights: tuple[float, ...]


def asked(request: Request, *, key: str | None, strict: bool) -> Asked:
    """`request` with what it needs. `strict`: being told its schema in words is not enough."""
    return Asked(request=request, needs=needs_of(request, strict=strict), key=key)


def read_names(
    aliases: Mapping[str, str],
    routes: Mapping[str, Route],
    *,
    given: Names,
    check_name: Callable[[str], None],
    check_model: Callable[[str], None],
) -> dict[str, str | Route]:
    """What each name stands for, the user's and those that are `given`; an alias of an alias is followed to its end.

    `check_name` raises where a name may not be the user's, `check_model` where a model's name is unknown.

    Raises:
        ConfigError: A name is taken, goes in a circle, stands for too many targets, or for an unknown model.
    """
    names: dict[str, str | Route] = {**given, **aliases, **routes}
    if twice := sorted(aliases.keys() & routes.keys()):
        raise ConfigError(f"{twice[0]!r} is both an alias and a route", hint="Give one of them another name.")
    for name in (*aliases, *routes):
        check_name(name)
        for count, path in enumerate(_paths(names, name)):
            if count >= MOST_TARGETS:
                raise ConfigError(f"{name!r} stands for too many targets", hint=f"{MOST_TARGETS} are the most.")
            _check_last(path, check_model)
    return {name: _followed(names, name) for name in names}


def models_behind(names: Names, name: str) -> Iterator[str]:
    """The models that `name` stands for."""
    return (path[-1] for path in _paths(names, name))


def _paths(names: Names, name: str, chain: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The way from `name` to each model behind it; `chain` is what led to `name`."""
    path = (*chain, name)
    if name in chain:
        raise ConfigError(f"this goes in a circle: {' -> '.join(path)}", hint="Take one of these steps out.")
    if len(path) > DEEPEST:
        raise ConfigError(f"this goes too deep: {' -> '.join(path)}", hint=f"{DEEPEST} steps are the most.")
    match names.get(name):
        case None:
            yield path
        case str(other):
            yield from _paths(names, other, path)
        case route:
            for member in route.members:
                yield from _paths(names, member.model, path)


def _check_last(path: tuple[str, ...], check_model: Callable[[str], None]) -> None:
    try:
        check_model(path[-1])
    except UnknownModelError as error:
        raise ConfigError(f"{' -> '.join(path)}: {error.message}", hint=error.hint) from error


def _followed(names: Names, name: str) -> str | Route:
    meant = names[name]
    if isinstance(meant, Route):
        return replace(meant, targets=meant.members)  # each with its weight once and for all
    return _followed(names, meant) if meant in names else meant


class Gathering:
    """Collects the targets behind names that can take one request, and notes why the others cannot.

    `resolve` gives the target of a model, by its name, an `api_base` and an `api_key`.
    """

    def __init__(self, names: Names, resolve: Callable[[str, str | None, str | None], Target], needs: Needs) -> None:
        self._names = names
        self._resolve = resolve
        self._needs = needs
        self._only_keys_missing = True
        self.skipped: list[Skipped] = []

    def named(self, name: str, api_key: str | None = None) -> Pool | Target | None:
        """What `name` stands for, without what cannot take the request."""
        meant = self._names.get(name, name)
        if isinstance(meant, str):
            return self.target(meant, None, api_key)
        found = [(self.named(each.model, api_key), each.weight) for each in meant.members]
        return pool(name, meant.strategy, found)

    def target(self, model: str, api_base: str | None, api_key: str | None) -> Target | None:
        """The target for `model`, where it can take the request."""
        try:
            target = self._resolve(model, api_base, api_key)
        except (MissingCredentialError, UnsupportedError) as error:
            self._only_keys_missing &= isinstance(error, MissingCredentialError)
            self._skip(model, f"{error.message}. {error.hint}")
            return None
        if why := shortfall(self._needs, target.profile):
            self._only_keys_missing = False
            self._skip(target.name, why)
            return None
        return target

    def error(self) -> LLMCallError:
        """What is raised where no target is left."""
        reasons = [f"{each.target}: {each.why}" for each in self.skipped]
        message = "\n".join(["no target can take this request", *reasons])
        if self._only_keys_missing:
            return MissingCredentialError(message, hint="Set one of these keys.")
        return NoEligibleTargetError(message, hint="Name a model that can, or ask for less.")

    def _skip(self, target: str, why: str) -> None:
        skipped = Skipped(target=target, why=why)
        if skipped not in self.skipped:
            self.skipped.append(skipped)


def pool(name: str, strategy: Strategy, found: Sequence[tuple[Pool | Target | None, float]]) -> Pool | None:
    """A pool of those that were found, each with its weight; `None` without any."""
    left = [(member, weight) for member, weight in found if member is not None]
    if not left:
        return None
    members, weights = zip(*left, strict=True)
    return Pool(name=name, strategy=strategy, members=members, weights=weights)


class Ordering:
    """Puts targets in order. Knows what they cost, and how long those take that a route compares by that.

    Safe for many threads at once: a measurement is a value that takes the place of another.
    """

    def __init__(self, prices: PriceLookup | None) -> None:
        self._prices = prices
        self._latencies: dict[tuple[str, str], Latency | None] = {}

    def observe(self, target: Target, seconds: float, error: LLMCallError | None, now: float) -> None:
        """An attempt at `target` has taken `seconds`, and given an answer or `error`."""
        place = _place(target)
        if place in self._latencies and (error is None or is_targets_fault(error)):
            before = self._latencies[place]
            self._latencies[place] = measured(before, seconds, failed=error is not None, now=now)

    def choice(self, found: Pool | Target, asked: Asked, skipped: Sequence[Skipped]) -> Choice:
        """All targets of `found`, in order for the request; where each call has its own order, as they are listed."""
        if _is_steady(found):
            return Choice(targets=self._ordered(found, asked, _no_chance, 0.0), skipped=tuple(skipped))
        return Choice(
            targets=_unique(_listed(found)), skipped=tuple(skipped), order=partial(self._ordered, found, asked)
        )

    def _ordered(
        self, found: Pool | Target, asked: Asked, chance: Callable[[], float], now: float
    ) -> tuple[Target, ...]:
        return _unique(self._units(found, asked, chance, now))

    def _units(self, found: Pool | Target, asked: Asked, chance: Callable[[], float], now: float) -> tuple[Target, ...]:
        if isinstance(found, Target):
            return (found,)
        units = [self._units(member, asked, chance, now) for member in found.members]
        candidates = [
            self._candidate(found.strategy, member.name, weight, unit[0], asked)
            for member, weight, unit in zip(found.members, found.weights, units, strict=True)
        ]
        key = (asked.key or conversation_key(asked.request)) if found.strategy == "sticky" else ""
        places = order(candidates, found.strategy, key=key, chance=chance(), now=now)
        return tuple(target for place in places for target in units[place])

    def _candidate(self, strategy: Strategy, name: str, weight: float, first: Target, asked: Asked) -> Candidate:
        """What the strategy asks of a target, or of a route within the route: it stands with its `first`."""
        latency = self._latencies.setdefault(_place(first), None) if strategy == "least_latency" else None
        cost = self._cost(first, asked.needs) if strategy == "cheapest" else None
        return Candidate(name=name, weight=weight, latency=latency, cost=cost)

    def _cost(self, target: Target, needs: Needs) -> Decimal | None:
        prices = self._prices(target.provider, target.model) if self._prices else None
        prices = prices or target.profile.prices
        return prices.cost(needs.estimated_usage()) if prices else None


def _no_chance() -> float:
    return 0.0


def _place(target: Target) -> tuple[str, str]:
    return target.name, target.endpoint.base_url


def _is_steady(found: Pool | Target) -> bool:
    """Whether the order is the same for each call with the same request."""
    if isinstance(found, Target):
        return True
    return found.strategy not in {"weighted", "least_latency"} and all(map(_is_steady, found.members))


def _listed(found: Pool | Target) -> Iterator[Target]:
    if isinstance(found, Target):
        yield found
    else:
        for member in found.members:
            yield from _listed(member)


def _unique(targets: Iterable[Target]) -> tuple[Target, ...]:
    """Each target once, where it comes first."""
    found: list[Target] = []
    for target in targets:
        if target not in found:
            found.append(target)
    return tuple(found)
