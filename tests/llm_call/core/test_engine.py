"""The engine over a scripted transport, in virtual time."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from llm_call.core.attempts import Attempts
from llm_call.core.domain.alert import Alert
from llm_call.core.domain.errors import (
    AllTargetsFailedError,
    AttemptTimeoutError,
    AuthenticationError,
    BadRequestError,
    BudgetExceededError,
    CircuitOpenError,
    ConnectionFailedError,
    DeadlineExceededError,
    LLMCallError,
    OutputError,
    OverloadedError,
    ProtocolError,
    RateLimitError,
    ServerError,
    StreamInterruptedError,
    UnsupportedError,
    ValidatorError,
)
from llm_call.core.domain.messages import Media, Message, Text, message
from llm_call.core.domain.profile import Prices, Profile
from llm_call.core.domain.request import OutputSpec, Request, Tool
from llm_call.core.domain.result import Result
from llm_call.core.domain.verdict import Verdict
from llm_call.core.engine import Engine
from llm_call.core.plan import Plan
from llm_call.core.policy.backoff import Backoff
from llm_call.core.policy.breaker import BreakerPolicy
from llm_call.core.policy.budget import Budget
from llm_call.core.policy.limits import ConcurrencyPolicy, Limit
from llm_call.core.policy.retry import RetryPolicy
from llm_call.core.providers.registry import Target, codec
from llm_call.core.state.gates import GatePolicies, Gates
from llm_call.core.transport.base import Endpoint, Reply, Timeouts
from llm_call.core.validation import build
from llm_call.core.validation.base import Answer, Context
from llm_call.core.wire.base import WireRequest
from llm_call.testing.clock import FakeClock
from llm_call.testing.scripted import (
    ScriptedReply,
    ScriptedTransport,
    Step,
    chat_reply,
    error_reply,
    stream_reply,
)

PERSON = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}


def target(name: str = "scripted/one", profile: Profile | None = None) -> Target:
    return Target(
        name=name,
        provider="scripted",
        model=name.partition("/")[2],
        endpoint=Endpoint(base_url=f"http://{name}"),
        codec=codec("openai_chat"),
        transport="http",
        profile=profile or Profile(),
    )


def plan(**changes: Any) -> Plan:
    request = Request(model="", messages=(message("user", "hi"),))
    steady = RetryPolicy(backoff=Backoff(base=1, jitter=None))
    return replace(Plan(model="one", request=request, targets=(target(),), retry=steady), **changes)


class Run:
    """One run of the engine over a script."""

    def __init__(self, *steps: Step) -> None:
        self.clock = FakeClock()
        self.transport = ScriptedTransport(*steps)
        self.attempts = Attempts(lambda _name: self.transport, clock=self.clock, chance=lambda: 0.5)
        self.engine = Engine(self.attempts)

    def execute(self, plan: Plan) -> Result[Any]:
        return self.clock.run(self.engine.execute(plan))

    def stream(self, plan: Plan) -> tuple[list[str], Result[Any]]:
        async def read() -> tuple[list[str], Result[Any]]:
            async with self.engine.stream(plan) as live:
                return [piece async for piece in live], live.result

        return self.clock.run(read())


def kinds(result_or_error: Result[Any] | LLMCallError) -> list[str]:
    trace = result_or_error.trace
    assert trace is not None
    return [attempt.failure.kind if attempt.failure else "answered" for attempt in trace.attempts]


def test_an_answer_becomes_a_result_with_its_trace() -> None:
    run = Run(chat_reply("hello", delay=2, prompt_tokens=3, completion_tokens=4))
    result = run.execute(plan())
    assert (result.ok, result.value, result.text, result.rung) == (True, "hello", "hello", "ask")
    assert (result.usage.input_tokens, result.usage.output_tokens) == (3, 4)
    assert result.cost is None
    assert (len(result.trace.rounds), kinds(result)) == (1, ["answered"])
    assert result.trace.attempts[0].target == "scripted/one"
    assert result.trace.duration == pytest.approx(4)  # before the head and before the body


def test_an_answer_that_calls_tools_is_not_judged_as_text() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": '{"city": "Paris"}'}}
    said = {"role": "assistant", "content": None, "tool_calls": [call]}
    body = {"id": "x", "model": "m", "choices": [{"index": 0, "message": said, "finish_reason": "tool_calls"}]}
    run = Run(ScriptedReply(pieces=(msgspec.json.encode(body),)))
    asked = plan().request
    tools = (Tool(name="look_up"),)
    result = run.execute(
        plan(request=replace(asked, tools=tools, output=OutputSpec(schema=PERSON)), validators=(build("not_empty"),))
    )
    assert (result.ok, result.value, result.verdicts) == (True, None, ())
    assert result.response.tool_calls[0].arguments == '{"city": "Paris"}'
    assert len(run.transport.requests) == 1


def test_a_failure_that_passes_is_retried_with_the_waits_in_the_trace() -> None:
    run = Run(error_reply(503), ConnectionFailedError("reset"), chat_reply("hello"))
    result = run.execute(plan())
    assert result.value == "hello"
    assert kinds(result) == ["OverloadedError", "ConnectionFailedError", "answered"]
    assert run.clock.sleeps == [1, 2]
    assert [attempt.wait for attempt in result.trace.attempts] == [0, 1, 2]
    assert [attempt.number for attempt in result.trace.attempts] == [1, 2, 3]


def test_the_servers_retry_after_is_obeyed() -> None:
    run = Run(error_reply(429, headers={"retry-after": "17"}), chat_reply("hello"))
    assert run.execute(plan()).ok
    assert run.clock.sleeps == [17]


def test_a_wrong_key_is_not_retried() -> None:
    run = Run(error_reply(401))
    with pytest.raises(AuthenticationError) as caught:
        run.execute(plan())
    assert len(run.transport.requests) == 1
    assert kinds(caught.value) == ["AuthenticationError"]


def test_the_next_target_answers_when_the_first_does_not() -> None:
    run = Run(error_reply(401), chat_reply("from two"))
    result = run.execute(plan(targets=(target(), target("scripted/two"))))
    assert [body["model"] for body in run.transport.bodies] == ["one", "two"]
    assert [attempt.target for attempt in result.trace.attempts] == ["scripted/one", "scripted/two"]


def test_when_no_target_answers_the_error_tells_of_each_attempt() -> None:
    run = Run(error_reply(401), error_reply(500))
    with pytest.raises(AllTargetsFailedError) as caught:
        run.execute(plan(targets=(target(), target("scripted/two"))))
    lines = str(caught.value).split("\n")[1:]
    assert [line.partition(": ")[0] for line in lines] == ["scripted/one", *["scripted/two"] * 3]
    assert [type(error) for error in caught.value.errors] == [AuthenticationError, ServerError]
    assert len(kinds(caught.value)) == 4


def test_an_error_tells_of_the_round_that_failed_and_its_trace_of_all() -> None:
    run = Run(error_reply(401), error_reply(401), chat_reply("no"), error_reply(400))
    three = (target(), target("scripted/two"), target("scripted/three"))
    with pytest.raises(BadRequestError) as caught:
        run.execute(plan(targets=three, validators=(build("contains", {"required_text": "yes"}),)))
    assert kinds(caught.value) == ["AuthenticationError", "AuthenticationError", "answered", "BadRequestError"]


@pytest.mark.parametrize(
    "body",
    [b"<html>down</html>", b'{"choices": []}', b'{"choices": [{"mess', b"", b'{"error": {"message": "x"}}', b"null"],
    ids=["HTML", "empty choices", "half a body", "nothing", "an error under 200", "null"],
)
def test_a_success_without_an_answer_is_a_protocol_error_and_retried(body: bytes) -> None:
    run = Run(ScriptedReply(pieces=(body,)))
    with pytest.raises((ProtocolError, ServerError)) as caught:
        run.execute(plan())
    assert len(run.transport.requests) == 3
    assert "\n" not in caught.value.message


def test_an_attempt_has_its_own_time_and_a_silent_route_is_not_asked_again() -> None:
    run = Run(chat_reply("late", delay=10), chat_reply("hello"))
    result = run.execute(plan(timeouts=Timeouts(total=5), targets=(target(), target("scripted/two"))))
    assert kinds(result) == ["AttemptTimeoutError", "answered"]
    assert run.clock.now() == pytest.approx(5)
    with pytest.raises(AttemptTimeoutError):
        Run(chat_reply("late", delay=10)).execute(plan(timeouts=Timeouts(total=5)))


def test_the_deadline_ends_an_attempt_and_forbids_a_wait() -> None:
    run = Run(chat_reply("late", delay=60))
    with pytest.raises(DeadlineExceededError, match="within 30 s"):
        run.execute(plan(budget=Budget(seconds=30)))
    assert run.clock.now() == pytest.approx(30)
    run = Run(error_reply(429, headers={"retry-after": "60"}))
    with pytest.raises(RateLimitError):
        run.execute(plan(budget=Budget(seconds=30)))
    assert run.clock.sleeps == []


def test_a_request_that_is_cancelled_is_closed_at_the_peer_and_not_retried() -> None:
    run = Run(chat_reply("late", delay=60))

    async def cancelled() -> None:
        task = asyncio.create_task(run.engine.execute(plan()))
        await run.clock.sleep(1)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        run.clock.run(cancelled())
    assert (len(run.transport.requests), run.transport.closed_early) == (1, 1)


def test_json_by_schema_is_extracted_and_checked() -> None:
    run = Run(chat_reply('Sure! ```json\n{"name": "Alice"}\n``` Anything else?'))
    result = run.execute(plan(request=json_request()))
    assert (result.ok, result.value) == (True, {"name": "Alice"})
    assert [verdict.validator for verdict in result.verdicts] == ["schema"]


def json_request(schema: dict[str, Any] | None = None) -> Request:
    return Request(model="", messages=(message("user", "who?"),), output=OutputSpec(schema=schema or PERSON))


def test_a_rejected_answer_is_asked_for_again_with_what_was_wrong() -> None:
    run = Run(chat_reply('{"nme": "Alice"}'), chat_reply('{"name": "Alice"}'))
    result = run.execute(plan(request=json_request()))
    assert (result.ok, result.value, result.rung) == (True, {"name": "Alice"}, "reask")
    assert [each.rung for each in result.trace.rounds] == ["ask", "reask"]
    asked = run.transport.bodies[1]["messages"]
    assert [each["role"] for each in asked] == ["user", "user"]
    assert '{"nme": "Alice"}' in asked[1]["content"]
    assert "name" in asked[1]["content"]


def test_the_reask_replaces_the_last_one_instead_of_growing() -> None:
    run = Run(chat_reply("{}"), chat_reply("[]"), chat_reply('{"name": 1}'), chat_reply('{"name": "A"}'))
    assert run.execute(plan(request=json_request(), rounds=4)).ok
    assert [len(body["messages"]) for body in run.transport.bodies] == [1, 2, 2, 2]


def test_what_stays_rejected_is_a_result_that_is_not_ok_and_unwraps_to_an_error() -> None:
    run = Run(chat_reply("no"), chat_reply("never"), chat_reply("nothing"))
    result = run.execute(plan(validators=(build("contains", {"required_text": "yes"}),)))
    assert (result.ok, result.value, result.text) == (False, None, "nothing")
    assert len(result.trace.rounds) == 3
    with pytest.raises(OutputError) as caught:
        result.unwrap()
    assert caught.value.result is result
    assert "yes" in str(caught.value)


def test_the_same_mistake_twice_is_not_asked_about_a_third_time() -> None:
    run = Run(chat_reply("no"))
    result = run.execute(plan(validators=(build("min_length", {"min_length": 10}),), rounds=5))
    assert (result.ok, len(run.transport.requests)) == (False, 2)


def test_an_answer_cut_at_the_token_limit_is_no_success() -> None:
    run = Run(chat_reply('{"name": "Alice"}', finish_reason="length"))
    result = run.execute(plan(request=json_request(), rounds=1))
    assert not result.ok
    assert result.verdicts[0].problems[0].code == "incomplete"
    assert not Run(chat_reply("Once upon", finish_reason="length")).execute(plan(rounds=1)).ok


def test_a_valid_answer_survives_a_limit_that_was_crossed_meanwhile() -> None:
    run = Run(chat_reply("hello", prompt_tokens=500, completion_tokens=500))
    assert run.execute(plan(budget=Budget(tokens=10))).ok


def test_a_budget_that_is_used_up_ends_the_rounds_with_the_rejected_answer() -> None:
    run = Run(chat_reply("no", prompt_tokens=50, completion_tokens=50))
    result = run.execute(plan(validators=(build("contains", {"required_text": "yes"}),), budget=Budget(tokens=100)))
    assert (result.ok, len(run.transport.requests)) == (False, 1)


def test_a_budget_that_is_used_up_ends_the_retries() -> None:
    run = Run(error_reply(500))
    with pytest.raises(BudgetExceededError) as caught:
        run.execute(plan(budget=Budget(attempts=2)))
    assert len(run.transport.requests) == 2
    assert kinds(caught.value)[:2] == ["ServerError", "ServerError"]


def test_cost_covers_every_round() -> None:
    priced = Profile(prices=Prices(input=Decimal(1), output=Decimal(2)))
    run = Run(chat_reply("no", prompt_tokens=1000, completion_tokens=500), chat_reply("yes", prompt_tokens=2000, completion_tokens=500))  # fmt: skip
    result = run.execute(
        plan(targets=(target(profile=priced),), validators=(build("contains", {"required_text": "yes"}),))
    )
    assert result.cost == Decimal("0.005")
    assert (result.usage.input_tokens, result.usage.output_tokens) == (3000, 1000)


def test_a_limit_on_money_that_no_price_is_known_for_is_said_not_to_hold() -> None:
    run = Run(chat_reply("hello", prompt_tokens=1, completion_tokens=1))
    (notice,) = run.execute(plan(budget=Budget(usd=Decimal(1)))).response.notices
    assert (notice.field, notice.fate) == ("max_cost", "dropped")
    assert "scripted/one" in notice.message
    priced = target(profile=Profile(prices=Prices(input=Decimal(1), output=Decimal(2))))
    run = Run(chat_reply("hello", prompt_tokens=1, completion_tokens=1))
    assert run.execute(plan(targets=(priced,), budget=Budget(usd=Decimal(1)))).response.notices == ()


def test_a_list_price_is_not_charged_at_a_host_that_is_not_its_providers() -> None:
    run = Run(chat_reply("hello", prompt_tokens=1, completion_tokens=1))
    seen = run.execute(plan(targets=(replace(target(), listed=False),))).bill.charges
    assert [charge.provider for charge in seen] == ["custom"]


def test_an_image_for_a_model_without_eyes_is_refused_before_any_request() -> None:
    image = Message(role="user", parts=(Text(text="what?"), Media(media_type="image/png", data=b"x")))
    blind = target(profile=Profile(media=()))
    run = Run(chat_reply("a cat"))
    with pytest.raises(UnsupportedError, match="takes no image/png"):
        run.execute(plan(request=Request(model="", messages=(image,)), targets=(blind,)))
    assert run.transport.requests == []
    seeing = target("scripted/two", profile=Profile(media=("image/*",)))
    assert run.execute(plan(request=Request(model="", messages=(image,)), targets=(blind, seeing))).value == "a cat"


def test_strict_refuses_what_would_be_dropped_and_otherwise_a_notice_says_so() -> None:
    request = Request(
        model="", messages=(message("user", "hi"),), settings=replace(plan().request.settings, max_output_tokens=5)
    )
    assert Run(chat_reply("x")).execute(plan(request=request, strict=True)).ok
    short = target(profile=Profile(output_mode="prompted"))
    result = Run(chat_reply('{"name": "A"}')).execute(plan(request=json_request(), targets=(short,)))
    assert [(notice.field, notice.fate) for notice in result.response.notices] == [("output", "emulated")]


def test_the_form_is_put_into_words_where_the_profile_wants_it() -> None:
    run = Run(chat_reply('{"name": "A"}'))
    assert run.execute(plan(request=json_request(), targets=(target(profile=Profile(schema_hint="fields")),))).ok
    body = run.transport.bodies[0]
    assert "name (string)" in body["messages"][-1]["content"]
    assert body["response_format"]["type"] == "json_schema"


class Broken:
    """A validator with a bug."""

    name = "broken"

    def validate(self, answer: Answer, context: Context) -> Verdict:
        raise ZeroDivisionError("oops")


def test_a_validator_that_breaks_is_an_error_and_never_a_pass() -> None:
    with pytest.raises(ValidatorError, match="broken") as caught:
        Run(chat_reply("hello")).execute(plan(validators=(Broken(),)))
    assert kinds(caught.value) == ["answered"]


def test_a_model_that_only_streams_is_streamed_and_folded() -> None:
    run = Run(stream_reply(["hel", "lo"]))
    result = run.execute(plan(targets=(target(profile=Profile(stream_only=True)),)))
    assert result.value == "hello"
    assert run.transport.bodies[0]["stream"] is True


def test_a_stream_gives_its_text_as_it_comes_and_then_its_result() -> None:
    run = Run(stream_reply(["hel", "lo"]))
    pieces, result = run.stream(plan(validators=(build("length", {"max_length": 3}),)))
    assert pieces == ["hel", "lo"]
    assert (result.text, result.ok) == ("hello", False)
    assert kinds(result) == ["answered"]


def test_before_its_first_event_a_stream_is_retried_and_falls_back() -> None:
    run = Run(error_reply(503), stream_reply([], finish_reason=None), stream_reply(["ok"]))
    pieces, result = run.stream(plan())
    assert pieces == ["ok"]
    assert kinds(result) == ["OverloadedError", "StreamInterruptedError", "answered"]


BREAKS = pytest.mark.parametrize("error", [None, ConnectionFailedError("reset")], ids=["closed", "reset"])


@BREAKS
def test_without_recovery_a_break_is_the_callers_with_what_had_arrived(error: Exception | None) -> None:
    run = Run(stream_reply(["hel", "lo"], finish_reason=None, error=error))
    with pytest.raises(StreamInterruptedError) as caught:
        run.stream(plan(recovery="off"))
    assert caught.value.text == "hello"
    assert len(run.transport.requests) == 1
    assert kinds(caught.value) == ["StreamInterruptedError"]


@BREAKS
def test_a_stream_that_breaks_goes_on_where_another_attempt_repeats_it(error: Exception | None) -> None:
    run = Run(stream_reply(["hel", "lo"], finish_reason=None, error=error), stream_reply(["h", "ello wor", "ld"]))
    pieces, result = run.stream(plan())
    assert pieces == ["hel", "lo", " wor", "ld"]
    assert (result.text, kinds(result)) == ("hello world", ["StreamInterruptedError", "answered"])
    assert run.clock.sleeps == [1.0]


def test_another_attempt_that_says_something_else_is_cancelled() -> None:
    run = Run(stream_reply(["hel", "lo"], finish_reason=None), stream_reply(["help", " is near"]))
    with pytest.raises(StreamInterruptedError, match="gave another") as caught:
        run.stream(plan())
    assert caught.value.text == "hello"
    assert kinds(caught.value) == ["StreamInterruptedError", "Abandoned"]
    assert run.transport.closed_early == 1


def broken_by(error: dict[str, Any]) -> ScriptedReply:
    """A stream in which the provider says, after two words, that it cannot go on."""
    begun = stream_reply(["hel", "lo"], finish_reason=None)
    return replace(begun, pieces=(*begun.pieces, b"data: " + msgspec.json.encode({"error": error}) + b"\n\n"))


RATE_LIMIT = {"message": "slow down", "type": "rate_limit_error", "code": "rate_limit_exceeded"}
SHORT = Budget(seconds=2.5)


@pytest.mark.parametrize(
    ("first", "budget"),
    [
        ((stream_reply(["hel", "lo"], delay=1.0),), SHORT),
        ((broken_by(RATE_LIMIT),), Budget(attempts=1)),
        ((stream_reply(["hel"], finish_reason=None), stream_reply(["other", "wise"])), Budget()),
    ],
    ids=["the caller's time is up", "a rate limit", "a differing answer"],
)
def test_what_ends_a_stream_and_is_no_fault_of_its_place_does_not_open_its_breaker(
    first: tuple[Step, ...], budget: Budget
) -> None:
    run = Run(*first, stream_reply(["ok"]))
    retry = RetryPolicy(backoff=Backoff(strategy="immediate"), waits_for_breaker=False)
    asked = plan(budget=budget, retry=retry, breaker=BreakerPolicy(failures=len(first)))
    with pytest.raises(StreamInterruptedError):
        run.stream(asked)
    assert run.stream(asked)[1].text == "ok"


class ClosesSlowly(ScriptedTransport):
    """Takes a second to close a request at the peer."""

    @asynccontextmanager
    async def open(self, endpoint: Endpoint, request: WireRequest, timeouts: Timeouts) -> AsyncIterator[Reply]:
        async with super().open(endpoint, request, timeouts) as reply:
            try:
                yield reply
            finally:
                await asyncio.sleep(1)


def test_the_next_request_goes_out_when_a_broken_stream_is_closed_at_the_peer() -> None:
    run = Run(stream_reply([]))
    run.transport = ClosesSlowly(stream_reply(["hel"], finish_reason=None), stream_reply(["ok"]))
    one_at_a_time = Gates(GatePolicies(concurrency=ConcurrencyPolicy(most=1)), clock=run.clock)
    run.engine = Engine(Attempts(lambda _name: run.transport, clock=run.clock, gates=one_at_a_time))

    async def read() -> str:
        async with run.engine.stream(plan(recovery="off")) as live:
            return "".join([piece async for piece in live])

    async def both() -> list[str | BaseException]:
        return list(await asyncio.gather(read(), read(), return_exceptions=True))

    broken, whole = run.clock.run(both())
    assert isinstance(broken, StreamInterruptedError)
    assert (whole, run.transport.most_open) == ("ok", 1)


def test_a_stream_that_never_comes_to_its_end_is_asked_for_as_often_as_the_policy_says() -> None:
    run = Run(stream_reply(["hel"], finish_reason=None))
    with pytest.raises(StreamInterruptedError) as caught:
        run.stream(plan())
    assert (caught.value.text, len(run.transport.requests)) == ("hel", 3)


def test_a_buffered_stream_gives_nothing_before_the_answer_is_accepted() -> None:
    run = Run(stream_reply(["no"]), stream_reply(["yes", ", sure"]))
    pieces, result = run.stream(plan(recovery="buffer", validators=(build("contains", {"required_text": "yes"}),)))
    assert (pieces, len(result.trace.rounds)) == (["yes, sure"], 2)


def test_a_target_that_stays_silent_is_left_while_another_is_free() -> None:
    run = Run(stream_reply(["late"], delay=20), stream_reply(["early"]))
    pieces, result = run.stream(plan(targets=(target("a/one"), target("b/two"))))
    assert (pieces, kinds(result)) == (["early"], ["AttemptTimeoutError", "answered"])
    assert result.trace.attempts[0].duration == pytest.approx(12)
    alone = Run(stream_reply(["late"], delay=20))
    assert alone.stream(plan())[0] == ["late"]


def test_leaving_a_stream_early_closes_it_at_the_peer() -> None:
    run = Run(stream_reply(["a", "b", "c"], delay=1))

    async def first() -> str:
        async with run.engine.stream(plan()) as live:
            async for piece in live:
                return piece
        return ""

    assert run.clock.run(first()) == "a"
    assert run.transport.closed_early == 1


def test_the_deadline_ends_a_stream_that_never_ends() -> None:
    run = Run(stream_reply(["word"] * 1000, delay=1))
    with pytest.raises(StreamInterruptedError, match="time is used up"):
        run.stream(plan(budget=Budget(seconds=10)))
    assert run.clock.now() == pytest.approx(10)


def test_a_stream_is_complete_with_its_finish_reason_and_not_read_further() -> None:
    whole = stream_reply(["hi"])
    run = Run(replace(whole, pieces=(*whole.pieces, b"data: garbage\n\n"), delay=0))
    assert run.stream(plan())[0] == ["hi"]


STEPS: Sequence[Step] = (
    chat_reply("hello", delay=1),
    chat_reply("", delay=1),
    chat_reply("hello", finish_reason="length", delay=1),
    chat_reply("late", delay=500),
    error_reply(500),
    error_reply(429, headers={"retry-after": "30"}),
    error_reply(401),
    error_reply(400),
    ConnectionFailedError("reset"),
    ScriptedReply(pieces=(b"<html>",), delay=3),
)


@given(
    st.lists(st.sampled_from(range(len(STEPS))), min_size=1, max_size=12),
    st.integers(1, 3),
    st.integers(1, 4),
    st.floats(0.5, 100),
    st.integers(1, 8),
)
def test_whatever_the_peer_does_a_call_ends_within_its_limits(
    script: list[int], targets: int, rounds: int, seconds: float, attempts: int
) -> None:
    run = Run(*(STEPS[number] for number in script))
    budget = Budget(seconds=seconds, attempts=attempts)
    rows = tuple(target(f"scripted/{number}") for number in range(targets))
    check = build("response_not_empty")
    try:
        result = run.execute(plan(targets=rows, budget=budget, rounds=rounds, validators=(check,)))
    except LLMCallError as error:
        trace = error.trace
    else:
        trace = result.trace
        assert result.ok == (result.text == "hello" and result.response.finish_reason.unified == "stop")
    assert trace is not None
    assert sum(each.sent for each in trace.attempts) == len(run.transport.requests)
    assert run.clock.now() <= seconds + 1e-6
    assert len(run.transport.requests) <= attempts


def test_an_alert_that_breaks_does_not_take_the_place_of_the_calls_error(caplog: pytest.LogCaptureFixture) -> None:
    def breaks(_alert: Alert) -> None:
        raise KeyError("nobody listens")

    run = Run(error_reply(503))
    with pytest.raises(OverloadedError):
        run.clock.run(Engine(run.attempts, alert=breaks).execute(plan()))
    assert "nobody could be told" in caplog.text


def test_what_a_gate_holds_back_is_not_the_targets_doing() -> None:
    seen: list[float] = []
    run = Run(chat_reply("fine", delay=1))
    attempts = Attempts(
        lambda _name: run.transport,
        clock=run.clock,
        gates=Gates(GatePolicies(limits={"*": Limit(requests_per_minute=1)}), clock=run.clock),
    )
    engine = Engine(attempts, observe=lambda _target, seconds, _error, _now: seen.append(seconds))

    async def calls() -> Result[Any]:
        await engine.execute(plan())
        return await engine.execute(plan())

    last = run.clock.run(calls()).trace.attempts[0]
    assert last.timings is not None
    assert last.timings.held > 10
    assert seen == [pytest.approx(2), pytest.approx(2)]


def test_people_are_told_of_an_error_that_leaves_a_call_and_of_no_other() -> None:
    told: list[Alert] = []
    run = Run(error_reply(503), chat_reply("fine"), error_reply(503))
    engine = Engine(run.attempts, alert=told.append)
    assert run.clock.run(engine.execute(plan())).ok
    assert told == []
    with pytest.raises(OverloadedError):
        run.clock.run(engine.execute(plan()))
    assert [(alert.kind, alert.subject) for alert in told] == [("target_failed", "one")]


@pytest.mark.parametrize("streamed", ["whole", "live"])
def test_an_answer_that_is_there_outlives_the_time_that_ends_while_its_connection_is_read_on(streamed: str) -> None:
    *pieces, done = stream_reply(["hel", "lo"]).pieces
    usage = b'data: {"id":"x","model":"m","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}\n\n'
    run = Run(ScriptedReply(pieces=(*pieces, usage, done), delay=0.01))
    brief = plan(stream=True, budget=Budget(seconds=0.055))  # the answer is there at 0.05, its sentinel at 0.06
    result = run.execute(brief) if streamed == "whole" else run.stream(brief)[1]
    assert (result.ok, result.text) == (True, "hello")


def test_a_caller_who_leaves_while_the_connection_is_read_on_is_heeded() -> None:
    *pieces, done = stream_reply(["hel", "lo"]).pieces
    usage = b'data: {"id":"x","model":"m","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}\n\n'
    run = Run(ScriptedReply(pieces=(*pieces, usage, done), delay=0.01))

    async def leave() -> None:
        task = asyncio.create_task(run.engine.execute(plan(stream=True)))
        await asyncio.sleep(0.055)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        run.clock.run(leave())


def test_an_attempt_whose_time_goes_by_at_the_gates_is_told_as_not_sent() -> None:
    run = Run(chat_reply("first"))
    run.attempts.gates = Gates(GatePolicies(limits={"*": Limit(requests_per_minute=1)}), clock=run.clock)

    async def ask_twice() -> None:
        await run.engine.execute(plan())
        await run.engine.execute(plan(budget=Budget(seconds=60)))  # its turn comes when its time is over

    with pytest.raises(DeadlineExceededError) as caught:
        run.clock.run(ask_twice())
    assert caught.value.trace is not None
    assert [each.sent for each in caught.value.trace.attempts] == [False]
    assert len(run.transport.requests) == 1


def test_a_stream_that_is_read_twice_is_written_and_charged_once() -> None:
    run = Run(stream_reply(["Hel", "lo"]))

    async def read() -> tuple[list[list[str]], Result[Any]]:
        async with run.engine.stream(plan()) as live:
            return [[piece async for piece in live] for _ in range(2)], live.result

    texts, result = run.clock.run(read())
    assert texts == [["Hel", "lo"], []]
    assert (len(result.trace.attempts), len(result.trace.rounds), len(result.bill.charges)) == (1, 1, 1)


def test_an_error_that_is_caught_beside_its_stream_tells_what_was_tried_and_people_once() -> None:
    run, told = Run(stream_reply(["Hel"], finish_reason=None)), list[Alert]()
    engine = Engine(run.attempts, alert=told.append)

    async def read() -> None:
        async with engine.stream(plan(recovery="off")) as live:
            with pytest.raises(StreamInterruptedError) as caught:
                [piece async for piece in live]
            assert kinds(caught.value) == ["StreamInterruptedError"]
            raise caught.value

    with pytest.raises(StreamInterruptedError):
        run.clock.run(read())
    assert len(told) == 1


def test_an_open_breaker_does_not_hide_why_the_other_target_failed() -> None:
    run = Run(ConnectionFailedError("refused"))
    breaker = BreakerPolicy(failures=1)
    once = RetryPolicy(max_attempts=1)
    for model in ("scripted/one", "scripted/two"):
        with pytest.raises(ConnectionFailedError):
            run.execute(plan(targets=(target(model),), breaker=breaker, retry=once))
    with pytest.raises(AllTargetsFailedError, match="CircuitOpenError") as caught:
        run.execute(plan(targets=(target("scripted/three"), target("scripted/two")), breaker=breaker, retry=once))
    assert [type(error) for error in caught.value.errors] == [ConnectionFailedError, CircuitOpenError]
    assert caught.value.retry_after == 5.0


def test_a_budget_that_is_used_up_tells_what_had_failed_before() -> None:
    with pytest.raises(BudgetExceededError, match="2 of 2 attempts are made; before that: ServerError") as caught:
        Run(error_reply(500)).execute(plan(budget=Budget(attempts=2)))
    assert isinstance(caught.value.__cause__, ServerError)


def test_another_answer_is_no_failure_of_the_target_that_gave_it() -> None:
    breaker = BreakerPolicy(failures=1)
    run = Run(*[stream_reply(["hel"], finish_reason=None), stream_reply(["other"])])
    targets = (target("scripted/one"), target("scripted/two"))
    with pytest.raises(StreamInterruptedError, match="gave another"):
        run.stream(plan(targets=targets, retry=RetryPolicy(max_attempts=1), breaker=breaker))
    run.transport = ScriptedTransport(stream_reply(["well"]))
    assert run.stream(plan(targets=targets[1:], breaker=breaker))[0] == ["well"]
