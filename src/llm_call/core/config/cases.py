"""What a file of cases may say about keys and hosts. It comes with a project, and so does what `llm_config` says in it.

A key in a case goes to the host of the model's own row, or to this machine; to any other host only from a folder that
the user trusts. There too, and only there, it may be a reference. A case's `api_base` alone is free: no key of the
user's goes there.
"""

import os
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from llm_call.core.config import Settings
from llm_call.core.config.secrets import Reference, Variables
from llm_call.core.config.trust import leads_here
from llm_call.core.domain.errors import ConfigError
from llm_call.core.router import Router

CaseGuard = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""Takes an `llm_config` as it stands in a file and gives it with its key looked up, or refuses it."""


def case_guard(file: Path, settings: Settings, environment: Mapping[str, str] | None = None) -> CaseGuard:
    """The guard of the cases in `file`. It raises `ConfigError` for what its folder is not trusted to say."""
    folder, variables = file.resolve().parent, Variables(os.environ if environment is None else environment)

    @cache
    def router() -> Router:
        return Router(rows=settings.rows)

    def guard(config: Mapping[str, Any]) -> Mapping[str, Any]:
        if not isinstance(config.get("api_key"), str):
            return config
        reference = Reference(config["api_key"], folder=folder)
        foreign = _is_foreign(config, router)
        if reference.kind == "plain" and not foreign:
            return config
        if not settings.trust.covers(folder):
            what = "sends a key to another host than its provider's" if foreign else "says where a key is"
            raise ConfigError(
                f"llm_config {what}, which needs a folder that you trust",
                hint=f"Look at the file; then run `llm-call trust {folder}`.",
            )
        return {**config, "api_key": reference.resolve(variables)}

    return guard


def _is_foreign(config: Mapping[str, Any], router: Callable[[], Router]) -> bool:
    base = config.get("api_base")
    if not isinstance(base, str) or leads_here(base):
        return False
    names = (config.get("provider"), config.get("model"))
    model = "/".join(name for name in names if isinstance(name, str))
    return _host(base) != _host(router().provider_of(model).base_url)


def _host(url: str) -> tuple[str, str]:
    try:
        parts = urlsplit(url)
    except ValueError:
        return "", url
    return parts.scheme, parts.netloc.lower()
