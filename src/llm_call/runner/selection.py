"""Which cases run: by exact id, else by the beginning of the id, else by a pattern with `*`, `?` and `[...]`."""

from difflib import get_close_matches
from fnmatch import fnmatchcase

from llm_call.runner.case import Entry
from llm_call.runner.dataset import DatasetError

_NEAR = 0.4  # similarity: an abbreviated id is still near to the whole one
_NAMES = 3


def select(entries: tuple[Entry, ...], wanted: str | None) -> tuple[Entry, ...]:
    """The entries that `wanted` names, in their order; all of them for `None`.

    Raises:
        DatasetError: None matches; the hint lists near names.
    """
    if wanted is None:
        return entries
    return _exact(entries, wanted) or _beginning(entries, wanted) or _pattern(entries, wanted) or _none(entries, wanted)


def _exact(entries: tuple[Entry, ...], wanted: str) -> tuple[Entry, ...]:
    return tuple(entry for entry in entries if entry.test_case_id == wanted)


def _beginning(entries: tuple[Entry, ...], wanted: str) -> tuple[Entry, ...]:
    return tuple(entry for entry in entries if wanted and entry.test_case_id.startswith(wanted))


def _pattern(entries: tuple[Entry, ...], wanted: str) -> tuple[Entry, ...]:
    return tuple(entry for entry in entries if fnmatchcase(entry.test_case_id, wanted))


def _none(entries: tuple[Entry, ...], wanted: str) -> tuple[Entry, ...]:
    names = [entry.test_case_id for entry in entries]
    near = get_close_matches(wanted, names, n=_NAMES, cutoff=_NEAR)
    hint = f"Did you mean {' or '.join(near)}?" if near else f"There are {len(names)}, first {names[0]}."
    raise DatasetError(f"no case matches {wanted!r}", hint=hint)
