"""Hypothesis strategies for answers, as each dialect brings them: what survives the way to its wire and back.

Needs hypothesis, which is no dependency of the library: import this module in tests only.
"""

from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import msgspec
from hypothesis import strategies as st
from msgspec import Struct

from llm_call.core.domain.messages import Part, Reasoning, Text, ToolCall
from llm_call.core.domain.response import Finish, FinishReason, Response, Usage
from llm_call.core.wire.anthropic_messages_answer import FINISH as ANTHROPIC_FINISH
from llm_call.testing import strategies
from llm_call.testing.strategies import Fields, kept_by, sampled


def _parts(*kinds: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Part, ...]]:
    return st.lists(st.one_of(*kinds), max_size=4).map(tuple)


def _both(fields: Fields, more: Fields) -> Fields:
    return {**fields, **more}


def _said() -> st.SearchStrategy[str]:
    return strategies.texts().filter(bool)


def _identities() -> st.SearchStrategy[str | None]:
    return st.sampled_from([None, "id_1"])


def _usage(details: st.SearchStrategy[int | None]) -> st.SearchStrategy[Usage]:
    """Nothing is known, or at least the tokens of the prompt and those of the answer."""
    known = strategies.counts().filter(lambda count: count is not None)
    fields = dict.fromkeys(Usage.__struct_fields__, details) | {"input_tokens": known, "output_tokens": known}
    return st.just(Usage()) | st.builds(Usage, **fields)


# Chat completions


def chat_answers() -> st.SearchStrategy[Response]:
    """Each kind of part at most once, but for calls, in the order of the dialect."""
    thoughts = st.builds(Reasoning, text=_said(), provider_data=sampled("openai_chat", {"field": "reasoning_content"}))
    once = st.tuples(
        st.lists(thoughts, max_size=1), st.lists(st.builds(Text, text=_said()), max_size=1), _refusals(rate=4)
    ).map(lambda kinds: tuple(part for kind in kinds for part in kind))
    calls = st.lists(strategies.tool_calls("openai_chat"), max_size=3, unique_by=lambda call: call.id).map(tuple)
    inner = st.sampled_from([{}, {}, {"choice": {"x_c": 1, "message": {"x_m": [1]}}}])
    fields = st.builds(_both, strategies.unknown_fields(), inner)
    words: st.SearchStrategy[Finish] = st.sampled_from(["stop", "length", "tool_calls", "content_filter"])
    return st.builds(
        lambda parts, more, word, **rest: Response(
            parts=parts + more,
            finish_reason=FinishReason(unified=_told(parts + more, word), raw=word),
            **rest,
        ),
        once,
        calls,
        words,
        model=strategies.names(),
        id=_identities(),
        usage=_usage(strategies.counts()),
        provider_data=kept_by("openai_chat", fields),
    )


def _refusals(rate: int) -> st.SearchStrategy[tuple[Text, ...]]:
    """Mostly none: a refusal in one of `rate` answers."""
    none: st.SearchStrategy[tuple[Text, ...]] = st.just(())
    return st.one_of(*[none] * (rate - 1), _said().map(lambda text: (strategies.refused(text),)))


def _refuses(parts: tuple[Part, ...]) -> bool:
    return any(isinstance(part, Text) and part == strategies.refused(part.text) for part in parts)


def _told(parts: tuple[Part, ...], word: Finish) -> Finish:
    """What an answer of `parts` that ends with `word` ends for."""
    if _refuses(parts):
        return "content_filter"
    return "tool_calls" if word == "stop" and any(isinstance(part, ToolCall) for part in parts) else word


# Responses


def responses_parts() -> st.SearchStrategy[tuple[Part, ...]]:
    """What a turn of the Responses API is made of, in any order."""
    return _parts(_responses_texts(), _responses_thoughts(), strategies.tool_calls("openai_responses"))


def _responses_texts() -> st.SearchStrategy[Text]:
    """What an assistant says or refuses, some with citations or with fields of the item around it."""
    kept = sampled(
        "openai_responses",
        {},
        {},
        {"annotations": [{"type": "url_citation", "url": "https://example.org"}]},
        {"item": {"phase": "commentary"}},
    )
    return st.builds(Text, text=_said(), provider_data=kept) | _said().map(strategies.refused)


