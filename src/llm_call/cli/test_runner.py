"""`llm-call test run`: run a file of cases and say honestly what came of it.

Standard output carries the verdicts and nothing else; warnings, and where the results went, go to standard error.
The runner and the library are imported inside the functions, so that `llm-call --help` does not wait for them.
"""

import sys
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

DEFAULT_AT_ONCE = 5

app = typer.Typer(no_args_is_help=True)


@app.command()
def run(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file of cases: a JSON list.")],
    *,
    test_id: Annotated[
        str | None, typer.Option("--test-id", "-t", help="Only the case of this id, or those that begin so or match *.")
    ] = None,
    parallel: Annotated[bool, typer.Option("--parallel", "-p", help="Run several cases at a time.")] = False,
    max_concurrent: Annotated[
        int | None, typer.Option(min=1, help=f"With --parallel: so many at a time ({DEFAULT_AT_ONCE}).")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", "-m", help="Ask this model, not those of the cases.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write all results to this JSON file.")] = None,
    allow_skipped: Annotated[bool, typer.Option("--allow-skipped", help="All skipped is no failure.")] = False,
    cassette: Annotated[Path | None, typer.Option(help="Answer from this file; record in it what it lacks.")] = None,
    record: Annotated[bool, typer.Option("--record", help="With --cassette: send everything, begin it anew.")] = False,
    replay: Annotated[bool, typer.Option("--replay", help="With --cassette: send nothing.")] = False,
    trace: Annotated[
        bool | None, typer.Option("--trace/--no-trace", help="Keep all traces and say their ids, or keep none.")
    ] = None,
) -> None:
    """Run the cases of FILE and print a verdict for each.

    Exit codes: 0 all passed; 1 a case failed or errored, or all were skipped; 2 the file or the command line is
    wrong, nothing ran; 130 interrupted.
    """
    from llm_call.cli.cassette import Tape  # noqa: PLC0415  (start-up: see above)
    from llm_call.cli.output import errors_told  # noqa: PLC0415  (start-up: see above)
    from llm_call.core.api import default_client  # noqa: PLC0415  (start-up: see above)

    with errors_told(), Tape(cassette, record=record, replay=replay).around(default_client()):
        at_once = _at_once(parallel=parallel, limit=max_concurrent)
        code = _run(
            file, test_id, at_once=at_once, model=model, output=output, allow_skipped=allow_skipped, trace=trace
        )
    raise typer.Exit(code)


def _at_once(*, parallel: bool, limit: int | None) -> int:
    from llm_call.core.domain.errors import ConfigError  # noqa: PLC0415  (start-up: see above)

    if limit is not None and not parallel:
        raise ConfigError("--max-concurrent needs --parallel")
    return (limit or DEFAULT_AT_ONCE) if parallel else 1


def _run(
    file: Path,
    test_id: str | None,
    *,
    at_once: int,
    model: str | None,
    output: Path | None,
    allow_skipped: bool,
    trace: bool | None,
) -> int:
    """The exit code of the run.

    Raises:
        ConfigError: Nothing ran, or the results could not be written.
    """
    from llm_call.cli.output import say  # noqa: PLC0415  (start-up: see above)
    from llm_call.cli.tracing import TracedCases, Tracing  # noqa: PLC0415  (start-up: see above)
    from llm_call.core.api import default_client, default_settings  # noqa: PLC0415  (start-up: see above)
    from llm_call.core.config.cases import case_guard  # noqa: PLC0415  (start-up: see above)
    from llm_call.runner import dataset, report, results, selection  # noqa: PLC0415  (start-up: see above)
    from llm_call.runner.run import run as run_cases  # noqa: PLC0415  (start-up: see above)

    started = datetime.now(UTC)
    cases = dataset.load(file)
    for warning in cases.warnings:
        say(f"warning: {warning}")
    entries = selection.select(cases.entries, test_id)
    with results.ResultsFile(output, cases=file) if output else nullcontext() as target:
        printer, tracing = report.Printer(sys.stdout), Tracing("test run", keep=trace)
        with tracing.around(default_client()):
            done = run_cases(
                default_client(),
                entries,
                name=cases.name,
                model=model,
                at_once=at_once,
                listener=TracedCases(printer, tracing),
                guard=case_guard(file, default_settings()),
            )
        printer.line("")
        printer.line(report.summary_line(report.summarize(done)))
        if done.not_run:
            say(f"interrupted: {done.not_run} of {len(entries)} cases have no verdict")
        if target:
            target.write(results.results_of(done, started=started, file=str(file), model=model))
            say(f"results: {output}")
    return report.exit_code(done, allow_skipped=allow_skipped)
