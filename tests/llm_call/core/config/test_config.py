"""Layers of settings, the client made of them, and what is shown of them."""

import asyncio
import re
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from redis.asyncio import Redis

from llm_call.core.config import Settings, build_client, building, load, project_file, shown, trust_store
from llm_call.core.config.schema import documented
from llm_call.core.domain.errors import ConfigError, UnsupportedError
from llm_call.core.domain.response import Response
from llm_call.core.policy.breaker import BreakerPolicy
from llm_call.core.policy.limits import ConcurrencyPolicy, Limit
from llm_call.core.policy.retry_budget import RetryBudgetPolicy
from llm_call.core.providers import transports
from llm_call.core.state.gates import GatePolicies, Place
from llm_call.testing.scripted import ScriptedTransport, chat_reply, error_reply

Loaded = Callable[..., Settings]


def test_without_anything_the_defaults_hold(loaded: Loaded) -> None:
    found = loaded()
    assert found.origins == {}
    assert found.config.claude_proxy_url == "http://localhost:8002"
    assert {origin for _, _, origin in shown(found)} == {"default"}


def test_each_layer_comes_before_the_next_and_each_value_tells_its_origin(
    loaded: Loaded, home: Path, project: Path
) -> None:
    names = ["connect", "first_byte", "between_bytes", "total"]
    user = "[timeouts]\n" + "\n".join(f"{name} = 1" for name in names)
    shared = "[timeouts]\n" + "\n".join(f"{name} = 2" for name in names[1:])
    found = loaded(
        user=user,
        shared=shared,
        arguments={"timeouts.total": 4},
        LLM_CALL_TIMEOUTS_BETWEEN_BYTES="3",
        LLM_CALL_TIMEOUTS_TOTAL="3",
    )
    values = {name: (value, origin) for name, value, origin in shown(found)}
    assert values["timeouts.connect"] == (1, f"user file {home / 'config/llm_call/config.toml'}")
    assert values["timeouts.first_byte"] == (2, f"project file {project / 'llm_call.toml'}")
    assert values["timeouts.between_bytes"] == (3, "environment LLM_CALL_TIMEOUTS_BETWEEN_BYTES")
    assert values["timeouts.total"] == (4, "argument")
    assert values["http.max_connections"] == (None, "default")


def test_older_names_of_variables_still_hold(loaded: Loaded) -> None:
    found = loaded(LLM_CALL_CA_FILE="/ca.pem", LLM_CALL_LOCAL_MODEL="/models/Tiny-Q4.gguf", LLM_CALL_LOCAL_THREADS="3")
    assert (found.config.http.ca_file, found.config.local.model_path) == ("/ca.pem", "/models/Tiny-Q4.gguf")
    assert found.config.local.threads == 3
    assert build_client(found).plan("hi").model == "local/tiny-q4"


def test_the_policies_of_the_gates_are_settings(loaded: Loaded) -> None:
    user = """
    [breaker]
    failure_ratio = 0.3
    probes = [1, 3]
    [concurrency]
    start = 20
    [limits."openai/*"]
    requests_per_minute = 500
    """
    found = loaded(user=user, LLM_CALL_RETRY_BUDGET_FLOOR="5", LLM_CALL_BREAKER_FAILURES="4").config.gates()
    assert found == GatePolicies(
        breaker=BreakerPolicy(failure_ratio=0.3, probes=(1, 3), failures=4),
        concurrency=ConcurrencyPolicy(start=20),
        retry_budget=RetryBudgetPolicy(floor=5),
        limits={"openai/*": Limit(requests_per_minute=500)},
    )


@pytest.mark.parametrize(
    "wrong", ["[breaker]\nfailure_ratio = 1.0", "[breaker]\nprobes = []", "[limits.x]\ntokens_per_minute = 0"]
)
def test_policies_that_cannot_be_are_refused(loaded: Loaded, wrong: str) -> None:
    with pytest.raises(ConfigError, match=r"breaker|limits"):
        loaded(user=wrong)


