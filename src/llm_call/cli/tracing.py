"""What the commands do with the traces of their calls: show them where asked to, keep them, and say where they are.

Rule: nothing here costs anybody an answer. What goes wrong with the keeping of a trace is one line on standard error.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, Protocol

import typer

from llm_call.cli.output import is_terminal, say
from llm_call.core.api import default_settings
from llm_call.core.domain.bill import Bill, Charge
from llm_call.core.domain.errors import ConfigError, LLMCallError
from llm_call.core.domain.redaction import Level, redacted
from llm_call.core.domain.result import Result
from llm_call.core.domain.trace import Trace
from llm_call.core.hooks import AttemptHook, AttemptScope
from llm_call.core.providers.catalog import Catalog
from llm_call.core.store.traces import CallFacts, TraceStore
from llm_call.core.timeline import ASCII, Glyphs, Line, charted, one_line, plain, timeline
from llm_call.core.transport.masking import Secrets, secrets_of
from llm_call.runner.case import CaseResult
from llm_call.runner.run import Listener

_AT_ONCE = 50  # traces of a run that are written together, unless one of them is of a failure


class Hookable(Protocol):
    """A client, as far as it is needed here."""

    def hooked(self, hook: AttemptHook) -> Any:
        """A context in which the client's attempts are made inside `hook`."""


def known_secrets() -> Secrets:
    """The keys that the settings know of; those of a call are learnt when it is made."""
    return Secrets(default_settings().credentials.at_hand())


def trace_store(secrets: Secrets) -> TraceStore:
    """The traces of this user."""
    settings = default_settings()
    said = settings.config.traces
    return TraceStore(settings.state / "traces.db", hide=secrets.value, payloads=said.payloads, days=said.days)


class Tracing:
    """The traces of the calls of one command.

    `keep` is whether they are kept, and said to be; by default the setting decides, and only failures say so. `debug`
    tells of each attempt as it begins and ends, and shows the timeline; `payloads` shows there what was answered.

    Raises:
        ConfigError: The options do not go together, or a setting is wrong.
    """

    def __init__(self, command: str, *, keep: bool | None = None, debug: bool = False, payloads: bool = False) -> None:
        if payloads and not debug:
            raise ConfigError("--payloads needs --debug", hint="`llm-call trace show --payloads` shows a kept trace.")
        self._command = command
        self._keeps = default_settings().config.traces.keep if keep is None else keep
        self._always_says = keep is True
        self.debug = debug
        self._level: Level = "payloads" if payloads else "words"
        self._secrets = known_secrets()
        self._pending: list[tuple[Trace, CallFacts]] = []
        self._begun: float | None = None

    @contextmanager
    def around(self, client: Hookable) -> Iterator[None]:
        """Inside, the calls of `client` are watched; at the end, what is not kept yet is."""
        try:
            with client.hooked(self._watched):
                yield
        finally:
            self._flush()

    def answered(self, result: Result[Any], asked: str) -> None:
        """Keep the trace of an answer; say so where it was rejected."""
        outcome = "answered" if result.ok else "rejected"
        if line := self._kept(result.trace, outcome, failed=not result.ok, asked=asked, charges=result.bill.charges):
            say(line)

    def failed(self, error: LLMCallError, asked: str) -> None:
        """Show and keep what was tried before `error`, which then says where it is."""
        if error.trace is None:
            return
        self.show(error.trace)
        if line := self._kept(error.trace, type(error).__name__, failed=True, asked=asked):
            error.add_note(line)

    def case_ended(self, result: CaseResult) -> None:
        """Keep the trace of a test case, and show it where the case wants that."""
        if result.trace is None:
            return
        if result.debug:
            self._show(result.trace, priced(result.charges).costs)
        outcome = result.failure.kind if result.failure else result.outcome
        failed = result.outcome in {"failed", "error"}
        if line := self._kept(
            result.trace, outcome, failed=failed, subject=result.test_case_id, charges=result.charges
        ):
            say(line)

    def show(self, trace: Trace, costs: Sequence[Decimal | None] = ()) -> None:
        """The timeline on standard error, if it was asked for: below what was told of each attempt."""
        if self.debug:
            say("")
            self._show(trace, costs)

    def _show(self, trace: Trace, costs: Sequence[Decimal | None] = ()) -> None:
        print_timeline(timeline(redacted(trace, self._level, self._secrets.value), costs), err=True)

    def _kept(
        self,
        trace: Trace,
        outcome: str,
        *,
        failed: bool,
        asked: str = "",
        subject: str = "",
        charges: tuple[Charge, ...] = (),
    ) -> str:
        """What to say of a trace that is kept, or soon will be; nothing where there is nothing to say."""
        if not self._keeps or not (trace.rounds or trace.skipped):
            return ""
        facts = CallFacts(
            at=time.time() - trace.duration,
            command=self._command,
            subject=subject,
            outcome=outcome,
            asked=asked,
            charges=charges,
        )
        self._pending.append((trace, facts))
        if not failed and not self._always_says:
            if len(self._pending) >= _AT_ONCE:
                self._flush()
            return ""
        identity = self._flush()
        return f"trace {identity}: llm-call trace show {identity}" if identity else ""

    def _flush(self) -> str | None:
        """Write what is not written yet. The id of the last one."""
        pending, self._pending = self._pending, []
        if not pending:
            return None
        try:
            return trace_store(self._secrets).keep_all(pending)[-1]
        except Exception as error:  # noqa: BLE001  (whatever it is, the answer is there)
            said = one_line(str(error)) or type(error).__name__
            say(f"warning: the trace was not kept: {said}", color="yellow")
            return None

    @contextmanager
    def _watched(self, scope: AttemptScope) -> Iterator[None]:
        endpoint = scope.target.endpoint
        self._secrets.learn(secrets_of(endpoint.base_url, endpoint.headers))
        if not self.debug:
            yield
            return
        begun = time.monotonic()
        self._begun = begun if self._begun is None else self._begun
        who = f"attempt {scope.number} {scope.target.name}"
        self._tell(f"{who} ...{_why(scope)}")
        try:
            yield
        except BaseException as error:
            said = f"{type(error).__name__}: {error}" if isinstance(error, LLMCallError) else "left"
            self._tell(f"{who}: {time.monotonic() - begun:.2f} s, {said}", color="red")
            raise
        self._tell(f"{who}: {time.monotonic() - begun:.2f} s, answered")

    def _tell(self, text: str, *, color: str | None = None) -> None:
        offset = time.monotonic() - (self._begun or 0.0)
        say(f"  {offset:7.2f} s  {one_line(self._secrets.text(text))}", color=color)


