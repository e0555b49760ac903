"""The file of conversations: what goes in comes out, one exchange at a time, whoever writes."""

import itertools
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_call.core.domain.errors import ConfigError, ConversationError
from llm_call.core.domain.messages import Message, message
from llm_call.core.store.conversations import ConversationStore
from llm_call.testing import strategies

EXCHANGE = (message("user", "hi"), message("assistant", "hello"))


def store(folder: Path) -> ConversationStore:
    return ConversationStore(folder / "c.db")


def add(ours: ConversationStore, name: str, *, after: int) -> None:
    ours.append(name, EXCHANGE, after=after, model="m", system=None)


@given(st.lists(strategies.messages("openai_chat"), max_size=4).map(tuple), st.none() | strategies.texts())
def test_every_message_comes_back_as_it_was_kept(messages: tuple[Message, ...], system: str | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ours = store(Path(folder))
        ours.append("a", messages, after=0, model="m", system=system)
        ours.keep_draft("a", messages, system=system)
        stored = store(Path(folder)).existing("a")
        assert (stored.exchanges, stored.draft, stored.system, stored.model) == ((messages,), messages, system, "m")


def test_the_list_begins_with_what_was_used_last(tmp_path: Path) -> None:
    ticks = itertools.count(1.0)
    ours = ConversationStore(tmp_path / "c.db", now=lambda: next(ticks))
    add(ours, "a", after=0)
    add(ours, "b", after=0)
    add(ours, "a", after=1)
    assert [(each.id, each.turns, each.title, each.model) for each in ours.summaries()] == [
        ("a", 2, "hi", "m"),
        ("b", 1, "hi", "m"),
    ]
    assert ours.summaries()[0].created < ours.summaries()[1].created < ours.summaries()[0].updated


def test_a_long_title_is_cut(tmp_path: Path) -> None:
    ours = store(tmp_path)
    ours.keep_draft("a", (message("user", "word\n" * 50),), system=None)
    assert len(ours.summaries()[0].title) == 60
    assert "\n" not in ours.summaries()[0].title


def test_an_exchange_that_follows_another_history_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    ours = store(tmp_path)
    add(ours, "a", after=0)
    before = ours.summaries()
    for wrong in (0, 2):
        with pytest.raises(ConversationError, match="continued elsewhere"):
            add(ours, "a", after=wrong)
    with pytest.raises(ConversationError):
        ours.check("a", after=0)
    assert len(ours.existing("a").exchanges) == 1
    assert ours.summaries() == before


def test_what_is_deleted_is_gone_with_its_exchanges(tmp_path: Path) -> None:
    ours = store(tmp_path)
    add(ours, "a", after=0)
    ours.delete("a")
    ours.delete("never")
    assert ours.load("a") is None
    with closing(sqlite3.connect(tmp_path / "c.db")) as connection:
        assert connection.execute("SELECT count(*) FROM exchange").fetchone() == (0,)


def test_an_unknown_conversation_is_refused_with_near_names(tmp_path: Path) -> None:
    ours = store(tmp_path)
    with pytest.raises(ConfigError, match="no conversation"):
        ours.existing("abcd")
    add(ours, "abce", after=0)
    with pytest.raises(ConfigError) as caught:
        ours.existing("abcd")
    assert "Did you mean abce" in caught.value.hint


def test_the_files_and_their_new_folder_are_the_owners_alone(tmp_path: Path) -> None:
    ours = store(tmp_path / "state")
    add(ours, "a", after=0)
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    with closing(sqlite3.connect(tmp_path / "state/c.db")) as connection:
        connection.execute("BEGIN IMMEDIATE")  # so that the files beside it are there
        for file in (tmp_path / "state").iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


def overwritten(path: Path) -> None:
    path.write_bytes(b"my own notes, of more than a hundred bytes" * 10)


def torn(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def of_something_else(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE mine (a)")


def of_another_kind(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA application_id = 7")


def newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")


@pytest.mark.parametrize("spoil", [overwritten, torn, of_something_else, of_another_kind, newer])
def test_a_file_that_is_not_ours_is_a_clear_error_and_left_as_it_is(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    path = tmp_path / "c.db"
    add(store(tmp_path), "a", after=0)
    spoil(path)
    before = path.read_bytes()
    uses: list[Callable[[ConversationStore], object]] = [
        lambda ours: ours.load("a"),
        lambda ours: add(ours, "a", after=1),
    ]
    for use in uses:
        with pytest.raises(ConfigError) as caught:
            use(store(tmp_path))
        assert str(path) in str(caught.value)
        assert caught.value.hint
    assert path.read_bytes() == before


def test_a_message_that_cannot_be_read_is_a_clear_error(tmp_path: Path) -> None:
    add(store(tmp_path), "a", after=0)
    with closing(sqlite3.connect(tmp_path / "c.db")) as connection, connection:
        connection.execute("UPDATE exchange SET messages = '[{}]'")
    with pytest.raises(ConfigError, match="cannot be read"):
        store(tmp_path).load("a")


@pytest.mark.parametrize("what", ["a folder", "inside a file"])
def test_a_path_that_cannot_be_written_is_a_clear_error(tmp_path: Path, what: str) -> None:
    (tmp_path / "file").touch()
    path = tmp_path if what == "a folder" else tmp_path / "file" / "c.db"
    with pytest.raises(ConfigError) as caught:
        add(ConversationStore(path), "a", after=0)
    assert caught.value.hint


WRITER = """
import sys
from llm_call.core.domain.errors import ConversationError
from llm_call.core.domain.messages import message
from llm_call.core.store.conversations import ConversationStore

path, name = sys.argv[1:]
ours = ConversationStore(path)
for number in range(15):
    ours.append(name, (message("user", f"{name} {number}"),), after=number, model="m", system=None)
    stored = ours.load("shared")
    pair = (message("user", name), message("assistant", name))
    try:
        ours.append("shared", pair, after=len(stored.exchanges) if stored else 0, model="m", system=None)
    except ConversationError:
        pass
"""


def test_processes_that_write_at_once_lose_nothing_and_mix_nothing(tmp_path: Path) -> None:
    names = ("a", "b", "c")
    command = [sys.executable, "-c", WRITER, str(tmp_path / "c.db")]
    writers = [subprocess.Popen([*command, name], stderr=subprocess.PIPE) for name in names]
    for writer in writers:
        said = writer.communicate(timeout=60)[1]
        assert writer.returncode == 0, said.decode()
    ours = store(tmp_path)
    for name in names:
        assert [each[0].text for each in ours.existing(name).exchanges] == [f"{name} {n}" for n in range(15)]
    shared = ours.existing("shared").exchanges
    assert len(shared) >= 15
    assert all(said.text == answered.text for said, answered in shared)