def test_an_empty_variable_sets_nothing(loaded: Loaded) -> None:
    assert loaded(LLM_CALL_DEFAULT_MODEL="", XDG_CONFIG_HOME="").origins == {}


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("defalt_model = 'x'", 1, "Did you mean default_model"),
        ("\n[local]\nslots = 1\nthread = 1", 4, "Did you mean threads"),
        ("[local]\n\nthreads = 'many'", 3, "local.threads: Expected `int`, got `str`"),
        ("[local]\nthreads = '3'", 2, "local.threads"),
        ("local.threads = 0", 1, "at least 1"),
        ("[timeouts]\nconnect = 0", 2, "timeouts.connect: Expected `float` > 0"),
        ("local = 3", 1, "local is a table"),
        ("[http]\nproxy = 'of'", 2, "http.proxy"),
        ("[providers.a]\nbase_ur = 'http://h'", 2, "Did you mean base_url"),
        ("\n[providers.'a']\nbase_url = 'ftp://h'", 2, "base_url is no URL"),
        ("[aliases]\n\nfast = 3", 3, "aliases.fast: Expected `str`, got `int`"),
        ("[routes.smart]\ntargets = []", 1, "[routes.smart] a route needs a target"),
        ("[routes.smart]\ntargets = ['a/b']\nstrategy = 'best'", 3, "routes.smart.strategy"),
        ("[routes.smart]\nstrategy = 'sticky'", 1, "routes.smart: Object missing required field `targets`"),
        ("[providers]\na = 3", 2, "providers.a: Expected `object`, got `int`"),
        (
            "[providers.a]\nbase_url = 'http://h'\npatterns = [1]",
            3,
            "providers.a.patterns[0]: Expected `str`, got `int`",
        ),
        ("default_model = 'x'\nnot toml", 2, "Expected '='"),
        ("[providers.a]\nbase_url = 'http://h'\napi_key = 3", 3, "providers.a.api_key"),
        ("[providers.a]\nbase_url = 'http://h'\napi_key = 'envv:A'", None, "Did you mean env:?"),
    ],
)
def test_a_wrong_file_says_where_and_what_is_wrong(loaded: Loaded, text: str, line: int | None, said: str) -> None:
    for layer, name in (("user", "config.toml"), ("shared", "llm_call.toml")):
        with pytest.raises(ConfigError) as caught:
            loaded(**{layer: text}, trust=True)
        assert said in f"{caught.value.message} {caught.value.hint}"
        assert f"{name}:{line}: " in caught.value.message or line is None
        loaded(user="default_model = 'x'", shared="default_model = 'x'")


def test_a_file_that_cannot_be_read_is_named(loaded: Loaded, home: Path) -> None:
    file = home / "config" / "llm_call" / "config.toml"
    file.write_bytes(b"default_model = '\xff'")
    with pytest.raises(ConfigError, match=r"config\.toml: it is not in UTF-8"):
        loaded()
    file.unlink()
    file.mkdir()
    with pytest.raises(ConfigError, match=r"config\.toml: Is a directory"):
        loaded()


def test_a_wrong_variable_and_a_wrong_argument_are_named(loaded: Loaded) -> None:
    with pytest.raises(ConfigError, match=r"LLM_CALL_LOCAL_THREADS: local\.threads: Expected `int`"):
        loaded(LLM_CALL_LOCAL_THREADS="many")
    with pytest.raises(ConfigError, match=r"argument: timeouts\.connect: Expected `float`"):
        loaded(arguments={"timeouts.connect": "soon"})
    with pytest.raises(ConfigError) as caught:
        loaded(arguments={"timeouts.conn": "3"})
    assert caught.value.hint == "Did you mean timeouts.connect?"
    with pytest.raises(ConfigError, match="LLM_CALL_TRUST"):
        loaded(LLM_CALL_TRUST="perhaps")


