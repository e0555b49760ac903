"""`llm-call trace`: what was tried in the calls of the last days."""

from typing import Annotated, Literal

import typer

app = typer.Typer(no_args_is_help=True)

_ID = typer.Argument(metavar="ID", help="The trace's id, or how it begins; last is the newest one.")
Format = Literal["text", "json", "markdown"]


@app.command("list")
def list_all(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="So many at most.")] = 20,
) -> None:
    """List the kept traces, the newest first."""
    from datetime import UTC, datetime  # noqa: PLC0415  (start-up)

    from llm_call.cli.output import errors_told, print_table, say  # noqa: PLC0415  (start-up)
    from llm_call.cli.tracing import known_secrets, trace_store  # noqa: PLC0415  (start-up)

    with errors_told():
        summaries = trace_store(known_secrets()).summaries(limit)
        if not summaries:
            say("there is no trace: commands keep one of every call that they make, unless traces.keep is off")
            return
        lines = []
        for each in summaries:
            when = datetime.fromtimestamp(each.at, UTC).astimezone()
            tried = "1 attempt" if each.attempts == 1 else f"{each.attempts} attempts"
            call = f"{each.command} {each.subject or each.model}"
            lines.append((each.id, f"{when:%Y-%m-%d %H:%M}", call, f"{each.outcome}, {tried} in {each.duration:.2f} s"))
        print_table(("id", "when", "call", "what came of it"), lines)


@app.command()
def show(
    id: Annotated[str, _ID] = "last",  # noqa: A002  (the word for it)
    *,
    form: Annotated[Format, typer.Option("--format", "-f", help="How: text, json or markdown.")] = "text",
    payloads: Annotated[bool, typer.Option("--payloads", help="Show what was said, if it was kept.")] = False,
) -> None:
    """Print a trace as a timeline: every attempt with its wait and why, its stages, tokens and money, every verdict."""
    from llm_call.cli.output import errors_told  # noqa: PLC0415  (start-up)
    from llm_call.cli.showing import show_trace  # noqa: PLC0415  (start-up)

    with errors_told():
        show_trace(beginning(id), form, payloads=payloads)


@app.command()
def delete(
    id: Annotated[str | None, _ID] = None,  # noqa: A002  (the word for it)
    *,
    every: Annotated[bool, typer.Option("--all", help="Delete all traces.")] = False,
) -> None:
    """Delete a trace, or all of them."""
    from llm_call.cli.output import errors_told, say  # noqa: PLC0415  (start-up)
    from llm_call.cli.tracing import known_secrets, trace_store  # noqa: PLC0415  (start-up)
    from llm_call.core.domain.errors import ConfigError  # noqa: PLC0415  (start-up)

    with errors_told():
        if (id is None) != every:
            raise ConfigError("say which trace to delete", hint="Give an id, or --all.")
        store = trace_store(known_secrets())
        say(f"deleted {store.delete(beginning(id)) if id is not None else f'{store.clear()} traces'}")


def beginning(id: str) -> str:  # noqa: A002  (the word for it)
    """What the id that is meant begins with; nothing for the newest one."""
    return "" if id == "last" else id
