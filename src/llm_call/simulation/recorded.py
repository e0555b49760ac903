"""Providers as they were: each request gets what one of the recorded attempts at its target got, drawn by chance.

The recording is traces as the library encodes them, in one JSON document or one a line. Attempts that our own side
ended (the caller left, the time was used up) say nothing of the provider and are passed over.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random

import msgspec
from msgspec import Struct

from llm_call.core.domain.errors import ConfigError
from llm_call.core.domain.response import Usage
from llm_call.core.domain.trace import Failure
from llm_call.simulation import replies
from llm_call.simulation.provider import FOREVER, Answer, Asked

_OURS = frozenset({"Abandoned", "DeadlineExceededError", "BudgetExceededError", "CircuitOpenError", "UnsupportedError"})
_FIRST = 0.3  # the share of an answer's time that passes before its first token, which traces do not tell
_WORDS = 100  # tokens of an answer that were not counted


class RecordedAttempt(Struct, frozen=True, kw_only=True):
    """What is read of an attempt."""

    target: str
    duration: float
    usage: Usage | None = None
    failure: Failure | None = None


class _Round(Struct, frozen=True):
    attempts: tuple[RecordedAttempt, ...] = ()


class _Trace(Struct, frozen=True):
    rounds: tuple[_Round, ...]


Recording = Mapping[str, Sequence[RecordedAttempt]]
"""The attempts at each target, by its name."""


def read_recording(file: Path) -> Recording:
    """The attempts in a file of traces.

    Raises:
        ConfigError: It cannot be read, or holds no attempt of use.
    """
    try:
        content = file.read_bytes()
        found = _by_target(_traces(content))
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}", hint="Name a file of traces.") from None
    except msgspec.MsgspecError as error:
        raise ConfigError(f"{file} holds no traces: {error}", hint="One trace in JSON a line, or a list.") from None
    if not found:
        raise ConfigError(f"{file} holds no attempt at a provider", hint="Record calls first.")
    return found


def _traces(content: bytes) -> Iterable[_Trace]:
    start = content.lstrip()[:1]
    if start == b"[":
        return msgspec.json.decode(content, type=tuple[_Trace, ...])
    try:
        return (msgspec.json.decode(content, type=_Trace),)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:  # more than one
        decoder = msgspec.json.Decoder(_Trace)
        return tuple(decoder.decode(line) for line in content.splitlines() if line.strip())


def _by_target(traces: Iterable[_Trace]) -> Recording:
    found: dict[str, list[RecordedAttempt]] = {}
    for attempt in _attempts(traces):
        if attempt.failure is None or attempt.failure.kind not in _OURS:
            found.setdefault(attempt.target, []).append(attempt)
    return found


def _attempts(traces: Iterable[_Trace]) -> Iterator[RecordedAttempt]:
    return (attempt for trace in traces for each in trace.rounds for attempt in each.attempts)


class RecordedProvider:
    """One target as it was."""

    def __init__(self, attempts: Sequence[RecordedAttempt], chance: Random, *, prompt_tokens: int) -> None:
        self._attempts = attempts
        self._chance = chance
        self._prompt = prompt_tokens

    def answer(self, asked: Asked) -> Answer:
        """What one of the attempts got."""
        attempt = self._chance.choice(self._attempts)
        failure = attempt.failure
        if failure is None:
            return self._told(asked, attempt, cut=False)
        if failure.status is not None:
            wait = failure.retry_after
            headers = {} if wait is None else {"retry-after-ms": f"{wait * 1000:.0f}"}
            body = (replies.error(failure.status, failure.code),)
            return Answer(status=failure.status, first=attempt.duration, headers=headers, body=body)
        match failure.kind:
            case "ConnectionFailedError":
                return Answer(status=None, first=attempt.duration)
            case "AttemptTimeoutError":
                return Answer(first=FOREVER)
            case "StreamInterruptedError":
                return self._told(asked, attempt, cut=True)
        return Answer(first=attempt.duration, body=(b"<html></html>",))

    def _told(self, asked: Asked, attempt: RecordedAttempt, *, cut: bool) -> Answer:
        tokens = (attempt.usage.output_tokens if attempt.usage else None) or _WORDS
        text = f"An answer of {asked.model}."
        if asked.stream:
            first = attempt.duration * _FIRST
            body = replies.pieces(asked.dialect, asked.model, text, self._prompt, tokens)
            return Answer(first=first, rest=attempt.duration - first, body=body, ending="cut" if cut else "whole")
        whole = replies.whole(asked.dialect, asked.model, text, self._prompt, tokens)
        return Answer(first=attempt.duration, body=(whole,), ending="reset" if cut else "whole")
