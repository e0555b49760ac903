"""Three dialects against one real server, each through the whole client: llama.cpp's own HTTP server, on loopback.

The server binds an answer to a schema in the chat dialect alone: in the other two it passes over the field, so the rows
here have the form told in the prompt, and the answer is checked all the same. Its small model calls no tools of its own
accord, nor can the server make it: what is shown of tools is that their definitions, calls and results are taken.
"""

import asyncio
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from llm_call.core.client import Client
from llm_call.core.domain.errors import ContextWindowExceededError
from llm_call.core.domain.messages import Message, message
from llm_call.core.domain.profile import DialectName, Profile
from llm_call.core.domain.result import Result
from llm_call.core.providers.registry import Provider
from llm_call.core.router import Router
from llm_call.core.transport.model_file import find_model

pytestmark = pytest.mark.model

DIALECTS: tuple[DialectName, ...] = ("openai_chat", "openai_responses", "anthropic_messages")
TOLD = Profile(output_mode="prompted", schema_hint="fields")
PERSON = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name", "age"],
    "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer", "maximum": 150}},
}
ALICE = "Alice is 34 and lives in Paris."
HI = "Say hello."

every_dialect = pytest.mark.parametrize("dialect", DIALECTS)
streamed_or_not = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    engine = pytest.importorskip("xllamacpp")
    parameters = engine.CommonParams()
    parameters.model.path = str(find_model(None, ""))
    parameters.n_ctx, parameters.n_parallel, parameters.n_gpu_layers = 512, 1, 0
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
    parameters.port, parameters.hostnames, parameters.verbosity = 0, ["127.0.0.1"], -1
    parameters.use_jinja = parameters.offline = parameters.no_extra_bufts = True
    parameters.cache_prompt = parameters.ui = False  # the same prompt then has the same answer
    server = engine.Server(parameters)
    yield f"{server.listening_address}/v1"
    del server


def row(dialect: DialectName, address: str, profile: Profile = TOLD) -> Provider:
    return Provider(name=dialect, patterns=(f"{dialect}/*",), base_url=address, codec=dialect, profile=profile)


def ask(provider: Provider, prompt: str | tuple[Message, ...], *, stream: bool = False, **options: Any) -> Result[Any]:
    short = {"max_tokens": 8, "temperature": 0.0, "rounds": 1}  # most answers are cut off, and so rejected
    options = {"model": f"{provider.name}/any", **short, **options}

    async def asked() -> Result[Any]:
        async with Client(router=Router(rows=[provider])) as client:
            if not stream:
                return await client.ask(prompt, **options)
            async with client.ask_stream(prompt, **options) as live:
                pieces = [piece async for piece in live]
            assert "".join(pieces) == live.result.text
            assert len(pieces) > 3
            return live.result

    return asyncio.run(asked())


@every_dialect
def test_a_plain_answer_comes_whole_and_counted(address: str, dialect: DialectName) -> None:
    result = ask(row(dialect, address), HI, system="Be brief.")
    assert result.text
    assert result.response.id
    assert result.response.model.endswith(".gguf")
    assert result.usage.input_tokens
    assert result.usage.output_tokens == 8
    assert len(result.trace.attempts) == 1


@every_dialect
def test_a_streamed_answer_is_the_plain_one_in_pieces(address: str, dialect: DialectName) -> None:
    plain, streamed = (ask(row(dialect, address), HI, stream=stream) for stream in (False, True))
    assert streamed.response.parts == plain.response.parts
    assert streamed.response.finish_reason == plain.response.finish_reason
    assert streamed.usage == plain.usage


@streamed_or_not
@every_dialect
def test_an_answer_of_a_given_form_fits_it(address: str, dialect: DialectName, stream: bool) -> None:
    result = ask(row(dialect, address), ALICE, schema=PERSON, max_tokens=60, stream=stream)
    assert result.value == {"name": "Alice", "age": 34}


@streamed_or_not
def test_the_chat_dialect_binds_the_answer_to_its_schema_whatever_is_asked(address: str, stream: bool) -> None:
    result = ask(row("openai_chat", address, Profile()), HI, schema=PERSON, max_tokens=60, stream=stream)
    assert result.unwrap().keys() == {"name", "age"}
    assert result.response.notices == ()


def test_the_responses_dialect_binds_it_by_the_server_s_own_option(address: str) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON}}
    provider = row("openai_responses", address)

    async def asked() -> Result[Any]:
        async with Client(router=Router(rows=[provider])) as client:
            plan = client.plan(HI, model="openai_responses/any", max_tokens=60, temperature=0.0)
            request = msgspec.structs.replace(plan.request, provider_options={"response_format": form})
            return await client.execute(msgspec.structs.replace(plan, request=request))

    assert msgspec.json.decode(asyncio.run(asked()).text).keys() == {"name", "age"}


@streamed_or_not
@every_dialect
def test_a_conversation_goes_on_with_the_answers_that_came(address: str, dialect: DialectName, stream: bool) -> None:
    provider = row(dialect, address)
    said: tuple[Message, ...] = (message("system", "Be brief."), message("user", HI))
    counts = []
    for _ in range(3):
        result = ask(provider, said, stream=stream)
        assert result.text
        assert result.usage.input_tokens is not None
        counts.append(result.usage.input_tokens)
        said = (*said, Message(role="assistant", parts=result.response.parts), message("user", "And again?"))
    assert counts[0] < counts[1] < counts[2]


@every_dialect
def test_tools_their_calls_and_their_results_are_taken(address: str, dialect: DialectName) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 2, "b": 2}'}}
    tool = {"name": "add", "description": "Adds.", "parameters": {"type": "object", "properties": {}}}
    config = {
        "model": f"{dialect}/any",
        "max_tokens": 8,
        "temperature": 0,
        "rounds": 1,
        "tools": [{"type": "function", "function": tool}],
        "messages": [
            {"role": "user", "content": "2+2?"},
            {"role": "assistant", "content": "Let me see.", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "4"},
        ],
    }

    async def asked() -> Result[Any]:
        async with Client(router=Router(rows=[row(dialect, address)])) as client:
            return await client.call(config)

    result = asyncio.run(asked())
    assert result.usage.output_tokens
    assert result.response.notices == ()


@streamed_or_not
@every_dialect
def test_a_prompt_that_is_too_long_is_told_apart(address: str, dialect: DialectName, stream: bool) -> None:
    with pytest.raises(ContextWindowExceededError) as caught:
        ask(row(dialect, address), "word " * 600, stream=stream)
    assert caught.value.trace is not None
    assert len(caught.value.trace.attempts) == 1


def test_any_server_of_the_chat_dialect_is_reached_by_its_address_alone(address: str) -> None:
    async def asked() -> Result[Any]:
        async with Client() as client:
            return await client.ask(HI, model="any", api_base=address, max_tokens=8, rounds=1)

    assert asyncio.run(asked()).text
