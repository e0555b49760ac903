"""The commands. Their modules are imported when they run: `--help` stays quick."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from llm_call import __version__
from llm_call.cli.conversations import app as conversations_app
from llm_call.cli.review import app as review_app
from llm_call.cli.test_runner import app as test_app
from llm_call.cli.trace import app as trace_app

app = typer.Typer(
    name="llm-call",
    help="One call, any model, an answer you can trust.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
CHECK_HELP = "A check: NAME or NAME:key=value,key=value. Repeatable."
PROVIDER_HELP = "A field of the request as the provider names it; the value is JSON or a text. Repeatable."
Model = Annotated[str | None, typer.Option("--model", "-m", help="provider/model, an alias, a route, or auto.")]
Timeout = Annotated[float | None, typer.Option(help="Seconds for the whole call.")]
ApiBase = Annotated[str | None, typer.Option(help="The URL of any OpenAI-compatible server.")]
ApiKeyVariable = Annotated[
    str | None, typer.Option(metavar="NAME", help="The environment variable with the key for this call.")
]
Trace = Annotated[
    bool | None, typer.Option("--trace/--no-trace", help="Keep the trace and say its id, or do not keep it.")
]

config_app = typer.Typer(help="Look at the settings.", no_args_is_help=True)
alerts_app = typer.Typer(help="Try the receivers of alerts.", no_args_is_help=True)
app.add_typer(test_app, name="test", help="Run files of test cases.")
app.add_typer(config_app, name="config")
app.add_typer(review_app, name="review", help="Decide what models could not, and look after durable calls.")
app.add_typer(alerts_app, name="alerts")
app.add_typer(conversations_app, name="conversations", help="Look at the kept conversations.")
app.add_typer(trace_app, name="trace", help="Look at what was tried in the calls of the last days.")


def _tell_version(wanted: bool) -> None:  # noqa: FBT001  (what typer calls it with)
    if wanted:
        typer.echo(f"llm-call {__version__}")
        raise typer.Exit


@app.callback()
def configure(
    trust: Annotated[bool, typer.Option("--trust", help="Trust the files of this project for this run.")] = False,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Set a setting for this run. Repeatable.")
    ] = None,
    _version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_tell_version, help="Show the version and exit.")
    ] = False,
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
    model: Model = None,
    system: Annotated[str | None, typer.Option("--system", "-s", help="The system prompt.")] = None,
    schema: Annotated[Path | None, typer.Option(help="A JSON Schema that the answer must fit.")] = None,
    validate: Annotated[list[str] | None, typer.Option("--validate", "-v", help=CHECK_HELP)] = None,
    stream: Annotated[bool, typer.Option("--stream", help="Print the answer as it arrives.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole result as JSON.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show every attempt and verdict on standard error.")] = False,
    payloads: Annotated[bool, typer.Option("--payloads", help="With --debug: show the answers there too.")] = False,
    trace: Trace = None,
    timeout: Timeout = None,
    max_tokens: Annotated[int | None, typer.Option(help="The most tokens that an answer may have.")] = None,
    temperature: Annotated[float | None, typer.Option("--temperature", "-t", help="0 is the most repeatable.")] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Choose among the likeliest tokens of this share, 0 to 1.")
    ] = None,
    stop: Annotated[list[str] | None, typer.Option(help="A text that ends the answer. Repeatable.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same answer, where the model can.")] = None,
    reasoning_effort: Annotated[str | None, typer.Option(help="How much to reason: low, medium, high, ...")] = None,
    provider_option: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help=PROVIDER_HELP)] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse what the model's dialect cannot express.")] = False,
    rounds: Annotated[int | None, typer.Option(help="How often to ask in all while answers are rejected (3).")] = None,
    max_cost: Annotated[float | None, typer.Option(help="US dollars that the whole call may cost.")] = None,
    fallback: Annotated[list[str] | None, typer.Option(help="A model to ask when no answer comes. Repeatable.")] = None,
    routing_key: Annotated[str | None, typer.Option(help="Calls with one key stay at one target of a route.")] = None,
    api_base: ApiBase = None,
    api_key_env: ApiKeyVariable = None,
    cache: Annotated[bool, typer.Option("--cache", help="Answer from the cache, and keep the answer.")] = False,
    refresh: Annotated[bool, typer.Option("--refresh", help="Ask anew, and keep the answer in the cache.")] = False,
    cassette: Annotated[Path | None, typer.Option(help="Answer from this file; record in it what it lacks.")] = None,
    record: Annotated[bool, typer.Option("--record", help="With --cassette: send everything, begin it anew.")] = False,
    replay: Annotated[bool, typer.Option("--replay", help="With --cassette: send nothing.")] = False,
) -> None:
    """Ask a model and print its checked answer.

    Exits with 0 when answered, 1 when the answer was rejected, 2 for a wrong argument or setting, 4 when no answer came,
    5 when the time or the budget is used up, 130 when interrupted.
    """
    given = dict(locals())  # every argument under its name
    from llm_call.cli.ask import ask as run_ask  # noqa: PLC0415  (start-up)
    from llm_call.cli.ask import ask_options  # noqa: PLC0415  (start-up)
    from llm_call.cli.cassette import Tape  # noqa: PLC0415  (start-up)
    from llm_call.cli.output import errors_told  # noqa: PLC0415  (start-up)
    from llm_call.cli.tracing import Tracing  # noqa: PLC0415  (start-up)

    with errors_told():
        tape = Tape(cassette, record=record, replay=replay)
        tracing = Tracing("ask", keep=trace, debug=debug, payloads=payloads)
        run_ask(prompt, ask_options(given), tape=tape, tracing=tracing, stream=stream, as_json=as_json)


@app.command()
def embed(
    texts: Annotated[list[str], typer.Argument(help="What to embed; - reads standard input, a text for each line.")],
    model: Model = None,
    dimensions: Annotated[int | None, typer.Option(help="The length of a vector, where the model can choose.")] = None,
    timeout: Timeout = None,
    api_base: ApiBase = None,
    api_key_env: ApiKeyVariable = None,
) -> None:
    """Print the vector of each text, one JSON list a line. Exits as ask does."""
    from llm_call.cli.ask import key_in  # noqa: PLC0415  (start-up)
    from llm_call.cli.embed import embed as run_embed  # noqa: PLC0415  (start-up)
    from llm_call.cli.output import errors_told  # noqa: PLC0415  (start-up)

    with errors_told():
        key = key_in(api_key_env)
        run_embed(texts, {"model": model, "timeout": timeout, "api_base": api_base, "api_key": key}, dimensions)


@app.command()
def chat(
    model: Model = None,
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


@app.command()
def simulate(
    policy: Annotated[
        list[Path], typer.Option("--policy", "-p", help="A configuration file (TOML). Repeat it to compare several.")
    ],
    scenario: Annotated[
        str, typer.Option(help="outage, throttle, brownout, recorded-trace, or a TOML file.")
    ] = "outage",
    traces: Annotated[Path | None, typer.Option(help="With recorded-trace: the traces, in JSON.")] = None,
    model: Annotated[str | None, typer.Option("--model", "-m", help="What is asked; the policy's default.")] = None,
    calls: Annotated[int | None, typer.Option(min=1, help="How many calls.")] = None,
    rate: Annotated[float | None, typer.Option(min=0.001, help="Calls a second.")] = None,
    duration: Annotated[float | None, typer.Option(min=0.001, help="Seconds in which calls begin.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same figures.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Try policies on modelled providers in virtual time: nothing is sent, no key is needed."""
    from llm_call.cli.output import errors_told  # noqa: PLC0415  (start-up)
    from llm_call.cli.simulate import run as run_simulation  # noqa: PLC0415  (start-up)

    with errors_told():
        run_simulation(
            policy,
            scenario,
            traces=traces,
            model=model,
            calls=calls,
            rate=rate,
            duration=duration,
            seed=seed,
            as_json=as_json,
        )


@config_app.command("show")
def config_show() -> None:
    """Print every setting, its value, and where that came from."""
    from llm_call.cli.listing import list_settings  # noqa: PLC0415  (start-up)

    list_settings()


@alerts_app.command("test")
def alerts_test(
    level: Annotated[
        Literal["info", "warning", "error", "critical"] | None,
        typer.Option(help="The alert's level; without it, for each receiver the least that it takes."),
    ] = None,
) -> None:
    """Send a test alert to each receiver of the settings, and print what came of it.

    Exits with 0 when all have taken it, 2 when there is none, 4 when one has not.
    """
    from llm_call.cli.alerts import try_receivers  # noqa: PLC0415  (start-up)
    from llm_call.cli.output import errors_told  # noqa: PLC0415  (start-up)

    with errors_told():
        try_receivers(level)


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
