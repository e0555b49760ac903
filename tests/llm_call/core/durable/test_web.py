"""The faces that need no Python: links, webhooks, files."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode, urlsplit
from urllib.request import Request, urlopen

import msgspec
import pytest

from llm_call.core.durable.inbox import collect
from llm_call.core.durable.notice import is_good, token
from llm_call.core.durable.web import Pages
from llm_call.testing.scripted import chat_reply
from llm_call.testing.servers import FaultServer, respond

Make = Callable[..., Any]
ASKED = {
    "model": "openai/gpt-4o",
    "question": "How old is <Ann>?",
    "schema": {"type": "object", "required": ["age"], "properties": {"age": {"type": "integer"}}},
    "ladder": ["human"],
}


def fetch(url: str, **fields: str) -> tuple[int, str, Any]:
    body = urlencode(fields).encode() if fields else None
    try:
        with urlopen(Request(url, data=body), timeout=10) as reply:  # noqa: S310  (our own page)
            return reply.status, reply.read().decode(), reply.headers
    except HTTPError as error:
        with error:
            return error.code, error.read().decode(), error.headers


def test_a_link_shows_the_review_and_is_good_for_one_decision(office: Make) -> None:
    with FaultServer([respond(b"{}")]) as receiver:
        ours = office(chat_reply("<script>old</script>"), webhooks=(f"{receiver.url}/hook",), port=0)

        async def work() -> list[Any]:
            try:
                first = await ours.client.call(ASKED)
                notice = msgspec.json.decode(receiver.requests[0].body)
                async with Pages(ours.desk) as pages:
                    link = pages.url + "?".join(urlsplit(notice["link"])[2:4:1])
                    steps = [
                        await asyncio.to_thread(fetch, link),
                        await asyncio.to_thread(fetch, link),
                        await asyncio.to_thread(fetch, link, action="edit", value="none"),
                        await asyncio.to_thread(fetch, link[:-1] + "x", action="reject"),
                        await asyncio.to_thread(fetch, link, action="edit", value='{"age": 7}', by="ann"),
                        await asyncio.to_thread(fetch, link, action="reject"),
                        await asyncio.to_thread(fetch, link),
                        await asyncio.to_thread(fetch, f"{pages.url}/review/rffff?token=1"),
                    ]
                return [*steps, await ours.client.wait(first, timeout=5)]
            finally:
                await ours.client.close()

        *steps, result = asyncio.run(work())
    assert [status for status, _, _ in steps] == [200, 200, 422, 403, 200, 403, 403, 403]
    page, headers = steps[0][1], steps[0][2]
    assert "&lt;script&gt;old" in page
    assert "<script" not in page
    assert "&lt;Ann&gt;" in page
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "This could not be applied" in steps[2][1]
    assert (result.ok, result.value) == (True, {"age": 7})


def test_a_token_is_bound_to_the_review_the_level_the_turn_and_the_time() -> None:
    what = {"review": "r1", "level": 0, "turn": 0}
    made = token("secret", **what, expires=1000.0)  # type: ignore[arg-type]
    assert is_good(made, "secret", **what, now=999.0)  # type: ignore[arg-type]
    assert not is_good(made, "secret", **what, now=1000.0)  # type: ignore[arg-type]
    assert not is_good(made, "other", **what, now=999.0)  # type: ignore[arg-type]
    for changed in ({"review": "r2"}, {"level": 1}, {"turn": 1}):
        assert not is_good(made, "secret", **{**what, **changed}, now=999.0)  # type: ignore[arg-type]
    assert not is_good(made.replace("1000", "2000"), "secret", **what, now=999.0)  # type: ignore[arg-type]
    for bad in ("", "-", "x-y", "²-y", "9" * 400 + "-y"):
        assert not is_good(bad, "secret", **what, now=999.0)  # type: ignore[arg-type]


def test_a_dropped_file_decides_and_a_bad_one_is_set_aside(office: Make, tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    ours = office(chat_reply("old"), inbox=str(inbox))

    async def work() -> Any:
        try:
            first = await ours.client.call(ASKED)
            (inbox / f"{first.pending.id}.json").write_text('{"action": "edit", "value": {"age": "x"}}')
            (inbox / "r0.json").write_text('{"action": "approve"}')
            (inbox / "broken.json").write_text("{")
            await collect(ours.desk)
            refused = (inbox / f"{first.pending.id}.error.txt").read_text()
            (inbox / f"{first.pending.id}.json").write_text('{"action": "edit", "value": {"age": 7}, "by": "ann"}')
            await collect(ours.desk)
            return refused, await ours.client.wait(first, timeout=5)
        finally:
            await ours.client.close()

    refused, result = asyncio.run(work())
    assert "integer" in refused
    assert result.value == {"age": 7}
    kept = {path.name for path in inbox.rglob("*") if path.is_file()}
    assert {"r0.json.refused", "r0.error.txt", "broken.json.refused", "broken.error.txt"} <= kept
    assert any(path.parent.name == "done" for path in inbox.rglob("*.json"))


@pytest.mark.parametrize("path", ["/", "/review/", "/review/../secret", "/review/r1%0d%0a", "/other"])
def test_there_is_nothing_else_to_see(office: Make, path: str) -> None:
    ours = office(chat_reply("old"), port=0)

    async def work() -> int:
        try:
            async with Pages(ours.client.durable()) as pages:
                return (await asyncio.to_thread(fetch, pages.url + path))[0]
        finally:
            await ours.client.close()

    assert asyncio.run(work()) == 403
