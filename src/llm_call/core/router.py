"""Names to places: which provider takes a model name, and where exactly the request goes."""

import re
from collections.abc import Callable, Mapping, Sequence
from fnmatch import translate
from functools import lru_cache
from typing import Any

from msgspec.structs import replace

from llm_call.core.domain.errors import (
    ConfigError,
    LLMCallError,
    MissingCredentialError,
    UnknownModelError,
    UnknownProviderError,
    UnsupportedError,
)
from llm_call.core.domain.keys import near_names
from llm_call.core.domain.request import Request
from llm_call.core.policy.routing import Route
from llm_call.core.providers.litellm import GET_LITELLM, installed
from llm_call.core.providers.places import Placed, placed
from llm_call.core.providers.registry import DEFAULT_PROXY_URL, Provider, Signer, Target, codec
from llm_call.core.providers.rows import CLAUDE_PROXY, LITELLM, PROVIDERS
from llm_call.core.providers.signing import signer
from llm_call.core.routes import Choice, Gathering, Names, Ordering, PriceLookup, asked, models_behind, pool, read_names
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
_LONGEST_NAME = 1000  # characters; names are kept in memory, and the longest known (resource names of clouds) have 200
_REMEMBERED = 256  # names
AUTO = "auto"

# Rows beside a model's home that serve its family, under names of their own. Where only one of them has its key, the
# error about the missing one says so; choosing it would be a guess.
ALSO_SERVED: Mapping[str, tuple[str, ...]] = {
    "openai": ("azure", "openrouter"),
    "anthropic": ("bedrock", "openrouter"),
    "gemini": ("vertex", "openrouter"),
    "mistral": ("openrouter", "bedrock"),
    "deepseek": ("openrouter", "together", "fireworks", "sambanova"),
    "xai": ("openrouter",),
    "cohere": ("openrouter",),
    "perplexity": ("openrouter",),
    "moonshot": ("openrouter", "groq", "together"),
    "qwen": ("openrouter", "together", "fireworks"),
    "zhipu": ("openrouter",),
}


