"""What a fault is: something that goes wrong with an answer, as a value. The catalogue of them is `testing.faults`.

Rule: a fault is made of a whole answer, so that what comes before it is always the beginning of the right one.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from llm_call.core.domain.profile import DialectName
from llm_call.testing.behaviours import Behaviour, Gate, Received, Step, respond, stream
from llm_call.testing.scripted import chat_reply, stream_reply

Expected = Literal["answer", "again", "elsewhere", "never", "reask", "restart"]
"""What follows: nothing is wrong; the same target is asked again; only another one is; nobody is; the model is asked
for a better answer; the stream is asked for once more and compared with what was delivered."""

Group = Literal["refusals", "hints", "connections", "bodies", "streams", "oddities"]


class Answer(Struct, frozen=True, kw_only=True):
    """What a server says when nothing goes wrong: as a body, and as a stream whose first events are its `tokens`.

    At the `gate` it waits, where a stream is about to break.
    """

    body: bytes
    events: tuple[bytes, ...]
    tokens: int
    gate: Gate | None = None

    def begun(self, after: int) -> tuple[bytes | Gate, ...]:
        """The events of the first `after` tokens, never of all, and the gate."""
        events = self.events[: min(after, self.tokens - 1)]
        return events if self.gate is None or not events else (*events, self.gate)


Plain = Callable[[Answer], Behaviour]
Streamed = Callable[[Answer, int], Behaviour | None]


class Fault(Struct, frozen=True, kw_only=True):
    """Something that goes wrong.

    `plain` makes it of an answer that is asked for whole, `streamed` of a stream that breaks after so many tokens;
    neither, where connections are refused. `expected` is what follows before the first token. `hint` is how many
    seconds the server asks to wait, as they are heeded.
    """

    name: str
    group: Group
    meaning: str
    expected: Expected
    plain: Plain | None = None
    streamed: Streamed | None = None
    hint: float | None = None
    dialect: DialectName = "openai_chat"

    @property
    def refuses(self) -> bool:
        """Whether nobody listens."""
        return self.plain is None and self.streamed is None

    def behaviour(self, said: Answer, *, streaming: bool, after: int = 0) -> Behaviour | None:
        """What is written in the place of the answer; `None` where the fault does not happen so."""
        if streaming:
            return self.streamed(said, after) if self.streamed else None
        return self.plain(said) if self.plain and not after else None

    def expected_after(self, tokens: int) -> Expected:
        """What follows where the caller has seen so many tokens of a stream."""
        return "restart" if tokens and self.expected in {"again", "elsewhere"} else self.expected

    def script(self, then: str, *, after: int = 0, times: int | None = 1, gate: Gate | None = None) -> tuple[Step, ...]:
        """The steps of a server: `times` this fault (without end, where it is `None`), and then the answer `then`."""
        if self.refuses:
            return ()
        said = replace(answer(then, self.dialect), gate=gate)

        def strike(request: Received) -> Behaviour:
            streaming = _is_streaming(request)
            found = self.behaviour(said, streaming=streaming, after=after if streaming else 0)
            return found or _impossible(self.name, streaming=streaming)

        return (strike,) if times is None else (*[strike] * times, speaking(said))


def speaking(said: Answer) -> Step:
    """A server that says `said`, whole or as a stream, as it is asked."""
    return lambda request: stream(said.events) if _is_streaming(request) else respond(said.body)


def answer(text: str, dialect: DialectName = "openai_chat") -> Answer:
    """`text` as a server of `dialect` says it; in chat completions a word is a token."""
    if dialect == "openai_chat":
        words = re.findall(r"\s*\S+|\s+$", text) or [""]
        return Answer(body=chat_reply(text).pieces[0], events=stream_reply(words).pieces, tokens=len(words))
    body, events = (_messages_answer if dialect == "anthropic_messages" else _gemini_answer)(text)
    return Answer(body=msgspec.json.encode(body), events=tuple(events), tokens=1)


def _messages_answer(text: str) -> tuple[Any, Iterable[bytes]]:
    whole = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "usage": {}}
    block = {"type": "text", "text": ""}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**whole, "content": []}},
        {"type": "content_block_start", "index": 0, "content_block": block},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {}},
        {"type": "message_stop"},
    ]
    body = {**whole, "content": [{**block, "text": text}], "stop_reason": "end_turn"}
    return body, (b"event: %b\n%b" % (each["type"].encode(), event(each)) for each in events)


def _gemini_answer(text: str) -> tuple[Any, Iterable[bytes]]:
    content = {"role": "model", "parts": [{"text": text}]}
    body = {"candidates": [{"content": content, "finishReason": "STOP", "index": 0}], "modelVersion": "m"}
    return body, (event(body),)


def event(payload: Any) -> bytes:
    """An event of a stream."""
    return b"data: " + msgspec.json.encode(payload) + b"\n\n"


def _is_streaming(request: Received) -> bool:
    """Whether the request asks for a stream: by its body, or by its path as Gemini has it."""
    if b":streamGenerateContent" in request.path.encode():
        return True
    try:
        body = msgspec.json.decode(request.body)
    except ValueError:
        return False
    return isinstance(body, Mapping) and body.get("stream") is True


def _impossible(name: str, *, streaming: bool) -> Behaviour:
    how = "to a stream at that place" if streaming else "to a plain answer"
    message = f"the test is wrong: the fault {name!r} does not happen {how}"
    return respond(msgspec.json.encode({"error": {"message": message}}), status=400)
