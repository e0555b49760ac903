"""Prompt-cache markers: `cache_control`, as Anthropic says it, and OpenRouter and LiteLLM in the chat dialect.

Rule: a marker never changes an answer. Where a target takes none, it is left out with a Notice (`origin.own_request`).
"""

from typing import Any

from llm_call.core.domain.messages import CacheMarker

FIELD = "cache_control"
_READ = {None: CacheMarker(), "5m": CacheMarker(ttl="5m"), "1h": CacheMarker(ttl="1h")}


def cache_field(marker: CacheMarker | None) -> dict[str, Any]:
    """The field of the wire for `marker`; none for none."""
    if marker is None:
        return {}
    return {FIELD: {"type": "ephemeral"} if marker.ttl is None else {"type": "ephemeral", "ttl": marker.ttl}}


def take_marker(fields: dict[str, Any]) -> CacheMarker | None:
    """The marker that stands in `fields`, taken out of them. What is no marker that we know stays there."""
    given = fields.get(FIELD)
    if type(given) is not dict or given.get("type") != "ephemeral" or not given.keys() <= {"type", "ttl"}:
        return None
    lifetime = given.get("ttl")
    marker = _READ.get(lifetime) if lifetime is None or type(lifetime) is str else None
    if marker is not None:
        del fields[FIELD]
    return marker
