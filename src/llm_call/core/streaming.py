"""A streamed answer: attempts until one begins, and, where it breaks off, others that are verified to go on from there."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, ExitStack, aclosing

from llm_call.core.attempts import Attempts, in_time, summed_up
from llm_call.core.domain.errors import (
    APIError,
    AttemptTimeoutError,
    DeadlineExceededError,
    LLMCallError,
    PolicyError,
    StreamInterruptedError,
    TransportError,
)
from llm_call.core.domain.events import Event, fold
from llm_call.core.domain.response import Response
from llm_call.core.exchange import encode, noted, streamed
from llm_call.core.hooks import AttemptScope, CallScope, entered
from llm_call.core.plan import Plan
from llm_call.core.policy.outcome import classify
from llm_call.core.record import AttemptSpan, CallRecord
from llm_call.core.restart import DiffersError, Verifier, is_repeatable, text_of
from llm_call.core.retry import Turn
from llm_call.core.transport.deadline import within

_BEGUN = "Ask again: what came after the break could not be verified to continue it."


class _Attempt:
    """A stream that has begun: its events so far, and what closes it."""

    def __init__(self, sent: AttemptScope, span: AttemptSpan, events: AsyncIterator[Event]) -> None:
        self.sent = sent
        self.span = span
        self.events = events
        self.received: list[Event] = []
        self.stack = AsyncExitStack()
        self.ending = ExitStack()

    def answered(self) -> Response:
        """It has come to its end."""
        response = self.sent.response = noted(fold(self.received), self.sent.wire)
        self.span.answered(response.usage)
        self.ending.close()
        return response

    async def fail(self, error: LLMCallError | DiffersError) -> None:
        """It has broken off, or says something else than what it was to repeat.

        It is closed at the peer, and then over for the gate, which may let the next one out.
        """
        await self.stack.__aexit__(type(error), error, error.__traceback__)


class Stream:
    """The events of one call. `begin` opens it; `events` gives them; `response` is there after the last one."""

    def __init__(self, attempts: Attempts, plan: Plan, record: CallRecord, scope: CallScope) -> None:
        self._attempts = attempts
        self._plan = plan
        self._record = record
        self._scope = scope
        self._loop = attempts.loop(plan, record)
        self._delivered: list[Event] = []
        self._current: _Attempt | None = None
        self.response: Response | None = None

    async def begin(self) -> None:
        """Open a target whose first event arrives. Until then, retries and other targets are free.

        Raises:
            LLMCallError: There is none.
        """
        self._current = await summed_up(self._record, self._loop.run(self._open))

    async def close(self) -> None:
        """Close the request at the peer."""
        if self._current is not None:
            await self._current.stack.aclose()

    async def events(self) -> AsyncIterator[Event]:
        """The events of the answer, in order.

        Raises:
            StreamInterruptedError: It broke off and could not be continued; `text` is what had arrived.
        """
        verifier: Verifier | None = None
        while self._current is not None and self.response is None:
            attempt = self._current
            try:
                async for event in attempt.events:
                    attempt.received.append(event)
                    for each in (event,) if verifier is None else verifier.feed(event):
                        self._delivered.append(each)
                        yield each
                self.response = attempt.answered()
            except DiffersError as error:
                raise await self._differs(attempt, error) from None
            except LLMCallError as error:
                await self._restart(attempt, error)
                verifier = Verifier(self._delivered)

    async def _restart(self, attempt: _Attempt, error: LLMCallError) -> None:
        broken = self._broken(error)
        # What the provider said in the stream, and that the caller's time is up, means the same as anywhere else.
        await attempt.fail(error if isinstance(error, APIError | PolicyError) else broken)
        self._current = None
        if self._plan.recovery == "off" or not is_repeatable(self._delivered) or classify(error) == "never":
            raise broken from error
        # What fell silent after it had begun is no silent route: it may be asked again, like one that was cut off.
        failed = broken if isinstance(error, AttemptTimeoutError) else error
        try:
            await self._loop.failed(failed)
            await self.begin()
        except LLMCallError as last:
            if last is failed:
                raise broken from error
            raise self._broken(last) from last

    async def _differs(self, attempt: _Attempt, error: DiffersError) -> StreamInterruptedError:
        await attempt.fail(error)  # no failure of its target: another answer is as good
        self._current = None
        message = "the answer broke off, and another attempt gave another one"
        return StreamInterruptedError(message, text=text_of(self._delivered), hint=_BEGUN)

    def _broken(self, error: LLMCallError) -> StreamInterruptedError:
        hint = _BEGUN if isinstance(error, TransportError) else error.hint
        return StreamInterruptedError(
            f"the answer broke off: {error.message}", text=text_of(self._delivered), hint=hint
        )

    async def _open(self, turn: Turn) -> _Attempt:
        plan, record, attempts = self._plan, self._record, self._attempts
        target, seconds = plan.targets[turn.target], attempts.room(plan, record, turn, streamed=True)
        async with AsyncExitStack() as stack:
            ending = stack.enter_context(ExitStack())  # left with the attempt, which may be before its context
            span = ending.enter_context(AttemptSpan(record, target, turn, attempts.clock.now))
            wire = encode(target, plan.request, stream=True, strict=plan.strict)
            sent = AttemptScope(span.number, target, wire, call=self._scope, request=plan.request, turn=turn)
            seconds = await attempts.let(plan, record, span, sent, seconds)
            ending.enter_context(entered(attempts.hooks, sent))
            first, rest = await in_time(seconds, plan, self._first(sent, span, self._patience(turn), stack))
            sent.first_event = span.heard()
            attempts.hedges.observe((target.name, True), sent.first_event)
            attempt = _Attempt(sent, span, _joined(first, rest))
            attempt.ending = ending
            attempt.stack = stack.pop_all()
            return attempt

    def _patience(self, turn: Turn) -> float | None:
        """How long the first event is waited for: without limit of its own where there is nobody else to ask."""
        plan = self._plan
        if turn.target + 1 >= len(plan.targets):
            return None
        profile = plan.targets[turn.target].profile
        return plan.timeouts.first_token_reasoning if profile.reasoning else plan.timeouts.first_token

    async def _first(
        self, sent: AttemptScope, span: AttemptSpan, patience: float | None, stack: AsyncExitStack
    ) -> tuple[Event, AsyncIterator[Event]]:
        """The first event of a stream, and the others; `stack` closes it."""
        if patience is None:
            return await self._begun(sent, span, stack)
        try:
            return await within(patience, self._begun(sent, span, stack))
        except TimeoutError as error:
            raise AttemptTimeoutError(
                f"no first token within {patience:g} s, and another target is left",
                stage="first token",
                hint="Raise the setting timeouts.first_token.",
            ) from error

    async def _begun(
        self, sent: AttemptScope, span: AttemptSpan, stack: AsyncExitStack
    ) -> tuple[Event, AsyncIterator[Event]]:
        reply = await stack.enter_async_context(await self._attempts.open(self._plan, sent))
        span.head(reply.headers)
        events = self._timed(streamed(sent.target, reply))
        await stack.enter_async_context(aclosing(events))
        return await anext(events), events

    async def _timed(self, events: AsyncGenerator[Event, None]) -> AsyncGenerator[Event, None]:
        """`events`, until the call's time is used up."""
        deadline, now = self._record.deadline, self._attempts.clock.now
        async with aclosing(events):
            while True:
                following = anext(events)
                try:
                    event = await (following if deadline is None else within(max(0.0, deadline - now()), following))
                except StopAsyncIteration:
                    return
                except TimeoutError as error:
                    raise DeadlineExceededError("the time is used up", hint="Allow more time.") from error
                yield event


async def _joined(first: Event, rest: AsyncIterator[Event]) -> AsyncIterator[Event]:
    yield first
    async for event in rest:
        yield event
