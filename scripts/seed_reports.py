"""Write docs/reports/018_task_N_*.md: for each task of the founding document, what a real run shows."""

import asyncio
import json
import random
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from llm_call.core.retry import ExponentialBackoffRetry, RetryManager
from llm_call.core.router import Router
from llm_call.core.utils.multimodal_utils import encode_image
from llm_call.core.validation import JSONExtractionValidator
from llm_call.testing.clock import FakeClock

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "reports"
MODEL = ("--model", "local/smollm2-135m")


class Figure(NamedTuple):
    """Something measured, beside what the document asked for."""

    what: str
    measured: str
    asked: str


class Task(NamedTuple):
    """One task: the page's name and title, the sample's defects and our answers, what to run and to measure."""

    slug: str
    title: str
    defects: tuple[tuple[str, str], ...]
    commands: tuple[tuple[str, ...], ...]
    figures: Callable[[], list[Figure]]


def seconds(function: Callable[[], object], *, repeats: int) -> float:
    """The best time of one call, of three series."""
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        for _ in range(repeats):
            function()
        best = min(best, (time.perf_counter() - start) / repeats)
    return best


def routing() -> list[Figure]:
    """How long a routing decision takes."""
    router = Router()

    async def route() -> float:
        start = time.perf_counter()
        for _ in range(10_000):
            await router.route_request("max/text-general", [])
        return (time.perf_counter() - start) / 10_000

    return [Figure("a routing decision", f"{asyncio.run(route()) * 1e6:.1f} us", "< 50 ms")]


def extraction() -> list[Figure]:
    """How long extraction takes, on good and on hostile text."""
    validator = JSONExtractionValidator()
    answer = "Here is the data: ```json\n" + json.dumps({f"key_{n}": n for n in range(100)}) + "\n```"
    broken = "{" + ", ".join(f"key_{n}: {n}" for n in range(1000)) + "}"
    hostile = "```json" + " \n" * 1000
    found = validator.validate(broken)
    return [
        Figure("an object of 100 keys in a fence", _ms(lambda: validator.validate(answer)), "< 10 ms"),
        Figure(
            f"a broken object of 1,000 keys ({'read' if found['valid'] else 'refused with its line and column'})",
            _ms(lambda: validator.validate(broken)),
            "< 100 ms",
        ),
        Figure(
            "2 KB on which the sample's pattern takes about 10 s", _ms(lambda: validator.validate(hostile)), "< 10 ms"
        ),
    ]


def _ms(function: Callable[[], object]) -> str:
    return f"{seconds(function, repeats=20) * 1e3:.3f} ms"


def backoff() -> list[Figure]:
    """The delays in virtual time, and what an attempt costs beside its function."""
    clock = FakeClock()
    chances = iter([0.0, 0.5, 0.999])
    retry = ExponentialBackoffRetry(max_attempts=4, clock=clock, random=lambda: next(chances))
    _fail_three_times(clock, retry)
    delays = ", ".join(f"{delay:.2f}" for delay in clock.sleeps)
    plain = FakeClock()
    _fail_three_times(plain, ExponentialBackoffRetry(max_attempts=4, jitter=False, clock=plain))

    async def overhead() -> float:
        manager = RetryManager("immediate", max_attempts=1001)
        state = {"left": 1000}

        def flaky() -> None:
            state["left"] -= 1
            if state["left"] >= 0:
                raise ConnectionError

        start = time.perf_counter()
        await manager.execute(flaky)
        return (time.perf_counter() - start) / 1001

    return [
        Figure("delays without jitter", f"{', '.join(f'{delay:g}' for delay in plain.sleeps)} s", "1, 2, 4 s"),
        Figure("delays at chances 0, 0.5, 0.999", f"{delays} s", "0.5-1.5, 1-3, 2-6 s"),
        Figure("overhead of an attempt", f"{asyncio.run(overhead()) * 1e6:.0f} us", "< 2 ms"),
    ]


def _fail_three_times(clock: FakeClock, retry: ExponentialBackoffRetry) -> None:
    failures = iter(range(3))

    def flaky() -> None:
        for _ in failures:
            raise ConnectionError

    clock.run(retry.execute(flaky))


