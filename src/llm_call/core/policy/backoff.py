"""How long to wait before the next attempt."""

from typing import Literal

from msgspec import Struct

from llm_call.core.domain.errors import ConfigError

Strategy = Literal["immediate", "basic", "linear", "exponential", "fibonacci", "custom"]
Jitter = tuple[float, float]

FULL_JITTER: Jitter = (0.0, 1.0)
_HUGE = 1e9


class Backoff(Struct, frozen=True, kw_only=True):
    """A delay in seconds for the n-th failure: the strategy's, times a random factor within `jitter`, at most `cap`.

    The default is full jitter over a doubling delay (M. Brooker, "Exponential Backoff And Jitter", 2015). `basic`
    always waits `base`; `custom` takes `delays` one after another, and the last one from then on.
    """

    strategy: Strategy = "exponential"
    base: float = 0.5
    factor: float = 2.0
    cap: float = 30.0
    jitter: Jitter | None = FULL_JITTER
    delays: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if min(self.base, self.factor, self.cap, *self.delays) < 0:
            raise ConfigError("a backoff cannot be negative", hint="Use delays and factors of 0 or more.")
        if self.strategy == "custom" and not self.delays:
            raise ConfigError("the custom backoff needs delays", hint="Give delays, for example [1, 5, 30].")

    def delay(self, failures: int, chance: float) -> float:
        """Seconds to wait after the `failures`-th failure (from 1). `chance` is random in 0..1."""
        plain = min(self._plain(failures), _HUGE)
        if self.jitter is not None:
            low, high = self.jitter
            plain *= low + (high - low) * chance
        return min(plain, self.cap)

    def _plain(self, failures: int) -> float:
        match self.strategy:
            case "immediate":
                return 0.0
            case "basic":
                return self.base
            case "linear":
                return self.base * failures
            case "exponential":
                return self.base * _power(self.factor, failures - 1)
            case "fibonacci":
                return self.base * _fibonacci(failures)
            case "custom":
                return self.delays[min(failures, len(self.delays)) - 1]


def _power(factor: float, exponent: int) -> float:
    try:
        return factor**exponent
    except OverflowError:
        return _HUGE


def _fibonacci(position: int) -> int:
    """1, 1, 2, 3, 5, ...; beyond the 50th the cap has long taken over."""
    before, current = 0, 1
    for _ in range(min(position, 50) - 1):
        before, current = current, before + current
    return current
