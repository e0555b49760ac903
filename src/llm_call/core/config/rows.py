"""`[providers.NAME]` as rows. A key from the environment stays with the host that its own row names.

Where a table moves a provider, it says which key goes there: by `api_key`, or by `credential_env` again.
"""

from urllib.parse import urlsplit

import msgspec
from msgspec.structs import replace

from llm_call.core.config.layers import Layer
from llm_call.core.domain.errors import ConfigError
from llm_call.core.providers.registry import Provider
from llm_call.core.providers.rows import PROVIDERS
from llm_call.core.providers.user_rows import ProviderTable, user_rows

_ROWS = {row.name: row for row in PROVIDERS}


def provider_rows(layer: Layer) -> tuple[Provider, ...]:
    """The user's rows, in the order of the files.

    Raises:
        ConfigError: A table is not enough for a row, or moves a provider and does not say which key goes there.
    """
    found = {path[1]: each for path, each in layer.items() if path[0] == "providers"}
    rows = []
    for name, each in found.items():
        try:
            rows.append(_row(name, each.value))
        except ConfigError as error:
            raise ConfigError(f"{each.where}: {error.message}", hint=error.hint) from None
    return tuple(rows)


def _row(name: str, table: ProviderTable) -> Provider:
    given = {key: value for key, value in msgspec.structs.asdict(table).items() if value is not None}
    (row,) = user_rows({name: given})
    known = _ROWS.get(name)
    if table.api_key is not None:  # that one or none: a variable of the built-in row's is not its substitute
        return replace(row, credential_env=(table.api_key.place,) if table.api_key.kind == "env" else ())
    if known is None or _host(row.base_url) == _host(known.base_url):
        return row
    if table.credential_env is None and (known.credential_env or known.signing):
        names = ", ".join(f'"{each}"' for each in known.credential_env)
        raise ConfigError(
            f"[providers.{name}] is at another host, and does not say which key goes there",
            hint=f"Add credential_env = [{names}] to send it those, credential_env = [] to send none, or an api_key.",
        )
    return row if row.credential_env else replace(row, signing=None)


def _host(url: str) -> tuple[str, str]:
    """What must be the same for a key to go along: the scheme, the host and the port."""
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.lower()
