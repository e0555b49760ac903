"""Decisions as files: whoever has no browser and no shell here drops `ID.json` into a folder.

A file is a `Decision` as JSON: {"action": "edit", "value": ..., "by": "ann"}. One that was applied moves into `done/`;
one that could not be stays beside a file `ID.error.txt` that says why, as `ID.json.refused`. Nothing is ever deleted.
"""

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import msgspec

from llm_call.core.domain.errors import ConfigError, LLMCallError
from llm_call.core.domain.review import Decision
from llm_call.core.durable.records import Came

_LARGEST = 16 * 1024 * 1024


async def collect(desk: Any) -> list[str]:
    """Take in what lies in the inbox of `desk`. A line for each file.

    Raises:
        ConfigError: There is no inbox.
    """
    if desk.settings.inbox is None:
        raise ConfigError("there is no inbox", hint="Set reviews.inbox to a folder.")
    folder = Path(desk.settings.inbox)
    files = await asyncio.to_thread(lambda: sorted(folder.glob("*.json")))
    return [await _taken(desk, file) for file in files]


async def _taken(desk: Any, file: Path) -> str:
    try:
        body = await asyncio.to_thread(_read, file)
        decision = msgspec.json.decode(body, type=Decision, strict=True)
        key = hashlib.sha256(file.stem.encode() + b"\0" + body).hexdigest()
        came: Came = await desk.decide(file.stem, decision, face="file", key=key)
    except (LLMCallError, msgspec.MsgspecError, OSError) as error:
        return await asyncio.to_thread(_refused, file, str(error))
    if came.what in {"bounced", "late"}:
        return await asyncio.to_thread(_refused, file, "\n".join((*came.objections, came.note)).strip())
    await asyncio.to_thread(_done, file)
    return f"{file.name}: {decision.action} was applied"


def _read(file: Path) -> bytes:
    if file.is_symlink() or file.stat().st_size > _LARGEST:
        raise ConfigError(f"{file.name} is a link, or too large", hint="Drop a plain file.")
    return file.read_bytes()


def _refused(file: Path, why: str) -> str:
    file.with_suffix(".error.txt").write_text(f"{why}\n", encoding="utf-8")
    file.replace(file.with_name(f"{file.name}.refused"))
    return f"{file.name}: refused: {why}"


def _done(file: Path) -> None:
    folder = file.parent / "done"
    folder.mkdir(exist_ok=True)
    file.replace(folder / file.name)
