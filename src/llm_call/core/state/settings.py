"""The settings of shared state."""

from typing import Annotated

from msgspec import Meta, Struct

from llm_call.core.domain.setting import setting


class StateSettings(Struct, frozen=True, kw_only=True):
    """Where breakers, rate limits and retry budgets are kept."""

    url: Annotated[
        str | None,
        setting('A Redis or Valkey server to share them; needs "llm-call[redis]".', access="trusted"),
    ] = None
    timeout: Annotated[
        float, Meta(gt=0), setting("The longest that the server may hold a call up, in seconds.", access="free")
    ] = 0.25

    def __repr__(self) -> str:
        return f"StateSettings(url={'<hidden>' if self.url else None}, timeout={self.timeout})"
