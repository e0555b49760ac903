"""The receivers that the tables of the settings describe."""

from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from typing import Any

from llm_call.core.alerts.dispatch import Subscription
from llm_call.core.alerts.receivers import CallbackReceiver, LateReceiver, LogReceiver, Receiver
from llm_call.core.alerts.settings import ReceiverTable
from llm_call.core.domain.errors import ConfigError
from llm_call.core.providers.credentials import Reference
from llm_call.core.transport.base import HttpSettings

KeyOf = Callable[[Reference], str]


def subscriptions(
    tables: Mapping[str, ReceiverTable], *, key_of: KeyOf, http: HttpSettings
) -> tuple[Subscription, ...]:
    """A subscription for each table. What a table refers to is looked up, and its receiver made, for its first alert."""
    return tuple(
        Subscription(name=name, rule=table, receiver=LateReceiver(partial(_receiver, table, key_of, http)))
        for name, table in tables.items()
    )


def _receiver(table: ReceiverTable, key_of: KeyOf, http: HttpSettings) -> Receiver:
    match table.to:
        case "log":
            return LogReceiver()
        case "callback":
            return CallbackReceiver(_loaded(table.function or ""))
        case "webhook":
            return _webhook(table, key_of, http)
        case "email":
            return _email(table, key_of, http)


def _webhook(table: ReceiverTable, key_of: KeyOf, http: HttpSettings) -> Receiver:
    from llm_call.core.alerts.webhook import Webhook  # noqa: PLC0415  (start-up: few have one)
    from llm_call.core.transport.http import HttpTransport  # noqa: PLC0415  (start-up: the same)

    return Webhook(
        key_of(table.url) if table.url else "",
        form=table.form or "json",
        secret=key_of(table.secret) if table.secret else None,
        transport=HttpTransport(http),
    )


def _email(table: ReceiverTable, key_of: KeyOf, http: HttpSettings) -> Receiver:
    from llm_call.core.alerts.mail import EmailReceiver  # noqa: PLC0415  (start-up: the library for mail is large)
    from llm_call.core.transport.http import HttpTransport  # noqa: PLC0415  (start-up: few have one)

    return EmailReceiver(
        table.server or "",
        sender=table.sender or "",
        recipients=table.recipients or (),
        security=table.security or "starttls",
        user=table.user,
        password=key_of(table.password) if table.password else None,
        tls=lambda: HttpTransport(http).tls,
    )


def _loaded(function: str) -> Callable[..., Any]:
    module, _, name = function.partition(":")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"{function} cannot be loaded: {error}", hint='Write "module:function".') from error
    if not callable(found):
        raise ConfigError(f"{function} is no function", hint="Name one that takes an alert.")
    return found  # type: ignore[no-any-return]  # what it returns is its own business
