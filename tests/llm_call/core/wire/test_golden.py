"""Golden examples, true to what the vendors document: `golden/<dialect>/<topic>.json`.

In each file the wire's side of an answer (`answer`, its `stream`, `errors`) and our side of a request (`request`) are
written by hand; what they become (`wire` or `refused`, `response`, the `error` of each of `errors`) was written by

    LLM_CALL_REWRITE_GOLDEN=1 pytest tests/llm_call/core/wire/test_golden.py

whose difference to the last version is for a reviewer to read. An answer and its stream become one and the same
response. The message `"answer"` of a request is the one that the file's own answer is. Defaults are left out.
"""

import os
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_call.core.domain.errors import APIError, LLMCallError, UnsupportedError
from llm_call.core.domain.events import fold
from llm_call.core.domain.messages import Message
from llm_call.core.domain.profile import Profile
from llm_call.core.domain.request import Request
from llm_call.testing import strategies
from llm_call.testing.dialects import DIALECTS
from llm_call.testing.laws import cut, decoded

Case = dict[str, Any]
REWRITE = os.environ.get("LLM_CALL_REWRITE_GOLDEN") == "1"
FOLDER = Path(__file__).parent / "golden"
FILES = sorted(FOLDER.glob("*/*.json"))
CODECS = {dialect.name: dialect.codec for dialect in DIALECTS}
TOPICS = (
    *("plain", "conversation", "image", "document", "sound", "forced_tool", "parallel_calls", "tool_results"),
    *("json_schema", "reasoning", "usage", "refusal", "cut_short", "errors"),
)


def named(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def read(path: Path) -> Case:
    case: Case = msgspec.json.decode(path.read_bytes())
    return case


def becomes(dialect: str, case: Case) -> Case:
    """`case` with what its dialect makes of it."""
    made = {name: value for name, value in case.items() if name not in {"wire", "refused", "response"}}
    if "request" in case:
        made |= written(dialect, case)
    if "answer" in case:
        made["response"] = compact(CODECS[dialect].decode_response(msgspec.json.encode(case["answer"])))
    if "errors" in case:
        made["errors"] = [{**each, "error": failed(dialect, each)} for each in case["errors"]]
    return made


def written(dialect: str, case: Case) -> Case:
    """The request on the wire, or why it is refused."""
    profile = msgspec.convert(case.get("profile", {}), Profile)
    stream = case.get("streamed", False)
    try:
        wire = CODECS[dialect].encode_request(request_of(dialect, case), stream=stream, profile=profile)
    except UnsupportedError as error:
        return {"refused": f"{error.message} {error.hint}".strip()}
    body = msgspec.json.decode(wire.body)
    notices = [compact(notice) for notice in wire.notices]
    return {"wire": {"path": wire.path, "headers": dict(wire.headers), "body": body, "notices": notices}}


def request_of(dialect: str, case: Case) -> Request:
    messages = case["request"]["messages"]
    if "answer" in messages:
        said = CODECS[dialect].decode_response(msgspec.json.encode(case["answer"])).parts
        answer = msgspec.to_builtins(Message(role="assistant", parts=said))
        messages = [answer if each == "answer" else each for each in messages]
    return msgspec.convert({**case["request"], "messages": messages}, Request)


def failed(dialect: str, case: Case) -> Case:
    error = failure(dialect, case)
    said = {"kind": type(error).__name__, "message": error.message, "hint": error.hint, "retryable": error.retryable}
    names = ("status", "code", "request_id", "retry_after")
    more = {name: getattr(error, name) for name in names} if isinstance(error, APIError) else {}
    return {name: value for name, value in {**said, **more}.items() if value not in (None, "")}


def failure(dialect: str, case: Case) -> LLMCallError:
    codec = CODECS[dialect]
    try:
        if "stream" in case:
            decoded(codec, [lines(case)])
        elif case["status"] == 200:
            codec.decode_response(msgspec.json.encode(case["body"]))
    except LLMCallError as error:
        return error
    return codec.decode_error(case["status"], case["headers"], msgspec.json.encode(case["body"]))


def lines(case: Case) -> bytes:
    return "\n".join([*case["stream"], ""]).encode()


def compact(value: Any) -> Any:
    """A value of the domain in JSON's types, without the fields that have their default."""
    if isinstance(value, msgspec.Struct):
        tag = type(value).__struct_config__.tag
        fields = {
            each.encode_name: compact(getattr(value, each.name))
            for each in msgspec.structs.fields(type(value))
            if getattr(value, each.name) not in (each.default, {})
        }
        return ({"type": tag} if tag else {}) | fields
    if isinstance(value, Mapping):
        return {name: compact(inner) for name, inner in value.items()}
    if isinstance(value, bytes):
        return b64encode(value).decode()
    return [compact(inner) for inner in value] if isinstance(value, list | tuple) else value


@pytest.mark.parametrize("path", FILES, ids=named)
def test_what_is_written_here_becomes_what_is_written_there(path: Path) -> None:
    case = read(path)
    made = becomes(path.parent.name, case)
    if REWRITE:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(made), indent=2) + b"\n")
    else:
        assert made == case


STREAMED = [path for path in FILES if "stream" in read(path)]


@pytest.mark.parametrize("path", STREAMED, ids=named)
def test_a_stream_becomes_the_same_response_as_its_answer(path: Path) -> None:
    case = read(path)
    assert compact(fold(decoded(CODECS[path.parent.name], [lines(case)]))) == case["response"]


@given(st.sampled_from(STREAMED), strategies.sizes())
def test_a_recorded_stream_may_be_cut_anywhere(path: Path, sizes: tuple[int, ...]) -> None:
    case = read(path)
    assert compact(fold(decoded(CODECS[path.parent.name], cut(lines(case), sizes)))) == case["response"]


@pytest.mark.parametrize("dialect", DIALECTS, ids=str)
def test_every_dialect_has_an_example_of_every_topic(dialect: Any) -> None:
    assert {path.stem for path in FILES if path.parent.name == dialect.name} == set(TOPICS)
