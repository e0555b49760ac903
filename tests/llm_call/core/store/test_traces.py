import asyncio
import sqlite3
import stat
import tempfile
import threading
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_call.core.client import Client
from llm_call.core.domain.bill import Charge
from llm_call.core.domain.errors import ConfigError, LLMCallError
from llm_call.core.domain.messages import Text
from llm_call.core.domain.profile import Prices
from llm_call.core.domain.response import Response, Usage
from llm_call.core.domain.trace import Attempt, Failure, Round, Trace
from llm_call.core.router import Router
from llm_call.core.store.traces import CallFacts, TraceStore
from llm_call.testing.scripted import ScriptedReply, ScriptedTransport, chat_reply, error_reply

DAY = 24 * 3600.0


def untouched(value: Any) -> Any:
    return value


def _same(transport: ScriptedTransport) -> ScriptedTransport:
    return transport


def trace(text: str = "hello", attempts: int = 1) -> Trace:
    tried = tuple(Attempt(number=number, target="a/b", started=0, duration=1) for number in range(1, attempts + 1))
    response = Response(model="b", parts=(Text(text=text),))
    return Trace(model="a/b", rounds=(Round(number=1, rung="ask", attempts=tried, response=response),), duration=1.5)


def facts(at: float = 2e9, **more: Any) -> CallFacts:
    return CallFacts(**{"at": at, "command": "ask", "outcome": "answered", **more})


class Store:
    """A store at a time of its own."""

    def __init__(self, path: Path, **options: Any) -> None:
        self.now = 2e9
        self.path = path / "traces.db"
        self.store = TraceStore(self.path, hide=untouched, now=lambda: self.now, **options)

    def keep(self, text: str = "hello") -> str:
        return self.store.keep(trace(text), facts(self.now))

    def ids(self) -> list[str]:
        return [each.id for each in self.store.summaries(10_000)]


def test_a_trace_comes_back_with_its_facts(tmp_path: Path) -> None:
    ours = Store(tmp_path)
    prices = Prices(input=Decimal("0.1"), output=Decimal("0.2"))
    charge = Charge(provider="a", model="b", usage=Usage(input_tokens=1, output_tokens=2), prices=prices)
    said = facts(subject="case_1", charges=(charge,))
    identity = ours.store.keep(trace(), said)
    kept = ours.store.find(identity)
    assert (kept.id, kept.facts, kept.payloads) == (identity, said, False)
    assert kept.trace.attempts == trace().attempts
    (summary,) = ours.store.summaries(5)
    assert (summary.id, summary.subject, summary.model, summary.attempts) == (identity, "case_1", "a/b", 1)
    assert (summary.outcome, summary.duration, summary.command) == ("answered", 1.5, "ask")


def test_what_was_said_is_kept_only_where_that_is_wanted(tmp_path: Path) -> None:
    said = facts(asked="What is the word?")
    ours, theirs = Store(tmp_path / "a"), Store(tmp_path / "b", payloads=True)
    for each in (ours, theirs):
        each.store.keep(trace("The word is xyzzy."), said)
    assert "xyzzy" not in repr(ours.store.find(""))
    assert "the word" not in repr(ours.store.find(""))
    kept = theirs.store.find("")
    assert (kept.payloads, kept.facts.asked) == (True, "What is the word?")
    assert kept.trace.rounds[0].response is not None
    assert kept.trace.rounds[0].response.text == "The word is xyzzy."
    assert b"xyzzy" not in b"".join(file.read_bytes() for file in ours.path.parent.iterdir())


@given(st.text(max_size=40))
def test_no_file_holds_what_was_asked_or_answered_or_what_a_peer_makes_of_it(more: str) -> None:
    said = f"zQ7 x9 {more}"
    replies = [chat_reply(said), error_reply(400, message=said, code=said, headers={"x-request-id": said.encode("ascii", "ignore").decode()}), ScriptedReply(pieces=(said.encode("utf-8", "replace"),))]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        store = TraceStore(f"{folder}/t.db", hide=untouched)
        for reply in replies:
            transport = ScriptedTransport(reply)
            router = Router(credentials={"OPENAI_API_KEY": "sk-secret"})
            ours = Client(router=router, transports={"http": partial(_same, transport)})
            try:
                found = asyncio.run(
                    ours.ask(said, model="openai/x", validate=["json"], retry={"max_attempts": 1})
                ).trace
            except LLMCallError as error:
                found = error.trace or Trace(model="nothing was tried")
            store.keep(found, facts(asked=said))
        assert [each.model for each in store.summaries(9)] == ["openai/x"] * 3
        assert b"zQ7" not in b"".join(file.read_bytes() for file in Path(folder).iterdir())


def test_traces_of_errors_are_kept_too(tmp_path: Path) -> None:
    failure = Failure(kind="ServerError", message="the prompt was: xyzzy", status=502)
    tried = Attempt(number=1, target="a/b", started=0, duration=1, failure=failure)
    ours = Store(tmp_path)
    ours.store.keep(Trace(model="a/b", rounds=(Round(number=1, rung="ask", attempts=(tried,)),)), facts())
    kept = ours.store.find("").trace.attempts[0].failure
    assert kept is not None
    assert (kept.kind, kept.status) == ("ServerError", 502)
    assert "xyzzy" not in kept.message


