"""The desk: takes durable calls and reviews in, has them carried out, and lets people decide.

Three kinds of workflow: `call` carries out a call, `review` opens a review of a call that another process made, and
`decision` applies what a person has decided, or bounces it. Each ends; nothing waits inside of one. What waits is the
chain (`records`), and whoever looks at it after its time applies what the policy says.
"""

import asyncio
import hashlib
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from llm_call.core.call_config import CallConfig
from llm_call.core.client import Client
from llm_call.core.domain.bill import Bill
from llm_call.core.domain.errors import ConfigError, DeadlineExceededError, LLMCallError
from llm_call.core.domain.request import Request
from llm_call.core.domain.result import Result
from llm_call.core.domain.review import Decision, Pending
from llm_call.core.durable.backend import Backend, check_installed
from llm_call.core.durable.journal import Journal, JournaledAttempts
from llm_call.core.durable.notice import Notifier
from llm_call.core.durable.records import Came, Case, Move, Question, StoredError, StoredResult, chain, number, written
from llm_call.core.durable.settings import ReviewSettings
from llm_call.core.plan import Plan, without_people
from llm_call.core.review import CallbackReviewer, ReviewRequest
from llm_call.core.settling import (
    Aborted,
    Again,
    Bounced,
    Escalated,
    Final,
    approval,
    attempted,
    best,
    concluded,
    continued,
    reopened,
    settle,
    unanswered,
)
from llm_call.core.store.database import owned_file
from llm_call.core.transport.base import SystemClock
from llm_call.core.transport.masking import Secrets

_PATIENCE = 10.0  # seconds to wait for a decision that is being carried out
_GRACE = 5.0  # seconds that what runs here has to end when the desk is closed
_LOOK = 0.5  # seconds between two looks at a review
EXPIRY = "expiry"


