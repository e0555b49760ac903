import asyncio
from pathlib import Path
from typing import Any

import pytest

from llm_call.core import api
from llm_call.core.client import Client
from llm_call.core.conversation import Conversation
from llm_call.core.domain.errors import AuthenticationError, ConfigError, ConversationError, StreamInterruptedError
from llm_call.core.domain.messages import Message, ToolCall, ToolResult, message
from llm_call.core.router import Router
from llm_call.core.store.conversations import ConversationStore
from llm_call.testing.scripted import ScriptedReply, ScriptedTransport, Step, chat_reply, error_reply, stream_reply


class Room:
    """A store, and conversations in it over one script."""

    def __init__(self, folder: Path, *steps: Step) -> None:
        self.transport = ScriptedTransport(*steps)
        self.store = ConversationStore(folder / "c.db")
        router = Router(credentials={"OPENAI_API_KEY": "sk-secret", "ANTHROPIC_API_KEY": "sk-other"})
        self.client = Client(router=router, transports={"http": lambda: self.transport})

    def open(self, id: str | None = None, **options: Any) -> Conversation:  # noqa: A002  (the word for it)
        return Conversation(self.client, self.store, id=id, **options)

    def said(self, request: int = -1) -> list[tuple[str, str]]:
        return [(each["role"], each["content"]) for each in self.transport.bodies[request]["messages"]]


def texts(conversation: Conversation) -> list[str]:
    return [f"{each.role}: {each.text}" for each in conversation.messages]


def test_a_question_is_asked_with_all_that_was_said_before(tmp_path: Path) -> None:
    room = Room(tmp_path, chat_reply("one"), chat_reply("two"))
    ours = room.open(model="openai/gpt-4o", system="Count.")
    assert [ours.ask_sync("first").value, ours.ask_sync("second").value] == ["one", "two"]
    assert room.said() == [("system", "Count."), ("user", "first"), ("assistant", "one"), ("user", "second")]
    assert texts(ours) == ["user: first", "assistant: one", "user: second", "assistant: two"]
    assert (ours.turns, ours.draft) == (2, ())


def test_it_is_continued_later_by_the_model_that_answered_last(tmp_path: Path) -> None:
    room = Room(tmp_path, chat_reply("one"), chat_reply("two"))
    first = room.open(model="openai/gpt-4o", system="Count.")
    first.ask_sync("first")
    second = Room(tmp_path, chat_reply("two")).open(first.id)
    assert (second.messages, second.system, second.model) == (first.messages, "Count.", "openai/gpt-4o")
    second.ask_sync("second")
    assert room.store.existing(first.id).exchanges[1][1].text == "two"


def test_it_is_continued_by_another_model_and_another_system_prompt(tmp_path: Path) -> None:
    room = Room(tmp_path, chat_reply("one"), chat_reply("two"))
    first = room.open(model="openai/gpt-4o", system="Count.")
    first.ask_sync("first")
    second = room.open(first.id, model="openai/gpt-4.1", system="Sing.")
    second.ask_sync("second")
    assert room.transport.bodies[-1]["model"] == "gpt-4.1"
    assert room.said()[0] == ("system", "Sing.")
    third = room.open(first.id)
    assert (third.model, third.system) == ("openai/gpt-4.1", "Sing.")


def test_a_new_conversation_is_kept_from_its_first_exchange_on(tmp_path: Path) -> None:
    room = Room(tmp_path, chat_reply("one"))
    ours = room.open()
    assert room.store.summaries() == ()
    ours.ask_sync("first")
    assert [each.id for each in room.store.summaries()] == [ours.id]


def test_a_failed_question_is_a_draft_and_can_be_asked_again(tmp_path: Path) -> None:
    room = Room(tmp_path, chat_reply("one"), error_reply(401), chat_reply("two"))
    ours = room.open()
    ours.ask_sync("first")
    with pytest.raises(AuthenticationError):
        ours.ask_sync("second")
    assert (ours.turns, [each.text for each in ours.draft]) == (1, ["second"])
    again = room.open(ours.id)
    assert [each.text for each in again.draft] == ["second"]
    again.ask_sync(again.draft)
    assert texts(again)[2:] == ["user: second", "assistant: two"]
    assert room.open(ours.id).draft == again.draft == ()


def test_a_rejected_answer_is_not_kept_but_what_was_said_is(tmp_path: Path) -> None:
    room = Room(tmp_path, chat_reply("no"))
    ours = room.open()
    result = ours.ask_sync("first", validate=[{"type": "contains", "params": {"text": "yes"}}], rounds=1)
    assert (result.ok, ours.messages) == (False, ())
    assert [each.text for each in room.open(ours.id).draft] == ["first"]


def test_a_cancelled_question_is_a_draft(tmp_path: Path) -> None:
    room = Room(tmp_path, chat_reply("late", delay=3600))
    ours = room.open()

    async def leave() -> None:
        task = asyncio.create_task(ours.ask("first"))
        while not room.transport.requests:  # noqa: ASYNC110  (a scripted transport has no event to wait for)
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    asyncio.run(leave())
    assert [each.text for each in room.open(ours.id).draft] == ["first"]


async def read(ours: Conversation, prompt: str) -> list[str]:
    async with ours.ask_stream(prompt) as answer:
        return [piece async for piece in answer]


