"""`llm-call review`: what people are asked, and what they decide."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(no_args_is_help=True)

_ID = Annotated[str, typer.Argument(metavar="ID", help="The id of the review.")]
_By = Annotated[str | None, typer.Option("--by", help="Who decides; you, by your login, where it is left out.")]
_Reason = Annotated[str, typer.Option("--reason", help="Why.")]


@app.command("list")
def list_all(
    everything: Annotated[bool, typer.Option("--all", help="Also what has ended or is under way.")] = False,
) -> None:
    """List what there is to decide, the oldest first."""

    async def work(desk: Any) -> None:
        from llm_call.cli.output import print_table, say  # noqa: PLC0415  (start-up)
        from llm_call.core.durable.views import audit, state  # noqa: PLC0415  (start-up)

        cases = [case for case in await desk.cases() if everything or state(case) == "open"]
        if not cases:
            say("there is nothing to decide")
            return
        lines = [[case.id, state(case), f"{next(audit(case)).at:%Y-%m-%d %H:%M}", _subject(case)] for case in cases]
        print_table(("ID", "STATE", "SINCE (UTC)", "ABOUT"), lines)

    _at_the_desk(work)


@app.command()
def show(id: _ID) -> None:  # noqa: A002  (the word for it)
    """Print what is asked, the last answer, and why a person has to decide."""

    async def work(desk: Any) -> None:
        from llm_call.core.durable.views import state  # noqa: PLC0415  (start-up)

        case = await desk.case(id, seconds=0.0)
        typer.echo(f"{case.id}: {state(case)}")
        asked = case.asked
        if asked is None:
            return
        for each in asked.request.messages:
            typer.echo(f"{each.role}: {each.text}")
        typer.echo(f"answer: {asked.response.text if asked.response else '(none)'}")
        for problem in asked.problems:
            typer.echo(f"problem: {problem}")

    _at_the_desk(work)


@app.command()
def approve(id: _ID, by: _By = None, reason: _Reason = "") -> None:  # noqa: A002  (the word for it)
    """The answer stands as it is, whatever the validators say; it must have the form that was asked for."""
    _decide(id, by, action="approve", reason=reason)


@app.command()
def edit(
    id: _ID,  # noqa: A002  (the word for it)
    value: Annotated[str | None, typer.Option(help="The answer, a text or JSON.")] = None,
    file: Annotated[Path | None, typer.Option(help="A file that holds it.")] = None,
    by: _By = None,
) -> None:
    """Put another answer in its place. It is checked as a model's answer is."""
    from llm_call.cli.output import errors_told  # noqa: PLC0415  (start-up)

    with errors_told():
        text = _one_of(value, file)
    _decide(id, by, action="edit", value=text)


@app.command()
def reject(id: _ID, by: _By = None, reason: _Reason = "") -> None:  # noqa: A002  (the word for it)
    """Say no, for good: the call has a rejected result."""
    _decide(id, by, action="reject", reason=reason)


@app.command()
def retry(
    id: _ID,  # noqa: A002  (the word for it)
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A key of llm_config, changed. Repeatable.")
    ] = None,
    feedback: Annotated[str | None, typer.Option(help="What the model is told.")] = None,
    by: _By = None,
) -> None:
    """Ask again, with changes; this process carries it out."""
    from llm_call.cli.ask import read_provider_options  # noqa: PLC0415  (start-up)
    from llm_call.cli.output import errors_told  # noqa: PLC0415  (start-up)

    with errors_told():
        said = read_provider_options(changes or (), option="--set")
    _decide(id, by, action="retry", changes={**said, **({"feedback": feedback} if feedback else {})})


@app.command()
def escalate(id: _ID, by: _By = None, reason: _Reason = "") -> None:  # noqa: A002  (the word for it)
    """Hand it to the next level."""
    _decide(id, by, action="escalate", reason=reason)


@app.command()
def abort(id: _ID, by: _By = None, reason: _Reason = "") -> None:  # noqa: A002  (the word for it)
    """End the call itself: whoever waits for it gets an error, not a result."""
    _decide(id, by, action="abort", reason=reason)


