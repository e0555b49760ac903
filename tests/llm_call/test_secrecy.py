"""No secret reaches an error, a `repr`, a trace, what is shown of the settings, or a file that is written.

A key is given in every way there is, and every kind of peer says it aloud.
"""

import asyncio
import contextlib
import json
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from typer.testing import CliRunner

from llm_call.cli.main import app
from llm_call.core import api
from llm_call.core.client import Client
from llm_call.core.config import Settings, build_client, load, shown
from llm_call.core.config.schema import RetrySettings
from llm_call.core.domain.errors import LLMCallError
from llm_call.core.policy.breaker import BreakerPolicy
from llm_call.core.store.traces import TraceSettings
from llm_call.testing.scripted import ScriptedReply, ScriptedTransport, chat_reply, error_reply, stream_reply

QUICK = {"max_attempts": 2, "initial_delay": 0}
# Anything that a header can carry, and that stands nowhere by chance.
KEYS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=80).map(
    lambda text: f"zQ7-x9-w5-k{text}"
)


def peers(key: str) -> Iterator[ScriptedReply]:
    """Replies that say the key aloud, in every place where a peer may."""
    yield error_reply(401, message=f"Incorrect API key provided: {key}.", code=key, headers={"x-request-id": key})
    yield error_reply(500, message=f"{'x' * 460} {key}")  # messages and bodies are cut after 500 characters
    yield error_reply(400, message=key * 20)
    yield ScriptedReply(status=502, pieces=(f"<html>{key}</html>".encode(),))
    yield ScriptedReply(pieces=(f"no JSON: {key}".encode(),))
    yield ScriptedReply(pieces=(msgspec.json.encode({"error": {"message": key, "code": key}}),))


def stream_peers(key: str) -> Iterator[ScriptedReply]:
    yield from peers(key)
    event = b"data: " + msgspec.json.encode({"error": {"message": f"bad key {key}", "code": key}}) + b"\n\n"
    head = {"content-type": "text/event-stream"}
    yield ScriptedReply(pieces=(event,), headers=head)
    yield ScriptedReply(pieces=(*stream_reply(["hel"], finish_reason=None).pieces, event), headers=head)
    yield ScriptedReply(pieces=(f"data: {key}\n\n".encode(),), headers=head)


def by_variable(key: str, folder: Path) -> tuple[str, dict[str, str]]:
    return "", {"OPENAI_API_KEY": key}


def by_other_variable(key: str, folder: Path) -> tuple[str, dict[str, str]]:
    return "[providers.openai]\napi_key = 'env:MINE'", {"MINE": key}


def by_file(key: str, folder: Path) -> tuple[str, dict[str, str]]:
    (folder / "key").write_text(key, encoding="utf-8")
    (folder / "key").chmod(0o600)
    return f"[providers.openai]\napi_key = 'file:{folder / 'key'}'", {}


def in_the_users_file(key: str, folder: Path) -> tuple[str, dict[str, str]]:
    return f"[providers.openai]\napi_key = {json.dumps(key)}", {}


def in_the_call(key: str, folder: Path) -> tuple[str, dict[str, str]]:
    return "", {}


WAYS = [by_variable, by_other_variable, by_file, in_the_users_file, in_the_call]
Way = Callable[[str, Path], tuple[str, dict[str, str]]]


@contextlib.contextmanager
def settings(way: Way, key: str) -> Iterator[Settings]:
    with TemporaryDirectory() as name:
        folder = Path(name)
        text, environment = way(key, folder)
        (folder / "llm_call").mkdir()
        (folder / "llm_call" / "config.toml").write_text(text, encoding="utf-8")
        (folder / "llm_call" / "config.toml").chmod(0o600)
        yield load({"XDG_CONFIG_HOME": name, "XDG_STATE_HOME": name, **environment}, folder=folder)


def scripted(found: Settings, *steps: ScriptedReply) -> tuple[Client, ScriptedTransport]:
    # So many failures would open the breaker, and calls would wait for it.
    found = replace(found, config=replace(found.config, breaker=BreakerPolicy(enabled=False)))
    ours, transport = build_client(found), ScriptedTransport(*steps)
    ours._factories["http"] = lambda: transport
    return ours, transport


def told(error: LLMCallError) -> str:
    """Everything that can be seen of an error."""
    texts = [error.message, error.hint, repr(error), repr(error.trace), *traceback.format_exception(error)]
    return "\n".join([*texts, *map(str, vars(error).values()), repr(error.failure())])


def absent(key: str, text: str) -> None:
    assert key not in text
    assert key[:12] not in text  # nor cut short
    assert repr(key)[1:-1] not in text
    assert json.dumps(key)[1:-1] not in text


@given(way=st.sampled_from(WAYS), key=KEYS)
def test_no_error_no_trace_and_no_repr_holds_a_key(way: Way, key: str) -> None:
    options: dict[str, Any] = {"model": "openai/gpt-4o", "retry": QUICK}
    if way is in_the_call:
        options["api_key"] = key
    with settings(way, key) as found:
        absent(key, repr(found))
        absent(key, "\n".join(f"{name} {value} {origin}" for name, value, origin in shown(found)))
        for reply in peers(key):
            ours, transport = scripted(found, reply)
            with pytest.raises(LLMCallError) as caught:
                asyncio.run(ours.ask("hi", **options))
            absent(key, told(caught.value))
            absent(key, f"{ours!r} {ours.plan('hi', **options)!r} {transport.endpoints!r}")
            assert key in transport.endpoints[0].headers["authorization"]


