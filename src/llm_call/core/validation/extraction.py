"""From a text to the JSON value that it answers with, or to an honest reason why there is none.

`candidates` finds every strict value; here the schema chooses among them, and without one their form does. The result
is a value that stands in the text, or a value with the ledger of what was changed to read it, or problems.

Broken JSON is not mended here. A reader that mends it takes its place in `_choose`, where nothing strict fits.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from llm_call.core.domain.verdict import Problem, Repair, Risk
from llm_call.core.validation.candidates import Broken, Candidate, Scan
from llm_call.core.validation.schema import Checker, Schema, checker, snippet
from llm_call.core.validation.strict import Read, read

_MAX_WRAPPINGS = 3
_MAX_BROKEN = 5


class Extraction(Struct, frozen=True, kw_only=True):
    """What a text holds.

    `value` stands at `start:end` (characters of the whole text); `repairs` is the ledger of what was changed to read
    it. `ambiguous`: another value fits as well and differs, or a later one is broken. When nothing is `found`,
    `problems` says why: nothing there, broken, refused, or the errors of the best candidate against the schema.
    `incomplete`: the text ends inside a value or inside reasoning; then nothing is found, whatever came before.
    """

    found: bool
    value: Any = None
    start: int = 0
    end: int = 0
    repairs: tuple[Repair, ...] = ()
    ambiguous: bool = False
    incomplete: bool = False
    problems: tuple[Problem, ...] = ()


class _Fit(NamedTuple):
    """A candidate as it is accepted: unwrapped where it had to be."""

    value: Any
    candidate: Candidate
    repairs: tuple[Repair, ...]


def extract(text: str, schema: Schema | None = None) -> Extraction:
    """The JSON value in `text`, of those that fit `schema` the last one in a fence or answer tag, else the last one.

    Without a schema, objects and arrays of objects come before other arrays, and these before scalars; what stands in
    a fence or answer tag comes first. A scalar counts only where it is all there is.

    Raises:
        ConfigError: The schema is none.
    """
    against = None if schema is None else checker(schema)
    if not isinstance(text, str):
        return _none(Problem(code="not_text", message=f"the answer is {type(text).__name__}, not text"))
    try:
        scan = Scan(text)
        if scan.stopped:
            return Extraction(found=False, incomplete=scan.stopped.code == "incomplete", problems=(scan.stopped,))
        # A schema that takes everything does not choose.
        return _choose(scan, against, by_form=against is None or schema in (True, {}))
    except RecursionError:
        return _none(Problem(code="too_deep", message="the JSON is nested too deeply"))


def _choose(scan: Scan, against: Checker | None, *, by_form: bool) -> Extraction:
    fits = _fitting(scan, against)
    if not fits:
        return _nothing_fits(scan, against)
    best = max(fits, key=lambda fit: (fit.candidate.marked, by_form and fit.candidate.weight, fit.candidate.start))
    chosen = best.candidate
    if by_form and any(_outranks(broken, chosen) for broken in scan.broken):
        return _none(*_broken_problems(scan))
    rivals = [fit for fit in fits if fit is not best and (not by_form or fit.candidate.weight == chosen.weight)]
    return Extraction(
        found=True,
        value=best.value,
        start=chosen.start,
        end=chosen.end,
        repairs=best.repairs,
        ambiguous=any(not same(best.value, rival.value) for rival in rivals)
        or any(broken.start > chosen.start for broken in scan.broken),
    )


def _outranks(broken: Broken, chosen: Candidate) -> bool:
    """Whether a broken value is so much more likely the answer that `chosen` would be a wrong one."""
    return broken.weight > chosen.weight and broken.marked >= chosen.marked


def _fitting(scan: Scan, against: Checker | None) -> list[_Fit]:
    plain = [
        _Fit(candidate.value, candidate, _duplicates(scan.text, candidate, candidate.value, candidate.notes))
        for candidate in scan.candidates
        if against is None or against.fits(candidate.value)
    ]
    if plain or against is None:
        return plain
    unwrapped = (_first_inner(scan.text, candidate, against) for candidate in scan.candidates)
    return [fit for fit in unwrapped if fit]


def _first_inner(text: str, candidate: Candidate, against: Checker) -> _Fit | None:
    return next((fit for fit in _unwrapped(text, candidate, against) if against.fits(fit.value)), None)


def _unwrapped(text: str, candidate: Candidate, against: Checker) -> Iterator[_Fit]:
    """What stands inside: JSON inside a JSON string, the value of an object's only key, and so on inward."""
    fit = _Fit(candidate.value, candidate, _duplicates(text, candidate, candidate.value, candidate.notes))
    for _ in range(_MAX_WRAPPINGS):
        match fit.value:
            case str(content):
                inner = _decoded(text, fit, content)
            case dict(members) if len(members) == 1 and against.may_be_wrapped_in(*members):
                inner = _opened(text, fit, *members.values())
            case _:
                return
        if inner is None:
            return
        fit = inner
        yield fit


