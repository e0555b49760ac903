"""Buckets at work: requests and tokens a minute, and retries; of this process, or of several through a store.

Of a shared rate each process fetches a second's worth at a time, so that not every call makes a round trip. Those that come
while it does so fetch no more than they need: a burst would leave most of the rate lying idle here. What an answer used
more or less than was reserved is settled here and reaches the store with the next fetch, as do the successes that pay for
retries: so no success ever waits for the store.
"""

from llm_call.core.policy.limits import Bucket, Limit, Taken, put_back, take
from llm_call.core.policy.retry_budget import RetryBudget, RetryBudgetPolicy, spend
from llm_call.core.state.common import Common

_EXPIRES = 3600.0
_STALE = 5.0  # seconds after which what was fetched and not used is dropped: it would make the next burst larger


class Rate:
    """So much a minute, in this process."""

    __slots__ = ("_bucket", "_common", "_per_minute")

    def __init__(self, common: Common, per_minute: float) -> None:
        self._common = common
        self._per_minute = per_minute
        self._bucket: Bucket | None = None

    async def take(self, amount: float, patience: float) -> float:
        """Take `amount`: after how many seconds it may be used. More than `patience` means that nothing was taken."""
        with self._common.lock:
            now = self._common.clock.now()
            self._bucket, taken = take(
                self._bucket, self._per_minute, least=amount, most=amount, patience=patience, now=now
            )
        return taken.wait

    def put_back(self, amount: float) -> None:
        """Give back what was taken and not used; a negative amount was used beyond that. Under the lock."""
        if self._bucket is not None:
            self._bucket = put_back(self._bucket, self._per_minute, amount)


class SharedRate:
    """So much a minute, of several processes. `_here` is what was fetched, or less than 0: what is owed."""

    __slots__ = ("_common", "_fetched", "_fetching", "_here", "_key", "_per_minute")

    def __init__(self, common: Common, per_minute: float, key: str) -> None:
        self._common = common
        self._per_minute = per_minute
        self._key = key
        self._here = 0.0
        self._fetched = 0.0
        self._fetching = 0

    async def take(self, amount: float, patience: float) -> float:
        """Take `amount`: after how many seconds it may be used. More than `patience` means that nothing was taken."""
        with self._common.lock:
            here = self._fresh()
            if here >= amount:
                self._here = here - amount
                return 0.0
            self._here = 0.0  # what is here goes into this one, and so does what is owed
            more = 0.0 if self._fetching else self._per_minute / 60
            self._fetching += 1
        try:
            taken = await self._fetch(amount - here, more, patience)
        finally:
            with self._common.lock:
                self._fetching -= 1
        with self._common.lock:
            self._fetched = self._common.clock.now()
            self._here += here if taken.wait > patience else taken.amount - (amount - here)
            if taken.wait > patience and self._here >= amount:  # another one has brought more
                self._here -= amount
                return 0.0
        return taken.wait

    def put_back(self, amount: float) -> None:
        """Give back what was taken and not used; a negative amount was used beyond that. Under the lock."""
        self._here = self._fresh() + amount

    def _fresh(self) -> float:
        late = self._common.clock.now() > self._fetched + _STALE
        return min(self._here, 0.0) if late else self._here

    async def _fetch(self, least: float, more: float, patience: float) -> Taken:
        assert self._common.store is not None  # noqa: S101  (a shared rate has one)
        per_minute = self._per_minute

        def change(bucket: Bucket | None, now: float) -> tuple[Bucket, Taken]:
            return take(bucket, per_minute, least=least, most=least + more, patience=patience, now=now)

        return await self._common.store.update(self._key, Bucket, change, expires=_EXPIRES)


class Meter:
    """The requests and tokens a minute of one limit."""

    __slots__ = ("__weakref__", "_requests", "_tokens")

    def __init__(self, common: Common, limit: Limit, key: str) -> None:
        self._requests = _rate(common, limit.requests_per_minute, f"{key}:requests")
        self._tokens = _rate(common, limit.tokens_per_minute, f"{key}:tokens")

    async def reserve(self, tokens: float, patience: float) -> float:
        """Reserve a request of so many `tokens`: after how many seconds it may go.

        More than `patience` means that nothing was reserved.
        """
        wait = await self._requests.take(1.0, patience) if self._requests else 0.0
        if self._tokens is None or wait > patience:
            return wait
        try:
            wait_for_tokens = await self._tokens.take(tokens, patience)
        except BaseException:
            self._put_request_back()
            raise
        if wait_for_tokens > patience:
            self._put_request_back()
        return max(wait, wait_for_tokens)

    def put_back(self, tokens: float) -> None:
        """A request that was reserved and never left. Under the lock."""
        self._put_request_back()
        self.settle(tokens)

    def settle(self, unused: float) -> None:
        """Fewer tokens were used than had been reserved, or more, if it is negative. Under the lock."""
        if self._tokens is not None:
            self._tokens.put_back(unused)

    def _put_request_back(self) -> None:
        if self._requests is not None:
            self._requests.put_back(1.0)


def _rate(common: Common, per_minute: float | None, key: str) -> Rate | SharedRate | None:
    if per_minute is None:
        return None
    return Rate(common, per_minute) if common.store is None else SharedRate(common, per_minute, key)


class Retries:
    """What a credential has left to retry with. `successes` have not been settled yet."""

    __slots__ = ("__weakref__", "_budget", "_common", "_key", "_policy", "successes")

    def __init__(self, common: Common, policy: RetryBudgetPolicy, key: str) -> None:
        self.successes = 0
        self._common = common
        self._policy = policy
        self._key = key
        self._budget: RetryBudget | None = None

    async def take(self) -> bool:
        """Take one, if there is one."""
        if not self._policy.enabled:
            return True
        with self._common.lock:
            successes, self.successes = self.successes, 0
            if self._common.store is None:
                self._budget, enough = spend(self._budget, self._policy, successes, self._common.clock.now())
                return enough

        def change(budget: RetryBudget | None, now: float) -> tuple[RetryBudget, bool]:
            return spend(budget, self._policy, successes, now)

        return await self._common.store.update(self._key, RetryBudget, change, expires=_EXPIRES)
