"""Prices: the expected ones are worked out by hand, from the figures of the data's own release that is pinned."""

import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from importlib import import_module

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_call.core.client import Client
from llm_call.core.domain.bill import Charge
from llm_call.core.domain.profile import Prices
from llm_call.core.domain.response import Usage
from llm_call.core.providers import catalog
from llm_call.core.providers.catalog import Catalog, obstacle
from llm_call.core.providers.rows import PROVIDERS
from llm_call.core.router import Router
from llm_call.testing.scripted import ScriptedTransport, chat_reply

MINE = Prices(input=Decimal(1), output=Decimal(2))
MILLION = 1_000_000


def usage(given: int, made: int, read: int | None = None, written: int | None = None) -> Usage:
    return Usage(input_tokens=given, output_tokens=made, cached_input_tokens=read, cache_write_tokens=written)


def charge(name: str, used: Usage, prices: Prices | None = None) -> Charge:
    provider, _, model = name.partition("/")
    return Charge(provider=provider, model=model, usage=used, prices=prices)


@pytest.fixture
def without_the_extra(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(catalog, "find_spec", lambda name: None)
    catalog._data.cache_clear()
    yield
    catalog._data.cache_clear()


@pytest.mark.parametrize(
    ("name", "used", "dollars"),
    [
        ("openai/gpt-4o", usage(MILLION, MILLION), "12.5"),  # 2.5 + 10
        ("openai/gpt-4o-2024-08-06", usage(1000, 100), "0.0035"),  # 0.0025 + 0.001
        ("openai/gpt-4o-mini", usage(10_000, 1000, read=8000), "0.0015"),  # 2000 at 0.15, 8000 at 0.075, 1000 at 0.6
        ("responses/gpt-4o", usage(1000, 0), "0.0025"),
        ("azure/gpt-4o", usage(1000, 1000, read=1000), "0.01125"),  # 1000 at 1.25, 1000 at 10
        ("anthropic/claude-sonnet-4-5", usage(1000, 1000), "0.018"),  # 3 and 15
        # 2000 plain at 3, 4000 read at 0.3, 4000 written at 3.75, 1000 at 15
        ("anthropic/claude-sonnet-4-5", usage(10_000, 1000, read=4000, written=4000), "0.0372"),
        ("anthropic/claude-sonnet-4-5", usage(200_000, 1000), "0.615"),  # the end of the first tier: 3 and 15
        ("anthropic/claude-sonnet-4-5", usage(200_001, 1000), "1.222506"),  # the second, for all of it: 6 and 22.5
        ("gemini/gemini-2.5-pro", usage(100_000, 1000), "0.135"),  # 1.25 and 10
        ("gemini/gemini-2.5-pro", usage(300_000, 1000, read=100_000), "0.54"),  # 2.5 and 15; read at 0.25
        ("bedrock/anthropic.claude-3-5-sonnet-20241022-v2:0", usage(1000, 1000), "0.018"),
        ("vertex/gemini-2.5-pro", usage(1000, 0), "0.00125"),
        ("xai/grok-4", usage(1000, 1000, read=400), "0.0171"),  # 600 at 3, 400 at 0.75, 1000 at 15
        ("mistral/mistral-large-latest", usage(1000, 1000), "0.008"),  # 2 and 6
        ("groq/llama-3.3-70b-versatile", usage(MILLION, MILLION), "1.38"),  # 0.59 and 0.79
        ("together/meta-llama/Llama-3.3-70B-Instruct-Turbo", usage(MILLION, MILLION), "1.76"),  # 0.88 both
        ("perplexity/sonar", usage(1000, 1000), "0.014"),  # 1 and 1, and 12 for a thousand requests
        ("openrouter/anthropic/claude-sonnet-4.5", usage(1000, 1000), "0.018"),
        ("litellm/together_ai/meta-llama/Llama-3.3-70B-Instruct-Turbo", usage(MILLION, 0), "0.88"),
        ("litellm/anthropic/claude-sonnet-4-5", usage(1000, 1000), "0.018"),
    ],
)
def test_a_listed_price_is_right_to_the_last_digit(name: str, used: Usage, dollars: str) -> None:
    assert Catalog().price(charge(name, used)) == Decimal(dollars)


def test_reasoning_tokens_are_part_of_the_output() -> None:
    used = Usage(input_tokens=0, output_tokens=1000, reasoning_tokens=900)
    assert Catalog().price(charge("openai/gpt-4o", used)) == Decimal("0.01")


@pytest.mark.parametrize(
    "name",
    [
        "openai/no-such-model",
        "openai/",
        "custom/gpt-4o",
        "vllm/gpt-4o",
        "local/smollm2-135m",
        "litellm/gpt-4o",
        "litellm/openai_like/gpt-4o",
        "gemini/gemma-3",  # listed without any price
        "openai/text-embedding-3-small",  # without one for output
    ],
)
def test_what_is_not_listed_has_no_price(name: str) -> None:
    assert Catalog().price(charge(name, usage(1000, 1000))) is None
    assert Catalog().unit_price(*name.split("/", 1)) is None


@pytest.mark.parametrize(
    "used", [Usage(), Usage(input_tokens=1), Usage(output_tokens=1), usage(10, 1, read=20), usage(10, 1, written=20)]
)
def test_counts_that_are_unknown_or_impossible_have_no_price(used: Usage) -> None:
    assert Catalog().price(charge("anthropic/claude-sonnet-4-5", used)) is None


@pytest.mark.parametrize("pattern", ["openai/gpt-4o", "openai/*", "*/gpt-4o", "OpenAI/GPT*"])
def test_the_users_price_comes_before_the_profiles_and_that_before_the_list(pattern: str) -> None:
    used, profile = usage(MILLION, MILLION), Prices(input=Decimal(5), output=Decimal(5))
    assert Catalog({pattern: MINE}).price(charge("openai/gpt-4o", used, profile)) == 3
    assert Catalog({"other/*": MINE}).price(charge("openai/gpt-4o", used, profile)) == 10
    assert Catalog({"other/*": MINE}).price(charge("openai/gpt-4o", used)) == Decimal("12.5")
    assert Catalog({pattern: MINE, "*": profile}).unit_price("openai", "gpt-4o") == MINE


@given(st.integers(0, 10**7), st.integers(0, 10**7), st.integers(0, 10**7), st.integers(0, 10**7))
def test_below_the_first_tier_the_unit_prices_say_the_same_as_the_list(
    plain: int, made: int, read: int, written: int
) -> None:
    """In the data of a model without tiers: the two ways of counting cannot differ."""
    used = usage(plain + read + written, made, read, written)
    mine = Catalog().unit_price("bedrock", "anthropic.claude-3-5-sonnet-20241022-v2:0")
    assert mine is not None
    asked = charge("bedrock/anthropic.claude-3-5-sonnet-20241022-v2:0", used)
    assert Catalog().price(asked) == mine.cost(used)


def test_facts_of_a_model() -> None:
    known = Catalog()
    assert known.context_tokens("openai", "gpt-4o") == 128_000
    assert known.context_tokens("openai", "no-such-model") is None
    assert known.context_tokens("local", "smollm2-135m") is None
    assert known.unit_price("anthropic", "claude-sonnet-4-5") == Prices(
        input=Decimal(3), output=Decimal(15), cached_input=Decimal("0.3"), cache_write=Decimal("3.75")
    )


def test_every_listed_name_is_a_providers_in_the_data() -> None:
    there = {provider.id for provider in import_module("genai_prices.data_snapshot").get_snapshot().providers}
    assert {*catalog._LISTED.values(), *catalog._LITELLM.values()} <= there
    assert {"openai", "anthropic", "gemini", "mistral", "groq"} <= catalog._LISTED.keys() & {
        row.name for row in PROVIDERS
    }


@pytest.mark.usefixtures("without_the_extra")
def test_without_the_extra_nothing_is_known_and_the_command_is_named() -> None:
    asked = charge("openai/gpt-4o", usage(1, 1))
    assert Catalog().price(asked) is None
    assert Catalog().context_tokens("openai", "gpt-4o") is None
    assert Catalog({"*": MINE}).price(asked) is not None
    assert 'pip install "llm-call[prices]"' in str(obstacle([asked]))
    assert obstacle([charge("local/smollm2-135m", usage(1, 1))]) is None


def test_with_the_extra_there_is_no_obstacle() -> None:
    assert obstacle([charge("openai/gpt-4o", usage(1, 1))]) is None


def test_a_calls_cost_comes_from_the_catalog() -> None:
    transport = ScriptedTransport(chat_reply("hi", prompt_tokens=1000, completion_tokens=100))
    ours = Client(
        router=Router(credentials={"OPENAI_API_KEY": "k"}),
        transports={"http": lambda: transport},
        pricing=Catalog().price,
    )
    assert ours.ask_sync("hi", model="openai/gpt-4o").cost == Decimal("0.0035")


def test_the_data_is_imported_when_the_cost_is_asked_for_not_before() -> None:
    program = """
import sys
from llm_call.core.client import Client
from llm_call.core.providers.catalog import Catalog
from llm_call.core.router import Router
from llm_call.testing.scripted import ScriptedTransport, chat_reply
reply = ScriptedTransport(chat_reply("hi", prompt_tokens=1000, completion_tokens=100))
client = Client(router=Router(credentials={"OPENAI_API_KEY": "k"}), transports={"http": lambda: reply}, pricing=Catalog().price)
result = client.ask_sync("hi", model="openai/gpt-4o")
assert "genai_prices" not in sys.modules
print(result.cost)
assert "genai_prices" in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60)
    assert Decimal(done.stdout) == Decimal("0.0035")
