"""What names stand for: aliases, routes, `auto`, and which targets are left of them for a request."""

import asyncio
from collections.abc import Mapping
from decimal import Decimal
from functools import partial
from typing import Any

import pytest

from llm_call.core.domain.errors import (
    BadRequestError,
    ConfigError,
    LLMCallError,
    MissingCredentialError,
    NoEligibleTargetError,
    RateLimitError,
    UnknownModelError,
    UnsupportedError,
)
from llm_call.core.domain.messages import Media, Message, message
from llm_call.core.domain.profile import Prices, Profile
from llm_call.core.domain.request import OutputSpec, Request, Settings, Tool
from llm_call.core.domain.trace import Skipped
from llm_call.core.policy.routing import Route, RouteTarget
from llm_call.core.providers.registry import Provider
from llm_call.core.router import Router
from llm_call.core.routes import Choice

PLAIN = Request(model="", messages=(message("user", "hi"),))
TOOLS = Request(model="", messages=PLAIN.messages, tools=(Tool(name="t"),))
KEYS = {"OPENAI_API_KEY": "sk-one", "GROQ_API_KEY": "gsk-two", "MISTRAL_API_KEY": "three"}
LIMITED = Provider(
    name="limited",
    patterns=("limited/*",),
    base_url="http://limited/v1",
    profile=Profile(tools=False, media=(), output_tokens=100, context_tokens=10, output_mode="prompted"),
)


def router(routes: Mapping[str, Any] | None = None, **changes: Any) -> Router:
    made = {name: route if isinstance(route, Route) else Route(targets=route) for name, route in (routes or {}).items()}
    return Router(**{"credentials": KEYS, "rows": [LIMITED], "routes": made, **changes})


def chosen(choice: Choice) -> list[str]:
    return [target.name for target in choice.targets]


def test_a_plain_name_is_one_target_with_nothing_to_order() -> None:
    choice = router().choose("openai/a", TOOLS)
    assert (chosen(choice), choice.skipped, choice.order) == (["openai/a"], (), None)


def test_an_alias_is_another_name() -> None:
    ours = router(aliases={"fast": "quick", "quick": "groq/llama"})
    assert chosen(ours.choose("fast", PLAIN)) == ["groq/llama"]
    assert chosen(ours.choose("fast", PLAIN, api_key="mine")) == ["groq/llama"]


def test_a_route_is_its_targets_as_listed_each_once() -> None:
    ours = router(
        {"smart": ("fast", "openai/a", "groq/llama", "inner"), "inner": ("mistral/m", "openai/a")},
        aliases={"fast": "groq/llama"},
    )
    assert chosen(ours.choose("smart", PLAIN)) == ["groq/llama", "openai/a", "mistral/m"]


def test_fallbacks_follow_the_model_and_may_be_names_too() -> None:
    ours = router({"inner": ("mistral/m", "openai/a")}, aliases={"fast": "groq/llama"})
    assert chosen(ours.choose("openai/a", PLAIN, fallbacks=("inner", "fast"))) == [
        "openai/a",
        "mistral/m",
        "groq/llama",
    ]


def test_a_request_of_a_name_is_described_by_its_first_target() -> None:
    ours = router({"smart": ("fast", "openai/a")}, aliases={"fast": "groq/llama"})
    described = asyncio.run(ours.route_request("smart", []))
    assert (described["provider"], described["model"], described["formatted_request"]["model"]) == (
        "groq",
        "groq/llama",
        "groq/llama",
    )


