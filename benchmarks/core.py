"""The library itself: a routing decision, a retry decision, and a whole `ask` beside the transport it is built on."""

import asyncio
from time import process_time

from harness import Job, Row, compare, upstream
from http_client import PLAIN, ours

from llm_call import Client, Router
from llm_call.core.domain.errors import RateLimitError
from llm_call.core.policy.decision import Failed
from llm_call.core.policy.retry import RetryPolicy

MODEL = "openai/gpt-4o-mini"
ROUNDS = 7


def measure() -> list[Row]:
    """All figures of this file."""
    with upstream() as url:
        whole = asyncio.run(_ask(url))
    return [route(), retry(), whole]


def route() -> Row:
    """One routing decision."""
    router = Router()
    messages = [{"role": "user", "content": "hi"}]

    async def many() -> float:
        started = process_time()
        for _ in range(5000):
            await router.route_request("max/text-general", messages, temperature=0.1)
        return (process_time() - started) / 5000

    return Row("a routing decision", min(asyncio.run(many()) for _ in range(ROUNDS)) * 1e6, "us", note="target 5 us")


def retry() -> Row:
    """One decision after a failure."""
    policy = RetryPolicy()
    failures = [Failed(target=0, error=RateLimitError("slow down", status=429, retry_after=1.0), at=0.0)]

    def many() -> float:
        started = process_time()
        for _ in range(5000):
            policy.decide(failures, onward=1, now=0.0, chance=0.5)
        return (process_time() - started) / 5000

    return Row("a retry decision", min(many() for _ in range(ROUNDS)) * 1e6, "us", note="target 5 us")


async def _ask(url: str) -> Row:
    async with Client() as client, ours(url, PLAIN) as bare:

        async def ask() -> object:
            return await client.ask("hi", model=MODEL, api_base=url, api_key="x")

        jobs: dict[str, Job] = {"ask": ask, "bare": bare}
        taken = await compare(jobs, count=1000)
    note = "64 at a time; target 150 us"
    return Row("a whole ask", taken["ask"] * 1e6, "us", taken["bare"] * 1e6, "its transport alone", note)
