"""What the commands say beside their answer: errors in one line, exit codes, tables."""

import asyncio
import os
import sys
import warnings
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from shutil import get_terminal_size
from textwrap import fill
from typing import Any, TextIO, TypeVar

import typer

from llm_call.core.domain.errors import (
    APIError,
    ConfigError,
    LLMCallError,
    NoEligibleTargetError,
    OutputError,
    PolicyError,
    UnsupportedError,
)
from llm_call.core.domain.response import Usage
from llm_call.core.domain.result import Result

T = TypeVar("T")

REJECTED, USAGE, PROVIDER, BUDGET, INTERRUPTED = 1, 2, 4, 5, 130


def exit_code(error: LLMCallError) -> int:
    """The exit code that an error means."""
    match error:
        case OutputError():
            return REJECTED
        case ConfigError() | UnsupportedError() | NoEligibleTargetError():
            return USAGE
        case PolicyError():
            return BUDGET
        case _:
            return PROVIDER


@contextmanager
def errors_told() -> Iterator[None]:
    """Turn an error into its line on standard error and its exit code; an interrupt into 130; a warning into a line."""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _tell_warning
            yield
    except LLMCallError as error:
        tell_error(error)
        raise typer.Exit(exit_code(error)) from error
    except KeyboardInterrupt:
        say("interrupted")
        raise typer.Exit(INTERRUPTED) from None
    except UnicodeDecodeError as error:  # of standard input, where the locale has it strict
        tell_error(_no_text())
        raise typer.Exit(USAGE) from error
    except BrokenPipeError:  # who reads has had enough
        raise
    except OSError as error:
        say(f"error: the output cannot be written: {error.strerror}", color="red")
        raise typer.Exit(USAGE) from error


def refuse_no_text(text: str) -> None:
    """Refuse what came in as bytes that are no text.

    Raises:
        ConfigError: Some of its bytes are no UTF-8.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise _no_text() from error


def _no_text() -> ConfigError:
    return ConfigError("the input is no UTF-8", hint="Convert it, for example with iconv.")


def _tell_warning(message: Warning | str, *_: object, **__: object) -> None:
    say(f"warning: {message}", color="yellow")


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """What `coroutine` returns; an interrupt cancels it."""
    return asyncio.run(coroutine)


def say(line: str, *, color: str | None = None) -> None:
    """A line on standard error; in colour only on a terminal that wants it."""
    typer.echo(typer.style(line, fg=color) if color and wants_color() else line, err=True)


def wants_color() -> bool:
    """Whether standard error is a terminal and nobody has asked for plain text."""
    return is_terminal(sys.stderr) and "NO_COLOR" not in os.environ


def is_terminal(stream: TextIO) -> bool:
    """Whether `stream` is a terminal that can do more than print lines."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def tell_error(error: LLMCallError) -> None:
    """`error: what happened (3 attempts). What to do.` in one line; a line for each of several targets and each note."""
    first, *more = str(error).split("\n")
    tried = len(error.trace.attempts) if error.trace else 0
    if tried > 1 and not more:
        first = f"{first.rstrip('.')} ({tried} attempts)"
    wait = (
        f" The server asks to wait {error.retry_after:g} s."
        if isinstance(error, APIError) and error.retry_after
        else ""
    )
    hint = f"{wait} {error.hint}" if error.hint else wait
    end = "" if first.endswith((".", "?", "!")) or not hint else "."
    say(f"error: {first}{end}{hint}", color="red")
    for line in more:
        say(f"  {line}")
    for note in getattr(error, "__notes__", ()):
        say(note)


def print_table(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    """A table on standard output: plain columns with two spaces between them, on a terminal folded to its width.

    Where the terminal is too narrow for so many columns, each line is a paragraph that hangs on its first cell.
    """
    widths = [max(map(len, column)) for column in zip(columns, *lines, strict=True)]
    if not is_terminal(sys.stdout):
        for line in (columns, *lines):
            typer.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
        return
    room = get_terminal_size().columns
    if room < _READABLE * len(columns):
        for line in (columns, *lines):
            _print_hanging(line, widths[0] + 2, room)
        return
    _print_folded(columns, lines)


_READABLE = 20  # characters a column: in narrower ones, words and addresses fall apart


def _print_hanging(line: Sequence[str], indent: int, room: int) -> None:
    first, *cells = line
    text = first.ljust(indent) + "; ".join(cells)
    typer.echo(fill(text, room, subsequent_indent=" " * indent, break_on_hyphens=False, break_long_words=False))


def _print_folded(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    from rich.console import Console  # noqa: PLC0415  (start-up: only a terminal needs it)
    from rich.table import Table  # noqa: PLC0415  (start-up: only a terminal needs it)
    from rich.text import Text  # noqa: PLC0415  (start-up: only a terminal needs it)

    table = Table(box=None, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=number == 0)
    for line in lines:
        table.add_row(*map(Text, line))  # plain text: a bracket in a cell is no markup
    Console().print(table)


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """A sign of life on a terminal while something takes its time."""
    if not wants_color():
        yield
        return
    from rich.console import Console  # noqa: PLC0415  (start-up: only a terminal needs it)

    with Console(stderr=True).status(what):
        yield


def tell_result(result: Result[Any]) -> None:
    """Which model answered, in what time, with how many tokens, at what cost."""
    cost = "" if result.cost is None else f", ${result.cost:f}"
    verb, color = ("answered", "green") if result.ok else ("rejected", "red")
    tokens = _tokens(result.usage)
    say(f"{verb}: {result.trace.model} in {result.trace.duration:.2f} s{tokens}{cost}", color=color)
    if result.cost is None:
        from llm_call.core.providers.catalog import obstacle  # noqa: PLC0415  (start-up: only who asks for it pays)

        if todo := obstacle(result.bill.charges):
            say(f"the cost is unknown: prices are an extra. {todo}")


def _tokens(usage: Usage | None) -> str:
    if usage is None or usage.input_tokens is None:
        return ""
    return f", {usage.input_tokens} tokens in, {usage.output_tokens} out"