@pytest.mark.parametrize(
    ("aliases", "routes", "said"),
    [
        ({"a": "b", "b": "a"}, {}, "in a circle: a -> b -> a"),
        ({"a": "r"}, {"r": ("openai/x", "a")}, "in a circle: a -> r -> a"),
        ({"a": "a"}, {}, "in a circle: a -> a"),
        ({"fast": "opnai/x"}, {}, "fast -> opnai/x: no provider"),
        ({}, {"smart": ("openai/x", "fsat")}, "smart -> fsat: no provider"),
        ({"fast": "openai//x"}, {}, "fast -> openai//x"),
        ({"gpt-4": "groq/x"}, {}, "openai's models"),
        ({"max": "groq/x"}, {}, "claude_proxy's models"),
        ({"team/fast": "groq/x"}, {}, "slash"),
        ({"a b": "groq/x"}, {}, "no model name"),
        ({"x": "groq/x"}, {"x": ("groq/x",)}, "both an alias and a route"),
        ({str(n): str(n + 1) for n in range(20)}, {}, "too deep"),
        ({}, {f"r{n}": (f"r{n + 1}",) * 10 if n < 6 else ("groq/x",) for n in range(7)}, "too many targets"),
    ],
    ids=str,
)
def test_names_that_cannot_be_are_refused_with_the_way_that_leads_there(
    aliases: dict[str, str], routes: dict[str, tuple[str, ...]], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llm_call.core.router.installed", lambda: False)
    with pytest.raises(ConfigError) as caught:
        router(routes, aliases=aliases)
    assert said in caught.value.message
    assert caught.value.hint


def test_a_name_that_is_nearly_one_of_the_users_is_told() -> None:
    with pytest.raises(UnknownModelError) as caught:
        router({"smart": ("openai/a",)}).choose("smrat", PLAIN)
    assert "smart" in caught.value.hint


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (TOOLS, "has no tools"),
        (
            Request(model="", messages=(Message(role="user", parts=(Media(media_type="image/png", data=b"x"),)),)),
            "takes no image/png",
        ),
        (
            Request(model="", messages=(message("user", "word " * 11),)),
            "reads 10 tokens at most, the request has 11 words",
        ),
        (
            Request(model="", messages=PLAIN.messages, settings=Settings(max_output_tokens=101)),
            "writes 100 tokens at most",
        ),
    ],
)
def test_targets_that_cannot_take_the_request_are_left_out_with_the_reason(request_: Request, why: str) -> None:
    choice = router({"smart": ("limited/a", "openai/b")}).choose("smart", request_)
    assert chosen(choice) == ["openai/b"]
    assert [each.target for each in choice.skipped] == ["limited/a"]
    assert why in choice.skipped[0].why


def test_a_strict_call_leaves_out_those_that_are_only_told_the_schema() -> None:
    ours = router({"smart": ("limited/a", "openai/b")})
    request = Request(model="", messages=PLAIN.messages, output=OutputSpec(schema={"type": "object"}))
    assert chosen(ours.choose("smart", request)) == ["limited/a", "openai/b"]
    assert chosen(ours.choose("smart", request, strict=True)) == ["openai/b"]


def test_with_none_left_each_is_told_with_its_reason() -> None:
    with pytest.raises(NoEligibleTargetError) as caught:
        router({"smart": ("limited/a", "limited/b", "xai/c")}).choose("smart", TOOLS)
    first, *lines = caught.value.message.split("\n")
    assert first == "no target can take this request"
    assert lines == [
        "limited/a: has no tools",
        "limited/b: has no tools",
        "xai/c: xai needs a key. Set XAI_API_KEY, or pass api_key.",
    ]


def test_a_target_without_its_key_is_left_out_as_long_as_another_is_left() -> None:
    choice = router({"smart": ("xai/a", "openai/b")}).choose("smart", PLAIN)
    assert chosen(choice) == ["openai/b"]
    assert choice.skipped == (Skipped(target="xai/a", why="xai needs a key. Set XAI_API_KEY, or pass api_key."),)


def test_where_only_keys_are_missing_the_error_says_so() -> None:
    with pytest.raises(MissingCredentialError, match="XAI_API_KEY") as caught:
        router({"smart": ("xai/a", "cerebras/b")}).choose("smart", PLAIN)
    assert "CEREBRAS_API_KEY" in caught.value.message


def test_a_target_that_cannot_be_called_yet_is_left_out_too() -> None:
    choice = router().choose("max/opus", PLAIN, fallbacks=("openai/a",))
    assert chosen(choice) == ["openai/a"]
    assert "not supported" in choice.skipped[0].why
    with pytest.raises(UnsupportedError):
        router().choose("max/opus", PLAIN)


def test_a_single_name_that_cannot_take_the_request_is_its_codecs_to_refuse() -> None:
    assert chosen(router().choose("limited/a", TOOLS)) == ["limited/a"]


def test_an_unknown_model_in_a_list_is_an_error_and_not_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llm_call.core.router.installed", lambda: False)
    with pytest.raises(UnknownModelError):
        router().choose("openai/a", PLAIN, fallbacks=("opnai/b",))


def test_with_a_base_url_the_name_is_that_servers_own() -> None:
    ours = router({"smart": ("openai/a", "groq/b")})
    for name in ("smart", "auto"):
        (target,) = ours.choose(name, PLAIN, api_base="http://h/v1", api_key="k").targets
        assert (target.model, target.endpoint.base_url) == (name, "http://h/v1")


