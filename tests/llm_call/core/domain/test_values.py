"""The laws that hold for every value."""

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_call.core.domain import embedding, errors, events, messages, profile, request, response, result, trace, verdict
from llm_call.core.domain.errors import ConfigError, LLMCallError
from llm_call.core.domain.keys import canonical_keys, near_names
from llm_call.core.domain.profile import Prices
from llm_call.core.domain.response import Usage

MODULES = (messages, request, response, embedding, events, profile, verdict, trace, result)
VALUES = [
    each
    for module in MODULES
    for each in vars(module).values()
    if isinstance(each, type) and issubclass(each, msgspec.Struct) and each.__module__ == module.__name__
]


@pytest.mark.parametrize("type_", VALUES, ids=lambda type_: type_.__name__)
def test_every_value_is_frozen_and_built_by_keyword(type_: type[msgspec.Struct]) -> None:
    assert type_.__struct_config__.frozen
    assert all(field.required or field.default_factory is not list for field in msgspec.structs.fields(type_))
    with pytest.raises(TypeError):
        type_(object())


def tree(type_: type[LLMCallError]) -> list[type[LLMCallError]]:
    return [type_, *(each for child in type_.__subclasses__() for each in tree(child))]


def test_every_error_stands_in_the_drawing() -> None:
    ours = [each for each in tree(LLMCallError) if each.__module__ == errors.__name__]
    assert len(ours) > 20
    for each in ours:
        assert each.__name__ in (errors.__doc__ or "")


counts = st.none() | st.integers(0, 10**9)
usages = st.builds(
    Usage,
    input_tokens=counts,
    output_tokens=counts,
    cached_input_tokens=counts,
    cache_write_input_tokens=counts,
    reasoning_tokens=counts,
)


@given(usages, usages, usages)
def test_usage_adds_up_in_any_order(one: Usage, two: Usage, three: Usage) -> None:
    assert one + Usage() == one
    assert one + two == two + one
    assert (one + two) + three == one + (two + three)


def test_cost_is_exact_and_unknown_when_a_price_or_a_count_is() -> None:
    prices = Prices(input=Decimal("0.15"), output=Decimal("0.60"), cached_input=Decimal("0.075"))
    usage = Usage(input_tokens=1_000_000, output_tokens=500_000, cached_input_tokens=400_000)
    assert prices.cost(usage) == Decimal("0.09") + Decimal("0.03") + Decimal("0.30")
    assert prices.cost(Usage(input_tokens=1)) is None


def test_keys_are_made_canonical_and_wrong_ones_get_a_suggestion() -> None:
    known, aliases = ("max_tokens", "model"), {"limit": "max_tokens"}
    assert canonical_keys({"limit": 1}, known=known, aliases=aliases, what="x") == {"max_tokens": 1}
    with pytest.raises(ConfigError) as caught:
        canonical_keys({"max_token": 1}, known=known, aliases=aliases, what="x")
    assert "Did you mean max_tokens?" in caught.value.hint
    with pytest.raises(ConfigError, match="twice"):
        canonical_keys({"limit": 1, "max_tokens": 2}, known=known, aliases=aliases, what="x")


def test_near_names_do_not_mind_case() -> None:
    assert near_names("OPNAI", ["openai", "local"]) == ("openai",)
