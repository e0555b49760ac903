"""`llm-call conversations`: what `llm-call chat` and `llm_call.chat` have kept."""

from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True)

_ID = typer.Argument(metavar="ID", help="The conversation's id.")


@app.command("list")
def list_all() -> None:
    """List the conversations, the one that was used last first."""
    from datetime import UTC, datetime  # noqa: PLC0415  (start-up)

    from llm_call.cli.output import errors_told, say  # noqa: PLC0415  (start-up)
    from llm_call.core.api import conversations  # noqa: PLC0415  (start-up)

    with errors_told():
        summaries = conversations()
        if not summaries:
            say("there is no conversation yet: `llm-call chat` begins one")
        for each in summaries:
            when = datetime.fromtimestamp(each.updated, UTC).astimezone()
            turns = "1 turn " if each.turns == 1 else f"{each.turns} turns"
            typer.echo(f"{each.id}  {when:%Y-%m-%d %H:%M}  {turns:>9}  {each.model or '-'}  {each.title}")


@app.command()
def show(
    id: Annotated[str, _ID],  # noqa: A002  (the word for it)
    as_json: Annotated[bool, typer.Option("--json", help="Print the messages as JSON, with all their parts.")] = False,
) -> None:
    """Print a conversation."""
    import msgspec  # noqa: PLC0415  (start-up)

    from llm_call.cli.output import errors_told  # noqa: PLC0415  (start-up)
    from llm_call.core.api import chat  # noqa: PLC0415  (start-up)
    from llm_call.core.domain.messages import message  # noqa: PLC0415  (start-up)

    with errors_told():
        ours = chat(id)
        if as_json:
            typer.echo(msgspec.json.format(msgspec.json.encode(ours.messages), indent=2).decode())
            return
        for each in ((message("system", ours.system),) if ours.system else ()) + ours.messages:
            typer.echo(f"{each.role}: {' '.join(map(_shown, each.parts))}")


@app.command()
def delete(id: Annotated[str, _ID]) -> None:  # noqa: A002  (the word for it)
    """Delete a conversation. What was said is gone."""
    from llm_call.cli.output import errors_told, say  # noqa: PLC0415  (start-up)
    from llm_call.core.api import chat  # noqa: PLC0415  (start-up)

    with errors_told():
        chat(id).delete()
        say(f"deleted {id}")


def _shown(part: object) -> str:
    """A part in words: what is no text, in brackets."""
    from llm_call.core.domain.messages import Media, Reasoning, Text, ToolCall, ToolResult  # noqa: PLC0415  (start-up)

    match part:
        case Text(text=text):
            return text
        case Reasoning(text=text):
            return f"[reasoning: {text}]"
        case ToolCall(name=name, arguments=arguments):
            return f"[call: {name} {arguments}]"
        case ToolResult(parts=parts):
            return f"[result: {' '.join(map(_shown, parts))}]"
        case Media(media_type=media_type):
            return f"[{media_type}]"
    return ""