def test_the_same_name_at_two_places_is_two_targets() -> None:
    choice = router().choose("openai/a", PLAIN, fallbacks=("openai/a",), api_base="http://h/v1")
    assert [target.endpoint.base_url for target in choice.targets] == ["http://h/v1", "https://api.openai.com/v1"]
    assert choice.targets[0].endpoint.headers == {}


def test_a_key_goes_to_one_provider_only() -> None:
    ours = router({"smart": ("openai/a", "groq/b"), "ours": ("openai/a", "openai/b")})
    with pytest.raises(ConfigError, match="groq, openai") as caught:
        ours.choose("smart", PLAIN, api_key="sk-mine")
    assert "sk-mine" not in caught.value.message
    headers = [target.endpoint.headers for target in ours.choose("ours", PLAIN, api_key="sk-mine").targets]
    assert headers == [{"authorization": "Bearer sk-mine"}] * 2
    first, second = ours.choose("openai/a", PLAIN, fallbacks=("groq/b",), api_key="sk-mine").targets
    assert (first.endpoint.headers, second.endpoint.headers) == (
        {"authorization": "Bearer sk-mine"},
        {"authorization": "Bearer gsk-two"},
    )


def test_remembered_targets_do_not_mix_keys_or_places() -> None:
    ours = router()
    headers = [
        ours.choose("openai/a", PLAIN, api_key=key).targets[0].endpoint.headers for key in ("k1", None, "k2", "k1")
    ]
    assert [each["authorization"] for each in headers] == ["Bearer k1", "Bearer sk-one", "Bearer k2", "Bearer k1"]


def prices(provider: str, model: str) -> Prices | None:
    known = {"openai/gpt-4o-mini": 3, "groq/llama": 1, "mistral/m": 2}
    price = known.get(f"{provider}/{model}")
    return None if price is None else Prices(input=Decimal(price), output=Decimal(price))


def test_the_cheapest_route_asks_the_price_of_each_model() -> None:
    cheap = Route(targets=("limited/x", "openai/gpt-4o-mini", "groq/llama", "mistral/m"), strategy="cheapest")
    choice = router({"cheap": cheap}, prices=prices).choose("cheap", PLAIN)
    assert chosen(choice) == ["groq/llama", "mistral/m", "openai/gpt-4o-mini", "limited/x"]


def test_long_questions_and_long_answers_may_be_cheapest_at_different_places() -> None:
    def either(_provider: str, model: str) -> Prices:
        listener = Prices(input=Decimal(1), output=Decimal(10))
        return listener if model == "reads" else Prices(input=Decimal(5), output=Decimal(5))

    cheap = Route(targets=("openai/reads", "openai/writes"), strategy="cheapest")
    ours = router({"cheap": cheap}, prices=either)
    long = Request(model="", messages=(message("user", "word " * 10_000),))
    assert chosen(ours.choose("cheap", long))[0] == "openai/reads"
    assert chosen(ours.choose("cheap", PLAIN))[0] == "openai/writes"


def test_prices_of_the_profile_count_where_nobody_else_knows_them() -> None:
    row = Provider(
        name="mine",
        patterns=("mine/*",),
        base_url="http://mine",
        profile=Profile(prices=Prices(input=Decimal(1), output=Decimal(1))),
    )
    cheap = Route(targets=("openai/unknown", "mine/x"), strategy="cheapest")
    assert chosen(router({"cheap": cheap}, rows=[row]).choose("cheap", PLAIN)) == ["mine/x", "openai/unknown"]


def test_auto_is_the_cheapest_of_the_models_that_have_their_key() -> None:
    mine = Provider(name="mine", patterns=("mine/*",), base_url="http://mine", models=("small", "large"))
    cost = {"small": 1, "gpt-4o-mini": 2, "large": 3}

    def known(_provider: str, model: str) -> Prices | None:
        return Prices(input=Decimal(cost[model]), output=Decimal(cost[model])) if model in cost else None

    ours = router(rows=[mine], prices=known)
    assert chosen(ours.choose("auto", PLAIN)) == ["mine/small", "openai/gpt-4o-mini", "mine/large"]


def test_auto_without_prices_takes_the_rows_in_their_order_and_the_embedded_model_without_keys() -> None:
    both = Router(credentials={"ANTHROPIC_API_KEY": "k", "OPENAI_API_KEY": "k"})
    assert [name.partition("/")[0] for name in chosen(both.choose("auto", PLAIN))] == ["openai", "anthropic"]
    assert chosen(Router().choose("auto", PLAIN)) == ["local/smollm2-135m"]


