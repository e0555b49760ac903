"""The commands. Their modules are imported when they run: `--help` stays quick."""

from decimal import Decimal
from pathlib import Path
from typing import Annotated

import typer

from llm_call.cli.conversations import app as conversations_app
from llm_call.cli.test_runner import app as test_app

app = typer.Typer(
    name="llm-call",
    help="One call, any model, an answer you can trust.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)
config_app = typer.Typer(help="Look at the settings.", no_args_is_help=True)
app.add_typer(test_app, name="test", help="Run files of test cases.")
app.add_typer(config_app, name="config")
app.add_typer(conversations_app, name="conversations", help="Look at the kept conversations.")


@app.callback()
def configure(
    trust: Annotated[bool, typer.Option("--trust", help="Trust the files of this project for this run.")] = False,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Set a setting for this run. Repeatable.")
    ] = None,
) -> None:
    """One call, any model, an answer you can trust."""
    if trust or settings:
        from llm_call.cli.configure import configure as run_configure  # noqa: PLC0415  (start-up)
        from llm_call.cli.output import errors_told  # noqa: PLC0415  (start-up)

        with errors_told():
            run_configure(settings or [], trust=trust)


@app.command()
def ask(
    prompt: Annotated[str, typer.Argument(help="What to ask; - reads standard input.")],
    model: Annotated[str | None, typer.Option("--model", "-m", help="provider/model.")] = None,
    system: Annotated[str | None, typer.Option("--system", "-s", help="The system prompt.")] = None,
    schema: Annotated[Path | None, typer.Option(help="A JSON Schema that the answer must fit.")] = None,
    validate: Annotated[
        list[str] | None,
        typer.Option("--validate", "-v", help="A check: NAME or NAME:key=value,key=value. Repeatable."),
    ] = None,
    stream: Annotated[bool, typer.Option("--stream", help="Print the answer as it arrives.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole result as JSON.")] = False,
    trace: Annotated[bool, typer.Option("--trace", help="Show every attempt and verdict on standard error.")] = False,
    timeout: Annotated[float | None, typer.Option(help="Seconds for the whole call.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="The most tokens that an answer may have.")] = None,
    temperature: Annotated[float | None, typer.Option("--temperature", "-t", help="0 is the most repeatable.")] = None,
    rounds: Annotated[int | None, typer.Option(help="How often to ask in all while answers are rejected (3).")] = None,
    max_cost: Annotated[float | None, typer.Option(help="US dollars that the whole call may cost.")] = None,
    fallback: Annotated[list[str] | None, typer.Option(help="A model to ask when no answer comes. Repeatable.")] = None,
    api_base: Annotated[str | None, typer.Option(help="The URL of any OpenAI-compatible server.")] = None,
    cache: Annotated[
        bool, typer.Option("--cache", help="Answer from the response cache, and keep the answer.")
    ] = False,
    refresh: Annotated[bool, typer.Option("--refresh", help="Ask anew, and keep the answer in the cache.")] = False,
    cassette: Annotated[Path | None, typer.Option(help="Answer from this file; record in it what it lacks.")] = None,
    record: Annotated[bool, typer.Option("--record", help="With --cassette: send everything, begin it anew.")] = False,
    replay: Annotated[bool, typer.Option("--replay", help="With --cassette: send nothing.")] = False,
) -> None:
    """Ask a model and print its checked answer.

    Exits with 0 when answered, 1 when the answer was rejected, 2 for a wrong argument or setting, 4 when no answer came,
    5 when the time or the budget is used up, 130 when interrupted.
    """
    from llm_call.cli.ask import ask as run_ask  # noqa: PLC0415  (start-up)
    from llm_call.cli.ask import read_check, read_schema  # noqa: PLC0415  (start-up)
    from llm_call.cli.cassette import Tape  # noqa: PLC0415  (start-up)
    from llm_call.cli.output import errors_told  # noqa: PLC0415  (start-up)

    with errors_told():
        run_ask(
            prompt,
            {
                "model": model,
                "system": system,
                "schema": read_schema(schema) if schema else None,
                "validate": [read_check(text) for text in validate or ()],
                "timeout": timeout,
                "max_tokens": max_tokens,
                "temperature": temperature,
                "rounds": rounds,
                "max_cost": None if max_cost is None else Decimal(str(max_cost)),
                "fallback_models": fallback or (),
                "api_base": api_base,
                "cache_key": "llm-call ask" if cache or refresh else None,
                "force_refresh": refresh,
            },
            tape=Tape(cassette, record=record, replay=replay),
            stream=stream,
            as_json=as_json,
            trace=trace,
        )


@app.command()
def chat(
    model: Annotated[str | None, typer.Option("--model", "-m", help="provider/model.")] = None,
    identity: Annotated[str | None, typer.Option("--continue", "-c", metavar="ID", help="Go on with this one.")] = None,
    last: Annotated[bool, typer.Option("--last", help="Go on with the conversation that was used last.")] = False,
    system: Annotated[str | None, typer.Option("--system", "-s", help="The system prompt.")] = None,
) -> None:
    """Talk with a model. Every answered question is kept, to be continued later and by any model.

    At a terminal, /help lists the commands; Ctrl-C ends an answer, Ctrl-D leaves. Through a pipe, each line is a turn;
    the exit code is 0, or that of the last turn that failed (those of ask).
    """
    from llm_call.cli.chat import chat as run_chat  # noqa: PLC0415  (start-up)

    run_chat(identity, last=last, model=model, system=system)


@app.command()
def models(
    provider: Annotated[str | None, typer.Option("--provider", "-p", help="Only those of this provider.")] = None,
) -> None:
    """List the models and providers, and whether they can be used now."""
    from llm_call.cli.listing import list_models  # noqa: PLC0415  (start-up)

    list_models(provider)


@app.command()
def providers() -> None:
    """List the providers: dialect, address, key, how each was tested, and whether it can be used now."""
    from llm_call.cli.listing import list_providers  # noqa: PLC0415  (start-up)

    list_providers()


@app.command()
def validators(name: Annotated[str | None, typer.Argument(help="Show one with its parameters.")] = None) -> None:
    """List the validators by name, or describe one."""
    from llm_call.cli.listing import list_validators  # noqa: PLC0415  (start-up)

    list_validators(name)


@config_app.command("show")
def config_show() -> None:
    """Print every setting, its value, and where that came from."""
    from llm_call.cli.listing import list_settings  # noqa: PLC0415  (start-up)

    list_settings()


@app.command()
def trust(
    path: Annotated[Path, typer.Argument(help="The folder.")] = Path(),
    show: Annotated[bool, typer.Option("--list", help="List the folders that are trusted.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Trust the folder no more.")] = False,
) -> None:
    """Trust the llm_call.toml and the case files of a folder.

    Until then they may not say where keys and requests go. When llm_call.toml changes, it has to be trusted again.
    """
    from llm_call.cli.configure import forget, list_trusted, trust_folder  # noqa: PLC0415  (start-up)
    from llm_call.cli.output import errors_told  # noqa: PLC0415  (start-up)

    with errors_told():
        if show:
            list_trusted()
        elif remove:
            forget(path)
        else:
            trust_folder(path)


def main() -> None:
    """The console script."""
    app()


if __name__ == "__main__":
    main()
