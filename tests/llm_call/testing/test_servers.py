"""The fault server and its catalogue, by what a caller of the library sees of them."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_call.core.client import Client
from llm_call.core.domain.errors import (
    BadRequestError,
    ConnectionFailedError,
    DeadlineExceededError,
    LLMCallError,
    StreamInterruptedError,
)
from llm_call.core.domain.result import Result
from llm_call.core.transport.base import Timeouts
from llm_call.testing.behaviours import Behaviour, Step
from llm_call.testing.fault import Expected, Group, answer, speaking
from llm_call.testing.faults import FAULTS
from llm_call.testing.servers import FaultServer, Gate, broken, dripped, respond, stream

TEXT = "one two three four"
SAID = answer(TEXT)
WHOLE, STREAM = respond(SAID.body), stream(SAID.events)
RETRY = {"max_attempts": 2, "base_delay": 0}


def run(work: Callable[[Client], Coroutine[Any, Any, Any]]) -> Any:
    async def inside() -> Any:
        async with Client(timeouts=Timeouts(first_byte=10, between_bytes=10)) as client:
            return await work(client)

    return asyncio.run(inside())


def ask(server: FaultServer, **options: Any) -> Result[Any]:
    options = {"model": "m", "api_base": server.url, "retry": RETRY, **options}
    found: Result[Any] = run(lambda client: client.ask("Count.", **options))
    return found


def read(server: FaultServer, **options: Any) -> list[str]:
    """The pieces of a streamed answer, until it ends or breaks."""

    async def pieces(client: Client) -> list[str]:
        found: list[str] = []
        with suppress(LLMCallError):
            async with client.ask_stream("Count.", model="m", api_base=server.url, retry=RETRY, **options) as live:
                async for piece in live:
                    found.append(piece)  # noqa: PERF401  (what came before the break counts)
        return found

    found: list[str] = run(pieces)
    return found


def size(behaviour: Behaviour) -> int:
    return sum(len(piece) for piece in behaviour.pieces if isinstance(piece, bytes))


@given(at=st.integers(0, size(WHOLE) - 1), then=st.sampled_from(["close", "reset"]))
def test_a_break_at_any_byte_of_an_answer_costs_one_more_request_and_never_the_answer(at: int, then: Any) -> None:
    with FaultServer([broken(WHOLE, at=at, then=then), WHOLE]) as server:
        assert ask(server).value == TEXT
        assert len(server.requests) == 2


@given(at=st.integers(0, size(STREAM) - 1), then=st.sampled_from(["close", "reset"]))
def test_a_break_at_any_byte_of_a_stream_delivers_no_wrong_text(at: int, then: Any) -> None:
    with FaultServer([broken(STREAM, at=at, then=then), STREAM]) as server:
        text = "".join(read(server))
        assert TEXT.startswith(text)
        assert text or len(server.requests) == 2  # nothing was seen: then it was asked for again, and came whole


def test_an_answer_that_is_there_counts_whatever_becomes_of_its_connection() -> None:
    with FaultServer([broken(WHOLE, at=size(WHOLE), then="close")]) as server:
        assert ask(server).value == TEXT
        assert len(server.requests) == 1


def test_a_drip_waits_at_its_gates_and_loses_no_byte() -> None:
    gates = [Gate(), Gate()]

    async def work(client: Client) -> None:
        call = asyncio.create_task(client.ask("Count.", model="m", api_base=server.url))
        assert await asyncio.to_thread(server.saw_request)
        assert not call.done()
        for gate in gates:
            gate.open()
        assert (await call).value == TEXT

    with FaultServer([dripped(WHOLE, gates)]) as server:
        run(work)


def test_a_drip_ends_with_the_time_of_the_call_however_much_has_come() -> None:
    passed, shut = [Gate() for _ in range(9)], Gate()
    for gate in passed:
        gate.open()
    with FaultServer([dripped(WHOLE, [*passed, shut])]) as server:
        with pytest.raises(DeadlineExceededError):
            ask(server, timeout=0.1)
        shut.open()
        assert len(server.requests) == 1


def test_without_a_script_connections_are_refused() -> None:
    with FaultServer([]) as server:
        assert server.port
        with pytest.raises(ConnectionFailedError, match="refused"):
            ask(server)


def test_a_step_may_depend_on_the_request() -> None:
    def echo(request: Any) -> Behaviour:
        return respond(answer(request.headers["host"]).body)

    with FaultServer([echo]) as server:
        assert ask(server).value == server.url.removeprefix("http://")


def test_a_fault_comes_so_often_and_then_the_answer() -> None:
    with FaultServer.by(FAULTS["overloaded"], then=TEXT, times=2) as server:
        assert ask(server, retry={"max_attempts": 3, "base_delay": 0}).value == TEXT
        assert len(server.requests) == 3


def test_without_a_number_a_fault_comes_always() -> None:
    with FaultServer.by(FAULTS["overloaded"], times=None) as server, pytest.raises(LLMCallError):
        ask(server, retry={"max_attempts": 4, "base_delay": 0})
    assert len(server.requests) == 4


def test_a_fault_that_cannot_happen_to_such_a_request_says_that_the_test_is_wrong() -> None:
    with FaultServer.by(FAULTS["cut"]) as server, pytest.raises(BadRequestError, match=r"the test is wrong: .*'cut'"):
        ask(server)


def test_a_gate_holds_a_stream_before_it_breaks() -> None:
    gate = Gate()
    seen: list[str] = []

    async def count(client: Client) -> None:
        async with client.ask_stream("Count.", model="m", api_base=server.url, retry={"max_attempts": 1}) as live:
            async for piece in live:
                seen.append(piece)
                if len(seen) == 2:
                    gate.open()

    with FaultServer.by(FAULTS["error_event"], then=TEXT, after=2, times=None, gate=gate) as server:
        with pytest.raises(StreamInterruptedError) as caught:
            run(count)
        assert seen == ["one", " two"]
        assert caught.value.text == "one two"


@pytest.mark.parametrize("text", ["", "one", " one  two\n", "\n\n", "a\tb c "])
def test_an_answer_says_its_text_whole_and_in_pieces(text: str) -> None:
    steps: Sequence[Step] = [speaking(answer(text))]
    with FaultServer(steps) as server:
        assert ask(server, default_validate=False).response.text == text
    with FaultServer(steps) as server:
        assert "".join(read(server, default_validate=False)) == text


def test_the_catalogue_has_faults_of_every_kind_under_their_names() -> None:
    assert all(name == fault.name for name, fault in FAULTS.items())
    assert {fault.group for fault in FAULTS.values()} == set(get_args(Group))
    expected = {fault.expected_after(tokens) for fault in FAULTS.values() for tokens in (0, 3)}
    assert expected == set(get_args(Expected))


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503, 504, 529])
def test_the_catalogue_has_every_status_of_the_table(status: int) -> None:
    assert any(fault.meaning.startswith(str(status)) for fault in FAULTS.values())
