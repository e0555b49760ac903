"""The settings of durable calls and reviews."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from llm_call.core.domain.setting import setting

OnExpiry = Literal["fail", "accept_best", "escalate"]


class ReviewSettings(Struct, frozen=True, kw_only=True):
    """Durable calls, and the people who are asked about calls."""

    database: Annotated[
        str | None,
        setting(
            "A file, or postgresql://... where machines share the work; durable.db in the user's state folder.",
            access="trusted",
        ),
    ] = None
    expires_after: Annotated[
        float, Meta(gt=0), setting("Seconds that each level has to decide; a week.", access="free")
    ] = 7 * 24 * 3600.0
    on_expiry: Annotated[OnExpiry, setting("What becomes of a call that nobody has decided.", access="free")] = "fail"
    webhooks: Annotated[
        tuple[str, ...],
        setting("A URL for each level, the lowest first: it is told of what there is to decide.", access="trusted"),
    ] = ()
    host: Annotated[str, setting("Where `llm-call review serve` listens.", access="trusted")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535), setting("Its port.", access="trusted")] = 8765
    url: Annotated[
        str | None, setting("How its pages are reached, where that is not its host and port.", access="trusted")
    ] = None
    inbox: Annotated[
        str | None, setting("A folder whose files ID.json are decisions.", access="trusted", path=True)
    ] = None

    @property
    def levels(self) -> int:
        """How many levels there are to decide."""
        return max(1, len(self.webhooks))

    @property
    def base_url(self) -> str:
        """How the pages are reached."""
        return (self.url or f"http://{self.host}:{self.port}").rstrip("/")