def _responses_thoughts() -> st.SearchStrategy[Reasoning]:
    """Encrypted, or raw; some of several texts."""
    summary = sampled("openai_responses", {"type": "summary_text", "id": "rs_1"})
    raw = sampled("openai_responses", {"type": "reasoning_text", "id": "rs_2"})
    several = sampled(
        "openai_responses",
        {
            "type": "reasoning_text",
            "id": "rs_3",
            "summary": [{"type": "summary_text", "text": "in short"}],
            "content": [{"type": "reasoning_text", "text": text} for text in ("one", "two")],
        },
    )
    signed = strategies.names()
    return (
        st.builds(Reasoning, text=strategies.texts(), signature=signed, provider_data=summary)
        | st.builds(Reasoning, text=_said(), signature=st.none() | signed, provider_data=raw)
        | st.builds(Reasoning, text=st.just("one\n\ntwo"), signature=signed, provider_data=several)
    )


def responses_answers() -> st.SearchStrategy[Response]:
    """Answers of the Responses API, some with an item that is no part. The finish reason fits the parts."""
    items: Fields = {"output": [{"type": "web_search_call", "id": "ws_1", "status": "completed"}]}
    fields = strategies.unknown_fields() | strategies.unknown_fields() | st.just(items)
    words: st.SearchStrategy[Finish] = st.sampled_from(["stop", "stop", "length", "content_filter"])
    return st.builds(
        lambda parts, word, **rest: Response(parts=parts, finish_reason=_responses_finish(parts, word), **rest),
        responses_parts(),
        words,
        model=strategies.names(),
        id=_identities(),
        usage=_usage(strategies.counts().filter(lambda count: count is not None)),
        provider_data=kept_by("openai_responses", fields),
    )


def _responses_finish(parts: tuple[Part, ...], wanted: Finish) -> FinishReason:
    if wanted in {"length", "content_filter"}:
        return FinishReason(unified=wanted, raw="max_output_tokens" if wanted == "length" else wanted)
    if _refuses(parts):
        return FinishReason(unified="content_filter", raw="completed")
    called = any(isinstance(part, ToolCall) for part in parts)
    return FinishReason(unified="tool_calls" if called else "stop", raw="completed")


# Messages


def _messages_parts() -> st.SearchStrategy[tuple[Part, ...]]:
    name, fields = "anthropic_messages", strategies.unknown_fields()
    cited: st.SearchStrategy[Fields] = st.sampled_from(
        [{}, {}, {"citations": [{"x": 1}]}, {"citations": [{}, {"y": ""}]}]
    )
    spoken = kept_by(name, st.builds(_both, fields, cited))
    blocks = sampled(name, {"block": {"type": "server_tool_use", "input": {}}}, {"block": {"type": "new", "x": [1]}})
    redacted = sampled(name, {"type": "redacted_thinking", "data": "c2Vj"})
    thinking = kept_by(name, fields.map({"type": "thinking"}.__or__))
    return _parts(
        st.builds(Text, text=strategies.texts(), provider_data=spoken),
        st.builds(Reasoning, text=strategies.texts(), signature=st.none() | strategies.names(), provider_data=thinking),
        st.builds(Reasoning, text=st.just(""), provider_data=redacted),
        st.builds(
            ToolCall,
            id=strategies.names(),
            name=strategies.names(),
            arguments=strategies.argument_objects(),
            provider_data=kept_by(name, fields),
        ),
        st.builds(Text, text=st.just(""), provider_data=blocks),
    )


def messages_answers() -> st.SearchStrategy[Response]:
    """Answers of the Messages API."""
    more: st.SearchStrategy[Fields] = st.sampled_from([{}, {"stop_sequence": "x"}, {"usage": {"x_tier": "standard"}}])
    words = st.sampled_from([*ANTHROPIC_FINISH, "newer_reason"])
    return st.builds(
        lambda parts, word, **rest: Response(
            parts=parts,
            finish_reason=FinishReason(unified=_told(parts, ANTHROPIC_FINISH.get(word, "other")), raw=word),
            **rest,
        ),
        _messages_parts(),
        words,
        model=strategies.names(),
        id=_identities(),
        usage=_messages_usage(),
        provider_data=kept_by("anthropic_messages", st.builds(_both, strategies.unknown_fields(), more)),
    )


