"""One contestant in a process of its own: `python contestant.py NAME URL [uvloop]`.

It reads counts from standard input, a line each, makes that many calls, 64 at a time, and writes the CPU seconds of one.
The first line that it writes is the version of what it measures. It runs in whichever environment has the library: no
import here but of the standard library and of `harness`, before the name is known.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib import import_module
from importlib.metadata import version
from typing import Any

from harness import Job, cpu

MODEL = "gpt-4o-mini"
KEY = "x"
MESSAGES = [{"role": "user", "content": "hi"}]


@asynccontextmanager
async def ask(url: str) -> AsyncIterator[Job]:
    """A whole call of ours: routing, policies, codec, transport, validation, trace."""
    from llm_call import Client  # noqa: PLC0415  (see above)

    async with Client() as client:
        yield lambda: client.ask("hi", model=f"openai/{MODEL}", api_base=url, api_key=KEY)


@asynccontextmanager
async def transport(url: str) -> AsyncIterator[Job]:
    """Our transport alone, with a body that is written already."""
    from http_client import PLAIN, ours  # noqa: PLC0415  (see above)

    async with ours(url, PLAIN) as job:
        yield job


@asynccontextmanager
async def openai(url: str) -> AsyncIterator[Job]:
    """The vendor's client, one for all calls."""
    client: Any = import_module("openai").AsyncOpenAI(base_url=url, api_key=KEY, max_retries=0)
    yield lambda: client.chat.completions.create(model=MODEL, messages=MESSAGES)
    await client.close()


@asynccontextmanager
async def litellm(url: str) -> AsyncIterator[Job]:
    """The function that its users call; it keeps its client by itself."""
    library: Any = import_module("litellm")
    yield lambda: library.acompletion(
        model=f"openai/{MODEL}", messages=MESSAGES, api_base=url, api_key=KEY, num_retries=0, max_retries=0
    )


@asynccontextmanager
async def any_llm(url: str) -> AsyncIterator[Job]:
    """Its class, one for all calls: its function makes a client for each."""
    client: Any = import_module("any_llm").AnyLLM.create("openai", api_key=KEY, api_base=url)
    yield lambda: client.acompletion(model=MODEL, messages=MESSAGES)


@asynccontextmanager
async def pydantic_ai_direct(url: str) -> AsyncIterator[Job]:
    """A request to a model, without an agent."""
    library: Any = import_module("pydantic_ai.direct")
    request: Any = import_module("pydantic_ai.messages").ModelRequest.user_text_prompt("hi")
    model = _pydantic_model(url)
    yield lambda: library.model_request(model, [request])


@asynccontextmanager
async def pydantic_ai_agent(url: str) -> AsyncIterator[Job]:
    """A run of an agent that answers in text: the nearest thing that it has to a call that is checked."""
    agent: Any = import_module("pydantic_ai").Agent(_pydantic_model(url))
    yield lambda: agent.run("hi")


def _pydantic_model(url: str) -> Any:
    provider = import_module("pydantic_ai.providers.openai").OpenAIProvider(base_url=url, api_key=KEY)
    return import_module("pydantic_ai.models.openai").OpenAIChatModel(MODEL, provider=provider)


Contestant = Callable[[str], AbstractAsyncContextManager[Job]]
CONTESTANTS: dict[str, tuple[Contestant, str]] = {
    "ask": (ask, "llm-call"),
    "transport": (transport, "llm-call"),
    "openai": (openai, "openai"),
    "litellm": (litellm, "litellm"),
    "any-llm": (any_llm, "any-llm-sdk"),
    "pydantic-ai direct": (pydantic_ai_direct, "pydantic-ai-slim"),
    "pydantic-ai Agent": (pydantic_ai_agent, "pydantic-ai-slim"),
}
"""What each is called, how it is called, and the distribution whose version is told."""


async def serve(contestant: Contestant, url: str) -> None:
    """Make calls as the parent says, until it says nothing more."""
    async with contestant(url) as job:
        while line := await asyncio.to_thread(sys.stdin.readline):
            print(await cpu(job, int(line)), flush=True)


def main(name: str, url: str, *loop: str) -> None:
    """Measure `name` against the stub at `url`."""
    contestant, distribution = CONTESTANTS[name]
    print(version(distribution), flush=True)
    factory = import_module("uvloop").new_event_loop if loop else None
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(serve(contestant, url))


if __name__ == "__main__":
    main(*sys.argv[1:])
