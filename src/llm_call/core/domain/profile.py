"""Facts about a model, as data: what it takes, how it is best asked, what it costs."""

from decimal import Decimal
from typing import Literal

from msgspec import Struct

from llm_call.core.domain.response import Usage

OutputMode = Literal["native", "json", "prompted"]
SchemaRule = Literal["any", "closed", "strict"]
OutputLimitField = Literal["max_tokens", "max_completion_tokens"]
SchemaHint = Literal["none", "fields", "schema"]

_PER_MILLION = Decimal(1_000_000)


class Prices(Struct, frozen=True, kw_only=True):
    """US dollars for a million tokens."""

    input: Decimal
    output: Decimal
    cached_input: Decimal | None = None

    def cost(self, usage: Usage) -> Decimal | None:
        """What `usage` costs in US dollars; `None` when a count is unknown."""
        if usage.input_tokens is None or usage.output_tokens is None:
            return None
        cached = usage.cached_input_tokens or 0
        cached_price = self.input if self.cached_input is None else self.cached_input
        plain = usage.input_tokens - cached
        return (plain * self.input + cached * cached_price + usage.output_tokens * self.output) / _PER_MILLION


class Profile(Struct, frozen=True, kw_only=True):
    """What is known of a model. `None` is unknown: nothing is refused for it.

    `output_mode` is how an answer of a given form is asked for: by the provider's own JSON Schema mode (`native`),
    by its JSON mode (`json`), or in the prompt alone. `schema_hint` is what the prompt says beside that: nothing, a
    short list of the fields, or the whole schema. `unenforced_keywords` are the JSON Schema keywords that the
    provider's native mode does not enforce: they are left out there and checked on the answer; `string_limit` bounds, in
    characters, the strings that the schema leaves without a bound. `media` are the media types that it sees (`image/*`). `output_limit_field` is what the chat dialect calls the limit
    on output tokens here: OpenAI's newer models take only the longer word, most compatible servers only the shorter.
    `schema_rule` says which schemas the native mode takes: any; only those whose objects are all closed and that do not
    contain themselves; or any, but it holds the model to those alone that fit its strict mode. `cache_markers` says
    whether the host takes prompt-cache markers in the chat dialect.
    """

    output_mode: OutputMode = "native"
    schema_hint: SchemaHint = "none"
    unenforced_keywords: tuple[str, ...] = ()
    string_limit: int | None = None
    output_limit_field: OutputLimitField = "max_tokens"
    schema_rule: SchemaRule = "any"
    cache_markers: bool = False
    stream_only: bool = False
    media: tuple[str, ...] | None = None
    context_tokens: int | None = None
    prices: Prices | None = None
