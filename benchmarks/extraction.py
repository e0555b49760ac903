"""JSON extraction: an ordinary answer beside the parser alone, hostile texts at two lengths, one schema check.

CPU time, the best of several rounds in which ours and the floor take turns.
"""

import json
import random
from collections.abc import Callable
from time import process_time

from harness import Row

from llm_call.core.validation.extraction import extract
from llm_call.core.validation.schema import checker

ROUNDS = 15
WORDS = ("the", "result", "of", "this", "step", "was", "found", "in", "a", "table", "before", "it", "ended")
PERSON = {
    "type": "object",
    "required": ["name"],
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}, "tags": {"type": "array"}},
}
# Each is repeated to the length that the performance goals name, and to twice that.
HOSTILE = [
    ("backticks", "`", 2_048),
    ("opening braces", "{", 16_000),
    ("opening brackets", "[", 100_000),
    ("braces and quotes", '{"', 50_000),
    ("an endless string", "x", 5_000_000),
    ("an empty fence", " \n", 1_000),
    ("fences", "```json\n", 20_000),
    ("broken objects", "{'a': 1} ", 10_000),
    ("reasoning tags", "<think></think>", 20_000),
]
BEGINNINGS = {"an endless string": '["', "an empty fence": "```json"}


def measure() -> list[Row]:
    """All figures of this file."""
    return [*ordinary(), schema_check(), *(hostile(*case) for case in HOSTILE)]


def ordinary() -> list[Row]:
    """An answer of 4 KB: prose, a fence round an object of 1.8 KB, prose. With and without a schema."""
    document, text = answer()
    plain, floor = _best(lambda: extract(text), lambda: json.loads(document), 400)
    checked, _ = _best(lambda: extract(text, {"type": "object", "required": ["items"]}), lambda: None, 400)
    note = f"{len(text)} characters, the object {len(document)}"
    return [
        Row("extract from a 4 KB answer", plain * 1e6, "us", floor * 1e6, "json.loads of the object alone", note),
        Row("the same with a schema", checked * 1e6, "us", floor * 1e6, "json.loads of the object alone", note),
    ]


def schema_check() -> Row:
    """A small document against a schema that is compiled already."""
    person = {"name": "Ann", "age": 34, "tags": ["a", "b"]}
    compiled = checker(PERSON)
    ours, floor = _best(lambda: checker(PERSON).fits(person), lambda: compiled.fits(person), 5000)
    note = "ours finds the compiled schema first"
    return Row("check a small document", ours * 1e6, "us", floor * 1e6, "jsonschema-rs, compiled", note)


def hostile(name: str, piece: str, count: int) -> Row:
    """A hostile text, and the growth of its time when its length doubles: 2 is linear."""
    begin = BEGINNINGS.get(name, "")
    short, long = begin + piece * count, begin + piece * count * 2
    once, twice = _best(lambda: extract(short), lambda: extract(long), 1)
    outcome = extract(short).problems[0].code
    note = f"{len(short)} characters: {outcome}; twice as long takes {twice / once:.1f} times as long"
    return Row(f"hostile: {name}", once * 1e3, "ms", None, "", note)


def answer() -> tuple[str, str]:
    """The object and the whole answer, always the same."""
    chance = random.Random(7)
    items = [
        {"id": number, "name": _prose(chance, 30), "price": number * 1.5, "tags": ["a", "b"], "stock": True}
        for number in range(13)
    ]
    document = json.dumps({"items": items, "total": 117.0, "note": _prose(chance, 120)}, indent=1)
    return document, f"{_prose(chance, 1100)}\n\n```json\n{document}\n```\n\n{_prose(chance, 1080)}"


def _prose(chance: random.Random, length: int) -> str:
    return " ".join(chance.choice(WORDS) for _ in range(length))[:length]


def _best(first: Callable[[], object], second: Callable[[], object], count: int) -> tuple[float, float]:
    """Seconds of CPU a call, of both."""
    times = [(_seconds(first, count), _seconds(second, count)) for _ in range(ROUNDS)]
    return min(one for one, _ in times), min(other for _, other in times)


def _seconds(call: Callable[[], object], count: int) -> float:
    start = process_time()
    for _ in range(count):
        call()
    return (process_time() - start) / count


def main() -> None:
    """Print the table."""
    for row in measure():
        floor = "" if row.floor is None else f"{row.ours / row.floor:5.1f} x {row.floor_name} ({row.floor:.2f})"
        print(f"{row.what:28} {row.ours:9.2f} {row.unit:3} {floor:48} {row.note}")


if __name__ == "__main__":
    main()