def test_secrets_are_hidden_in_the_trace_and_in_its_facts(tmp_path: Path) -> None:
    def hide(value: Any) -> Any:
        if isinstance(value, str):
            return value.replace("sk-secret", "<hidden>")
        if isinstance(value, dict):
            return {hide(key): hide(each) for key, each in value.items()}
        return [hide(each) for each in value] if isinstance(value, list | tuple) else value

    store = TraceStore(tmp_path / "t.db", hide=hide, payloads=True)
    identity = store.keep(trace("sk-secret"), facts(asked="sk-secret", subject="sk-secret"))
    assert "sk-secret" not in repr(store.find(identity))
    assert b"sk-secret" not in (tmp_path / "t.db").read_bytes()


def test_ids_sort_by_time_and_their_beginnings_are_enough(tmp_path: Path) -> None:
    ours = Store(tmp_path)
    ids = [ours.keep()]
    ids += ours.store.keep_all([(trace(), facts()), (trace(), facts())])  # in the same millisecond
    ours.now -= 3600  # a clock that was set back
    ids.append(ours.keep())
    ours.now += 40 * 3600
    ids.append(ours.keep())
    assert ids == sorted(ids)
    assert ours.ids() == ids[::-1]
    assert ours.store.find("").id == ids[-1]
    shortest = next(ids[-1][:length] for length in range(1, 11) if not ids[0].startswith(ids[-1][:length]))
    assert ours.store.find(shortest.upper()).id == ids[-1]
    with pytest.raises(ConfigError) as caught:
        ours.store.find(ids[0][:2])
    assert caught.value.hint.startswith(f"Say which: {ids[-1]}, ")


@pytest.mark.parametrize("beginning", ["", "zz", "%", "1' OR 1"])
def test_what_is_not_there_is_said_with_what_to_do(tmp_path: Path, beginning: str) -> None:
    ours = Store(tmp_path)
    with pytest.raises(ConfigError) as caught:
        ours.store.find(beginning)
    assert caught.value.hint
    assert not list(tmp_path.iterdir())
    ours.keep()
    if beginning:
        with pytest.raises(ConfigError, match="there is no trace"):
            ours.store.find(beginning)


def test_they_stay_for_their_days(tmp_path: Path) -> None:
    ours = Store(tmp_path)
    old = ours.keep()
    ours.now += 7 * DAY - 1
    assert ours.store.find(old).id == old
    ours.now += 1
    assert ours.ids() == []
    with pytest.raises(ConfigError):
        ours.store.find(old)
    ours.keep()
    with closing(sqlite3.connect(ours.path)) as connection:
        assert connection.execute("SELECT count(*) FROM trace").fetchone() == (1,)


def test_the_newest_stay_within_their_number_and_their_bytes(tmp_path: Path) -> None:
    few = Store(tmp_path / "few", most=3)
    ids = [few.keep() for _ in range(5)]
    assert few.ids() == ids[:1:-1]
    small = Store(tmp_path / "small", max_bytes=20_000, payloads=True)
    ids = [small.keep("x" * 1_000) for _ in range(40)]
    found = small.ids()
    assert found == ids[: -len(found) - 1 : -1]
    assert 5 <= len(found) <= 13
    assert small.path.stat().st_size < 100_000


def test_a_trace_that_would_fill_the_file_is_kept_without_what_was_said(tmp_path: Path) -> None:
    ours = Store(tmp_path, max_bytes=100_000, payloads=True)
    first, last = ours.keep("short"), ours.keep("x" * 50_000)
    assert ours.ids() == [last, first]
    assert (ours.store.find(first).payloads, ours.store.find(last).payloads) == (True, False)


def test_what_is_deleted_is_gone_from_the_file(tmp_path: Path) -> None:
    ours = Store(tmp_path, payloads=True)
    first, second = ours.keep("xyzzy " * 50), ours.keep()
    assert ours.store.delete(first) == first
    assert ours.ids() == [second]
    assert b"xyzzy" not in b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert ours.store.clear() == 1
    assert ours.ids() == []


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    ours = Store(tmp_path / "new")
    ours.keep()
    assert stat.S_IMODE(ours.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(ours.path.parent.stat().st_mode) == 0o700


def test_many_may_write_at_once(tmp_path: Path) -> None:
    def write() -> None:
        store = TraceStore(tmp_path / "traces.db", hide=untouched)
        for _ in range(5):
            store.keep(trace(), facts())

    threads = [threading.Thread(target=write) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(set(Store(tmp_path).ids())) == 20


@pytest.mark.parametrize("use", [lambda store: store.keep(trace(), facts()), lambda store: store.summaries(1)])
def test_a_file_of_something_else_is_left_alone(tmp_path: Path, use: Callable[[TraceStore], object]) -> None:
    path = tmp_path / "traces.db"
    path.write_bytes(b"my own notes, of more than a hundred bytes" * 10)
    with pytest.raises(ConfigError, match="cannot be read"):
        use(TraceStore(path, hide=untouched))
    assert path.read_bytes().startswith(b"my own notes")


def test_a_trace_that_cannot_be_read_is_said_to_be_so(tmp_path: Path) -> None:
    ours = Store(tmp_path)
    ours.keep()
    with closing(sqlite3.connect(ours.path)) as connection, connection:
        connection.execute("UPDATE trace SET body = '{'")
    with pytest.raises(ConfigError, match="cannot be read"):
        ours.store.find("")