def test_a_stream_is_kept_when_it_was_read_to_its_end(tmp_path: Path) -> None:
    room = Room(tmp_path, stream_reply(["hel", "lo"]))
    ours = room.open()
    assert asyncio.run(read(ours, "first")) == ["hel", "lo"]
    assert texts(room.open(ours.id)) == ["user: first", "assistant: hello"]


def test_a_stream_that_was_left_or_broke_off_is_a_draft(tmp_path: Path) -> None:
    room = Room(tmp_path, stream_reply(["hel", "lo"]), stream_reply(["hel"], finish_reason=None))
    ours = room.open()

    async def leave() -> None:
        async with ours.ask_stream("first") as answer:
            async for _ in answer:
                break

    asyncio.run(leave())
    assert (ours.turns, [each.text for each in ours.draft]) == (0, ["first"])
    with pytest.raises(StreamInterruptedError):
        asyncio.run(read(ours, "second"))
    assert [each.text for each in room.open(ours.id).draft] == ["second"]


def test_a_question_is_not_sent_where_the_conversation_was_continued_elsewhere(tmp_path: Path) -> None:
    room = Room(tmp_path, chat_reply("one"))
    first = room.open()
    first.ask_sync("first")
    second = room.open(first.id)
    second.ask_sync("second")
    with pytest.raises(ConversationError, match="continued elsewhere") as caught:
        first.ask_sync("third")
    assert caught.value.result is None
    assert len(room.transport.requests) == 2
    assert room.open(first.id).turns == 2


def test_an_answer_that_comes_too_late_is_handed_over_and_not_kept(tmp_path: Path) -> None:
    room = Room(tmp_path, chat_reply("zero"), stream_reply(["one"]), chat_reply("two"))
    first = room.open()
    first.ask_sync("first")
    second = room.open(first.id)

    async def overtaken() -> None:
        async with second.ask_stream("b") as answer:
            await first.ask("a")
            async for _ in answer:
                pass

    with pytest.raises(ConversationError, match="continued elsewhere") as caught:
        asyncio.run(overtaken())
    error = caught.value
    assert error.result.value == "one"
    assert error.trace is error.result.trace
    assert room.open(first.id).turns == 2


def test_one_conversation_waits_for_one_answer_at_a_time(tmp_path: Path) -> None:
    room = Room(tmp_path, chat_reply("one"))
    ours = room.open()

    async def both() -> list[Any]:
        return list(await asyncio.gather(ours.ask("a"), ours.ask("b"), return_exceptions=True))

    answer, refusal = asyncio.run(both())
    assert answer.value == "one"
    assert isinstance(refusal, ConfigError)
    assert (len(room.transport.requests), texts(ours)) == (1, ["user: a", "assistant: one"])
    assert ours.ask_sync("b").ok


def test_an_answer_that_cannot_be_written_is_handed_over(tmp_path: Path) -> None:
    room = Room(tmp_path, chat_reply("one"))
    (tmp_path / "file").touch()
    ours = Conversation(room.client, ConversationStore(tmp_path / "file" / "c.db"))
    with pytest.raises(ConversationError) as caught:
        ours.ask_sync("first")
    assert caught.value.result.value == "one"
    assert [each.text for each in ours.draft] == ["first"]


def test_undo_forgets_the_last_exchange_and_gives_what_was_said(tmp_path: Path) -> None:
    room = Room(tmp_path, chat_reply("one"))
    ours = room.open()
    ours.ask_sync("first")
    ours.ask_sync("second")
    assert [each.text for each in ours.undo()] == ["second"]
    assert texts(room.open(ours.id)) == ["user: first", "assistant: one"]
    ours.undo()
    assert ours.undo() == ()
    ours.ask_sync("third")
    assert room.said() == [("user", "third")]


def test_delete_forgets_it_all(tmp_path: Path) -> None:
    room = Room(tmp_path, chat_reply("one"))
    ours = room.open()
    ours.ask_sync("first")
    ours.delete()
    assert (ours.messages, room.store.summaries()) == ((), ())
    with pytest.raises(ConfigError, match="no conversation"):
        room.open(ours.id)


def test_tool_calls_and_their_results_are_part_of_it(tmp_path: Path) -> None:
    call = b'{"id":"x","object":"chat.completion","model":"m","choices":[{"index":0,"finish_reason":"tool_calls","message":{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{\\"a\\": 1}"}}]}}]}'
    room = Room(
        tmp_path, ScriptedReply(pieces=(call,), headers={"content-type": "application/json"}), chat_reply("one")
    )
    ours = room.open()
    ours.ask_sync("first", default_validate=False)
    assert ours.messages[1].parts == (ToolCall(id="c1", name="f", arguments='{"a": 1}'),)
    result = Message(role="tool", parts=(ToolResult(call_id="c1", parts=message("user", "7").parts),))  # type: ignore[arg-type]  # texts
    room.open(ours.id).ask_sync([result])
    assert [each["role"] for each in room.transport.bodies[-1]["messages"]] == ["user", "assistant", "tool"]
    assert room.open(ours.id).turns == 2


def test_chat_and_conversations_use_the_users_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = Room(tmp_path, chat_reply("one"))
    monkeypatch.setattr(api, "_client", room.client)
    ours = api.chat(model="openai/gpt-4o")
    ours.ask_sync("first")
    assert (tmp_path / "state/llm_call/conversations.db").is_file()
    assert [(each.id, each.title) for each in api.conversations()] == [(ours.id, "first")]
    assert api.chat(ours.id).turns == 1
    assert api.conversations(tmp_path / "other.db") == ()
