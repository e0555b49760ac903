"""`retry_config`: a retry policy in the words of case files and of the documented classes.

Their values differ from the library's own default: 1, 2, 4 s with a factor of 0.5..1.5, the cap applied last.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from llm_call.core.domain.errors import ConfigError
from llm_call.core.domain.keys import canonical_keys
from llm_call.core.policy.backoff import Backoff, Jitter, Strategy
from llm_call.core.policy.breaker import BreakerPolicy
from llm_call.core.policy.breaker_config import breaker_policy
from llm_call.core.policy.retry import RetryPolicy

DOCUMENTED_JITTER: Jitter = (0.5, 1.5)

_ALIASES = {
    "initial_delay": "base_delay",
    "backoff_factor": "factor",
    "exponential_base": "factor",
    "use_jitter": "jitter",
    "type": "strategy",
}


class RetryConfig(Struct, frozen=True, kw_only=True):
    """The keys. `jitter_range` r means a random factor of 1-r..1+r; delays are in seconds.

    `debug_mode` is accepted for its users' files; the trace that it asked for is always kept. `circuit_breaker_config`
    counts where `enable_circuit_breaker` is set, and is checked in any case.
    """

    strategy: Strategy = "exponential"
    max_attempts: int = 3
    base_delay: float = 1.0
    factor: float = 2.0
    max_delay: float = 60.0
    jitter: bool = True
    jitter_range: float | None = None
    delays: tuple[float, ...] = ()
    debug_mode: bool = False
    enable_circuit_breaker: bool = False
    circuit_breaker_config: Mapping[str, Any] = {}

    def policy(self) -> RetryPolicy:
        """The policy that these keys mean."""
        backoff = Backoff(
            strategy=self.strategy,
            base=self.base_delay,
            factor=self.factor,
            cap=self.max_delay,
            jitter=self._jitter(),
            delays=self.delays,
        )
        return RetryPolicy(max_attempts=self.max_attempts, backoff=backoff)

    def breaker(self) -> BreakerPolicy | None:
        """The breaker that these keys ask for."""
        policy = breaker_policy(self.circuit_breaker_config)
        return policy if self.enable_circuit_breaker else None

    def _jitter(self) -> Jitter | None:
        if not self.jitter:
            return None
        if self.jitter_range is None:
            return DOCUMENTED_JITTER
        return (1 - self.jitter_range, 1 + self.jitter_range)


def retry_config(config: Mapping[str, Any]) -> RetryConfig:
    """The keys of a `retry_config` mapping, or their aliases.

    Raises:
        ConfigError: A key is unknown or a value cannot be.
    """
    keys = canonical_keys(config, known=RetryConfig.__struct_fields__, aliases=_ALIASES, what="retry_config")
    try:
        read = msgspec.convert(keys, RetryConfig)
    except msgspec.ValidationError as error:
        raise ConfigError(f"retry_config: {error}", hint="See the table of case keys.") from error
    read.breaker()
    return read


def retry_policy(config: Mapping[str, Any]) -> RetryPolicy:
    """The policy that a `retry_config` mapping means.

    Raises:
        ConfigError: A key is unknown or a value cannot be.
    """
    return retry_config(config).policy()
