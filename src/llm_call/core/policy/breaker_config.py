"""`circuit_breaker_config`: a breaker in the words of case files and of the documented classes.

It opens at so many failures in the window, whatever succeeded, stays open for a fixed time, and closes after so many
successes of the calls that it then lets through.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from llm_call.core.domain.errors import ConfigError
from llm_call.core.domain.keys import canonical_keys
from llm_call.core.policy.breaker import BreakerPolicy

_ALIASES = {"half_open_max_calls": "half_open"}

Count = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0)]


class BreakerConfig(Struct, frozen=True, kw_only=True):
    """The keys. `window_size` and `timeout`, which is the time open, are in seconds.

    `half_open` is how many calls at a time are let through after that. `excluded_exceptions` are names of classes that
    do not count, nor what is derived from them.
    """

    failure_threshold: Count = 5
    window_size: Seconds = 60.0
    timeout: Seconds = 60.0
    success_threshold: Count = 2
    half_open: Count = 3
    excluded_exceptions: tuple[str, ...] = ()

    def policy(self) -> BreakerPolicy:
        """The policy that these keys mean."""
        return BreakerPolicy(
            window=self.window_size,
            failures=self.failure_threshold,
            open_seconds=self.timeout,
            max_open_seconds=self.timeout,
            probes=(self.half_open,),
            successes=self.success_threshold,
            excluded=self.excluded_exceptions,
        )


def breaker_policy(config: Mapping[str, Any]) -> BreakerPolicy:
    """The policy that a `circuit_breaker_config` mapping means.

    Raises:
        ConfigError: A key is unknown or a value cannot be.
    """
    what = "circuit_breaker_config"
    keys = canonical_keys(config, known=BreakerConfig.__struct_fields__, aliases=_ALIASES, what=what)
    try:
        return msgspec.convert(keys, BreakerConfig).policy()
    except msgspec.ValidationError as error:
        raise ConfigError(f"{what}: {error}", hint="See docs/limits_and_breakers.md.") from error
