"""The options `--cassette`, `--record` and `--replay`, which several commands share."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llm_call.cli.output import say
from llm_call.core.api import default_settings
from llm_call.core.client import Client
from llm_call.core.domain.errors import ConfigError
from llm_call.core.transport.cassette import Mode
from llm_call.testing.cassettes import cassette


class Tape:
    """What the options say: which file, and whether it is written anew or nothing is sent.

    Raises:
        ConfigError: The options do not go together.
    """

    def __init__(self, path: Path | None, *, record: bool, replay: bool) -> None:
        self._path = path
        self._mode = _mode(path, record=record, replay=replay)

    @contextmanager
    def around(self, client: Client) -> Iterator[None]:
        """Inside, the calls of `client` go through the cassette; without one, their own way.

        Raises:
            ConfigError: The file cannot be used.
        """
        if self._path is None:
            yield
            return
        with cassette(self._path, self._mode, client=client, secrets=default_settings().credentials.at_hand()) as tape:
            yield
            if self._mode == "require" and (unused := tape.unused()):
                say(f"{self._path}: {len(unused)} of its recordings were not used")


def _mode(path: Path | None, *, record: bool, replay: bool) -> Mode:
    if path is None and (record or replay):
        raise ConfigError("--record and --replay need --cassette", hint="Say which file: --cassette FILE.")
    if record and replay:
        raise ConfigError("--record and --replay exclude each other", hint="Without both, what is missing is recorded.")
    if record:
        return "record"
    return "require" if replay else "auto"
