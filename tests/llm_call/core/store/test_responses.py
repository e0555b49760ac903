import asyncio
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from hypothesis import given

from llm_call.core.client import Client
from llm_call.core.domain.errors import ConfigError
from llm_call.core.domain.messages import Text
from llm_call.core.domain.response import Response
from llm_call.core.router import Router
from llm_call.core.store.responses import SQLiteCache
from llm_call.testing import strategies
from llm_call.testing.scripted import ScriptedTransport, chat_reply

HELLO = Response(model="m", parts=(Text(text="hello"),))


@given(strategies.any_responses())
def test_every_response_comes_back_as_it_was_kept(response: Response) -> None:
    async def use(path: Path) -> Response | None:
        await SQLiteCache(path).put("k", response)
        return await SQLiteCache(path).get("k")

    with tempfile.TemporaryDirectory() as folder:
        assert asyncio.run(use(Path(folder) / "r.db")) == response


def test_nothing_is_made_by_reading(tmp_path: Path) -> None:
    assert asyncio.run(SQLiteCache(tmp_path / "r.db").get("k")) is None
    assert not list(tmp_path.iterdir())


def test_the_oldest_make_room(tmp_path: Path) -> None:
    now = [0.0]
    cache = SQLiteCache(tmp_path / "r.db", max_bytes=2 * len(msgspec.json.encode(HELLO)), now=lambda: now[0])

    async def use() -> list[bool]:
        for key in "abc":
            now[0] += 1
            await cache.put(key, HELLO)
        return [await cache.get(key) is not None for key in "abc"]

    assert asyncio.run(use()) == [False, True, True]


def test_an_answer_outlasts_its_client(tmp_path: Path) -> None:
    def once(text: str) -> str:
        transport = ScriptedTransport(chat_reply(text))
        router = Router(credentials={"OPENAI_API_KEY": "sk-secret"})
        ours = Client(router=router, transports={"http": lambda: transport}, cache=SQLiteCache(tmp_path / "r.db"))
        return str(ours.ask_sync("hi", cache_key="k").value)

    assert [once("one"), once("two")] == ["one", "one"]


def test_a_file_that_is_no_database_is_left_alone_and_a_notice(tmp_path: Path) -> None:
    path = tmp_path / "r.db"
    path.write_bytes(b"my own notes, of more than a hundred bytes" * 10)
    with pytest.raises(ConfigError, match="cannot be read"):
        asyncio.run(SQLiteCache(path).put("k", HELLO))
    transport = ScriptedTransport(chat_reply("one"))
    router = Router(credentials={"OPENAI_API_KEY": "sk-secret"})
    ours = Client(router=router, transports={"http": lambda: transport}, cache=SQLiteCache(path))
    assert "cannot be read" in ours.ask_sync("hi", cache_key="k").response.notices[0].message
    assert path.read_bytes().startswith(b"my own notes")


def test_a_kept_answer_that_cannot_be_read_is_an_error_of_the_cache(tmp_path: Path) -> None:
    cache = SQLiteCache(tmp_path / "r.db")
    asyncio.run(cache.put("k", HELLO))
    with closing(sqlite3.connect(tmp_path / "r.db")) as connection, connection:
        connection.execute("UPDATE response SET body = '{'")
    with pytest.raises(Exception, match="truncated"):
        asyncio.run(cache.get("k"))