@pytest.mark.parametrize("said", ["[2, 4]", "2,4", "2, 4", (2, 4)])
def test_a_list_is_said_in_one_word_as_json_or_with_commas(loaded: Loaded, said: str) -> None:
    assert loaded(arguments={"breaker.probes": said}).config.breaker.probes == (2, 4)


def test_a_list_of_one_can_stand_in_a_variable(loaded: Loaded) -> None:
    assert loaded(LLM_CALL_BREAKER_EXCLUDED="RateLimitError").config.breaker.excluded == ("RateLimitError",)
    with pytest.raises(ConfigError, match=r"breaker\.probes.*Expected `int`"):
        loaded(LLM_CALL_BREAKER_PROBES="1,many")


def test_what_is_to_be_chosen_from_is_told(loaded: Loaded) -> None:
    with pytest.raises(ConfigError, match="one of immediate, basic, linear, exponential, fibonacci"):
        loaded(LLM_CALL_RETRY_STRATEGY="faster")
    with pytest.raises(ConfigError, match="one of log, callback, webhook, email"):
        loaded(user="[alerts.x]\nto = 'sms'")


def test_a_table_is_no_argument_and_a_hint_is_no_wall(loaded: Loaded) -> None:
    for name, hint in (("limits.x.tokens_per_minute", "Write a table [limits.NAME]"), ("qqq", "documentation lists")):
        with pytest.raises(ConfigError) as caught:
            loaded(arguments={name: "3"})
        assert hint in str(caught.value.hint)
        assert len(str(caught.value.hint)) < 100


def test_a_variable_that_is_no_setting_is_pointed_out(loaded: Loaded) -> None:
    found = loaded(LLM_CALL_DEFALT_MODEL="x", LLM_CALL_TRUST="0", OTHER="y")
    assert found.unknown_variables == ("LLM_CALL_DEFALT_MODEL is no setting. Did you mean LLM_CALL_DEFAULT_MODEL?",)


def test_paths_begin_at_the_file_that_says_them(loaded: Loaded, project: Path) -> None:
    found = loaded(shared="http.ca_file = 'certs/ca.pem'\nlocal.model_path = '~/m.gguf'", trust=True)
    assert found.config.http.ca_file == str(project / "certs/ca.pem")
    assert found.config.local.model_path == str(Path.home() / "m.gguf")
    assert loaded(trust=True, LLM_CALL_CA_FILE="certs/ca.pem").config.http.ca_file == "certs/ca.pem"


def test_the_nearest_file_up_to_the_root_of_the_repository_is_the_project(project: Path, home: Path) -> None:
    inner = project / "a" / "b"
    inner.mkdir(parents=True)
    (home / "llm_call.toml").touch()
    assert project_file(inner) is None
    (project / "llm_call.toml").touch()
    assert project_file(inner) == project / "llm_call.toml"
    (project / "a" / "llm_call.toml").touch()
    assert project_file(inner) == project / "a" / "llm_call.toml"


