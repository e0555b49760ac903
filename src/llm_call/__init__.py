"""llm_call: one call, any model, an answer you can trust.

The public names are resolved on first use: importing the package loads nothing else.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "ask": "llm_call.core.api",
    "ask_sync": "llm_call.core.api",
    "ask_stream": "llm_call.core.api",
    "call": "llm_call.core.api",
    "call_sync": "llm_call.core.api",
    "submit": "llm_call.core.api",
    "resume": "llm_call.core.api",
    "embed": "llm_call.core.api",
    "embed_sync": "llm_call.core.api",
    "chat": "llm_call.core.api",
    "conversations": "llm_call.core.api",
    "AskOptions": "llm_call.core.options",
    "Client": "llm_call.core.client",
    "LiveAnswer": "llm_call.core.live",
    "Result": "llm_call.core.domain.result",
    "Tool": "llm_call.core.domain.request",
    "Message": "llm_call.core.domain.messages",
    "message": "llm_call.core.domain.messages",
    "Verdict": "llm_call.core.domain.verdict",
    "Problem": "llm_call.core.domain.verdict",
    "Answer": "llm_call.core.validation.base",
    "Context": "llm_call.core.validation.base",
    "Validator": "llm_call.core.validation.base",
    "register": "llm_call.core.validation.base",
    "Router": "llm_call.core.router",
    "Route": "llm_call.core.policy.routing",
    "RouteTarget": "llm_call.core.policy.routing",
    "ExponentialBackoffRetry": "llm_call.core.retry",
    "RetryManager": "llm_call.core.retry",
    "encode_image": "llm_call.core.utils.multimodal_utils",
    "LLMCallError": "llm_call.core.domain.errors",
    "ConfigError": "llm_call.core.domain.errors",
    "UnsupportedError": "llm_call.core.domain.errors",
    "TransportError": "llm_call.core.domain.errors",
    "ProtocolError": "llm_call.core.domain.errors",
    "APIError": "llm_call.core.domain.errors",
    "PolicyError": "llm_call.core.domain.errors",
    "OutputError": "llm_call.core.domain.errors",
    "AllTargetsFailedError": "llm_call.core.domain.errors",
}

__all__ = ["__version__", *_PUBLIC]  # noqa: PLE0604  (names, all of them)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
