"""`llm-call chat`: a conversation, line by line, at a terminal or through a pipe.

At a terminal: lines that begin with a slash are commands, three double quotes begin and end a text of several lines,
Ctrl-C ends the answer and not the program, Ctrl-D leaves. Through a pipe each line that is not blank is one turn and
nothing is a command, since what comes through a pipe is data. An error is one line, and the conversation goes on.

Standard output carries the answers; everything else goes to standard error.
"""

import asyncio
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from typing import Any

import typer

from llm_call.cli.output import REJECTED, errors_told, exit_code, refuse_no_text, say, tell_error, waiting
from llm_call.cli.tracing import Tracing
from llm_call.core import api
from llm_call.core.conversation import Conversation
from llm_call.core.domain.errors import ConfigError, LLMCallError
from llm_call.core.domain.keys import near_names
from llm_call.core.domain.messages import Message
from llm_call.core.domain.result import Result

_QUOTES = '"""'
_HELP = """\
/model [NAME]   show the model, or ask another one from now on
/system [TEXT]  show the system prompt, or set it
/retry          ask what got no answer again
/undo           forget the last question and its answer
/new            begin a new conversation
/help           show this
/exit           leave, as Ctrl-D does
\"\"\"             begins and ends a text of several lines; Ctrl-C ends an answer
Every answered question is kept: `llm-call chat --last` goes on with it."""


def chat(identity: str | None, *, last: bool, model: str | None, system: str | None) -> None:
    """Talk until the input ends. Exits with 0, or through a pipe with the code of the last turn that failed."""
    tracing = Tracing("chat")
    with errors_told(), asyncio.Runner() as runner, tracing.around(api.default_client()):
        conversation = api.chat(_identity(identity, last=last), model=model, system=system)
        session = Session(conversation, runner, tracing)
        try:
            code = session.at_terminal() if sys.stdin.isatty() else session.through_pipe()
        finally:
            runner.run(api.default_client().close())
    if code:
        raise typer.Exit(code)


class Session:
    """The loop of turns and commands."""

    def __init__(self, conversation: Conversation, runner: asyncio.Runner, tracing: Tracing) -> None:
        self._conversation = conversation
        self._tracing = tracing
        self._runner = runner
        self._commands = {
            "/model": self._model,
            "/system": self._system,
            "/retry": self._retry,
            "/undo": self._undo,
            "/new": self._new,
            "/help": lambda _: say(_HELP),
            "/exit": _leave,
        }

    def through_pipe(self) -> int:
        """A turn for each line."""
        failed = 0
        for line in sys.stdin:
            if line.strip():
                failed = self._said(line.rstrip("\n")) or failed
        return failed

    def at_terminal(self) -> int:
        """Turns and commands until the user leaves."""
        with suppress(ImportError):
            import readline  # noqa: F401, PLC0415  (not everywhere, and only terminals want it: `input` edits lines)
        self._greet()
        with suppress(EOFError):
            while True:
                with suppress(KeyboardInterrupt):
                    self._line()
        say("")
        if self._conversation.turns:
            say(f"To go on: llm-call chat --continue {self._conversation.id}")
        return 0

    def _greet(self) -> None:
        ours = self._conversation
        what = f"{ours.turns} turns so far" if ours.turns else "new"
        say(f"conversation {ours.id} ({what}) with {ours.model or 'the default model'}; /help lists the commands")
        if ours.draft:
            say("what was said last got no answer: /retry asks it again")

    def _line(self) -> None:
        try:
            line = _read_line("> ")
        except KeyboardInterrupt:  # as a shell does: the line is dropped
            say("")
            return
        if line.startswith(_QUOTES):
            self._turn(_read_text(line.removeprefix(_QUOTES)))
        elif line.startswith("/"):
            name, _, rest = line.partition(" ")
            self._command(name, rest.strip())
        elif line.strip():
            self._turn(line)

    def _command(self, name: str, rest: str) -> None:
        try:
            if name not in self._commands:
                near = near_names(name, self._commands)
                hint = f"Did you mean {' or '.join(near)}?" if near else f"/help lists them; {_QUOTES} begins a text."
                raise ConfigError(f"there is no command {name}", hint=hint)
            self._commands[name](rest)
        except LLMCallError as error:
            tell_error(error)

    def _said(self, line: str) -> int:
        try:
            refuse_no_text(line)
        except ConfigError as error:
            tell_error(error)
            return exit_code(error)
        return self._turn(line)

    def _turn(self, said: str | Sequence[Message]) -> int:
        """Ask and print the answer; 0, or the exit code of what went wrong."""
        words = said if isinstance(said, str) else "\n".join(each.text for each in said)
        try:
            result = self._runner.run(self._streamed(said))
        except KeyboardInterrupt:
            say("interrupted: it is not kept; /retry asks again")
            raise
        except LLMCallError as error:
            self._tracing.failed(error, words)
            tell_error(error)
            return exit_code(error)
        if not result.ok:
            say(f"error: the answer was rejected and is not kept: {'; '.join(result.problems)}", color="red")
        self._tracing.answered(result, words)
        return 0 if result.ok else REJECTED

    async def _streamed(self, said: str | Sequence[Message]) -> Result[Any]:
        async with AsyncExitStack() as stack:
            with waiting("asking"):
                answer = await stack.enter_async_context(self._conversation.ask_stream(said))
            try:
                async for piece in answer:
                    typer.echo(piece, nl=False)
            finally:
                typer.echo()
        return answer.result

    def _model(self, name: str) -> None:
        if name:
            api.default_client().plan("?", model=name)  # an unknown one is refused now, not at the next question
            self._conversation.model = name
        say(f"model: {self._conversation.model or 'the default'}")

    def _system(self, text: str) -> None:
        if text:
            self._conversation.system = text
        say(f"system prompt: {self._conversation.system or 'none'}")

    def _retry(self, _rest: str) -> None:
        if not self._conversation.draft:
            raise ConfigError("there is nothing to ask again")
        self._turn(self._conversation.draft)

    def _undo(self, _rest: str) -> None:
        said = self._conversation.undo()
        say(f"forgotten: {' '.join(each.text for each in said)}" if said else "there is nothing to forget")

    def _new(self, _rest: str) -> None:
        self._conversation = api.chat(model=self._conversation.model, system=self._conversation.system)
        self._greet()


def _leave(_rest: str) -> None:
    raise EOFError


def _identity(identity: str | None, *, last: bool) -> str | None:
    if not last:
        return identity
    if identity is not None:
        raise ConfigError("--continue and --last exclude each other")
    summaries = api.conversations()
    if not summaries:
        raise ConfigError("there is no conversation to go on with", hint="Leave --last out to begin one.")
    return summaries[0].id


def _read_text(text: str) -> str:
    """The text that `text` begins, up to three double quotes at the end of a line."""
    while not text.rstrip().endswith(_QUOTES):
        text += "\n" + _read_line("... ")
    return text.rstrip().removesuffix(_QUOTES).strip("\n")


def _read_line(prompt: str) -> str:
    if sys.stdout.isatty():
        return input(prompt)
    typer.echo(prompt, nl=False, err=True)
    return input()
