"""What models cost and how much they read: the user's own figures, then those of `genai-prices`, an optional extra.

Rule: what is not known is `None`, never guessed: no provider is taken for another, and a model with a price missing for
tokens that it used has no cost. The data is imported when somebody asks: it takes a fifth of a second, and nothing is
fetched.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from fnmatch import fnmatchcase
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from llm_call.core.domain.bill import Charge
from llm_call.core.domain.profile import Prices
from llm_call.core.domain.response import Usage

GET_PRICES = 'Run: pip install "llm-call[prices]"'

# Our rows, and their names in genai-prices. Rows that are not here have no list prices there: servers of one's own,
# subscriptions, and hosts that choose a price by what they choose behind the name.
_LISTED: Mapping[str, str] = {
    "anthropic": "anthropic",
    "azure": "azure",
    "bedrock": "aws",
    "bedrockclaude": "aws",
    "cerebras": "cerebras",
    "cohere": "cohere",
    "deepseek": "deepseek",
    "fireworks": "fireworks",
    "gemini": "google",
    "groq": "groq",
    "mistral": "mistral",
    "moonshot": "moonshotai",
    "openai": "openai",
    "openrouter": "openrouter",
    "perplexity": "perplexity",
    "responses": "openai",
    "together": "together",
    "vertex": "google",
    "xai": "x-ai",
    "zai": "zai",
    "zhipu": "zhipuai",
}
# litellm's prefixes where they are not ours.
_LITELLM: Mapping[str, str] = {
    "cohere_chat": "cohere",
    "databricks": "databricks",
    "fireworks_ai": "fireworks",
    "novita": "novita",
    "together_ai": "together",
    "vertex_ai": "google",
    "voyage": "voyageai",
}


class Catalog:
    """Prices and facts of models.

    `overrides` maps globs over `provider/model`, matched without regard to case, to prices; the first that matches
    counts.
    """

    def __init__(self, overrides: Mapping[str, Prices] | None = None) -> None:
        self._overrides = tuple((pattern.lower(), prices) for pattern, prices in (overrides or {}).items())

    def price(self, charge: Charge) -> Decimal | None:
        """US dollars for `charge`: by the user's prices, the profile's own, or the list's; `None` when unknown.

        Of the list: prices of this hour, and those of a long context where the prompt is one. A cache that was written
        to for an hour is taken for one of five minutes: the usage does not tell them apart.
        """
        own = self._override(charge.provider, charge.model) or charge.prices
        if own is not None:
            return own.cost(charge.usage)
        return _listed_cost(charge.provider, charge.model, charge.usage)

    def unit_price(self, provider: str, model: str) -> Prices | None:
        """What a million tokens of `model`, by the provider's own name, cost now with a short prompt."""
        if own := self._override(provider, model):
            return own
        found = _find(provider, model)
        return None if found is None else _unit_prices(found[1])

    def context_tokens(self, provider: str, model: str) -> int | None:
        """How many tokens `model` reads at most."""
        found = _find(provider, model)
        return None if found is None else found[1].context_window

    def _override(self, provider: str, model: str) -> Prices | None:
        name = f"{provider}/{model}".lower()
        return next((prices for pattern, prices in self._overrides if fnmatchcase(name, pattern)), None)


def obstacle(charges: Iterable[Charge]) -> str | None:
    """What must be done before `charges` can be priced by the list; `None` where that would not help."""
    listed = any(charge.prices is None and _place(charge.provider, charge.model) for charge in charges)
    return GET_PRICES if listed and find_spec("genai_prices") is None else None


def _listed_cost(provider: str, model: str, usage: Usage) -> Decimal | None:
    found = _find(provider, model)
    if found is None or usage.input_tokens is None or usage.output_tokens is None:
        return None
    if _unit_prices(found[1]) is None:
        return None
    counts = {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_read_tokens": usage.cached_input_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "output_reasoning_tokens": usage.reasoning_tokens,
    }
    try:
        cost: Decimal = found[1].calc_price(import_module("genai_prices").Usage(**counts), found[0]).total_price
    except ValueError:  # counts that contradict each other
        return None
    return cost


def _unit_prices(model: Any) -> Prices | None:
    """The prices that hold now; `None` where a million tokens have none."""
    listed = model.get_prices(datetime.now(UTC))
    given, made = _base(listed.input_mtok), _base(listed.output_mtok)
    if given is None or made is None:
        return None
    read, written = _base(listed.cache_read_mtok), _base(listed.cache_write_mtok)
    return Prices(input=given, output=made, cached_input=read, cache_write=written)


def _base(price: Any) -> Decimal | None:
    """The price of the lowest tier, where there are tiers."""
    base: Decimal | None = getattr(price, "base", price)
    return base


def _find(provider: str, model: str) -> tuple[Any, Any] | None:
    """The provider and the model in the data; `None` when either is not there."""
    place = _place(provider, model)
    data = _data() if place else None
    if place is None or data is None:
        return None
    try:
        found: tuple[Any, Any] = data.get_snapshot().find_provider_model(place[1], None, place[0], None)
    except LookupError:
        return None
    return found


def _place(provider: str, model: str) -> tuple[str, str] | None:
    """The provider's name in the data, and the model's there; `None` where the data has no such provider."""
    name = _LISTED.get(provider)
    if provider == "litellm":
        prefix, _, model = model.partition("/")
        name = _LISTED.get(prefix) or _LITELLM.get(prefix)
    return (name, model) if name and model else None


@cache
def _data() -> Any | None:
    """The data, or `None` when it is not installed."""
    return import_module("genai_prices.data_snapshot") if find_spec("genai_prices") else None
