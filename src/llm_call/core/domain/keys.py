"""Names that people type: canonical keys for their aliases, and near names for the wrong ones."""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from llm_call.core.domain.errors import ConfigError


def near_names(name: str, known: Iterable[str], count: int = 3) -> tuple[str, ...]:
    """The known names that `name` may have meant, nearest first; case does not matter."""
    by_lower = {each.lower(): each for each in known}
    return tuple(by_lower[each] for each in get_close_matches(name.lower(), by_lower, n=count))


def canonical_keys(
    given: Mapping[str, Any], *, known: Iterable[str], aliases: Mapping[str, str], what: str
) -> dict[str, Any]:
    """`given` with every alias replaced by its canonical key.

    Raises:
        ConfigError: A key is unknown (with a did-you-mean), or stands there twice under two names.
    """
    names = tuple(known)
    result: dict[str, Any] = {}
    for key, value in given.items():
        name = aliases.get(key, key)
        if name not in names:
            near = near_names(str(key), (*names, *aliases), count=1)
            hint = f"Did you mean {near[0]}?" if near else _taken(names)
            raise ConfigError(f"{what}: unknown key {key!r}", hint=hint)
        if name in result:
            raise ConfigError(f"{what}: {name!r} is given twice, once as an alias", hint=f"Keep only {name}.")
        result[name] = value
    return result


_LISTED = 30  # more names than that are a wall, no hint


def _taken(names: Sequence[str]) -> str:
    if len(names) > _LISTED:
        return f"None of the {len(names)} that it takes is like it; the documentation lists them."
    return f"It takes {', '.join(names) or 'none'}."
