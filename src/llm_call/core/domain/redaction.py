"""What of a trace may be shown or kept: its structure, the words of errors too, or what was said as well.

Rule: a list of what is let through, not of what is held back; a field that is not named here is gone. A text that is
held back leaves its length and a digest, by which two of them can be told to be the same. Secrets are never let through,
and neither are the bytes of media, unknown wire fields (`provider_data`) and validated values, which stand in the answer.
"""

import re
from collections.abc import Callable
from hashlib import sha256
from typing import Any, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from llm_call.core.domain.messages import Media, Part, Reasoning, Text, ToolCall
from llm_call.core.domain.response import FinishReason, Notice, Response
from llm_call.core.domain.trace import Attempt, Failure, Round, Trace
from llm_call.core.domain.verdict import Problem, Verdict

Level = Literal["structure", "words", "payloads"]
"""`structure`: nothing that was said. `words`: the messages of errors and of problems too, which may quote what was
said. `payloads`: what was said.
"""

_DIGITS = 8  # of the digest, in hexadecimal
# What is short and has no space is taken for a name or a number, also where a peer has said it.
_NAME = re.compile(r"[\w.:/@\-\[\]]{1,64}", re.ASCII)
# Errors in which no peer had its say: their words are the library's and the system's.
_OUR_WORDS = frozenset(
    {
        *("Abandoned", "AttemptTimeoutError", "ConnectionFailedError", "MissingCredentialError"),
        *("BudgetExceededError", "CircuitOpenError", "DeadlineExceededError", "NoEligibleTargetError"),
    }
)


def redacted(trace: Trace, level: Level, hide: Callable[[Any], Any]) -> Trace:
    """`trace` with what `level` lets through. `hide` gives a JSON value without secrets, its keys included."""
    redaction = _Redaction(level=level)
    kept = replace(trace, rounds=tuple(map(redaction.round, trace.rounds)))
    return msgspec.convert(hide(msgspec.to_builtins(kept)), Trace)


def placeholder(text: str, what: str = "") -> str:
    """What stands for a text that is held back: `[57 characters, sha256 9f86d081]`."""
    digest = sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]
    return f"[{what}{len(text)} characters, sha256 {digest}]"


class _Redaction(Struct, frozen=True, kw_only=True):
    level: Level

    def round(self, each: Round) -> Round:
        return replace(
            each,
            attempts=tuple(map(self._attempt, each.attempts)),
            verdicts=tuple(map(self._verdict, each.verdicts)),
            response=None if each.response is None else self._response(each.response),
        )

    def _attempt(self, attempt: Attempt) -> Attempt:
        return attempt if attempt.failure is None else replace(attempt, failure=self._failure(attempt.failure))

    def _failure(self, failure: Failure) -> Failure:
        ours = failure.kind in _OUR_WORDS
        return replace(
            failure,
            message=failure.message if ours else self._words(failure.message),
            code=self._name(failure.code),
            request_id=self._name(failure.request_id),
        )

    def _response(self, response: Response) -> Response:
        reason = response.finish_reason
        return Response(
            model=self._name(response.model) or "",
            parts=tuple(map(self._part, response.parts)),
            finish_reason=FinishReason(unified=reason.unified, raw=self._name(reason.raw)),
            usage=response.usage,
            id=self._name(response.id),
            notices=tuple(map(self._notice, response.notices)),
        )

    def _notice(self, notice: Notice) -> Notice:
        return replace(notice, field=self._name(notice.field) or "", message=self._words(notice.message))

    def _verdict(self, verdict: Verdict) -> Verdict:
        return replace(verdict, value=None, repairs=(), problems=tuple(map(self._problem, verdict.problems)))

    def _problem(self, problem: Problem) -> Problem:
        if self.level != "structure":
            return problem
        return Problem(code=self._name(problem.code) or "", message=placeholder(str(problem)))

    def _part(self, part: Part) -> Part:
        match part:
            case Text():
                return Text(text=self._said(part.text), refusal=part.refusal)
            case Reasoning():
                return Reasoning(text=self._said(part.text))
            case ToolCall():
                name = self._name(part.name) or ""
                return ToolCall(id=self._name(part.id) or "", name=name, arguments=self._said(part.arguments))
            case Media():
                return Text(text=f"[{self._name(part.media_type)}]")
        return Text(text=f"[the result of a tool: {len(part.parts)} parts]")

    def _said(self, text: str) -> str:
        return text if self.level == "payloads" else placeholder(text)

    def _words(self, text: str) -> str:
        return placeholder(text) if self.level == "structure" and text else text

    def _name(self, text: str | None) -> str | None:
        if text is None or self.level != "structure" or _NAME.fullmatch(text):
            return text
        return placeholder(text)
