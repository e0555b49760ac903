"""The user's rows: what `[providers.<name>]` tables say of the built-in providers, or of ones of the user's own."""

import re
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from llm_call.core.domain.errors import ConfigError
from llm_call.core.domain.keys import canonical_keys, near_names
from llm_call.core.domain.profile import DialectName, Profile
from llm_call.core.domain.setting import setting
from llm_call.core.providers.auth import Auth
from llm_call.core.providers.credentials import Reference
from llm_call.core.providers.registry import Provider
from llm_call.core.providers.rows import PROVIDERS

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_URL = re.compile(r"https?://[^/\s?#@]+(?:/[^\s?#]*)?")
_ROWS = {row.name: row for row in PROVIDERS}


class ProviderTable(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a table may say; what it leaves out stays as it is in the built-in row of that name.

    `api_key` is not read here: who makes the router gives it as a credential under the provider's name.
    """

    base_url: Annotated[
        str | None,
        setting("Where it listens, up to its dialect's path. Makes a provider of your own.", access="local"),
    ] = None
    codec: Annotated[DialectName | None, setting("Its dialect; openai_chat for one of your own.", access="free")] = None
    places: Annotated[Mapping[str, str] | None, setting("What fills the gaps of the base URL.", access="trusted")] = (
        None
    )
    patterns: Annotated[
        tuple[str, ...] | None, setting('Globs of model names; "NAME/*" for one of your own.', access="trusted")
    ] = None
    credential_env: Annotated[
        str | tuple[str, ...] | None, setting("The variables that may hold its key.", access="trusted")
    ] = None
    auth: Annotated[Auth | None, setting("How its key is sent; as its dialect's vendor takes it.", access="free")] = (
        None
    )
    default_model: Annotated[str | None, setting("What is asked where no model is named.", access="free")] = None
    models: Annotated[tuple[str, ...] | None, setting("All models that there are.", access="free")] = None
    profile: Annotated[Profile | None, setting("Facts about its models.", access="free")] = None
    api_key: Annotated[
        Reference | None, setting("Its key: env:NAME, file:PATH or keyring:SERVICE/NAME.", access="trusted")
    ] = None


def user_rows(tables: Mapping[str, Mapping[str, Any]]) -> tuple[Provider, ...]:
    """The rows that the tables describe, by the provider's name, in their order.

    Raises:
        ConfigError: A name, a key or a value is wrong; near names are told.
    """
    return tuple(_row(name, table) for name, table in tables.items())


def _row(name: str, table: Mapping[str, Any]) -> Provider:
    what = f"[providers.{name}]"
    given = _given(_read(table, what), what)
    row = _ROWS.get(name)
    if row is None:
        return _new(name, given, what)
    if row.transport != "http" or not row.base_url:
        raise ConfigError(f"{what}: this provider has no settings of this kind", hint="Remove the table.")
    return replace(row, **given)


def _new(name: str, given: dict[str, Any], what: str) -> Provider:
    if "base_url" not in given:
        near = near_names(name, _ROWS)
        hint = f"Did you mean {' or '.join(near)}? " if near else ""
        raise ConfigError(f"{what}: there is no such provider", hint=f"{hint}One of your own needs a base_url.")
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{what}: {name!r} is no name", hint="Use lower-case letters, digits, - and _.")
    return Provider(**{"name": name, "patterns": (f"{name}/*",), **given})


def _read(table: Mapping[str, Any], what: str) -> ProviderTable:
    if not isinstance(table, Mapping):
        raise ConfigError(f"{what}: a table is expected", hint='For example base_url = "http://localhost:8000/v1".')
    known = canonical_keys(table, known=ProviderTable.__struct_fields__, aliases={}, what=what)
    if isinstance(known.get("credential_env"), str):
        known["credential_env"] = (known["credential_env"],)
    if isinstance(profile := known.get("profile"), Mapping):
        canonical_keys(profile, known=Profile.__struct_fields__, aliases={}, what=f"{what} profile")
    known.pop("api_key", None)  # it may be no plain value, and no message may show it
    try:
        return msgspec.convert(known, ProviderTable)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{what}: {error}", hint="Look at the value.") from error


def _given(table: ProviderTable, what: str) -> dict[str, Any]:
    """What the table says, under the names of the row's fields."""
    given = {name: value for name in table.__struct_fields__ if (value := getattr(table, name)) is not None}
    if "base_url" in given and not _URL.fullmatch(given["base_url"]):
        # The value is not shown: what is wrong may be a password in it.
        raise ConfigError(f"{what}: base_url is no URL", hint="Use something like http://localhost:8000/v1.")
    if "base_url" in given:
        given |= {"base_url": given["base_url"].rstrip("/"), "tested": "documented form"}
    if "profile" in given:
        given["profiles"] = {}
    return given
