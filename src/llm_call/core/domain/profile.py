"""Facts about a model, as data: what it takes, how it is best asked, what it costs."""

from decimal import Decimal
from typing import Annotated, Literal

from msgspec import Struct

from llm_call.core.domain.response import Usage
from llm_call.core.domain.setting import setting

OutputMode = Literal["native", "json", "prompted"]
SchemaRule = Literal["any", "closed", "strict"]
OutputLimitField = Literal["max_tokens", "max_completion_tokens"]
DialectName = Literal["openai_chat", "openai_responses", "anthropic_messages", "gemini"]
SchemaHint = Literal["none", "fields", "schema"]

_PER_MILLION = Decimal(1_000_000)


class Prices(Struct, frozen=True, kw_only=True):
    """US dollars for a million tokens. What a cache has a part in costs like other input where no price is given."""

    input: Annotated[Decimal, setting("US dollars for a million tokens of input.", access="free")]
    output: Annotated[Decimal, setting("For as many of output.", access="free")]
    cached_input: Annotated[
        Decimal | None, setting("For as many of input that come from a cache; as input.", access="free")
    ] = None
    cache_write: Annotated[
        Decimal | None, setting("For as many of input that go into a cache; as input.", access="free")
    ] = None

    def cost(self, usage: Usage) -> Decimal | None:
        """What `usage` costs in US dollars; `None` when a count is unknown."""
        if usage.input_tokens is None or usage.output_tokens is None:
            return None
        read, written = usage.cached_input_tokens or 0, usage.cache_write_input_tokens or 0
        read_price = self.input if self.cached_input is None else self.cached_input
        write_price = self.input if self.cache_write is None else self.cache_write
        plain = usage.input_tokens - read - written
        total = plain * self.input + read * read_price + written * write_price + usage.output_tokens * self.output
        return total / _PER_MILLION


class Profile(Struct, frozen=True, kw_only=True):
    """What is known of a model. `None` is unknown: nothing is refused for it.

    `output_mode` is how an answer of a given form is asked for: by the provider's own JSON Schema mode (`native`),
    by its JSON mode (`json`), or in the prompt alone. `schema_hint` is what the prompt says beside that: nothing, a
    short list of the fields, or the whole schema. `unenforced_keywords` are the JSON Schema keywords that the
    provider's native mode does not enforce: they are left out there and checked on the answer; `string_limit` bounds, in
    characters, the strings that the schema leaves without a bound. `media` are the media types that it sees (`image/*`).
    `context_tokens` is the most that it reads, `output_tokens` the most that it writes. `output_limit_field` is what
    the chat dialect calls the limit on output tokens here: OpenAI's newer models take only the longer word, most
    compatible servers only the shorter.
    `tools` and `reasoning` say whether it calls tools and thinks before it answers. `refuses` are the fields of
    `Settings` that it never takes, `reasoning_refuses` those that it does not take while it thinks, which it does with
    `default_effort` unless the request sets another. `dialect` is the one that it alone speaks, where that is not its
    provider's.
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
    tools: bool | None = None
    reasoning: bool | None = None
    refuses: tuple[str, ...] = ()
    reasoning_refuses: tuple[str, ...] = ()
    default_effort: str | None = None
    dialect: DialectName | None = None
    context_tokens: int | None = None
    output_tokens: int | None = None
    prices: Prices | None = None