@given(way=st.sampled_from(WAYS), key=KEYS)
def test_no_broken_stream_tells_a_key(way: Way, key: str) -> None:
    options: dict[str, Any] = {"model": "openai/gpt-4o", "retry": QUICK}
    if way is in_the_call:
        options["api_key"] = key

    async def read(ours: Client) -> None:
        async with ours.ask_stream("hi", **options) as answer:
            async for _ in answer:
                pass

    with settings(way, key) as found:
        for reply in stream_peers(key):
            ours, _ = scripted(found, reply)
            with pytest.raises(LLMCallError) as caught:
                asyncio.run(read(ours))
            absent(key, told(caught.value))


@given(key=KEYS, reference=st.booleans())
def test_no_file_of_results_and_no_line_of_the_runner_holds_the_key_of_a_case(key: str, reference: bool) -> None:
    with settings(in_the_call, key) as found, pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as name:
        patch.setenv("MINE", key)
        patch.setenv("LLM_CALL_TRUST", "1")
        patch.setenv("XDG_CONFIG_HOME", name)
        patch.setenv("COLUMNS", "10000")
        said = {
            "model": "openai/gpt-4o",
            "question": "hi",
            "retry_config": QUICK,
            "api_key": "env:MINE" if reference else key,
        }
        cases = [{"test_case_id": f"case{number}", "llm_config": said} for number, _ in enumerate([*peers(key), 0])]
        (Path(name) / "cases.json").write_text(json.dumps(cases), encoding="utf-8")
        replies = [each for reply in peers(key) for each in ((reply, reply) if reply.status == 500 else (reply,))]
        ours, transport = scripted(found, *replies, chat_reply("fine"))
        patch.setattr(api, "_client", ours)
        patch.setattr(api, "_settings", None)
        done = CliRunner().invoke(app, ["test", "run", f"{name}/cases.json", "-o", f"{name}/out.json"])
        assert key in transport.endpoints[0].headers["authorization"]
        absent(key, done.output + (Path(name) / "out.json").read_text(encoding="utf-8"))


@given(
    way=st.sampled_from(WAYS),
    key=KEYS,
    payloads=st.booleans(),
    peer=st.integers(0, 7),
    form=st.sampled_from(["text", "json", "markdown"]),
)
def test_no_kept_trace_and_nothing_that_is_shown_of_it_holds_a_key(
    way: Way, key: str, payloads: bool, peer: int, form: str
) -> None:
    reply = (*peers(key), chat_reply(f"it is {key}"), chat_reply("fine"))[peer]
    with settings(way, key) as read, pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as name:
        config = replace(read.config, traces=TraceSettings(payloads=payloads), retry=RetrySettings(base_delay=0))
        found = replace(read, config=config, state=Path(name))
        ours, transport = scripted(found, reply)
        patch.setattr(api, "_settings", found)
        patch.setattr(api, "_client", ours)
        patch.setenv("COLUMNS", "10000")
        patch.setenv("MINE", key)
        words = ["ask", f"what is {key}?", "-m", "openai/gpt-4o", "--debug", "-v", "contains:text=never"]
        words += ["--payloads"] if payloads else []
        words += ["--api-key-env", "MINE"] if way is in_the_call else []
        done = CliRunner().invoke(app, words)
        assert key in transport.endpoints[0].headers["authorization"]
        assert "\ntrace " in done.stderr
        # What a model has answered is its user's: beside the timeline, a rejected answer is told as it is.
        absent(key, done.stderr.partition("\nerror: the answer was rejected")[0])
        shown = CliRunner().invoke(app, ["trace", "show", "--payloads", "-f", form])
        assert shown.exit_code == 0
        absent(key, shown.stdout)
        kept = b"".join(each.read_bytes() for each in Path(name).iterdir())
        assert b"openai/gpt-4o" in kept
        absent(key, kept.decode("utf-8", "replace"))


@given(way=st.sampled_from(WAYS[:-1]), key=KEYS)
def test_config_show_says_where_a_key_is_and_not_what(way: Way, key: str) -> None:
    with settings(way, key) as found, pytest.MonkeyPatch.context() as patch:
        patch.setattr(api, "_settings", found)
        done = CliRunner().invoke(app, ["config", "show"])
    assert done.exit_code == 0
    assert "is set" in done.output or "<set by " in done.output
    absent(key, done.output)


@given(key=KEYS)
def test_no_wrong_setting_beside_a_key_tells_it(key: str) -> None:
    for wrong in ("nonsense = 1", "base_url = 3", "base_url = 'x'", f"codec = {json.dumps(key)}", "= "):
        text = f"[providers.openai]\napi_key = {json.dumps(key)}\n{wrong}"
        with pytest.raises(LLMCallError) as caught, settings(lambda *_, text=text: (text, {"OTHER": key}), key):
            pass
        if not wrong.startswith("codec"):  # a key in the place of a name is not known to be one
            absent(key, told(caught.value))