def _decoded(text: str, outer: _Fit, content: str) -> _Fit | None:
    trimmed = content.strip()
    if not trimmed.startswith(("{", "[")):
        return None
    reading = read(trimmed, 0, len(trimmed))
    if not isinstance(reading, Read) or reading.refusal or reading.end < len(trimmed):
        return None
    repair = _repair("double_encoding", text, outer.candidate, content, "safe")
    duplicates = _duplicates(text, outer.candidate, reading.value, reading.notes)
    return _Fit(reading.value, outer.candidate, (*outer.repairs, repair, *duplicates))


def _opened(text: str, outer: _Fit, content: Any) -> _Fit:
    # A lone scalar under a key may be anything, a refusal too; an object or array that fits is what was asked for.
    risk: Risk = "safe" if isinstance(content, (dict, list)) else "risky"
    repair = _repair("envelope", text, outer.candidate, _json(content), risk)
    return _Fit(content, outer.candidate, (*outer.repairs, repair))


def _duplicates(text: str, candidate: Candidate, value: Any, notes: tuple[str, ...]) -> tuple[Repair, ...]:
    if "duplicate_key" not in notes:
        return ()
    return (_repair("duplicate_key", text, candidate, _json(value), "risky"),)


def _repair(kind: str, text: str, candidate: Candidate, after: str, risk: Risk) -> Repair:
    before = text[candidate.start : candidate.end]
    return Repair(kind=kind, start=candidate.start, end=candidate.end, before=before, after=after, risk=risk)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _nothing_fits(scan: Scan, against: Checker | None) -> Extraction:
    if against is not None and scan.candidates:
        best = max(scan.candidates, key=lambda each: (each.marked, each.weight, each.start))
        return _none(*against.problems(best.value), *_broken_problems(scan))
    if scan.broken:
        return _none(*_broken_problems(scan))
    if not scan.text.strip():
        return _none(Problem(code="empty", message="the answer is empty"))
    return _none(Problem(code="no_json", message="there is no JSON value in the text", got=snippet(scan.text)))


def _broken_problems(scan: Scan) -> tuple[Problem, ...]:
    return tuple(broken.problem(scan.text) for broken in scan.broken[-_MAX_BROKEN:])


def _none(*problems: Problem) -> Extraction:
    return Extraction(found=False, problems=problems)


def same(left: Any, right: Any) -> bool:
    """Whether two JSON values are equal: `true` is not 1, and 1 is 1.0."""
    pairs = [(left, right)]
    while pairs:
        one, other = pairs.pop()
        if isinstance(one, dict) and isinstance(other, dict):
            if one.keys() != other.keys():
                return False
            pairs.extend((value, other[key]) for key, value in one.items())
        elif isinstance(one, list) and isinstance(other, list):
            if len(one) != len(other):
                return False
            pairs.extend(zip(one, other, strict=True))
        elif isinstance(one, bool) != isinstance(other, bool) or one != other:
            return False
    return True