class Router:
    """Finds the provider of a model name, and the target that a request goes to.

    `rows` are the user's own providers, tried before the built-in ones; one that bears the name of a built-in row
    stands in its place. `credentials` maps the rows' environment names, or their own names, to keys; a key is looked up
    when it is needed, and not before. `places` maps the variables of places (`core.providers.places`) to their values.
    `proxy_url` is where the Claude proxy listens; where it differs from the default, `max/*` requests
    are sent there, otherwise they are answered in process. `aliases` are other names of models, `routes` names of
    several targets; both may lead to each other. `prices` is asked where a route compares by cost.

    Raises:
        ConfigError: An alias or a route has a name that is a provider's, goes in a circle, or leads to no model.
    """

    def __init__(
        self,
        *,
        proxy_url: str = DEFAULT_PROXY_URL,
        rows: Sequence[Provider] = (),
        credentials: Mapping[str, str] | None = None,
        places: Mapping[str, str] | None = None,
        aliases: Mapping[str, str] | None = None,
        routes: Mapping[str, Route] | None = None,
        prices: PriceLookup | None = None,
    ) -> None:
        self.proxy_url = proxy_url
        self.rows = _merged(rows)
        self._by_name = {row.name: row for row in reversed(self.rows)}
        self._credentials = credentials or {}
        self.places = places or {}
        self._signers: dict[tuple[str, str | None], Signer] = {}
        self._matchers = [(_matcher(pattern), name) for pattern, name in _patterns(self.rows).items()]
        # Remembered, so that planning a call costs little; a key in a target lives as long as the router does.
        self._row_of = lru_cache(_REMEMBERED)(self._find_row)
        self._target_of = lru_cache(_REMEMBERED)(
            lambda model, api_base, api_key: self.resolve(model, api_base=api_base, api_key=api_key)
        )
        self._ordering = Ordering(prices)
        self._names: Names = {}
        self._names = read_names(
            aliases or {},
            routes or {},
            given={AUTO: self._auto()},
            check_name=self._refuse_taken,
            check_model=self._refuse_unknown,
        )

    async def route_request(self, model: str, messages: Sequence[Any], **kwargs: Any) -> dict[str, Any]:
        """Where a request for `model` goes, as a dictionary: provider, endpoint, headers, model, formatted_request.

        Of a route it is the first target that is listed.

        Raises:
            UnknownModelError: The name cannot be a model's.
        """
        model = self._first_behind(model)
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
        if not isinstance(model, str):
            raise UnknownModelError(f"a model name is text, not {type(model).__name__}", hint="Use provider/model.")
        return self._row_of(model)

    def choose(
        self,
        model: str,
        request: Request,
        *,
        fallbacks: Sequence[str] = (),
        api_base: str | None = None,
        api_key: str | None = None,
        key: str | None = None,
        strict: bool = False,
    ) -> Choice:
        """The targets that may answer `request`: those that `model` stands for, then those of the `fallbacks`.

        Of several, those are left out that lack their key or cannot take the request, and the choice says why. With
        `api_base` the name is that server's own. `key` keeps a sticky route's calls at one target. `strict` leaves out
        targets that would only be told a schema in words.

        Raises:
            ConfigError: A name is unknown, or `api_key` would go to several providers.
            MissingCredentialError: No target has its key.
            NoEligibleTargetError: No target can take the request; there is a line for each.
            UnsupportedError: The only target cannot be called in this version.
        """
        meant = model if api_base is not None else self._names.get(model, model)
        if isinstance(meant, str) and not fallbacks:
            return Choice(targets=(self._target_of(meant, api_base, api_key),))
        if api_key is not None and isinstance(meant, Route):
            self._refuse_shared_key(model)
        wanted = asked(request, key=key, strict=strict)
        gathering = Gathering(self._names, self._target_of, wanted.needs)
        first = gathering.named(model, api_key) if api_base is None else gathering.target(model, api_base, api_key)
        found = first
        if fallbacks:
            found = pool(model, "priority", [(each, 1.0) for each in (first, *map(gathering.named, fallbacks))])
        if found is None:
            raise gathering.error()
        return self._ordering.choice(found, wanted, gathering.skipped)

    def observe(self, target: Target, seconds: float, error: LLMCallError | None, now: float) -> None:
        """Learn that an attempt at `target` has taken `seconds` and given an answer or `error`.

        `now` is on the clock on which targets are put in order.
        """
        self._ordering.observe(target, seconds, error, now)

    def resolve(self, model: str, *, api_base: str | None = None, api_key: str | None = None) -> Target:
        """The target for `model`, a model's own name; with `api_base` that server, whoever's model it is.

        A key from the environment goes only to its row's own host: with `api_base`, only `api_key` is sent.

        Raises:
            UnknownModelError: No such model.
            UnknownProviderError: No row takes it.
            MissingCredentialError: The row needs a key that is not set.
            UnsupportedError: The row cannot be called in this version.
        """
        row = self.provider_of(model)
        if row.name == LITELLM.name and (api_base is None or _wire_name(row, model) != model):
            return self._long_tail(row, model, api_base, api_key)
        if api_base is not None:
            return self._at(row, model, api_base, api_key)
        if row.name == CLAUDE_PROXY.name:
            return self._max(row, model)
        if row.tested == "retired":
            raise UnsupportedError(f"{row.name} was retired by its vendor", hint="Choose another provider.")
        place = placed(row, _wire_name(row, model), self.places)
        name = row.renamed.get(place.name, place.name)
        if row.models and name not in row.models:
            near = near_names(name, row.models) or row.models
            raise UnknownModelError(
                f"{row.name} has no model {name!r}", did_you_mean=tuple(f"{row.name}/{n}" for n in near)
            )
        key = self._credential(row, api_key)
        target = _target(row, name, Endpoint(base_url=place.base_url, headers=row.headers(key)))
        return target if key or not row.signing else replace(target, sign=self._signer(row, place))

    def default_model(self) -> str:
        """The first model whose row has its credential, the embedded one last."""
        rows = [row for row in self.rows if row.default_model and self.credential_name(row)]
        row = rows[0] if rows else self._by_name["local"]
        return f"{row.name}/{row.default_model}"

    def has_credential(self, row: Provider) -> bool:
        """Whether `row` needs no key or has one."""
        return not row.credential_env or self.credential_name(row) is not None

    def credential_name(self, row: Provider) -> str | None:
        """Under which name there is a key for `row`: its own, or that of a variable; `None` where there is none."""
        return next((name for name in (row.name, *row.credential_env) if name in self._credentials), None)

    def _credential(self, row: Provider, api_key: str | None) -> str | None:
        if api_key is not None:
            return api_key
        name = self.credential_name(row)
        if name is not None:
            return self._credentials[name]
        if row.credential_env and not row.signing:
            names = " or ".join(row.credential_env)
            hint = f"Set {names}, or pass api_key.{self._elsewhere(row)}"
            raise MissingCredentialError(f"{row.name} needs a key", hint=hint)
        return None

    def _signer(self, row: Provider, place: Placed) -> Signer:
        """What signs for `row` at `place`: one for all its calls, since it keeps what it has fetched."""
        key = (row.name, place.places.get("region"))
        if key not in self._signers:
            self._signers[key] = signer(row, place.places, self.places)
        return self._signers[key]

    def _elsewhere(self, row: Provider) -> str:
        """Who else serves the row's models and has its key. Going there unasked would be a guess."""
        others = [name for name in ALSO_SERVED.get(row.name, ()) if name in self._by_name]
        ready = [f"{name}/..." for name in others if self.has_credential(self._by_name[name])]
        return f" {' and '.join(ready)} may serve the model under another name." if ready else ""

    def _auto(self) -> str | Route:
        """The cheapest of all models that are named in a row and have their key; the embedded one without any."""
        found = dict.fromkeys(
            full
            for row in self.rows
            if row.transport == "http" and self.has_credential(row)
            for name in (row.default_model, *row.models)
            if name and self.provider_of(full := f"{row.name}/{name}") is row
        )
        embedded = f"local/{self._by_name['local'].default_model}"
        return Route(targets=tuple(found), strategy="cheapest") if found else embedded

    def _first_behind(self, model: str) -> str:
        is_name = isinstance(model, str) and model in self._names
        return next(models_behind(self._names, model)) if is_name else model

    def _refuse_taken(self, name: str) -> None:
        row = self.provider_of(name)
        if "/" in name:
            raise ConfigError(f"the name {name!r} holds a slash", hint="A slash ends the name of a provider.")
        if "*" not in row.patterns:
            raise ConfigError(f"the name {name!r} is one of {row.name}'s models", hint="Use a name of your own.")

    def _refuse_unknown(self, model: str) -> None:
        if self.provider_of(model).name == LITELLM.name and ("/" not in model or not installed()):
            raise self._unknown_provider(model)

    def _refuse_shared_key(self, model: str) -> None:
        providers = {self.provider_of(name).name for name in models_behind(self._names, model)}
        if len(providers) > 1:
            raise ConfigError(
                f"api_key is for one provider, and {model} stands for models of {', '.join(sorted(providers))}",
                hint="Set each provider's own key.",
            )

    def _find_row(self, model: str) -> Provider:
        self._refuse_impossible(model)
        name = next(name for match, name in self._matchers if match(model))
        return self._by_name[name]

    def _at(self, row: Provider, model: str, api_base: str, api_key: str | None) -> Target:
        own = row.name not in (LITELLM.name, CLAUDE_PROXY.name) and row.transport == "http"
        served = row if own else Provider(name="custom", patterns=())
        endpoint = Endpoint(base_url=_base_url(api_base), headers=served.headers(api_key))
        return replace(_target(served, _wire_name(row, model) if own else model, endpoint), listed=False)

    def _long_tail(self, row: Provider, model: str, api_base: str | None, api_key: str | None) -> Target:
        """Whatever litellm may know: it is asked when the request is sent, since importing it takes seconds."""
        if "/" not in model or not installed():
            raise self._unknown_provider(model)
        base_url = "" if api_base is None else _base_url(api_base)
        endpoint = Endpoint(base_url=base_url, headers=row.headers(api_key))
        return _target(row, _wire_name(row, model), endpoint)

    def _max(self, row: Provider, model: str) -> Target:
        if self.proxy_url == DEFAULT_PROXY_URL:
            raise UnsupportedError(
                f"{model}: answering through the claude command line is not supported in this version",
                hint="Use another model, or set LLM_CALL_CLAUDE_PROXY_URL to a running proxy.",
            )
        endpoint = Endpoint(base_url=f"{self.proxy_url.rstrip('/')}/v1", headers={"x-model-type": _label(model)})
        return replace(_target(replace(row, transport="http"), model, endpoint), name=model)

    def _unknown_provider(self, model: str) -> UnknownProviderError:
        prefix, slash, _ = model.partition("/")
        if prefix.lower() == LITELLM.name and slash:
            return UnknownProviderError(f"{model!r} needs litellm, which is not installed", hint=GET_LITELLM)
        own = () if slash else near_names(model, self._names)
        providers = near_names(prefix, [name for name in self._by_name if name != LITELLM.name])
        near = (*own, *(f"{name}/..." for name in providers))
        hints = [f"Did you mean {' or '.join(near)}?"] if near else ["`llm-call models` lists what there is."]
        if slash:
            hints.append(f"For more providers: {GET_LITELLM}. Any OpenAI-compatible server works with api_base.")
        return UnknownProviderError(f"no provider for {model!r}", did_you_mean=near, hint=" ".join(hints))

    def _refuse_impossible(self, model: str) -> None:
        if not model or len(model) > _LONGEST_NAME or _UNPRINTABLE.search(model) or "" in model.split("/"):
            shown = model if len(model) <= _SHOWN else f"{model[:_SHOWN]}..."
            near = near_names(_UNPRINTABLE.sub("", model).strip("/"), self._known_names()) or (self.default_model(),)
            raise UnknownModelError(f"{shown!r} is no model name", did_you_mean=near)
        if not model.isascii() and _MAX_LABEL.fullmatch(model):
            raise UnknownModelError(f"{model!r}: the label goes into a header", hint="Use ASCII letters only.")

    def _known_names(self) -> list[str]:
        own = [f"{row.name}/{name}" for row in self.rows for name in {*row.models, row.default_model} if name]
        return [*own, "max/opus", "max/sonnet", "max/haiku"]