def test_outside_of_a_repository_the_search_ends_below_the_home_folder(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = home / "me" / "work" / "deep"
    inner.mkdir(parents=True)
    (home / "me" / "llm_call.toml").touch()
    (home / "llm_call.toml").touch()
    monkeypatch.setattr(Path, "home", lambda: home / "me")
    assert project_file(inner) is None
    (home / "me" / "work" / "llm_call.toml").touch()
    assert project_file(inner) == home / "me" / "work" / "llm_call.toml"
    elsewhere = home / "shared" / "deep"
    elsewhere.mkdir(parents=True)
    (home / "shared" / "llm_call.toml").touch()
    assert project_file(elsewhere) is None


def test_the_settings_go_to_the_client(loaded: Loaded) -> None:
    ours = build_client(
        loaded(user="default_model = 'openai/x'\n[timeouts]\ntotal = 5\n[retry]\nmax_attempts = 7", OPENAI_API_KEY="k")
    )
    plan = ours.plan("hi")
    assert (plan.model, plan.timeouts.total, plan.retry.max_attempts) == ("openai/x", 5, 7)
    assert ours.plan("hi", retry={"max_attempts": 2}).retry.max_attempts == 2


def test_aliases_and_routes_name_models(loaded: Loaded) -> None:
    text = "[aliases]\nfast = 'groq/x'\n[routes.smart]\ntargets = ['fast', 'openai/y']"
    ours = build_client(loaded(user=text, shared="[aliases]\nfast = 'groq/z'", GROQ_API_KEY="a", OPENAI_API_KEY="b"))
    assert [each.name for each in ours.plan("hi", model="smart").targets] == ["groq/z", "openai/y"]


def test_the_proxy_answers_for_max_models_once_it_is_set(loaded: Loaded) -> None:
    with pytest.raises(UnsupportedError):
        build_client(loaded()).plan("hi", model="max/opus")
    proxied = build_client(loaded(LLM_CALL_CLAUDE_PROXY_URL="http://localhost:9000"))
    assert proxied.plan("hi", model="max/opus").targets[0].endpoint.base_url == "http://localhost:9000/v1"


@pytest.mark.parametrize("url", ["http://me:hunter22@h", "https://h/v1?key=hunter22", "hunter22", "http://[hunter22"])
def test_a_url_that_may_hold_a_credential_is_refused_without_showing_it(loaded: Loaded, url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(LLM_CALL_CLAUDE_PROXY_URL=url)
    assert "hunter22" not in f"{caught.value.message}{caught.value.hint}"


def test_every_setting_says_what_it_means_and_who_may_set_it() -> None:
    for each in documented():
        assert each.meaning.endswith("."), each.name
        assert each.access in {"free", "trusted", "local"}, each.name


def test_every_variable_belongs_to_one_setting() -> None:
    variables = [each.variable for each in documented() if each.variable]
    assert len(set(variables)) == len(variables)
    assert "LLM_CALL_TRUST" not in variables


def test_importing_the_configuration_reads_nothing() -> None:
    code = """
import sys
import llm_call.core.api
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
from llm_call.core import api
assert api._settings is None
import llm_call.core.config, llm_call.core.config.cases
print([name for name in opened if name.endswith(".toml")], "tomllib" in sys.modules, "keyring" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] False False"


def test_a_relative_folder_in_the_environment_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    found = load({"XDG_CONFIG_HOME": "somewhere"}, folder=tmp_path)
    assert found.file == tmp_path / ".config" / "llm_call" / "config.toml"
    assert trust_store({}).file == tmp_path / ".local" / "state" / "llm_call" / "trusted.json"


def test_the_examples_of_the_guide_are_settings(loaded: Loaded) -> None:
    guide = Path(__file__).parents[4] / "docs" / "configuration.md"
    examples = re.findall(r"```toml\n(.*?)```", guide.read_text(encoding="utf-8"), re.DOTALL)
    assert len(examples) == 2
    for example in examples:
        assert loaded(user=example).rows


def test_answers_are_kept_where_the_settings_say(loaded: Loaded, home: Path) -> None:
    async def kept(settings: Settings) -> object:
        cache = build_client(settings).cache
        await cache.put("key", Response(model="m", parts=()))
        return await cache.get("key")

    for mode, there in (("off", False), ("memory", True), ("sqlite", True)):
        found = asyncio.run(kept(loaded(user=f"cache.mode = '{mode}'")))
        assert (found is not None) == there
    assert (home / "cache" / "llm_call" / "responses.db").is_file()
    asyncio.run(kept(loaded(user="cache = {mode = 'sqlite', path = 'answers.db', ttl = 9}")))
    assert (home / "config" / "llm_call" / "answers.db").is_file()


def test_a_cassette_records_every_exchange_and_replays_it(
    loaded: Loaded, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transports, "_http", lambda _: ScriptedTransport(chat_reply("once"), error_reply(500)))
    text = "[cassette]\npath = 'tape.jsonl'\nmode = '{}'"
    for mode in ("auto", "require"):
        ours = build_client(loaded(user=text.format(mode), OPENAI_API_KEY="sk-of-the-user"))
        assert ours.ask_sync("hi", model="gpt-4o").text == "once"
    tape = (home / "config" / "llm_call" / "tape.jsonl").read_text(encoding="utf-8")
    assert "once" in tape
    assert "sk-of-the-user" not in tape


def test_prices_of_ones_own_make_the_cost(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    reply = chat_reply("hi", prompt_tokens=1_000_000, completion_tokens=2_000_000)
    monkeypatch.setattr(transports, "_http", lambda _: ScriptedTransport(reply))
    text = "[prices.'openai/*']\ninput = 1.5\noutput = 2"
    result = build_client(loaded(user=text, OPENAI_API_KEY="k")).ask_sync("hi", model="openai/of-mine")
    assert result.cost == Decimal("5.5")


def test_state_is_kept_in_the_process_or_where_the_settings_say(loaded: Loaded) -> None:
    assert building._store(loaded()) is None
    pytest.importorskip("redis", reason="the extra is not installed")
    shared = building._store(loaded(user="state = {url = 'valkey://:hunter22@cache.example/2', timeout = 2}"))
    assert type(shared).__name__ == "ValkeyStore"
    with pytest.raises(ConfigError, match=r"state\.url"):
        building._store(loaded(user="state.url = 'postgres://:hunter22@h'"))


def test_shared_state_without_its_library_says_how_to_install_it(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("valkey", "server"):
        monkeypatch.delitem(sys.modules, f"llm_call.core.state.{module}", raising=False)
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(ConfigError) as caught:
        building._store(loaded(LLM_CALL_STATE_URL="redis://h"))
    assert 'pip install "llm-call[redis]"' in caught.value.hint


def test_closing_a_client_leaves_no_connection_to_the_shared_store(loaded: Loaded, url: str) -> None:
    async def main() -> None:
        async with Redis.from_url(url) as other:
            before = len(await other.client_list())
            user = f"state = {{url = '{url}', timeout = 20}}\nretry_budget.floor = 1"
            client = build_client(loaded(user=user))
            place = Place(provider="p", model="m")
            assert await client._attempts.gates.may_retry(place)
            assert not await client._attempts.gates.may_retry(place)
            assert len(await other.client_list()) == before + 1
            await client.close()
            assert len(await other.client_list()) == before

    asyncio.run(main())


def test_a_password_that_stands_where_it_may_not_is_not_shown_either(loaded: Loaded) -> None:
    url = "redis://h/0?db=1&password=hunter22&ssl_ca_certs=F"
    settings = loaded(LLM_CALL_STATE_URL=url)
    values = {name: value for name, value, _ in shown(settings)}
    assert values["state.url"] == url.replace("hunter22", "<hidden>")
    with pytest.raises(ConfigError) as caught:
        building._store(settings)
    assert "hunter22" not in f"{caught.value} {caught.value.hint}"


def test_the_password_of_a_url_is_not_shown(loaded: Loaded) -> None:
    for url in ("redis://someone:hunter22@h/2", "unix://:hunter22@/run/s", "redis://:hunter22/@x@h"):
        found = loaded(user=f"state.url = '{url}'")
        values = {name: value for name, value, _ in shown(found)}
        assert "hunter22" not in f"{values} {found.config!r}"
        assert values["state.url"].startswith(url.partition("://")[0] + "://<hidden>@")


def test_telemetry_is_switched_on_by_a_setting(loaded: Loaded) -> None:
    pytest.importorskip("opentelemetry", reason="the extra is not installed")
    assert build_client(loaded())._engine._call_hooks == ()
    assert len(build_client(loaded(user="telemetry.enabled = true"))._engine._call_hooks) == 1


def test_telemetry_without_its_library_says_how_to_install_it(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "llm_call.core.telemetry", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(ConfigError) as caught:
        build_client(loaded(LLM_CALL_TELEMETRY_ENABLED="true"))
    assert 'pip install "llm-call[otel]"' in caught.value.hint