@app.command()
def audit(id: _ID) -> None:  # noqa: A002  (the word for it)
    """Print every step: when, who, through which face, what, and what came of it."""

    async def work(desk: Any) -> None:
        from llm_call.cli.output import print_table  # noqa: PLC0415  (start-up)
        from llm_call.core.durable.views import audit as steps  # noqa: PLC0415  (start-up)

        found = steps(await desk.case(id, seconds=0.0))
        lines = [[f"{each.at:%Y-%m-%d %H:%M:%S}", each.by, each.face, each.what, each.outcome] for each in found]
        print_table(("UTC", "BY", "FACE", "WHAT", "OUTCOME"), lines)

    _at_the_desk(work)


@app.command()
def wait(
    id: _ID,  # noqa: A002  (the word for it)
    timeout: Annotated[float | None, typer.Option(help="Seconds; without it, as long as it takes.")] = None,
) -> None:
    """Carry on what is unfinished of a call, wait for what it comes to, and print that."""

    async def work(desk: Any) -> None:
        import json  # noqa: PLC0415  (start-up)

        from llm_call.cli.output import REJECTED, say  # noqa: PLC0415  (start-up)

        result = await desk.wait(id, timeout)
        if not result.ok:
            say(f"error: the answer was rejected: {'; '.join(result.problems)}", color="red")
            raise typer.Exit(REJECTED)
        typer.echo(result.value if isinstance(result.value, str) else json.dumps(result.value, ensure_ascii=False))

    _at_the_desk(work)


@app.command()
def collect() -> None:
    """Take the decisions out of the folder of the setting reviews.inbox, once."""

    async def work(desk: Any) -> None:
        from llm_call.core.durable.inbox import collect as collect_from  # noqa: PLC0415  (start-up)

        for line in await collect_from(desk):
            typer.echo(line)

    _at_the_desk(work)


@app.command()
def serve() -> None:
    """Serve the pages that links lead to, take what lies in the inbox, and carry on what is unfinished."""

    async def work(desk: Any) -> None:
        from llm_call.cli.output import say  # noqa: PLC0415  (start-up)
        from llm_call.core.durable.web import Pages  # noqa: PLC0415  (start-up)

        async with Pages(desk) as pages:
            say(f"listening on {pages.url}")
            await pages.serve()

    _at_the_desk(work)


def _decide(identity: str, by: str | None, **said: Any) -> None:
    async def work(desk: Any) -> None:
        from llm_call.cli.output import REJECTED, say  # noqa: PLC0415  (start-up)
        from llm_call.core.domain.review import Decision  # noqa: PLC0415  (start-up)
        from llm_call.core.durable.views import outcome, state  # noqa: PLC0415  (start-up)

        came = await desk.decide(identity, Decision(by=by or _login(), **said), face="command line")
        case = await desk.case(identity, seconds=0.0)
        last = next(link for link in reversed(case.links) if link.came == came)
        if came.what in {"bounced", "late"}:
            say(f"error: {outcome(last)}", color="red")
            raise typer.Exit(REJECTED)
        again = "the new answer was rejected too; " if said["action"] == "retry" else ""
        say(f"{identity}: {state(case)}" + (f": {again}{outcome(last)}" if came.what == "open" else ""))

    _at_the_desk(work)


def _at_the_desk(work: Callable[[Any], Awaitable[None]]) -> None:
    from llm_call.cli.output import errors_told, run  # noqa: PLC0415  (start-up)
    from llm_call.core.api import default_client  # noqa: PLC0415  (start-up)

    async def opened() -> None:
        client = default_client()
        try:
            await work(client.durable())
        finally:
            await client.close()

    with errors_told():
        run(opened())


def _login() -> str:
    import getpass  # noqa: PLC0415  (start-up)

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""


def _one_of(value: str | None, file: Path | None) -> str:
    from llm_call.core.domain.errors import ConfigError  # noqa: PLC0415  (start-up)

    if (value is None) == (file is None):
        raise ConfigError("an edit needs its answer once", hint="Give --value or --file.")
    if value is not None:
        return value
    try:
        return Path(str(file)).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no UTF-8"
        raise ConfigError(f"{file}: {why}", hint="Give a text file.") from error


def _subject(case: Any) -> str:
    if case.asked is None:
        return ""
    text = " ".join(case.asked.request.messages[-1].text.split())
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


_SHOWN = 60
