"""`[providers.NAME]` as rows. A key from the environment stays with the host that its own row names."""

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from msgspec.structs import replace

from llm_call.core.config.schema import ProviderSettings
from llm_call.core.domain.errors import ConfigError
from llm_call.core.providers.registry import Provider
from llm_call.core.providers.rows import PROVIDERS

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


def provider_rows(tables: Mapping[str, ProviderSettings]) -> tuple[Provider, ...]:
    """The user's rows, in the order of the file.

    Raises:
        ConfigError: A table is not enough for a row, or changes what is no host.
    """
    known = {row.name: row for row in PROVIDERS}
    return tuple(_row(name, table, known.get(name)) for name, table in tables.items())


def _row(name: str, table: ProviderSettings, known: Provider | None) -> Provider:
    row = known or _new_row(name, table)
    if row.transport != "http" or not (row.base_url or table.base_url):
        raise ConfigError(f"providers.{name}: {name} is not reached at a URL", hint="Choose another name.")
    named = {"base_url": table.base_url, "patterns": table.patterns, "codec": table.codec, "auth": table.auth}
    row = replace(row, **{key: value for key, value in named.items() if value is not None})
    if table.api_key is not None:
        return replace(row, credential_env=table.api_key.name)
    if known is not None and _host(row.base_url) != _host(known.base_url):
        return replace(row, credential_env=None)
    return row


def _new_row(name: str, table: ProviderSettings) -> Provider:
    if not _NAME.fullmatch(name):
        raise ConfigError(f"providers: {name!r} is no name", hint="Use lower-case letters, digits, - and _.")
    if table.base_url is None:
        raise ConfigError(f"providers.{name} has no base_url", hint="Say where it is, or use the name of a known one.")
    return Provider(name=name, patterns=(f"{name}/*",))


def _host(url: str) -> tuple[str, str]:
    """What must be the same for a key to go along: the scheme, the host and the port."""
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.lower()
