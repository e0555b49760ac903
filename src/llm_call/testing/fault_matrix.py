"""What a caller gets for every fault: the table of `docs/fault_matrix.md`, found out by asking the fault server.

Rule: nothing here knows how the library decides. The real client asks over real sockets; where it has to wait, it waits
for milliseconds, and where a server is silent, for `SILENCE`.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from itertools import groupby, product
from typing import Any, Literal, get_args

from msgspec import Struct
from msgspec.structs import replace

from llm_call.core.client import Client
from llm_call.core.domain.errors import APIError, ConfigError, LLMCallError, StreamInterruptedError
from llm_call.core.domain.result import Result
from llm_call.core.domain.trace import Trace
from llm_call.core.providers.registry import Provider
from llm_call.core.providers.transports import transport_factories
from llm_call.core.router import Router
from llm_call.core.transport.base import HttpSettings, Timeouts
from llm_call.testing.behaviours import Behaviour, Gate
from llm_call.testing.fault import Expected, Fault, Group, answer, speaking
from llm_call.testing.faults import FAULTS
from llm_call.testing.servers import FaultServer

Form = Literal["plain", "stream", "broken stream"]
"""Asked for whole; as a stream, the fault coming before the first token; or after some."""
Peers = Literal["once", "always", "another"]
"""The fault happens once, to the only target; always; or always, and there is another target that answers."""

TEXT = "one two three four five six"
TOKENS = 3
"""So many tokens have come before a stream breaks."""
ATTEMPTS = 3
SECONDS = 30.0
"""The time of a call. Hints that reach beyond it cannot be heeded by waiting."""
SILENCE = 1.0
_AT_ONCE = 16
_RETRY = {"max_attempts": ATTEMPTS, "base_delay": 0.001, "jitter": False}


class Case(Struct, frozen=True, kw_only=True):
    """A fault, how it is asked for, and whom it happens to."""

    fault: Fault
    form: Form
    peers: Peers

    @property
    def tokens(self) -> int:
        """How many tokens come before the fault."""
        return TOKENS if self.form == "broken stream" else 0

    @property
    def happens(self) -> bool:
        """Whether it can be: not every fault has every form, and a server that nobody is cannot answer later."""
        if self.fault.refuses:
            return self.form != "broken stream" and self.peers != "once"
        return self._behaviour() is not None

    @property
    def silent(self) -> bool:
        """Whether the caller waits in vain."""
        behaviour = self._behaviour()
        return behaviour is not None and behaviour.then == "hang"

    def _behaviour(self) -> Behaviour | None:
        said = answer(TEXT, self.fault.dialect)
        return self.fault.behaviour(said, streaming=self.form != "plain", after=self.tokens)

    @property
    def expected(self) -> Expected:
        """What ought to follow. A wait that is longer than the call may take cannot be kept: only others are asked."""
        too_long = (self.fault.hint or 0) > SECONDS
        return "elsewhere" if too_long else self.fault.expected_after(self.tokens)


class Outcome(Struct, frozen=True, kw_only=True):
    """What came of it.

    `text` is the answer's, `error` the kind of what was raised, or why the answer is none: rejected, a refusal.
    `delivered` is what a stream had given, `part` what the error says of it, `requests` how many each server saw.
    `waited` is in seconds, and `hint` the wait that the error tells of.
    """

    text: str | None = None
    error: str | None = None
    delivered: str = ""
    part: str = ""
    requests: tuple[int, ...] = ()
    waited: float = 0.0
    hint: float | None = None


def cases(faults: Iterable[Fault] = FAULTS.values()) -> tuple[Case, ...]:
    """Every case that can be."""
    every = product(faults, get_args(Form), get_args(Peers))
    found = (Case(fault=fault, form=form, peers=peers) for fault, form, peers in every)
    return tuple(case for case in found if case.happens)


def outcomes(found: Sequence[Case]) -> tuple[Outcome, ...]:
    """What comes of each case. Several are tried at a time."""

    async def every() -> list[Outcome]:
        return await asyncio.gather(*(one(case) for case in found))

    async def one(case: Case) -> Outcome:
        async with places:
            return await outcome(case)

    places = asyncio.Semaphore(_AT_ONCE)
    return tuple(asyncio.run(every()))


async def outcome(case: Case) -> Outcome:
    """What comes of one case."""
    gate = Gate()
    async with AsyncExitStack() as stack:
        servers = [stack.enter_context(server) for server in _servers(case, gate)]
        stack.callback(gate.open)
        client = await stack.enter_async_context(_client(case, servers))
        others = ["second/m"] if case.peers == "another" else []
        found = await (_whole(client, others) if case.form == "plain" else _streamed(client, others, gate))
        return replace(found, requests=tuple(len(server.requests) for server in servers))


def _servers(case: Case, gate: Gate) -> Iterator[FaultServer]:
    times = 1 if case.peers == "once" else None
    yield FaultServer.by(case.fault, then=TEXT, after=case.tokens, times=times, gate=gate)
    if case.peers == "another":
        yield FaultServer([speaking(answer(TEXT))])


def _client(case: Case, servers: Sequence[FaultServer]) -> Client:
    """Each server is a provider with a key of its own."""
    rows = [
        Provider(name=name, patterns=(f"{name}/*",), base_url=server.url, codec=dialect, credential_env=(name,))
        for name, server, dialect in zip(
            ("first", "second"), servers, (case.fault.dialect, "openai_chat"), strict=False
        )
    ]
    patience = SILENCE if case.silent else SECONDS
    return Client(
        router=Router(rows=rows, credentials={row.name: f"key-of-{row.name}" for row in rows}),
        transports=transport_factories(http=HttpSettings(max_body_bytes=1_000_000)),
        timeouts=Timeouts(first_byte=patience, between_bytes=patience),
    )


async def _whole(client: Client, others: Sequence[str]) -> Outcome:
    try:
        result = await client.ask("Count.", model="first/m", fallback_models=others, timeout=SECONDS, retry=_RETRY)
    except LLMCallError as error:
        return _failed(error, "")
    return _ended(result, "")


async def _streamed(client: Client, others: Sequence[str], gate: Gate) -> Outcome:
    pieces: list[str] = []
    try:
        async with client.ask_stream(
            "Count.", model="first/m", fallback_models=others, timeout=SECONDS, retry=_RETRY
        ) as live:
            async for piece in live:
                pieces.append(piece)
                if len(pieces) == TOKENS:
                    gate.open()
            return _ended(live.result, "".join(pieces))
    except LLMCallError as error:
        return _failed(error, "".join(pieces))


def _ended(result: Result[Any], delivered: str) -> Outcome:
    refused = result.response.finish_reason.unified == "content_filter"
    error = "refusal" if refused else None if result.ok else "rejected"
    return Outcome(text=result.response.text, error=error, delivered=delivered, waited=_waited(result.trace))


def _failed(error: LLMCallError, delivered: str) -> Outcome:
    if isinstance(error, ConfigError):
        raise error  # a mistake in here
    return Outcome(
        error=type(error).__name__,
        delivered=delivered,
        part=error.text if isinstance(error, StreamInterruptedError) else "",
        waited=_waited(error.trace),
        hint=error.retry_after if isinstance(error, APIError) else None,
    )


def _waited(trace: Trace | None) -> float:
    return sum(attempt.wait for attempt in trace.attempts) if trace else 0.0


# The page


def page(found: Sequence[Case], what_came: Sequence[Outcome]) -> str:
    """What came of the cases, as a page in Markdown."""
    came = dict(zip(map(_key, found), what_came, strict=True))
    lines = ["# What comes of every fault", "", _INTRODUCTION]
    for group, title in _TITLES.items():
        lines += ["", f"## {title}", "", *_table([fault for fault in FAULTS.values() if fault.group == group], came)]
    return "\n".join(lines) + "\n"


Key = tuple[str, Form, Peers]


def _key(case: Case) -> Key:
    return case.fault.name, case.form, case.peers


def _table(faults: Sequence[Fault], came: Mapping[Key, Outcome]) -> Iterator[str]:
    yield "| fault | what goes wrong | asked for | once | always | always, and another target |"
    yield "|---|---|---|---|---|---|"
    for fault in faults:
        rows = {form: _cells(fault, form, came) for form in get_args(Form)}
        shown = f"| `{fault.name}` | {fault.meaning} |"
        for cells, forms in groupby((form for form in rows if any(rows[form])), key=rows.__getitem__):
            yield f"{shown} {', '.join(forms)} | {' | '.join(cells)} |"
            shown = "| | |"


def _cells(fault: Fault, form: Form, came: Mapping[Key, Outcome]) -> tuple[str, ...]:
    found = [came.get((fault.name, form, peers)) for peers in get_args(Peers)]
    return tuple("" if each is None else _words(each) for each in found)


def _words(found: Outcome) -> str:
    """An outcome in a table: `answer (3 + 1 requests, 3 ms)`."""
    what = found.error or "answer"
    what = f"`{what}`" if what.endswith("Error") else what
    if found.part:
        what += " with the part"
    if found.hint is not None:
        what += f", retry after {found.hint:g} s"
    asked = " + ".join(map(str, found.requests))
    waits = f", {found.waited * 1_000:g} ms" if found.waited else ""
    return f"{what} ({asked}{waits})"


_TITLES: Mapping[Group, str] = {
    "refusals": "The server says no",
    "hints": "The server says when",
    "connections": "The connection fails",
    "bodies": "A success without an answer",
    "streams": "A stream breaks",
    "oddities": "Odd, and right",
}

_INTRODUCTION = f"""Each line was found out by asking a real server on 127.0.0.1 that has the fault (`llm_call.testing.servers`,
[how to use it](testing_with_faults.md)), with {ATTEMPTS} attempts for a target, {SECONDS:g} s for the call, and a backoff of 1, 2, ... ms.

- *Asked for*: a plain answer; a stream, where the fault comes before the first token; or a broken stream, where it
  comes after {TOKENS} of {len(TEXT.split())} tokens.
- *Once*: the next request is answered. *Always*: none is. *Another target*: one that answers, with a key of its own.
- In brackets: how many requests each server saw, and how long the caller waited between them.

An answer is always the whole right text. What a stream has delivered when it fails is the beginning of that text, and
the error has it too."""
