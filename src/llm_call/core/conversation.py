"""A conversation: each question is asked with all that was said before, and kept with its answer.

It can be continued later, in another process, and by another model. Only accepted exchanges are kept; what was said
last and got no accepted answer stays as the `draft`, so that it can be asked again: `ask(conversation.draft)`.

Nothing is interleaved: one object waits for one answer at a time, and where the conversation was continued elsewhere
meanwhile, a question is refused before it is sent, or its answer is not kept and handed over in the error.
"""

import asyncio
import secrets
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Unpack

from llm_call.core.client import Client
from llm_call.core.domain.errors import ConfigError, ConversationError, LLMCallError
from llm_call.core.domain.messages import Message, message
from llm_call.core.domain.result import Result
from llm_call.core.live import LiveAnswer
from llm_call.core.options import AskOptions
from llm_call.core.portal import run_sync
from llm_call.core.store.conversations import ConversationStore, Messages, StoredConversation


class Conversation:
    """The conversation `id` in `store`; without an `id` a new one, which is kept from its first exchange on.

    `model` and `system` replace those of the conversation from the next question on; without a `model`, the one that
    answered last is asked, at first the client's default. Opening it, `undo` and `delete` block for some milliseconds.

    Raises:
        ConfigError: There is no conversation `id`, or the store cannot be used.
    """

    def __init__(
        self,
        client: Client,
        store: ConversationStore,
        *,
        id: str | None = None,  # noqa: A002  (the word for it)
        model: str | None = None,
        system: str | None = None,
    ) -> None:
        self._client = client
        self._store = store
        stored = StoredConversation() if id is None else store.existing(id)
        self.id = id or secrets.token_hex(4)
        self.model = model or stored.model
        self.system = stored.system if system is None else system
        self.draft = stored.draft
        self._exchanges = stored.exchanges
        self._turn = threading.Lock()  # held from a question to its end; never waited for

    def __repr__(self) -> str:
        return f"Conversation(id={self.id!r}, model={self.model!r}, turns={self.turns})"

    @property
    def messages(self) -> Messages:
        """All that was said and kept, in order, without the system prompt."""
        return tuple(each for exchange in self._exchanges for each in exchange)

    @property
    def turns(self) -> int:
        """How many exchanges there are."""
        return len(self._exchanges)

    async def ask(self, prompt: str | Sequence[Message], **options: Unpack[AskOptions]) -> Result[Any]:
        """The answer to `prompt`, after all that was said before. A rejected answer is a result whose `ok` is false.

        Raises:
            ConfigError: An argument is wrong, or an answer is under way; nothing was sent.
            ConversationError: The conversation was continued elsewhere meanwhile, or the answer could not be kept.
            LLMCallError: There is no answer; the error's trace tells what was tried.
        """
        async with self._exchange(prompt) as exchange:
            exchange.result = await self._client.ask(exchange.messages, **self._options(options))
        return exchange.result

    def ask_sync(self, prompt: str | Sequence[Message], **options: Unpack[AskOptions]) -> Result[Any]:
        """`ask` for synchronous code; also from inside a running event loop, which it blocks."""
        return run_sync(self.ask(prompt, **options))

    @asynccontextmanager
    async def ask_stream(
        self, prompt: str | Sequence[Message], **options: Unpack[AskOptions]
    ) -> AsyncIterator[LiveAnswer]:
        """The answer as it arrives. It is kept when the context is left, if it was read to its end and accepted.

        Raises:
            ConfigError: An argument is wrong, or an answer is under way; nothing was sent.
            ConversationError: The conversation was continued elsewhere meanwhile, or the answer could not be kept.
            LLMCallError: There is no answer; the error's trace tells what was tried.
        """
        async with self._exchange(prompt) as exchange:
            async with self._client.ask_stream(exchange.messages, **self._options(options)) as answer:
                yield answer
            exchange.result = answer.result if answer.complete else None

    def undo(self) -> Messages:
        """Forget the last exchange and return what was said in it, the answer left out; nothing where there is none.

        Raises:
            ConversationError: The conversation was continued elsewhere.
        """
        if not self._exchanges:
            return ()
        *before, last = self._exchanges
        self._store.drop_last(self.id, after=len(before))
        self._exchanges = tuple(before)
        return last[:-1]

    def delete(self) -> None:
        """Forget the conversation. What was said is gone; the next question would begin it anew."""
        self._store.delete(self.id)
        self._exchanges = self.draft = ()

    def _options(self, options: AskOptions) -> AskOptions:
        return {**options, "model": options.get("model") or self.model, "system": options.get("system") or self.system}

    @asynccontextmanager
    async def _exchange(self, prompt: str | Sequence[Message]) -> AsyncIterator["_Exchange"]:
        if not self._turn.acquire(blocking=False):
            raise ConfigError(f"conversation {self.id} waits for an answer", hint="Ask again when it is there.")
        try:
            said = (message("user", prompt),) if isinstance(prompt, str) else tuple(prompt)
            exchange = _Exchange(self.messages, said)
            self.draft = said
            try:
                await asyncio.to_thread(self._store.check, self.id, after=self.turns)
                yield exchange
            except BaseException:
                with suppress(ConfigError):  # the first error is the one to tell
                    await self._keep_draft()
                raise
            await self._end(exchange)
        finally:
            self._turn.release()

    async def _end(self, exchange: "_Exchange") -> None:
        result = exchange.result
        if result is None or not result.ok:
            await self._keep_draft()
            return
        model = result.trace.model
        kept = (*exchange.said, Message(role="assistant", parts=result.response.parts))
        try:
            await asyncio.to_thread(
                self._store.append, self.id, kept, after=self.turns, model=model, system=self.system
            )
        except LLMCallError as error:
            raise ConversationError(error.message, result=result, hint=error.hint) from error
        self._exchanges += (kept,)
        self.model = model
        self.draft = ()

    async def _keep_draft(self) -> None:
        await asyncio.to_thread(self._store.keep_draft, self.id, self.draft, system=self.system)


class _Exchange:
    """What is asked, after what was said before; and what came of it."""

    def __init__(self, before: Messages, said: Messages) -> None:
        self.said = said
        self.messages = before + said
        self.result: Result[Any] | None = None