def encoding() -> list[Figure]:
    """How long it takes to encode a picture of 1920x1080."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.png"
        path.write_bytes(_png(1920, 1080))
        size = path.stat().st_size
        return [Figure(f"a PNG of 1920x1080, {size / 1e6:.1f} MB", _ms(lambda: encode_image(path)), "< 500 ms")]


def _png(width: int, height: int) -> bytes:
    """A PNG whose pixels do not compress away."""
    noise = random.Random(1)  # noqa: S311  (pixels are no secret)
    rows = b"".join(b"\0" + noise.randbytes(width * 3) for _ in range(height))

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b"")


def running() -> list[Figure]:
    """How long the example cases take, one after another and several at once."""
    command = [sys.executable, "-m", "llm_call.cli.main", "test", "run", "examples/cases.json"]
    times = []
    for extra in ((), ("--parallel",)):
        start = time.perf_counter()
        subprocess.run([*command, *extra], cwd=ROOT, capture_output=True, check=False)
        times.append(time.perf_counter() - start)
    cases = len(json.loads((ROOT / "examples" / "cases.json").read_text(encoding="utf-8")))
    return [
        Figure(f"{cases} cases on the embedded model, one after another", f"{times[0]:.1f} s", "< 5 min"),
        Figure("the same with --parallel (one model, one slot)", f"{times[1]:.1f} s", "< 5 min"),
    ]


TASKS = (
    Task(
        "1_router",
        "Routing of max/* models",
        (
            ("It calls a method that does not exist for every other model.", "One table of patterns takes every name; the last row is the fallback."),
            ("`max/` gives an empty label, `max/a/b` loses its end, `MAX/x` and `max` are not recognised.", "Empty parts are refused with a suggestion; the rest of the name is the label; case does not matter; bare `max` takes the default label."),
            ("The model's name goes into a header unchecked, line ends included.", "Control characters, white space and, for `max/*`, everything outside ASCII are an `UnknownModelError`."),
            ("The endpoint is written into the code.", "One setting; the documented address is its default."),
        ),
        (("pytest", "tests/llm_call/core/test_router.py", "-k", "test_max_model_routing"),),
        routing,
    ),
    Task(
        "2_json_validators",
        "JSON extraction",
        (
            ("Two objects, a brace in the prose, a list or a scalar at the top, a first fence that is no JSON: all fail.", "Every strict value is found with its place; the schema chooses, without one the form does."),
            ('`[{"a": 1}]` gives the object inside, as if it were the answer.', "The outermost value counts; nothing inside a broken value is ever taken."),
            ("The patterns backtrack: 2 KB of blanks behind a fence take 10 s; deep nesting raises.", "One pass in linear time with limits on length, depth, candidates and work; what exceeds them is an error in words."),
            ("`{}` and `[]` skip the schema; its errors are not caught.", "Every value is checked; each error has its path, what was expected and what was got."),
            ("NaN, infinities, lone surrogates and repeated keys pass unseen.", "The first three are refused; a repeated key is an entry in the ledger."),
        ),
        (("pytest", "tests/llm_call/core/validation/test_json_validators.py"),),
        extraction,
    ),
    Task(
        "3_retry",
        "Exponential backoff",
        (
            ("Mistakes such as TypeError are retried.", "Programming and permission errors and cancellation are raised at once."),
            ("The jitter comes after the cap: 90 s where 60 is the limit.", "The cap comes last."),
            ("No attempt at all raises an error without a cause; the 1,024th attempt overflows.", "`max_attempts=0` is a configuration error; no number of attempts overflows."),
            ("Synchronous functions fail; tests must wait in real time.", "Both kinds of functions work; clock and chance are parameters, and the tests live in virtual time."),
        ),
        (("pytest", "tests/llm_call/core/test_retry.py", "-k", "test_exponential_backoff"),),
        backoff,
    ),
    Task(
        "4_multimodal",
        "Images",
        (
            ("The suffix alone decides, so a misnamed file goes out with the wrong type.", "Known bytes win over the suffix; unknown ones are sent as documented, with a warning."),
            ("A folder called x.png, an empty file and a file of any size are read.", "Each is a `ValueError` that says so; 20 MiB is the limit."),
            ("Any model is sent any image.", "A model that takes none refuses before any request: the case below ends as an error on the embedded model, and says why."),
        ),
        (
            ("pytest", "tests/llm_call/core/utils/test_multimodal.py", "-k", "test_image_encoding"),
            ("llm-call", "test", "run", "examples/seed_cases.json", "-t", "openai_multimodal_001", *MODEL),
        ),
        encoding,
    ),
    Task(
        "5_cli_runner",
        "The test runner",
        (
            ("Nothing is executed: every test passes.", "Each case goes through the same path as a call; what was not checked is called unchecked."),
            ("The exit code is 0 whatever fails; the parallel function does not exist.", "0, 1, 2, 130 as documented; `--parallel` has a real bound and the same outcomes."),
            ("`--test-id` takes exact ids, though the document abbreviates one.", "Exact id, then prefix, then glob; near names where none fits."),
            ("Comments, a missing id or an object around the cases break the loader.", "A strict reader, then a tolerant one that tells what it tolerated; errors name file, line and key."),
        ),
        (
            ("llm-call", "test", "run", "examples/seed_cases.json", "--test-id", "max_text_001", *MODEL),
            ("llm-call", "test", "run", "examples/seed_cases.json", *MODEL),
        ),
        running,
    ),
)  # fmt: skip


def shown(command: tuple[str, ...]) -> str:
    """What a command prints, as a console session."""
    modules = {"pytest": ["-m", "pytest", "-p", "no:cacheprovider"], "llm-call": ["-m", "llm_call.cli.main"]}
    words = [sys.executable, *modules[command[0]], *command[1:]]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    output = (done.stdout + done.stderr).strip()
    return f"```console\n$ {' '.join(command)}\n{output}\n$ echo $?\n{done.returncode}\n```"


def page(task: Task) -> str:
    """The report of one task."""
    lines = [f"# Task 018.{task.slug[0]}: {task.title}", ""]
    lines += [f"Written by `make reports` on {datetime.now(UTC):%Y-%m-%d}, from a real run.", ""]
    lines += ["## The sample code, and ours", "", "| the sample | ours |", "|---|---|"]
    lines += [f"| {defect} | {answer} |" for defect, answer in task.defects]
    lines += ["", "## Run", "", *(f"{shown(command)}\n" for command in task.commands)]
    lines += ["## Measured", "", "| what | measured | asked |", "|---|---|---|"]
    lines += [f"| {figure.what} | {figure.measured} | {figure.asked} |" for figure in task.figures()]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write every report."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for task in TASKS:
        path = FOLDER / f"018_task_{task.slug}.md"
        path.write_text(page(task), encoding="utf-8")
        print(f"{path.relative_to(ROOT)}: written")


if __name__ == "__main__":
    main()