class TracedCases:
    """A listener to a run of test cases: what `inner` says of a case stands before what there is to say of its trace."""

    def __init__(self, inner: Listener, tracing: Tracing) -> None:
        self._inner = inner
        self._tracing = tracing

    def started(self, test_case_id: str) -> None:
        """The call begins."""
        self._inner.started(test_case_id)

    def ended(self, result: CaseResult) -> None:
        """The verdict is there."""
        self._inner.ended(result)
        self._tracing.case_ended(result)


def priced(charges: tuple[Charge, ...]) -> Bill:
    """What `charges` come to, by the user's own prices and the list's."""
    return Bill(charges, Catalog(default_settings().config.prices).price)


def _why(scope: AttemptScope) -> str:
    turn = scope.turn
    waited = f" after {turn.wait:.2f} s" if turn.wait else ""
    return f"{waited} ({turn.why})" if turn.why else waited


def print_timeline(lines: Sequence[Line], *, err: bool) -> None:
    """The timeline: on a terminal with bars along time in its width, elsewhere as plain lines."""
    if not is_terminal(sys.stderr if err else sys.stdout):
        for text in plain(lines):
            typer.echo(text, err=err)
        return
    from rich.console import Console  # noqa: PLC0415  (start-up: only a terminal needs it)
    from rich.padding import Padding  # noqa: PLC0415  (start-up: only a terminal needs it)
    from rich.text import Text  # noqa: PLC0415  (start-up: only a terminal needs it)

    console = Console(stderr=err, highlight=False)
    glyphs = Glyphs() if console.encoding.startswith("utf") else ASCII
    for row in charted(lines, console.width, glyphs):
        console.print(Padding(Text(row.text, _style(row.line)), (0, 0, 0, row.indent), expand=False))


def _style(line: Line) -> str:
    if line.kind == "round":
        return "bold"
    if line.kind in {"wait", "gate", "skip", "notice"}:
        return "yellow"
    return {"ok": "green", "failed": "red", "": ""}[line.status]
