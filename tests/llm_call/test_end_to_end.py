"""The whole path over real HTTP, against a real server on loopback that behaves as servers do."""

import os
import subprocess
import sys

import msgspec
import pytest

import llm_call
from llm_call.core.domain.errors import (
    APIError,
    AuthenticationError,
    ConnectionFailedError,
    LLMCallError,
    NotFoundError,
    ProtocolError,
    StreamInterruptedError,
)
from llm_call.testing.scripted import chat_reply, stream_reply
from llm_call.testing.servers import Behaviour, FaultServer, empty, half_body, html, reset, respond, stream

JSON = {"content-type": "application/json"}
QUICK = {"max_attempts": 2, "initial_delay": 0.0}


def answer(text: str) -> Behaviour:
    return respond(chat_reply(text, prompt_tokens=3, completion_tokens=4).pieces[0], headers=JSON)


def ask(server: FaultServer, **options: object) -> llm_call.Result[object]:
    return llm_call.ask_sync("hi", model="gpt-4o", api_base=server.url, api_key="sk-secret", retry=QUICK, **options)  # type: ignore[arg-type]


def command(server: FaultServer, *words: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "llm_call", "ask", "hi", "-m", "gpt-4o", "--api-base", server.url, *words]
    return subprocess.run(line, env=os.environ, capture_output=True, text=True, check=False, timeout=60)


def test_an_answer_travels_all_the_way() -> None:
    with FaultServer([answer("hello")]) as server:
        result = ask(server, system="Be brief.", max_tokens=5)
        assert (result.ok, result.value, result.usage.output_tokens) == (True, "hello", 4)
        request = server.requests[0]
    assert (request.method, request.path) == ("POST", "/chat/completions")
    assert request.headers["authorization"] == "Bearer sk-secret"
    body = msgspec.json.decode(request.body)
    assert (body["model"], body["messages"][0]["role"], body["max_completion_tokens"]) == ("gpt-4o", "system", 5)


def test_a_server_that_recovers_is_asked_again() -> None:
    busy = respond(b'{"error": {"message": "busy"}}', status=503, headers=JSON)
    with FaultServer([busy, answer("hello")]) as server:
        result = ask(server)
    assert [bool(attempt.failure) for attempt in result.trace.attempts] == [True, False]


@pytest.mark.parametrize(
    ("behaviour", "error", "said"),
    [
        (html(200), ProtocolError, "html"),
        (html(), APIError, "502"),
        (respond(b'{"choices": []}', headers=JSON), ProtocolError, "choices"),
        (half_body(b'{"choices": [{"mess'), ConnectionFailedError, "127.0.0.1"),
        (respond(b'{"choices": [{"mess', headers=JSON), ProtocolError, "choices"),
        (empty(), ConnectionFailedError, "127.0.0.1"),
        (respond(b"", headers=JSON), ProtocolError, "nothing"),
        (reset(), ConnectionFailedError, "127.0.0.1"),
        (respond(b"", status=302, headers={"location": "http://127.0.0.1:1/"}), APIError, "302"),
        (respond(b"<html>no</html>", status=404, headers={"content-type": "text/html"}), NotFoundError, "404"),
        (respond(b'{"error": {"message": "bad key sk-secret"}}', status=401, headers=JSON), AuthenticationError, "bad key"),
    ],
    ids=["HTML", "HTML 502", "empty choices", "half a body", "half a JSON", "nothing", "an empty body", "reset", "redirect", "HTML 404", "401"],
)  # fmt: skip
def test_what_is_no_answer_is_an_error_in_one_line(behaviour: Behaviour, error: type[LLMCallError], said: str) -> None:
    with FaultServer([behaviour]) as server:
        with pytest.raises(error) as caught:
            ask(server)
        done = command(server)
    assert said.lower() in caught.value.message.lower()
    assert caught.value.trace is not None
    assert "sk-secret" not in repr(caught.value) + repr(caught.value.trace)
    assert (done.returncode, done.stdout) == (4, "")
    problem, trace = done.stderr.splitlines()
    assert problem.startswith("error: ")
    assert trace.startswith("trace ")


def test_a_closed_port_is_an_error_that_names_it() -> None:
    with FaultServer([empty()]) as server:
        pass
    with pytest.raises(ConnectionFailedError, match=r"127\.0\.0\.1"):
        ask(server)


def test_a_stream_is_printed_and_one_that_breaks_is_no_clean_end() -> None:
    with FaultServer([stream(stream_reply(["hel", "lo"]).pieces, then="end")]) as server:
        done = command(server, "--stream")
        assert (done.returncode, done.stdout, done.stderr) == (0, "hello\n", "")
    with FaultServer([stream(stream_reply(["hel", "lo"], finish_reason=None).pieces, then="close")]) as server:
        done = command(server, "--stream")
    assert done.returncode == 4
    assert done.stdout == "hello\n"
    assert "broke off" in done.stderr


async def _pieces(server: FaultServer) -> list[str]:
    async with llm_call.ask_stream("hi", model="gpt-4o", api_base=server.url) as live:
        return [piece async for piece in live]


def test_a_stream_that_breaks_raises_with_what_had_arrived() -> None:
    from llm_call.core.portal import run_sync  # noqa: PLC0415  (the library's own loop, for this test alone)

    broken = stream(stream_reply(["hel", "lo"], finish_reason=None).pieces, then="reset")
    with FaultServer([broken]) as server, pytest.raises(StreamInterruptedError) as caught:
        run_sync(_pieces(server))
    assert caught.value.text == "hello"
