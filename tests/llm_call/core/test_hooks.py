import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from msgspec.structs import replace

from llm_call.core.client import Client
from llm_call.core.domain.errors import BadRequestError
from llm_call.core.domain.messages import message
from llm_call.core.hooks import AttemptHook, AttemptScope, CallHook, CallScope
from llm_call.testing.scripted import ScriptedTransport, Step, chat_reply, error_reply, stream_reply


def client(
    transport: ScriptedTransport, call: tuple[CallHook, ...] = (), attempt: tuple[AttemptHook, ...] = ()
) -> Client:
    return Client(transports={"http": lambda: transport}, call_hooks=call, attempt_hooks=attempt)


def ask(*steps: Step, call: tuple[CallHook, ...] = (), attempt: tuple[AttemptHook, ...] = ()) -> ScriptedTransport:
    transport = ScriptedTransport(*steps)
    asked = client(transport, call, attempt)
    asked.ask_sync("hi", model="custom", api_base="http://scripted", retry={"max_attempts": 2, "base_delay": 0})
    return transport


def test_a_call_hook_replaces_the_request_and_sees_the_result() -> None:
    seen: list[object] = []

    @contextmanager
    def shout(call: CallScope) -> Iterator[None]:
        call.request = replace(call.request, messages=(message("user", "HI"),))
        yield
        assert call.result is not None
        seen.append((call.model, call.result.value, call.stream))

    transport = ask(chat_reply("hello"), call=(shout,))
    assert transport.bodies[0]["messages"][0]["content"] == "HI"
    assert seen == [("custom", "hello", False)]


def test_an_attempt_hook_sees_every_attempt_and_may_change_what_goes_out() -> None:
    seen: list[object] = []

    @contextmanager
    def marked(attempt: AttemptScope) -> Iterator[None]:
        attempt.wire = replace(attempt.wire, headers={**attempt.wire.headers, "x-mark": str(attempt.number)})
        try:
            yield
        finally:
            seen.append((attempt.number, attempt.target.name, attempt.response.text if attempt.response else None))

    transport = ask(error_reply(503), chat_reply("hello"), attempt=(marked,))
    assert [request.headers["x-mark"] for request in transport.requests] == ["1", "2"]
    assert seen == [(1, "custom/custom", None), (2, "custom/custom", "hello")]


def test_hooks_are_entered_in_order_left_in_reverse_and_see_the_error() -> None:
    seen: list[str] = []

    def named(name: str) -> CallHook:
        @contextmanager
        def hook(_call: CallScope) -> Iterator[None]:
            seen.append(f"+{name}")
            try:
                yield
            except BadRequestError:
                seen.append(f"-{name}")
                raise

        return hook

    with pytest.raises(BadRequestError):
        ask(error_reply(400), call=(named("a"), named("b")))
    assert seen == ["+a", "+b", "-b", "-a"]


def test_hooks_stay_open_until_a_stream_has_ended() -> None:
    seen: list[object] = []

    @contextmanager
    def call_hook(call: CallScope) -> Iterator[None]:
        yield
        seen.append(call.result.value if call.result else None)

    @contextmanager
    def attempt_hook(attempt: AttemptScope) -> Iterator[None]:
        yield
        seen.append(attempt.response.text if attempt.response else None)

    transport = ScriptedTransport(stream_reply(["he", "llo"]))

    async def read() -> list[str]:
        asked = client(transport, (call_hook,), (attempt_hook,))
        async with asked.ask_stream("hi", model="custom", api_base="http://scripted") as answer:
            pieces = [piece async for piece in answer]
            assert seen == ["hello"]  # the attempt has ended, the call has not
        return pieces

    assert asyncio.run(read()) == ["he", "llo"]
    assert seen == ["hello", "hello"]


def test_a_client_is_hooked_for_a_while_inside_of_its_own_hooks() -> None:
    seen: list[str] = []

    def named(name: str) -> AttemptHook:
        @contextmanager
        def hook(attempt: AttemptScope) -> Iterator[None]:
            seen.append(name)
            yield

        return hook

    ours = client(ScriptedTransport(chat_reply("hello")), attempt=(named("own"),))
    with ours.hooked(named("outer")), ours.hooked(named("inner")):
        ours.ask_sync("hi", model="custom", api_base="http://scripted")
    ours.ask_sync("hi", model="custom", api_base="http://scripted")
    assert seen == ["own", "outer", "inner", "own"]


@pytest.mark.parametrize("after", [False, True])
def test_a_hook_that_breaks_ends_the_call_and_asks_nobody_again(after: bool) -> None:
    @contextmanager
    def broken(_attempt: AttemptScope) -> Iterator[None]:
        if after:
            yield
        raise ValueError("a mistake of ours")

    transport = ScriptedTransport(chat_reply("hello"))
    with pytest.raises(ValueError, match="of ours"):
        client(transport, attempt=(broken,)).ask_sync("hi", model="custom", api_base="http://scripted")
    assert len(transport.requests) == after
