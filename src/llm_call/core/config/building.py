"""Settings become a router and a client. What a setting needs that most users do not is imported here when it is set."""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from llm_call.core.cache import MemoryCache, ResponseCache
from llm_call.core.client import Client
from llm_call.core.config.settings import Settings
from llm_call.core.domain.alert import Alert
from llm_call.core.hooks import AttemptHook, CallHook
from llm_call.core.policy.alert_levels import alert_of_store
from llm_call.core.providers.catalog import Catalog
from llm_call.core.providers.registry import TransportName
from llm_call.core.providers.rows import local_provider
from llm_call.core.providers.transports import TransportFactory, transport_factories
from llm_call.core.retry import Chance
from llm_call.core.review import Durable
from llm_call.core.router import Router
from llm_call.core.state.store import SharedStore, StoreChange
from llm_call.core.tools.config import Tooling
from llm_call.core.transport.base import Clock, Transport


def build_router(settings: Settings) -> Router:
    """The router that `settings` describe.

    Raises:
        ConfigError: An alias or a route has a name that is a provider's, goes in a circle, or leads to no model.
    """
    config = settings.config
    local = config.local.model_path
    return Router(
        proxy_url=config.claude_proxy_url,
        rows=settings.rows if local is None else (*settings.rows, local_provider(local)),
        credentials=settings.credentials,
        places=settings.places,
        aliases=config.aliases,
        routes=config.routes,
        prices=Catalog(config.prices).unit_price,
    )


def build_client(
    settings: Settings,
    *,
    transports: Mapping[TransportName, TransportFactory] | None = None,
    clock: Clock | None = None,
    chance: Chance | None = None,
    attempt_hooks: Sequence[AttemptHook] = (),
    alert: Callable[[Alert], None] | None = None,
) -> Client:
    """The client that `settings` describe. Nothing is sent, and no key is looked up, before its first call.

    `transports`, `clock` and `chance` replace the real ones, `alert` the receivers of alerts; `attempt_hooks` come
    before those of the settings.

    Raises:
        ConfigError: As `build_router` says; the cassette cannot be used; the library for telemetry is not installed.
    """
    config = settings.config
    call_hooks, own_hooks = _hooks(settings)
    alert = alert or _alert(settings)
    return Client(
        router=build_router(settings),
        transports=_transports(settings) if transports is None else transports,
        default_model=config.default_model,
        timeouts=config.timeouts,
        retry=config.retry.policy(),
        clock=clock,
        chance=chance,
        hedging=config.hedging,
        tooling=Tooling(settings=config.tools, variables=settings.environment, folder=Path.cwd()),
        alert=alert,
        gates=config.gates(),
        store=_store(settings, alert),
        pricing=Catalog(config.prices).price,
        call_hooks=call_hooks,
        attempt_hooks=(*attempt_hooks, *own_hooks),
        cache=_cache(settings),
        durable=partial(_desk, settings),
    )


def _alert(settings: Settings) -> Callable[[Alert], None] | None:
    if not settings.config.alerts:
        return None
    from llm_call.core.config.alerting import build_alerts  # noqa: PLC0415  (start-up: few have receivers)

    return build_alerts(settings).send


def _desk(settings: Settings, client: Client) -> Durable:
    from llm_call.core.durable.desk import Desk  # noqa: PLC0415  (an optional extra)

    return Desk(client, settings.config.reviews, state=settings.state)


def _transports(settings: Settings) -> Mapping[TransportName, TransportFactory]:
    config = settings.config
    factories = transport_factories(http=config.http, local=config.local, cache=str(settings.cache))
    if config.cassette.path is None:
        return factories
    from llm_call.core.transport.cassette import Cassette  # noqa: PLC0415  (start-up: few have one)
    from llm_call.core.transport.replay import ReplayTransport  # noqa: PLC0415  (start-up: few have one)

    tape = Cassette(config.cassette.path, config.cassette.mode, secrets=settings.credentials.at_hand())

    def taped(factory: TransportFactory) -> Transport:
        return ReplayTransport(factory(), tape)

    return {name: partial(taped, factory) for name, factory in factories.items()}


def _cache(settings: Settings) -> ResponseCache:
    cache = settings.config.cache
    seconds: dict[str, Any] = {} if cache.ttl is None else {"seconds": cache.ttl}
    if cache.mode == "off":
        return MemoryCache(entries=0)
    if cache.mode == "memory":
        return MemoryCache(**seconds)
    from llm_call.core.store.responses import SQLiteCache  # noqa: PLC0415  (start-up: few keep answers on disk)

    return SQLiteCache(cache.path or settings.cache / "responses.db", **seconds)


def _store(settings: Settings, alert: Callable[[Alert], None] | None = None) -> SharedStore | None:
    state = settings.config.state
    if state.url is None:
        return None
    from llm_call.core.state.valkey import ValkeyStore  # noqa: PLC0415  (an optional extra)

    def listen(change: StoreChange) -> None:
        away = change.status == "away"
        hint = "; calls go on with this process' own. Check state.url if it does not come back." if away else ""
        logging.getLogger("llm_call.state").warning("the shared state is %s: %s%s", change.status, change.why, hint)
        if alert is not None:
            alert(alert_of_store(change.status, change.why))

    return ValkeyStore(state.url, timeout=state.timeout, listen=listen)


def _hooks(settings: Settings) -> tuple[tuple[CallHook, ...], tuple[AttemptHook, ...]]:
    telemetry = settings.config.telemetry
    if not telemetry.enabled:
        return (), ()
    from llm_call.core.telemetry import hooks  # noqa: PLC0415  (an optional extra)

    call, attempt = hooks(capture_content=telemetry.capture_content)
    return (call,), (attempt,)
