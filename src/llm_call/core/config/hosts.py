"""Model names that say whose machine a request goes to: of `runpod/POD/model` the pod, and with it goes a key.

Regions and locations lead to other machines of the same provider. A pod or a resource is somebody's own: a name from a
project that nobody has vouched for must not choose it.
"""

from collections.abc import Callable, Iterator
from typing import Any

from llm_call.core.config.layers import Layer, SettingPath
from llm_call.core.domain.errors import ConfigError, UnknownModelError
from llm_call.core.policy.routing import Route
from llm_call.core.providers.places import gaps, known_place
from llm_call.core.providers.user_rows import ProviderTable
from llm_call.core.router import Router

_SOMEBODYS_OWN = frozenset({"pod", "resource"})
"""Gaps in base URLs that any customer of the provider can have filled."""


def chooses_host(model: Any, router: Router, *, with_key: bool = False) -> bool:
    """Whether the name `model` itself says whose machine gets a key: the user's, or one that comes along."""
    try:
        row = router.provider_of(model)
    except UnknownModelError:
        return False  # no name at all: the call says so
    chosen = any(gap in _SOMEBODYS_OWN and known_place(row, gap, router.places) is None for gap in gaps(row))
    return chosen and (with_key or router.credential_name(row) is not None)


def models_in(layer: Layer) -> dict[str, tuple[str, ...]]:
    """Where `layer` names models -> their names."""
    found = {each.where: tuple(_models(path, each.value)) for path, each in layer.items()}
    return {where: models for where, models in found.items() if models}


def refuse_chosen_hosts(layer: Layer, router: Router, *, is_trusted: Callable[[], bool]) -> None:
    """Refuse names in a project's settings that choose a host, unless its folder is trusted.

    Raises:
        ConfigError: There is one; the message says where.
    """
    for where, models in models_in(layer).items():
        for model in models:
            if chooses_host(model, router) and not is_trusted():
                raise ConfigError(
                    f"{where}: a project may set {model!r}, which says whose machine gets a key, only in a folder that"
                    " you trust",
                    hint="Look at the file; then run `llm-call trust` there, or take it out.",
                )


def _models(path: SettingPath, value: Any) -> Iterator[str]:
    if path[0] in {"default_model", "aliases"}:
        yield value
    if isinstance(value, Route):
        yield from (each.model for each in value.members)
    if isinstance(value, ProviderTable):
        yield from (f"{path[1]}/{name}" for name in (value.default_model, *(value.models or ())) if name)
