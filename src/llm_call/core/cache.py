"""The response cache: answers that were accepted once, for calls that ask for one by a `cache_key`.

The rules:

- The key is a digest of the whole question: the request, the targets, the checks, the caller's `cache_key`. It holds
  no header, so that no credential is in it, and a new key asks the cache as the old one did.
- Only an accepted answer of a complete call is kept. A hit is judged again, so that a check that has changed cannot
  let an old answer pass; one that is rejected is a miss.
- A cache that fails, or takes its time, is no reason for a call to fail: the response has a notice, and the cache is left alone.

Two equal calls at the same time both ask the model: nobody waits for another's answer, which may never come.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any, Protocol

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from llm_call.core.domain.request import Request
from llm_call.core.domain.response import Notice, Response
from llm_call.core.domain.result import Result
from llm_call.core.providers.registry import Target
from llm_call.core.validation.base import Validator

_PATIENCE = 2.0  # seconds: a cache that takes longer is slower than many a model
_FORMAT = 1  # in every key: what an older version kept under another meaning is not found


class ResponseCache(Protocol):
    """Keeps responses by key. Safe for many calls at once. What it raises becomes a notice on the call's response."""

    async def get(self, key: str) -> Response | None:
        """What was kept under `key`, if it still is."""

    async def put(self, key: str, response: Response) -> None:
        """Keep `response` under `key`, in the place of what was there."""


class MemoryCache:
    """A `ResponseCache` in this process: the `entries` that were used last, each for at most `seconds`."""

    def __init__(
        self, *, entries: int = 1000, seconds: float = 3600.0, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit = entries
        self._seconds = seconds
        self._now = now
        self._kept: OrderedDict[str, tuple[float, Response]] = OrderedDict()

    async def get(self, key: str) -> Response | None:
        """What was kept under `key`, if it still is."""
        until, response = self._kept.get(key, (0.0, None))
        if response is None or until <= self._now():
            self._kept.pop(key, None)
            return None
        self._kept.move_to_end(key)
        return response

    async def put(self, key: str, response: Response) -> None:
        """Keep `response` under `key`; what was used longest ago makes room."""
        self._kept[key] = (self._now() + self._seconds, response)
        self._kept.move_to_end(key)
        while len(self._kept) > self._limit:
            self._kept.popitem(last=False)


class Caching(Struct, frozen=True, kw_only=True):
    """A call's wish for the cache. `name` is the caller's `cache_key`; `refresh` asks anew and keeps the new answer."""

    cache: ResponseCache
    name: str
    refresh: bool = False


class CacheSlot:
    """The place in a cache that belongs to one call."""

    def __init__(self, caching: Caching, key: str) -> None:
        self._cache = caching.cache
        self._refresh = caching.refresh
        self._key = key
        self._notice: Notice | None = None

    async def read(self) -> Response | None:
        """The answer that was kept, unless a new one is asked for."""
        if self._refresh:
            return None
        try:
            async with asyncio.timeout(_PATIENCE):
                return await self._cache.get(self._key)
        except Exception as error:  # noqa: BLE001  (whatever it is, the model can still be asked)
            self._fail(error)
            return None

    async def keep(self, result: Result[Any]) -> Result[Any]:
        """`result`, kept when it was accepted, and with a notice when the cache has failed."""
        if result.ok and self._notice is None:
            try:
                async with asyncio.timeout(_PATIENCE):
                    await self._cache.put(self._key, result.response)
            except Exception as error:  # noqa: BLE001  (whatever it is, the answer is there)
                self._fail(error)
        if self._notice is None:
            return result
        return replace(result, response=replace(result.response, notices=(*result.response.notices, self._notice)))

    def _fail(self, error: Exception) -> None:
        message = f"the response cache failed: {type(error).__name__}: {error}"
        self._notice = Notice(field="cache_key", fate="dropped", message=message)


def slot_of(
    caching: Caching | None,
    *,
    request: Request,
    targets: Sequence[Target],
    validators: Sequence[Validator],
    strict: bool,
) -> CacheSlot | None:
    """The slot of a call that asks for one."""
    if caching is None:
        return None
    checks = [_check(validator) for validator in validators]
    return CacheSlot(caching, _digest([_FORMAT, caching.name, request, sorted(map(_place, targets)), checks, strict]))


def _digest(question: Any) -> str:
    return sha256(msgspec.json.encode(question, order="sorted", enc_hook=_type_name)).hexdigest()


def _place(target: Target) -> tuple[str, ...]:
    return (target.name, target.model, target.endpoint.base_url, target.codec.name)


def _check(validator: Validator) -> tuple[str, str, Any]:
    """What is known of a validator: all of one that is data, the name alone of any other; a hit is judged again."""
    return (_type_name(validator), validator.name, validator if isinstance(validator, Struct) else None)


def _type_name(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"
