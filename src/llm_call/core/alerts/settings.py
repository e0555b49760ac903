"""`[alerts.NAME]`: what a table says of one receiver.

The rule: a receiver sends data somewhere, so no project may name or replace one unless its folder is trusted.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

from llm_call.core.domain.errors import ConfigError
from llm_call.core.domain.setting import setting
from llm_call.core.policy.alerting import Rule
from llm_call.core.providers.credentials import Reference

Kind = Literal["log", "callback", "webhook", "email"]
Form = Literal["json", "slack", "pagerduty"]
Security = Literal["starttls", "tls", "none"]


class ReceiverTable(Rule, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One receiver, and the rule of what it hears of."""

    to: Annotated[Kind, setting("What kind of receiver it is.", access="trusted")]
    function: Annotated[
        str | None, setting('callback: "module:function"; it is called with the alert.', access="trusted")
    ] = None
    url: Annotated[
        Reference | None, setting("webhook: its URL, or where that is: env:NAME, file:PATH, ...", access="trusted")
    ] = None
    form: Annotated[Form | None, setting('webhook: what is posted; "json".', access="free")] = None
    secret: Annotated[
        Reference | None,
        setting("webhook: what signs it, or PagerDuty's key: env:NAME, file:PATH, ...", access="trusted"),
    ] = None
    server: Annotated[str | None, setting("email: the SMTP server, HOST or HOST:PORT.", access="trusted")] = None
    security: Annotated[
        Security | None, setting('email: how the connection is secured; "starttls".', access="trusted")
    ] = None
    user: Annotated[str | None, setting("email: the user at the server.", access="trusted")] = None
    password: Annotated[
        Reference | None, setting("email: the user's password: env:NAME, file:PATH, ...", access="trusted")
    ] = None
    sender: Annotated[str | None, setting("email: who it is from.", access="trusted")] = None
    recipients: Annotated[tuple[str, ...] | None, setting("email: who it goes to.", access="trusted")] = None

    def __post_init__(self) -> None:
        needed, possible = _FIELDS[self.to]
        if self.form == "pagerduty":
            needed, possible = ("secret",), ("url", "form")
        given = {name for name in _OWN if getattr(self, name) is not None}
        if missing := [name for name in needed if name not in given]:
            raise ConfigError(f"{self.to} needs {missing[0]}", hint=f"It takes {', '.join((*needed, *possible))}.")
        if wrong := sorted(given - {*needed, *possible}):
            takes = ", ".join((*needed, *possible)) or "nothing more"
            raise ConfigError(f"{self.to} has no {wrong[0]}", hint=f"It takes {takes}.")


_FIELDS: Mapping[Kind, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "log": ((), ()),
    "callback": (("function",), ()),
    "webhook": (("url",), ("form", "secret")),
    "email": (("server", "sender", "recipients"), ("security", "user", "password")),
}
"""What each kind needs, and what it takes beside that."""
_OWN = {name for fields in _FIELDS.values() for names in fields for name in names}
