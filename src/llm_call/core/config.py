"""Settings: from the environment and the user's file, to one frozen value, to a client.

The only reader of the environment, but for the proxies' variables, which the HTTP transport heeds. Arguments come before the environment, it before the user's file
(`llm_call/config.toml` in the user's configuration folder), that before the defaults.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from llm_call.core.client import Client
from llm_call.core.domain.errors import ConfigError
from llm_call.core.domain.keys import canonical_keys
from llm_call.core.providers.places import PLACE_VARIABLES
from llm_call.core.providers.registry import DEFAULT_PROXY_URL, Provider
from llm_call.core.providers.rows import PROVIDERS, local_provider
from llm_call.core.providers.transports import transport_factories
from llm_call.core.router import Router
from llm_call.core.transport.base import HttpSettings, Timeouts
from llm_call.core.transport.local import LocalSettings

Origin = Literal["default", "file", "environment"]

ENVIRONMENT: Mapping[str, str] = {
    "default_model": "LLM_CALL_DEFAULT_MODEL",
    "claude_proxy_url": "LLM_CALL_CLAUDE_PROXY_URL",
    "http.ca_file": "LLM_CALL_CA_FILE",
    "local.model_path": "LLM_CALL_LOCAL_MODEL",
    "local.threads": "LLM_CALL_LOCAL_THREADS",
}
"""Setting -> the environment variable that overrides it."""


class Config(Struct, frozen=True, kw_only=True):
    """Every setting. `default_model` is asked where a call names none."""

    default_model: str | None = None
    claude_proxy_url: str = DEFAULT_PROXY_URL
    timeouts: Timeouts = Timeouts()
    http: HttpSettings = HttpSettings()
    local: LocalSettings = LocalSettings()


class Settings(Struct, frozen=True, kw_only=True):
    """A configuration, where each value came from, and the keys and places that were found. Keys are never shown."""

    config: Config
    origins: Mapping[str, Origin]
    file: Path
    credentials: Mapping[str, str]
    places: Mapping[str, str]
    cache: Path
    state: Path

    def __repr__(self) -> str:
        return f"Settings(config={self.config!r}, credentials=<hidden>)"


def load(environment: Mapping[str, str] | None = None) -> Settings:
    """The settings of this user; `environment` replaces the process's own.

    Raises:
        ConfigError: The file cannot be read, or a setting is unknown or wrong.
    """
    environment = os.environ if environment is None else environment
    file = _folder(environment, "XDG_CONFIG_HOME", ".config") / "config.toml"
    values, origins = _from_file(file)
    for setting, variable in ENVIRONMENT.items():
        if value := environment.get(variable):
            _put(values, setting, value)
            origins[setting] = "environment"
    names = [name for row in PROVIDERS for name in row.credential_env]
    return Settings(
        config=_convert(values, file),
        origins=origins,
        file=file,
        credentials={name: environment[name] for name in names if environment.get(name)},
        places={name: environment[name] for name in PLACE_VARIABLES if environment.get(name)},
        cache=_folder(environment, "XDG_CACHE_HOME", ".cache"),
        state=_folder(environment, "XDG_STATE_HOME", ".local/state"),
    )


def build_client(settings: Settings) -> Client:
    """The client that `settings` describe. Nothing is opened before its first call."""
    config = settings.config
    rows: tuple[Provider, ...] = ()
    if config.local.model_path is not None:
        rows = (local_provider(config.local.model_path),)
    return Client(
        router=Router(
            proxy_url=config.claude_proxy_url, rows=rows, credentials=settings.credentials, places=settings.places
        ),
        transports=transport_factories(http=config.http, local=config.local, cache=str(settings.cache)),
        default_model=config.default_model,
        timeouts=config.timeouts,
    )


def shown(settings: Settings) -> list[tuple[str, Any, Origin]]:
    """Every setting in order: its dotted name, its value, where that came from."""
    flat = _flat(msgspec.structs.asdict(settings.config))
    return [(name, value, settings.origins.get(name, "default")) for name, value in flat.items()]


def shown_defaults() -> list[tuple[str, Any]]:
    """Every setting in order: its dotted name and its default."""
    return list(_flat(msgspec.structs.asdict(Config())).items())


def _folder(environment: Mapping[str, str], variable: str, fallback: str) -> Path:
    """The user's folder of one kind, by the XDG base directory specification."""
    base = environment.get(variable)
    return (Path(base) if base else Path.home() / fallback) / "llm_call"


def _from_file(file: Path) -> tuple[dict[str, Any], dict[str, Origin]]:
    if not file.is_file():
        return {}, {}
    import tomllib  # noqa: PLC0415  (start-up: most users have no file)

    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file}: {error}", hint="Mend the file, or remove it.") from error
    _check(values, Config, str(file))
    return values, dict.fromkeys(_flat(values), "file")


def _check(values: Mapping[str, Any], type_: type[Struct], what: str) -> None:
    """Refuse unknown settings, with a did-you-mean, at every level."""
    fields = {field.name: field.type for field in msgspec.structs.fields(type_)}
    canonical_keys(values, known=fields, aliases={}, what=what)
    for name, value in values.items():
        if isinstance(value, Mapping) and isinstance(inner := fields[name], type) and issubclass(inner, Struct):
            _check(value, inner, f"{what}: [{name}]")


def _convert(values: Mapping[str, Any], file: Path) -> Config:
    try:
        return msgspec.convert(values, Config, strict=False)
    except msgspec.ValidationError as error:
        variables = ", ".join(ENVIRONMENT.values())
        raise ConfigError(f"settings: {error}", hint=f"Look at {file} and at {variables}.") from error


def _put(values: dict[str, Any], setting: str, value: str) -> None:
    section, _, name = setting.rpartition(".")
    (values.setdefault(section, {}) if section else values)[name] = value


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, value in values.items():
        inner = msgspec.structs.asdict(value) if isinstance(value, Struct) else value
        if isinstance(inner, Mapping):
            result |= _flat(inner, f"{prefix}{name}.")
        else:
            result[f"{prefix}{name}"] = value
    return result