_SHOWN = 80


def _matcher(pattern: str) -> Callable[[str], object]:
    """What tells whether a name is of `pattern`, in any case. Without a slash it takes bare names only, but for `*`.

    `deepseek-*` must not take `deepseek-ai/...`, which is somebody else's name for other models.
    """
    bare = "" if "/" in pattern or pattern == "*" else "(?!.*/)"
    return re.compile(bare + translate(pattern), re.IGNORECASE).match


def _label(model: str) -> str:
    found = _MAX_LABEL.fullmatch(model)
    return (found.group(1) if found else None) or _DEFAULT_LABEL


def _merged(rows: Sequence[Provider]) -> tuple[Provider, ...]:
    """The user's new rows, then the built-in ones, each of which a user's row of its name replaces."""
    own = {row.name: row for row in reversed(rows)}
    built_in = {row.name for row in PROVIDERS}
    return (*(row for row in rows if row.name not in built_in), *(own.get(row.name, row) for row in PROVIDERS))


def _wire_name(row: Provider, model: str) -> str:
    """The provider's own name for `model`: without the prefix that chose the row."""
    prefix, slash, rest = model.partition("/")
    start = f"{prefix.lower()}/"
    return rest if slash and any(pattern.startswith(start) for pattern in row.patterns) else model


def _base_url(api_base: str) -> str:
    if not re.match(r"https?://[^/\s]", api_base):
        raise ConfigError(f"api_base {api_base!r} is no URL", hint="Use something like http://localhost:8000/v1.")
    return api_base.rstrip("/")


def _target(row: Provider, name: str, endpoint: Endpoint) -> Target:
    profile = row.profile_of(name)
    return Target(
        name=name if name.startswith(f"{row.name}/") else f"{row.name}/{name}",
        provider=row.name,
        model=name,
        endpoint=endpoint,
        codec=codec(profile.dialect or row.codec),
        transport=row.transport,
        profile=profile,
    )
