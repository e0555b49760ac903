"""Names to places: which provider takes a model name, and where exactly the request goes."""

import re
from collections.abc import Mapping, Sequence
from fnmatch import translate
from typing import Any

from msgspec.structs import replace

from llm_call.core.domain.errors import (
    ConfigError,
    MissingCredentialError,
    UnknownModelError,
    UnknownProviderError,
    UnsupportedError,
)
from llm_call.core.domain.keys import near_names
from llm_call.core.providers.auth import credential_headers
from llm_call.core.providers.registry import DEFAULT_PROXY_URL, Provider, Target, codec
from llm_call.core.providers.rows import CLAUDE_PROXY, LITELLM, PROVIDERS
from llm_call.core.transport.base import Endpoint


def _patterns(rows: Sequence[Provider]) -> dict[str, str]:
    found: dict[str, str] = {}
    for row in rows:
        for pattern in row.patterns:
            found.setdefault(pattern, row.name)
    return found


PROVIDER_PATTERNS: dict[str, str] = _patterns(PROVIDERS)
"""Glob -> provider, in the order of matching: the user's rows first, the fallback last."""

_UNPRINTABLE = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029]")
_MAX_LABEL = re.compile(r"(?:claude/|claude-code/)?max(?:/(.*))?", re.IGNORECASE)
_DEFAULT_LABEL = "default"
_HOST_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