class Desk:
    """Durable calls and reviews of `client`. Opened on first use; `close` it, since there is one for the process."""

    def __init__(
        self, client: Client, settings: ReviewSettings, *, state: Path, now: Callable[[], float] = time.time
    ) -> None:
        check_installed()
        self._client = client
        self.settings = settings
        self.now = now
        database = settings.database or str(state / "durable.db")
        self._file = None if "://" in database else Path(database).expanduser()
        url = database if self._file is None else f"sqlite:///{self._file.absolute()}"
        kinds = {"call": self._call, "review": self._review, "decision": self._decision, "secret": self._secret}
        self.backend = Backend(url, kinds)
        self._notifier = Notifier(settings, self.secret)

    async def open(self) -> None:
        """Open the store, if it is not open.

        Raises:
            ConfigError: It cannot be opened.
        """
        if self._file is not None:
            await asyncio.to_thread(owned_file, self._file)
        await self.backend.open()

    async def close(self) -> None:
        """Close the store. What does not end soon is left to be taken over by another process, or a later one."""
        await self.backend.close(_GRACE)

    async def submit(self, call: CallConfig, request: Request, *, key: str | None = None) -> str:
        """Begin a durable call, unless one was begun with this `key`. Its id, under which any process finds it.

        Raises:
            ConfigError: It holds what would have to be stored and must not be.
        """
        refuse_secrets(call)
        identity = f"c{secrets.token_hex(6) if key is None else hashlib.sha256(key.encode()).hexdigest()[:12]}"
        await self._begin("call", identity, Question(call=call, request=request))
        return identity

    async def review(self, request: ReviewRequest) -> Pending:
        """Open a review of a call that has been made."""
        identity = f"r{secrets.token_hex(6)}"
        call = msgspec.convert(Secrets().value(msgspec.to_builtins(request.call)), CallConfig)
        await self._begin("review", identity, replace(request, call=call))
        case = await self.backend.settled(identity, seconds=None)
        return _pending(case)

    async def wait(self, identity: str, timeout: float | None = None) -> Result[Any]:  # noqa: ASYNC109  (its own word)
        """What the call comes to, however long people take; for `timeout` seconds.

        Whoever waits also carries on what a process that has ended had begun of it.

        Raises:
            DeadlineExceededError: It has come to nothing so far. Nothing is lost: wait again.
            LLMCallError: The call has ended with it.
        """
        waited = 0.0
        while True:
            left = None if timeout is None else timeout - waited
            begun = time.monotonic()
            case = await self.case(identity, seconds=left)
            came = case.standing
            if came is not None and came.what == "ended" and case.running is None:
                return self._outcome(came)
            await asyncio.sleep(_LOOK if left is None else max(0.0, min(_LOOK, left)))
            waited += time.monotonic() - begun
            if timeout is not None and waited >= timeout:
                what = "is still under way" if came is None else "waits for a person"
                raise DeadlineExceededError(f"{identity} {what}", hint="Nothing is lost: wait for it again.")

    async def decide(self, identity: str, decision: Decision, *, face: str, key: str = "") -> Came:
        """Put a decision to a review, and what it came to. With a `key` that was used, it is that earlier decision.

        Raises:
            ConfigError: There is no such review, it is not open, or another decision is just being carried out.
        """
        while True:
            case = await self.case(identity, seconds=_PATIENCE)
            done = [link.came for link in case.links if key and link.move and link.move.key == key and link.came]
            if done:
                return done[0]
            _refuse_running(case)
            move = Move(review=identity, decision=decision, face=face, at=self.now(), key=key or secrets.token_hex(8))
            if (came := await self._put(case, move)) is not None:
                return came
            key = move.key

    async def case(self, identity: str, *, seconds: float | None = None) -> Case:
        """A call or review as it stands when nothing of it is under way, or after `seconds`.

        Raises:
            ConfigError: There is none.
        """
        await self.open()
        while True:
            case = await self.backend.settled(identity, seconds=seconds)
            came = case.standing
            if case.running or came is None or came.what == "ended" or self.now() < came.expires:
                return case
            move = Move(review=identity, decision=self._verdict_of_time(came), face=EXPIRY, at=self.now())
            await self._put(case, replace(move, key=f"{EXPIRY}-{case.turn}"))

    async def cases(self) -> tuple[Case, ...]:
        """Every call and review, the newest last."""
        await self.open()
        return tuple(case for case in await self.backend.cases() if case.id != _SECRET)

    async def secret(self) -> str:
        """What links are signed with: the same for all who share the store."""
        await self._begin("secret", _SECRET, Move(review="", decision=Decision(action="reject"), face="", at=0.0))
        case = await self.backend.settled(_SECRET, seconds=None)
        return case.links[0].came.note if case.links[0].came else ""

    async def _begin(self, kind: str, identity: str, body: msgspec.Struct) -> None:
        await self.open()
        await self.backend.start(kind, identity, written(body))

    async def _put(self, case: Case, move: Move) -> Came | None:
        """Begin `move` as the next link; `None` where another one has become that."""
        following = f"{case.id}.{number(case.links[-1].id) + 1}"
        await self._begin("decision", following, move)
        later = await self.backend.settled(case.id, seconds=None)
        [link] = [link for link in later.links if link.id == following]
        return link.came if link.move is not None and link.move.key == move.key else None

    def _verdict_of_time(self, came: Came) -> Decision:
        """What the policy decides when nobody has."""
        by, policy = "policy", self.settings.on_expiry
        if policy == "escalate" and came.level + 1 < self.settings.levels:
            return Decision(action="escalate", by=by)
        if policy == "accept_best" and came.asked is not None and best(came.asked) is not None:
            return Decision(action="approve", by=by)
        return Decision(action="reject", by=by, reason="nobody has decided in time")

    def _outcome(self, came: Came) -> Result[Any]:
        if came.error is not None:
            raise came.error.error()
        assert came.result is not None  # noqa: S101  (a call that has ended has one or the other)
        return came.result.result(self._client.pricing)

    # The workflows. What they do twice must be the same twice: they look at nothing but links that have ended.

    async def _call(self, identity: str, body: str) -> Came:
        question = msgspec.json.decode(body, type=Question)
        asked: list[ReviewRequest] = []

        async def hand_over(request: ReviewRequest) -> Pending:
            asked.append(request)
            return Pending(id=identity, reason=request.reason)

        outcome, told = await self._carried_out(identity, question.call, question.request, CallbackReviewer(hand_over))
        if asked:
            return await self._opened(replace(asked[0], trace=told.told(asked[0].trace)), identity)
        return _ended(outcome)

    async def _review(self, identity: str, body: str) -> Came:
        return await self._opened(msgspec.json.decode(body, type=ReviewRequest), identity)

    async def _decision(self, identity: str, body: str) -> Came:
        move = msgspec.json.decode(body, type=Move)
        links = [each for each in (await self.backend.case(move.review)).links if number(each.id) < number(identity)]
        case = chain(move.review, links)
        came = case.standing
        if came is None or came.asked is None or came.what == "ended":
            return Came(what="late", note=_first(case))
        try:
            return await self._applied(identity, move, came)
        except LLMCallError as error:
            return _ended(error)

    async def _secret(self, identity: str, body: str) -> Came:  # noqa: ARG002  (as all workflows)
        async def made() -> str:
            return written(Came(what="ended", note=secrets.token_hex(32)))

        return msgspec.json.decode(await self.backend.step("made", made), type=Came)

    async def _applied(self, identity: str, move: Move, came: Came) -> Came:
        asked = came.asked
        assert asked is not None  # noqa: S101  (it is open)
        bill = Bill(asked.charges, self._client.pricing)
        before, checks = unanswered(asked, bill), self._client.restore(asked.call, asked.request).validators
        if move.face == EXPIRY and move.decision.action == "approve" and (found := best(asked)):
            settled: Any = approval(asked, found, move.decision)
        else:
            settled = settle(asked, move.decision, checks, chance=number(identity) / 1000 % 1)
        match settled:
            case Final():
                return Came(what="ended", result=StoredResult.of(concluded(before, settled)))
            case Aborted():
                error = settled.error()
                error.trace = asked.trace
                return Came(what="ended", error=StoredError.of(error))
            case Bounced():
                return Came(what="bounced", objections=settled.problems)
            case Escalated():
                return await self._higher(identity, came, asked)
            case Again():
                return await self._retried(identity, came, asked, settled)
        raise AssertionError(settled)

    async def _higher(self, identity: str, came: Came, asked: ReviewRequest) -> Came:
        if came.level + 1 >= self.settings.levels:
            return Came(what="bounced", objections=("there is no higher level",))
        return await self._opened(asked, identity, level=came.level + 1)

    async def _retried(self, identity: str, came: Came, asked: ReviewRequest, again: Again) -> Came:
        before = unanswered(asked, Bill(asked.charges, self._client.pricing))
        journals: list[Journal] = []

        async def execute(call: CallConfig, request: Request) -> Result[Any]:
            outcome, journal = await self._carried_out(identity, call, request, None)
            journals.append(journal)
            if isinstance(outcome, LLMCallError):
                raise outcome
            return outcome

        outcome = await attempted(execute, again)
        if isinstance(outcome, Result) and outcome.ok:
            return _ended(continued(before, outcome))
        return await self._opened(reopened(asked, again, outcome), identity, level=came.level)

    async def _carried_out(
        self, identity: str, call: CallConfig, request: Request, reviewer: CallbackReviewer | None
    ) -> tuple[Result[Any] | LLMCallError, Journal]:
        """What a call comes to, its attempts written down."""
        journal = Journal(identity, self.backend.run, self.backend.step, SystemClock())
        engine = self._client.engine_on(lambda *args, **more: JournaledAttempts(journal, *args, **more), reviewer)
        try:
            plan: Plan = self._client.restore(call, request)
            plan = await journal.ordered(plan if reviewer else without_people(plan))
            result = await engine.execute(plan)
        except LLMCallError as error:
            error.trace = error.trace and journal.told(error.trace)
            return error, journal
        return replace(result, trace=journal.told(result.trace)), journal

    async def _opened(self, asked: ReviewRequest, identity: str, *, level: int = 0) -> Came:
        """The review at `level`, whose people are told of it."""

        async def opened() -> str:
            expires = self.now() + self.settings.expires_after
            review, turn = identity.partition(".")[0], number(identity)
            note = await self._notifier.tell(asked, review=review, level=level, turn=turn, expires=expires)
            return written(Came(what="open", asked=asked, level=level, expires=expires, note=note))

        return msgspec.json.decode(await self.backend.step("open", opened), type=Came)


