from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from llm_call.core.client import Client
from llm_call.core.domain.errors import AttemptTimeoutError, ConfigError, NotFoundError, ProtocolError, UnsupportedError
from llm_call.core.domain.messages import message
from llm_call.core.hooks import CallScope
from llm_call.core.router import Router
from llm_call.testing.scripted import ScriptedReply, ScriptedTransport, Step, error_reply


def answer(*vectors: list[float], **more: Any) -> ScriptedReply:
    data = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(vectors)]
    body = {"object": "list", "data": data, "model": "embedder", "usage": {"prompt_tokens": 5, "total_tokens": 5}}
    return ScriptedReply(pieces=(msgspec.json.encode({**body, **more}),))


def client(*steps: Step) -> tuple[Client, ScriptedTransport]:
    transport = ScriptedTransport(*steps)
    keys = {"OPENAI_API_KEY": "k", "ANTHROPIC_API_KEY": "k"}
    return Client(router=Router(credentials=keys), transports={"http": lambda: transport}), transport


def test_texts_become_vectors_in_their_order_with_their_usage() -> None:
    ours, transport = client(answer([0.5, 1.0], [2.0, 3.0]))
    result = ours.embed_sync(["a", "b"], model="openai/text-embedding-3-small", dimensions=2)
    assert result.value is not None
    assert result.value.vectors == ((0.5, 1.0), (2.0, 3.0))
    assert (result.value.model, result.usage.input_tokens, result.ok) == ("embedder", 5, True)
    assert [attempt.target for attempt in result.trace.attempts] == ["openai/text-embedding-3-small"]
    assert transport.requests[0].path == "/embeddings"
    assert transport.bodies[0]["input"] == ["a", "b"]
    assert transport.bodies[0]["dimensions"] == 2


def test_one_text_is_a_list_of_one() -> None:
    ours, transport = client(answer([1.0]))
    assert ours.embed_sync("a", model="openai/e").unwrap().vectors == ((1.0,),)
    assert transport.bodies[0]["input"] == ["a"]


def test_a_failure_that_passes_is_retried_and_others_are_asked_in_turn() -> None:
    ours, transport = client(error_reply(503), AttemptTimeoutError("silent", stage="first byte"), answer([1.0]))
    steady = {"base_delay": 0, "max_attempts": 2}
    result = ours.embed_sync("a", model="openai/e", fallback_models=("openai/f",), retry=steady)
    assert [attempt.target for attempt in result.trace.attempts] == ["openai/e", "openai/e", "openai/f"]
    assert len(transport.requests) == 3


def test_a_hook_that_replaces_the_request_replaces_the_texts() -> None:
    @contextmanager
    def hide(call: CallScope) -> Iterator[None]:
        call.request = replace(call.request, messages=(message("user", "hidden"),))
        yield

    transport = ScriptedTransport(answer([1.0]))
    router = Router(credentials={"OPENAI_API_KEY": "k"})
    ours = Client(router=router, transports={"http": lambda: transport}, call_hooks=(hide,))
    assert ours.embed_sync("secret", model="openai/e").ok
    assert transport.bodies[0]["input"] == ["hidden"]


@pytest.mark.parametrize("texts", [None, 5, [1], ["a", None], b"bytes"])
def test_what_is_no_text_is_refused_before_anything_is_sent(texts: Any) -> None:
    ours, transport = client(answer([1.0]))
    with pytest.raises(ConfigError):
        ours.embed_sync(texts, model="openai/e")
    assert not transport.requests


def test_an_error_tells_what_was_tried() -> None:
    ours, _ = client(error_reply(404))
    with pytest.raises(NotFoundError) as caught:
        ours.embed_sync("a", model="openai/e")
    assert caught.value.trace is not None
    assert len(caught.value.trace.attempts) == 1


def test_an_answer_with_too_few_vectors_is_none() -> None:
    ours, _ = client(answer([1.0]))
    with pytest.raises(ProtocolError):
        ours.embed_sync(["a", "b"], model="openai/e", retry={"max_attempts": 1})


@pytest.mark.parametrize("model", ["anthropic/claude-x", "local/smollm2-135m"])
def test_a_model_that_makes_none_is_refused_before_anything_is_sent(model: str) -> None:
    ours, transport = client(answer([1.0]))
    with pytest.raises(UnsupportedError):
        ours.embed_sync("a", model=model)
    assert not transport.requests
