"""What a file of cases may say about keys and hosts. It comes with a project, and so does what `llm_config` says in it.

A key in a case goes to the host of the model's own row, or to this machine; to any other host only from a folder that
the user trusts. There too, and only there, it may be a reference. A case's `api_base` alone is free: no key of the
user's goes there. Servers of tools are started and reached only where the user has allowed it.
"""

import os
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from llm_call.core.config import Settings, build_router
from llm_call.core.config.hosts import chooses_host
from llm_call.core.config.trust import leads_here
from llm_call.core.domain.errors import ConfigError
from llm_call.core.providers.credentials import Reference, Variables
from llm_call.core.router import Router
from llm_call.core.tools.config import read_servers, refuse_unless_allowed

_TOOLS = ("mcp_config", "debug_tool_mcp_config")

CaseGuard = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""Takes an `llm_config` as it stands in a file and gives it with its key looked up, or refuses it."""


def case_guard(
    file: Path, settings: Settings, environment: Mapping[str, str] | None = None, *, allow_tools: bool = False
) -> CaseGuard:
    """The guard of the cases in `file`. It raises `ConfigError` for what its folder is not trusted to say.

    `allow_tools`: they may start programs and reach servers as tools, whatever the setting `tools.allow` says.
    """
    folder, variables = file.resolve().parent, Variables(os.environ if environment is None else environment)

    @cache
    def router() -> Router:
        return build_router(settings)

    def guard(config: Mapping[str, Any]) -> Mapping[str, Any]:
        key, base = config.get("api_key"), config.get("api_base")
        reference = Reference(key, folder=folder) if isinstance(key, str) else None
        what = _restricted(config, reference, base if isinstance(base, str) else None, router())
        if what and not settings.trust.covers(folder):
            raise ConfigError(
                f"llm_config {what}, which needs a folder that you trust",
                hint=f"Look at the file; then run `llm-call trust {folder}`.",
            )
        for name in _TOOLS:
            if isinstance(config.get(name), Mapping):
                tools = settings.config.tools
                servers = read_servers(config[name], folder=folder, variables=variables, allow_http=tools.allow_http)
                refuse_unless_allowed(servers, allowed=allow_tools or tools.allow)
        return {**config, "api_key": reference.resolve(variables)} if reference else config

    return guard


def _restricted(config: Mapping[str, Any], reference: Reference | None, base: str | None, router: Router) -> str | None:
    """What the case does that only one in a trusted folder may; `None` for nothing."""
    provider, model = config.get("provider"), config.get("model")
    full = f"{provider}/{model}" if isinstance(provider, str) else model
    others = config.get("fallback_models")
    if reference and reference.kind != "plain":
        return "says where a key is"
    if reference and base and not leads_here(base) and _host(base) != _host(router.provider_of(str(full)).base_url):
        return "sends a key to another host than its provider's"
    rungs = config.get("ladder")
    higher = (
        [rung.get("model") for rung in rungs if isinstance(rung, Mapping)] if isinstance(rungs, list | tuple) else []
    )
    names = [*([] if base else [full]), *(others if isinstance(others, list | tuple) else []), *filter(None, higher)]
    if any(chooses_host(name, router, with_key=reference is not None) for name in names):
        return "says in a model's name whose machine gets a key"
    return None


def _host(url: str) -> tuple[str, str]:
    try:
        parts = urlsplit(url)
    except ValueError:
        return "", url
    return parts.scheme, parts.netloc.lower()