def _messages_usage() -> st.SearchStrategy[Usage]:
    """The wire counts what is read from a cache, and what is written to one, apart from the rest of the input.

    The tokens of the input and of the output always stand there.
    """

    def usage(rest: int, read: int | None, written: int | None, said: int, thought: int | None) -> Usage:
        return Usage(
            input_tokens=rest + (read or 0) + (written or 0),
            cached_input_tokens=read,
            cache_write_input_tokens=written,
            output_tokens=said,
            reasoning_tokens=thought,
        )

    count = st.sampled_from([0, 1, 2**40])
    some = st.none() | count
    return st.builds(usage, count, some, some, count, some)


# Gemini

_GEMINI_FINISH = ("STOP", "MAX_TOKENS", "SAFETY", "MALFORMED_FUNCTION_CALL", "NEW_REASON")


class GeminiAnswer(Struct, frozen=True, kw_only=True):
    """An answer as the dialect sends it: its parts, and what its last chunk has beside them."""

    parts: list[Fields]
    finish: str
    top: Fields
    candidate: Fields

    def whole(self) -> bytes:
        """The answer as one body."""
        return msgspec.json.encode(self._chunk(self.parts, last=True))

    def stream(self, piece: int, per_chunk: int, *, late: bool) -> bytes:
        """The answer as events: texts in pieces of `piece` characters, `per_chunk` parts in each event.

        `late` says that what a text has of its own comes behind it, with an empty text.
        """
        pieces = [each for part in self.parts for each in _pieces(part, piece, late=late)]
        groups = [pieces[at : at + per_chunk] for at in range(0, len(pieces), per_chunk)] or [[]]
        chunks = [self._chunk(group, last=group is groups[-1]) for group in groups]
        return b"".join(b"data: " + msgspec.json.encode(chunk) + b"\r\n\r\n" for chunk in chunks)

    def _chunk(self, parts: list[Fields], *, last: bool) -> Fields:
        candidate: Fields = {"content": {"parts": parts, "role": "model"}, "index": 0}
        if last:
            candidate |= {"finishReason": self.finish, **self.candidate}
        usage = {"promptTokenCount": 7, "candidatesTokenCount": 3, "totalTokenCount": 10}
        top = {"modelVersion": "m1", "responseId": "r1", "usageMetadata": usage}
        return {"candidates": [candidate], **top, **(self.top if last else {})}


def _pieces(part: Fields, size: int, *, late: bool) -> Iterator[Fields]:
    """A part as a stream brings it: a text in pieces, what it has of its own on the last or behind it."""
    text = part.get("text")
    if not text:
        yield part
        return
    thought = {"thought": True} if part.get("thought") else {}
    own = {name: value for name, value in part.items() if name not in {"text", "thought"}}
    texts = [text[at : at + size] for at in range(0, len(text), size)] + ([""] if late and own else [])
    for each in texts[:-1]:
        yield {"text": each, **thought}
    yield {"text": texts[-1], **thought, **own}


def _gemini_parts() -> st.SearchStrategy[list[Fields]]:
    signed: st.SearchStrategy[Fields] = st.sampled_from([{}, {"thoughtSignature": "c2ln"}])
    extra = strategies.unknown_fields() | signed
    texts = st.builds(
        lambda text, thought, more: {"text": text, **thought, **more},
        strategies.texts(),
        st.sampled_from([{}, {}, {"thought": True}]),
        extra,
    )
    calls = st.builds(
        lambda name, call, more: {"functionCall": {"name": name, **call}, **more},
        strategies.names(),
        st.sampled_from([{}, {"args": {}}, {"args": {"city": "Pâris", "n": [1.5, None]}, "id": "c1"}, {"id": "c2"}]),
        extra,
    )
    others: st.SearchStrategy[Fields] = st.sampled_from(
        [
            {"inlineData": {"mimeType": "image/png", "data": b64encode(b"png").decode()}},
            {"fileData": {"mimeType": "video/mp4", "fileUri": "https://example.org/v"}},
            {"executableCode": {"language": "PYTHON", "code": "1"}, "thoughtSignature": "c"},
            {"thoughtSignature": "alone"},
        ]
    )
    return st.lists(texts | texts | calls | others, max_size=5)


def gemini_answers() -> st.SearchStrategy[GeminiAnswer]:
    """Answers of Google's dialect."""
    fields = strategies.unknown_fields()
    return st.builds(
        GeminiAnswer, parts=_gemini_parts(), finish=st.sampled_from(_GEMINI_FINISH), top=fields, candidate=fields
    )