class Router:
    """Finds the provider of a model name, and the target that a request goes to.

    `rows` are the user's own providers, tried before the built-in ones. `credentials` maps the rows' environment
    names to keys; a key is looked up when its target is resolved. A row of the user's replaces the built-in one of the
    same name. `proxy_url` is where the Claude proxy listens; where it differs from the default, `max/*` requests
    are sent there, otherwise they are answered in process.
    """

    def __init__(
        self,
        *,
        proxy_url: str = DEFAULT_PROXY_URL,
        rows: Sequence[Provider] = (),
        credentials: Mapping[str, str] | None = None,
    ) -> None:
        self.proxy_url = proxy_url
        own = {row.name for row in rows}
        self.rows = (*rows, *(row for row in PROVIDERS if row.name not in own))
        self._by_name = {row.name: row for row in reversed(self.rows)}
        self._credentials = credentials if credentials is not None else {}
        self._matchers = [
            (re.compile(translate(pattern), re.IGNORECASE).match, name)
            for pattern, name in _patterns(self.rows).items()
        ]

    async def route_request(self, model: str, messages: Sequence[Any], **kwargs: Any) -> dict[str, Any]:
        """Where a request for `model` goes, as a dictionary: provider, endpoint, headers, model, formatted_request.

        Raises:
            UnknownModelError: The name cannot be a model's.
        """
        row = self.provider_of(model)
        is_max = row.name == CLAUDE_PROXY.name
        return {
            "provider": row.name,
            "endpoint": self.proxy_url if is_max else row.base_url,
            "headers": {"X-Model-Type": _label(model)} if is_max else {},
            "model": model,
            "formatted_request": {"model": model, "messages": messages, **kwargs},
        }

    def provider_of(self, model: str) -> Provider:
        """The row that takes `model`; the last one takes everything.

        Raises:
            UnknownModelError: The name is empty, has an empty part, or holds characters that no name holds.
        """
        self._refuse_impossible(model)
        name = next(name for match, name in self._matchers if match(model))
        return self._by_name[name]

    def resolve(self, model: str, *, api_base: str | None = None, api_key: str | None = None) -> Target:
        """The target for `model`; with `api_base` that server, whoever's model it is, in the OpenAI dialect.

        A key from the environment goes only to its row's own host: with `api_base`, only `api_key` is sent.

        Raises:
            UnknownModelError: No such model.
            UnknownProviderError: No row takes it.
            MissingCredentialError: The row needs a key that is not set.
            UnsupportedError: The row cannot be called in this version.
        """
        row = self.provider_of(model)
        if api_base is not None:
            return self._at(row, model, api_base, api_key)
        if row.name == LITELLM.name:
            raise self._unknown_provider(model)
        if row.name == CLAUDE_PROXY.name:
            return self._max(row, model)
        base_url, name = _placed(row, _wire_name(row, model))
        if row.models and name not in row.models:
            near = near_names(name, row.models) or row.models
            raise UnknownModelError(
                f"{row.name} has no model {name!r}", did_you_mean=tuple(f"{row.name}/{n}" for n in near)
            )
        headers = credential_headers(row.auth, self._credential(row, api_key))
        return _target(row, name, Endpoint(base_url=base_url, headers=headers))

    def default_model(self) -> str:
        """The first model whose row has its credential, the embedded one last."""
        rows = [row for row in self.rows if row.default_model and row.credential_env in self._credentials]
        row = rows[0] if rows else self._by_name["local"]
        return f"{row.name}/{row.default_model}"

    def has_credential(self, row: Provider) -> bool:
        """Whether `row` needs no key or has one."""
        return row.credential_env is None or row.credential_env in self._credentials

    def _credential(self, row: Provider, api_key: str | None) -> str | None:
        if api_key is not None or row.credential_env is None:
            return api_key
        if row.credential_env not in self._credentials:
            raise MissingCredentialError(f"{row.name} needs a key", hint=f"Set {row.credential_env}, or pass api_key.")
        return self._credentials[row.credential_env]

    def _at(self, row: Provider, model: str, api_base: str, api_key: str | None) -> Target:
        if not re.match(r"https?://[^/\s]", api_base):
            raise ConfigError(f"api_base {api_base!r} is no URL", hint="Use something like http://localhost:8000/v1.")
        own = row.name not in (LITELLM.name, CLAUDE_PROXY.name) and row.transport == "http"
        served = row if own else Provider(name="custom", patterns=())
        endpoint = Endpoint(base_url=api_base.rstrip("/"), headers=credential_headers(served.auth, api_key))
        return _target(served, _wire_name(row, model) if own else model, endpoint)

    def _max(self, row: Provider, model: str) -> Target:
        if self.proxy_url == DEFAULT_PROXY_URL:
            raise UnsupportedError(
                f"{model}: answering through the claude command line is not supported in this version",
                hint="Use another model, or set LLM_CALL_CLAUDE_PROXY_URL to a running proxy.",
            )
        endpoint = Endpoint(base_url=f"{self.proxy_url.rstrip('/')}/v1", headers={"x-model-type": _label(model)})
        return replace(_target(replace(row, transport="http"), model, endpoint), name=model)

    def _unknown_provider(self, model: str) -> UnknownProviderError:
        prefix = model.partition("/")[0]
        near = near_names(prefix, [name for name in self._by_name if name != LITELLM.name])
        return UnknownProviderError(
            f"no provider for {model!r}",
            did_you_mean=tuple(f"{name}/..." for name in near),
            hint=""
            if near
            else "`llm-call models` lists what there is; any OpenAI-compatible server works with api_base.",
        )

    def _refuse_impossible(self, model: str) -> None:
        if not isinstance(model, str):
            raise UnknownModelError(f"a model name is text, not {type(model).__name__}", hint="Use provider/model.")
        if not model or _UNPRINTABLE.search(model) or "" in model.split("/"):
            shown = model if len(model) <= _SHOWN else f"{model[:_SHOWN]}..."
            near = near_names(_UNPRINTABLE.sub("", model).strip("/"), self._known_names()) or (self.default_model(),)
            raise UnknownModelError(f"{shown!r} is no model name", did_you_mean=near)
        if not model.isascii() and _MAX_LABEL.fullmatch(model):
            raise UnknownModelError(f"{model!r}: the label goes into a header", hint="Use ASCII letters only.")

    def _known_names(self) -> list[str]:
        own = [f"{row.name}/{name}" for row in self.rows for name in {*row.models, row.default_model} if name]
        return [*own, "max/opus", "max/sonnet", "max/haiku"]


_SHOWN = 80


def _label(model: str) -> str:
    found = _MAX_LABEL.fullmatch(model)
    return (found.group(1) if found else None) or _DEFAULT_LABEL


def _wire_name(row: Provider, model: str) -> str:
    """The provider's own name for `model`: without the prefix that chose the row."""
    prefix, slash, rest = model.partition("/")
    return rest if slash and f"{prefix.lower()}/*" in row.patterns else model


def _target(row: Provider, name: str, endpoint: Endpoint) -> Target:
    return Target(
        name=name if name.startswith(f"{row.name}/") else f"{row.name}/{name}",
        provider=row.name,
        model=name,
        endpoint=endpoint,
        codec=codec(row.codec),
        transport=row.transport,
        profile=row.profile,
    )


def _placed(row: Provider, name: str) -> tuple[str, str]:
    """The base URL and the wire's name: where the URL has a gap, the first part of `name` fills it."""
    if "{}" not in row.base_url:
        return row.base_url, name
    place, slash, rest = name.partition("/")
    if not slash or not _HOST_LABEL.fullmatch(place):
        raise UnknownModelError(f"{name!r} does not say where: use {row.name}/<place>/<model>")
    return row.base_url.format(place), rest
