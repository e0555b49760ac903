"""The commands over a client with a script."""

from collections.abc import Callable
from typing import NamedTuple

import pytest
from typer.testing import CliRunner, Result

from llm_call.cli.main import app
from llm_call.core import api
from llm_call.core.client import Client
from llm_call.core.router import Router
from llm_call.testing.scripted import ScriptedTransport, Step


class Shell(NamedTuple):
    """`shell(...)` runs `llm-call ...`."""

    transport: ScriptedTransport
    run: Callable[..., Result]

    def __call__(self, *words: str, input: str | None = None) -> Result:  # noqa: A002  (the runner's word)
        return self.run(app, list(words), input=input)


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Shell]:
    def make(*steps: Step) -> Shell:
        transport = ScriptedTransport(*steps)
        router = Router(credentials={"OPENAI_API_KEY": "sk-secret"})
        monkeypatch.setattr(api, "_client", Client(router=router, transports={"http": lambda: transport}))
        return Shell(transport, CliRunner().invoke)

    return make
