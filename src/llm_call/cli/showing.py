"""One kept trace, printed."""

from datetime import UTC, datetime

import typer
from msgspec.structs import replace

from llm_call.cli.output import say
from llm_call.cli.trace import Format
from llm_call.cli.tracing import known_secrets, priced, print_timeline, trace_store
from llm_call.core.domain.bill import Bill
from llm_call.core.domain.redaction import placeholder, redacted
from llm_call.core.store.traces import KeptTrace
from llm_call.core.timeline import document, markdown, one_line, timeline


def show_trace(beginning: str, form: Format, *, payloads: bool) -> None:
    """Print the trace whose id begins so, in the form that is asked for.

    Raises:
        ConfigError: There is none, or there are several.
    """
    secrets = known_secrets()
    kept = trace_store(secrets).find(beginning)
    if payloads and not kept.payloads:
        say("what was said was not kept: the setting traces.payloads keeps it from then on", color="yellow")
    if kept.payloads and not payloads:
        facts = replace(kept.facts, asked=placeholder(kept.facts.asked) if kept.facts.asked else "")
        kept = replace(kept, facts=facts, trace=redacted(kept.trace, "words", secrets.value))
    bill = priced(kept.facts.charges)
    if form == "json":
        typer.echo(_document(kept, bill))
        return
    lines = timeline(kept.trace, bill.costs)
    if form == "markdown":
        typer.echo(f"### {_title(kept, bill)}\n\n{markdown(lines)}", nl=False)
        return
    typer.echo(_title(kept, bill))
    if kept.facts.asked:
        typer.echo(f"asked: {one_line(kept.facts.asked)}")
    print_timeline(lines, err=False)


def _document(kept: KeptTrace, bill: Bill) -> bytes:
    facts = kept.facts
    at = datetime.fromtimestamp(facts.at, UTC)
    about = {"id": kept.id, "at": at, "command": facts.command, "subject": facts.subject, "outcome": facts.outcome}
    cost = bill.total if bill.charges else None
    return document(kept.trace, bill.costs, **about, asked=facts.asked, payloads=kept.payloads, cost=cost)


def _title(kept: KeptTrace, bill: Bill) -> str:
    facts, trace = kept.facts, kept.trace
    when = datetime.fromtimestamp(facts.at, UTC).astimezone()
    cost = f", ${bill.total:f}" if bill.charges and bill.total is not None else ""
    tried = "1 attempt" if len(trace.attempts) == 1 else f"{len(trace.attempts)} attempts"
    what = one_line(f"{facts.command} {facts.subject}")
    end = f"{facts.outcome}: {tried} in {trace.duration:.2f} s{cost}"
    return f"trace {kept.id}, {when:%Y-%m-%d %H:%M:%S}: {what} {one_line(trace.model)}, {end}"
