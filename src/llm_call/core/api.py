"""The functions that most users need, on one client made from the user's own settings."""

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Unpack

from llm_call.core.client import Client
from llm_call.core.config import Settings, build_client, load
from llm_call.core.conversation import Conversation
from llm_call.core.domain.embedding import Embeddings
from llm_call.core.domain.messages import Message
from llm_call.core.domain.result import Result
from llm_call.core.live import LiveAnswer
from llm_call.core.options import AskOptions, EmbedOptions
from llm_call.core.portal import run_sync
from llm_call.core.store.conversations import ConversationStore, ConversationSummary

_client: Client | None = None
_settings: Settings | None = None
_load: Callable[[], Settings] = load
_lock = threading.RLock()


def load_with(load_settings: Callable[[], Settings]) -> None:
    """Have the settings, and the client made from them, come from `load_settings` from now on."""
    global _client, _settings, _load
    with _lock:
        _client, _settings, _load = None, None, load_settings


def default_settings() -> Settings:
    """The settings of the default client, read on first use.

    Raises:
        ConfigError: A setting is wrong.
    """
    global _settings  # noqa: PLW0603  (one for the process)
    with _lock:
        if _settings is None:
            _settings = _load()
    return _settings


def default_client() -> Client:
    """The client that the functions here use, made on first use from the user's settings.

    Raises:
        ConfigError: A setting is wrong.
    """
    global _client  # noqa: PLW0603  (one for the process)
    with _lock:
        if _client is None:
            _client = build_client(default_settings())
    return _client


async def ask(prompt: str | Sequence[Message], **options: Unpack[AskOptions]) -> Result[Any]:
    """The model's answer to `prompt`, checked; `AskOptions` lists what else can be said.

    A rejected answer is a result whose `ok` is false; `.unwrap()` gives the value or raises.

    Raises:
        ConfigError: An argument is wrong; nothing was sent.
        LLMCallError: There is no answer; the error's trace tells what was tried.
    """
    return await default_client().ask(prompt, **options)


def ask_sync(prompt: str | Sequence[Message], **options: Unpack[AskOptions]) -> Result[Any]:
    """`ask` for synchronous code; also from inside a running event loop, which it blocks."""
    return run_sync(ask(prompt, **options))


def ask_stream(
    prompt: str | Sequence[Message], **options: Unpack[AskOptions]
) -> AbstractAsyncContextManager[LiveAnswer]:
    """The answer as it arrives.

    async with ask_stream("...") as answer:
        async for text in answer: ...
    answer.result
    """
    return default_client().ask_stream(prompt, **options)


async def call(config: Mapping[str, Any]) -> Result[Any]:
    """What the call that `config` (the `llm_config` dictionary of a case) describes comes to.

    Raises:
        ConfigError: A key or a value is wrong; nothing was sent.
        LLMCallError: There is no answer; the error's trace tells what was tried.
    """
    return await default_client().call(config)


def call_sync(config: Mapping[str, Any]) -> Result[Any]:
    """`call` for synchronous code; also from inside a running event loop, which it blocks."""
    return run_sync(call(config))


async def submit(
    what: str | Sequence[Message] | Mapping[str, Any], *, key: str | None = None, **options: Unpack[AskOptions]
) -> str:
    """Begin a durable call, a prompt or an `llm_config` dictionary, and return its id for `resume`.

    It goes on, from any process, where this one ends. The same `key` again is the same call. No API key is stored.

    Raises:
        ConfigError: An argument is wrong or cannot be stored; nothing was sent.
    """
    return await default_client().submit(what, key=key, **options)


async def resume(what: Result[Any] | str, timeout: float | None = None) -> Result[Any]:  # noqa: ASYNC109  (its own word)
    """What a durable call, or one that a person is asked about, comes to: by its id or its pending result.

    What a process that has ended had begun is carried on. `timeout` is in seconds.

    Raises:
        DeadlineExceededError: It has come to nothing in that time. Nothing is lost: resume it again.
        CallAbortedError: A person has ended the call.
        LLMCallError: The call has ended with it.
    """
    return await default_client().wait(what, timeout)


async def embed(
    texts: str | Sequence[str], *, dimensions: int | None = None, **options: Unpack[EmbedOptions]
) -> Result[Embeddings]:
    """The vectors of `texts`, in their order: `result.value.vectors`.

    `dimensions` is their length, where the model lets it be chosen.

    Raises:
        ConfigError: An argument is wrong; nothing was sent.
        UnsupportedError: The model's dialect has no embeddings.
        LLMCallError: There is no answer; the error's trace tells what was tried.
    """
    return await default_client().embed(texts, dimensions=dimensions, **options)


def embed_sync(
    texts: str | Sequence[str], *, dimensions: int | None = None, **options: Unpack[EmbedOptions]
) -> Result[Embeddings]:
    """`embed` for synchronous code; also from inside a running event loop, which it blocks."""
    return run_sync(embed(texts, dimensions=dimensions, **options))


def chat(
    id: str | None = None,  # noqa: A002  (the word for it)
    *,
    model: str | None = None,
    system: str | None = None,
    store: str | Path | None = None,
) -> Conversation:
    """A new conversation, or the one with this `id`; `store` is its file, by default one in the user's state folder.

    Raises:
        ConfigError: There is no such conversation, or the file cannot be used.
    """
    return Conversation(default_client(), _store(store), id=id, model=model, system=system)


def conversations(store: str | Path | None = None) -> tuple[ConversationSummary, ...]:
    """The conversations in the file `store`, by default in that of `chat`, the one that was used last first.

    Raises:
        ConfigError: The file cannot be used.
    """
    return _store(store).summaries()


def _store(path: str | Path | None) -> ConversationStore:
    return ConversationStore(default_settings().state / "conversations.db" if path is None else path)