_SECRET = "secret"  # noqa: S105  (the name of it)


def refuse_secrets(call: CallConfig) -> None:
    """See that nothing of `call` that must not be stored would be.

    Raises:
        ConfigError: There is something.
    """
    hint = "Set it in the configuration: it is looked up there whenever the call goes on."
    if call.api_key is not None:
        raise ConfigError("a durable call takes no api_key: it would have to be stored", hint=hint)
    plain = written(call)
    if Secrets().text(plain) != plain:
        raise ConfigError("a durable call holds what looks like a key, which would have to be stored", hint=hint)


def expiry(came: Came) -> datetime:
    """When the policy decides, in UTC."""
    return datetime.fromtimestamp(came.expires, UTC)


def _pending(case: Case) -> Pending:
    came = case.standing
    assert came is not None  # noqa: S101  (it was opened)
    assert came.asked is not None  # noqa: S101  (the same)
    return Pending(id=case.id, reason=came.asked.reason, expires=expiry(came))


def _ended(outcome: Result[Any] | LLMCallError) -> Came:
    if isinstance(outcome, LLMCallError):
        return Came(what="ended", error=StoredError.of(outcome))
    return Came(what="ended", result=StoredResult.of(outcome))


def _refuse_running(case: Case) -> None:
    if case.running is None:
        return
    move = case.running.move
    if move is None:
        raise ConfigError(f"{case.id} is under way: nobody is asked yet", hint="Wait for it: `llm-call review list`.")
    raise ConfigError(
        f"the decision {move.decision.action} of {move.decision.by or 'somebody'} is being carried out",
        hint="Look again when it has ended.",
    )


def _first(case: Case) -> str:
    """Who was first, for those who come later."""
    move = case.decided
    if move is None:
        return "nobody is asked: the call has ended by itself"
    who = move.decision.by or "somebody"
    at = datetime.fromtimestamp(move.at, UTC)
    return f"{who} was first: {move.decision.action} at {at:%Y-%m-%d %H:%M:%S} UTC"
