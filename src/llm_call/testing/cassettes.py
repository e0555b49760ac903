"""Calls through a cassette, for tests: real answers, recorded once and replayed since.

def test_it(client):
    with cassette("tests/hello.jsonl", client=client):
        assert client.ask_sync("Say hello.").ok
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from llm_call.core.api import default_client
from llm_call.core.client import Client
from llm_call.core.transport.base import Clock
from llm_call.core.transport.cassette import Cassette, Mode
from llm_call.core.transport.replay import ReplayTransport


@contextmanager
def cassette(
    path: str | Path,
    mode: Mode = "auto",
    *,
    client: Client | None = None,
    secrets: Iterable[str] = (),
    realtime: bool = False,
    clock: Clock | None = None,
) -> Iterator[Cassette]:
    """Inside, every call of `client` (by default that of `llm_call.ask`) goes through the cassette at `path`.

    `secrets` are hidden beside the credentials that the calls carry. `realtime` replays streams in their own time.

    Raises:
        ConfigError: The file is needed and not there, or is no cassette.
    """
    tape = Cassette(path, mode, secrets=secrets)
    with (client or default_client()).through(
        lambda transport: ReplayTransport(transport, tape, realtime=realtime, clock=clock)
    ):
        yield tape