def test_auto_passes_over_what_cannot_take_the_request() -> None:
    blind = Provider(
        name="blind", patterns=("blind/*",), base_url="http://b", default_model="x", profile=Profile(tools=False)
    )
    assert chosen(router(rows=[blind]).choose("auto", TOOLS)) == ["openai/gpt-4o-mini"]


def test_auto_may_be_a_target_and_may_be_named_anew() -> None:
    ours = router({"safe": ("groq/llama", "auto")}, credentials=KEYS)
    assert chosen(ours.choose("safe", PLAIN)) == ["groq/llama", "openai/gpt-4o-mini"]
    assert chosen(router(aliases={"auto": "groq/llama"}).choose("auto", PLAIN)) == ["groq/llama"]


def test_a_row_whose_name_is_not_its_pattern_does_not_break_auto() -> None:
    odd = Provider(name="odd", patterns=("other/*",), base_url="http://o", default_model="x")
    assert chosen(router(rows=[odd]).choose("auto", PLAIN)) == ["openai/gpt-4o-mini"]


def test_a_route_within_a_route_stays_together() -> None:
    ours = router(
        {
            "pool": Route(targets=("openai/a", "openai/b"), strategy="weighted"),
            "all": Route(targets=("groq/x", "pool", "mistral/y")),
        }
    )
    choice = ours.choose("all", PLAIN)
    assert choice.order is not None
    assert [target.model for target in choice.order(lambda: 0.1, 0.0)] == ["x", "a", "b", "y"]
    assert [target.model for target in choice.order(lambda: 0.9, 0.0)] == ["x", "b", "a", "y"]


def test_inner_and_outer_draws_are_independent() -> None:
    pool = Route(targets=("openai/a", "openai/b"), strategy="weighted")
    outer = Route(targets=("pool", RouteTarget(model="groq/x", weight=0)), strategy="weighted")
    order = router({"pool": pool, "outer": outer}).choose("outer", PLAIN).order
    assert order is not None
    draws = iter([0.9, 0.1, 0.1, 0.9])
    assert [target.model for target in order(lambda: next(draws), 0.0)] == ["b", "a", "x"]


def test_sticky_follows_the_key_or_else_the_conversation() -> None:
    models = tuple(f"openai/m{number}" for number in range(8))
    ours = router({"sticky": Route(targets=models, strategy="sticky")})

    def first(text: str, key: str | None = None) -> str:
        request = Request(model="", messages=(message("user", text), message("assistant", text)))
        return ours.choose("sticky", request, key=key).targets[0].name

    assert len({first("hi"), first("hi"), first("hi")}) == 1
    assert len({first(str(number)) for number in range(40)}) > 4
    assert len({first(str(number), key="customer 7") for number in range(40)}) == 1


def test_what_is_no_fault_of_a_target_does_not_count_against_it() -> None:
    ours = router({"fast": Route(targets=("openai/a", "openai/b"), strategy="least_latency")})
    choice = ours.choose("fast", PLAIN)
    assert choice.order is not None
    order = partial(choice.order, lambda: 0.5, 0.0)
    first, second = order()
    ours.observe(first, 1.0, None, 0.0)
    ours.observe(second, 1.5, None, 0.0)
    ours.observe(first, 1.0, BadRequestError("no", status=400), 0.0)
    assert order() == (first, second)
    ours.observe(first, 1.0, RateLimitError("no", status=429), 0.0)
    assert order() == (second, first)


@pytest.mark.parametrize(("key", "named"), [("OPENROUTER_API_KEY", True), ("GROQ_API_KEY", False)])
def test_a_bare_name_without_its_homes_key_tells_who_else_may_serve_it(key: str, named: bool) -> None:
    with pytest.raises(MissingCredentialError) as caught:
        Router(credentials={key: "k"}).choose("claude-haiku-5-5", PLAIN)
    assert "ANTHROPIC_API_KEY" in caught.value.hint
    assert ("openrouter/..." in caught.value.hint) is named


def test_bare_patterns_take_bare_names_only() -> None:
    assert router().provider_of("gpt-4o").name == "openai"
    assert router().provider_of("gpt-neo/large").name == "litellm"


def test_a_name_is_no_novel() -> None:
    with pytest.raises(LLMCallError) as caught:
        router().choose("openai/" + "x" * 2000, PLAIN)
    assert len(caught.value.message) < 200
