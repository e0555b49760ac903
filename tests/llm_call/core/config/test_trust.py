"""What a project may say, and what only a folder that is trusted."""

import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from llm_call.core.config import Settings
from llm_call.core.config.schema import documented
from llm_call.core.config.trust import TrustStore, leads_here
from llm_call.core.domain.errors import ConfigError

Loaded = Callable[..., Settings]

VALUES = {
    "http.ca_file": "'ca.pem'",
    "http.proxy": "'off'",
    "local.model_path": "'m.gguf'",
    "cache.path": "'answers.db'",
    "cassette.path": "'tape.jsonl'",
    "telemetry.capture_content": "true",
    "reviews.database": "'postgresql://h/d'",
    "reviews.webhooks": "['https://h']",
    "reviews.host": "'0.0.0.0'",
    "reviews.port": "9000",
    "reviews.url": "'https://h'",
    "reviews.inbox": "'inbox'",
    "state.url": "'redis://h'",
    "tools.allow": "true",
    "tools.allow_http": "true",
    "traces.days": "1.0",
    "traces.payloads": "true",
    "claude_proxy_url": "'https://h'",
    "providers.NAME.base_url": "'https://h'",
    "providers.NAME.api_key": "'env:KEY'",
    "providers.NAME.patterns": "['x-*']",
    "providers.NAME.places": "{region = 'here'}",
    "providers.NAME.credential_env": "['OTHER_KEY']",
    "alerts.NAME.to": "'log'",
    "alerts.NAME.function": "'mine:told'",
    "alerts.NAME.url": "'env:HOOK'",
    "alerts.NAME.secret": "'env:HOOK_SECRET'",
    "alerts.NAME.server": "'mail'",
    "alerts.NAME.security": "'none'",
    "alerts.NAME.user": "'me'",
    "alerts.NAME.password": "'env:MAIL_PASSWORD'",
    "alerts.NAME.sender": "'a@b'",
    "alerts.NAME.recipients": "['c@d']",
}
"""A value for every setting that a project may not set to anything."""
_MAIL = ("to = 'email'", "server = 'mail'", "sender = 'a@b'", "recipients = ['c@d']")
ASIDE = {
    "providers.NAME.base_url": ("credential_env = []",),  # the table that moves it has to say which key goes there
    "alerts.NAME.function": ("to = 'callback'",),
    "alerts.NAME.url": ("to = 'webhook'",),
    "alerts.NAME.secret": ("to = 'webhook'", "form = 'pagerduty'"),
    **{f"alerts.NAME.{each}": _MAIL for each in ("server", "security", "user", "password", "sender", "recipients")},
}
"""What the table of some of them needs beside it."""


@pytest.fixture
def store(home: Path) -> TrustStore:
    return TrustStore(home / "state" / "llm_call" / "trusted.json")


def test_every_setting_that_needs_trust_is_tried_here() -> None:
    assert {each.name for each in documented() if each.access != "free"} == set(VALUES)


@pytest.mark.parametrize("name", VALUES)
def test_it_is_refused_until_the_folder_is_trusted(loaded: Loaded, project: Path, store: TrustStore, name: str) -> None:
    setting = name.replace("NAME", "openai")
    shared = f"default_model = 'openai/x'\n{setting} = {VALUES[name]}\n"
    table = setting.rpartition(".")[0]
    others = [f"{table}.{each}" for each in ASIDE.get(name, ()) if not name.endswith(f".{each.partition(' ')[0]}")]
    shared += "\n".join(others)
    with pytest.raises(ConfigError) as caught:
        loaded(shared=shared)
    assert f"llm_call.toml:2: a project may set {setting}" in caught.value.message
    assert f"llm-call trust {project}" in caught.value.hint
    loaded(trust=True)
    loaded(LLM_CALL_TRUST="1")
    store.add(project)
    assert loaded().config.default_model == "openai/x"


def test_what_is_harmless_applies_without_trust(loaded: Loaded) -> None:
    shared = (
        "default_model = 'mine/x'\nclaude_proxy_url = 'http://127.0.0.1:9000'\n[timeouts]\nconnect = 3\n"
        "[providers.mine]\nbase_url = 'http://localhost:8000/v1'\ncodec = 'openai_responses'\n"
        "[aliases]\nfast = 'groq/x'\n[routes.smart]\ntargets = ['fast', {model = 'openai/y', weight = 2}]"
    )
    config = loaded(shared=shared).config
    assert config.routes["smart"].members[1].weight == 2
    assert (config.default_model, config.timeouts.connect) == ("mine/x", 3)
    assert config.providers["mine"].base_url == "http://localhost:8000/v1"


def test_the_users_own_file_needs_no_trust(loaded: Loaded) -> None:
    assert loaded(user="http.proxy = 'off'").config.http.proxy == "off"


def test_a_file_that_changed_has_to_be_trusted_again(loaded: Loaded, project: Path, store: TrustStore) -> None:
    with pytest.raises(ConfigError):
        loaded(shared="http.proxy = 'off'")
    store.add(project)
    loaded()
    with pytest.raises(ConfigError, match="trust"):
        loaded(shared="http.proxy = 'off'\nhttp.ca_file = 'mine.pem'")
    store.add(project)
    loaded()
    store.remove(project)
    with pytest.raises(ConfigError, match="trust"):
        loaded()


def test_a_file_that_comes_later_is_not_trusted(project: Path, store: TrustStore) -> None:
    store.add(project)
    assert store.is_trusted(project)
    (project / "llm_call.toml").touch()
    assert not store.is_trusted(project)


def test_a_copy_of_a_trusted_project_is_another_folder(project: Path, store: TrustStore, home: Path) -> None:
    (project / "llm_call.toml").write_text("http.proxy = 'off'", encoding="utf-8")
    store.add(project)
    copy = home / "copy"
    copy.mkdir()
    (copy / "llm_call.toml").write_text("http.proxy = 'off'", encoding="utf-8")
    assert not store.is_trusted(copy)
    link = home / "link"
    link.symlink_to(project)
    assert store.is_trusted(link)


def test_trust_in_a_folder_covers_what_lies_in_it(project: Path, store: TrustStore, home: Path) -> None:
    inner = project / "cases" / "deep"
    inner.mkdir(parents=True)
    store.add(project / "cases")
    assert store.covers(inner)
    assert not store.covers(project)
    assert not store.covers(home / "project2")


def test_the_record_is_the_users_alone_and_says_when_it_is_damaged(project: Path, store: TrustStore) -> None:
    store.add(project)
    assert stat.S_IMODE(store.file.stat().st_mode) == 0o600
    assert [each.name for each in store.file.parent.iterdir()] == ["trusted.json"]
    assert list(store.folders()) == [str(project)]
    store.file.write_text("{", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"trusted\.json: it is damaged"):
        store.is_trusted(project)


def test_a_damaged_record_does_not_stop_a_project_that_needs_none(loaded: Loaded, store: TrustStore) -> None:
    store.file.parent.mkdir(parents=True)
    store.file.write_text("{", encoding="utf-8")
    assert loaded(shared="default_model = 'a/b'").config.default_model == "a/b"


def test_removing_what_is_not_there_says_so(project: Path, store: TrustStore) -> None:
    assert not store.remove(project)


@pytest.mark.parametrize(
    "url", ["http://localhost", "https://LOCALHOST:8/v1", "http://127.0.0.1:1", "http://127.9.9.9", "http://[::1]:8"]
)
def test_these_lead_to_this_machine(url: str) -> None:
    assert leads_here(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost.evil.example",
        "http://127.0.0.1.evil.example",
        "http://localhost@evil.example",
        "http://evil.example/localhost",
        "http://evil.example#@localhost",
        "http://0.0.0.0",
        "http://10.0.0.1",
        "http://[::2]",
        "http://[",
        "localhost",
        "",
    ],
)
def test_these_do_not(url: str) -> None:
    assert not leads_here(url)


@pytest.mark.parametrize(
    "shared",
    [
        "default_model = 'runpod/their-pod/m'",
        "[aliases]\nfast = 'azure/theirs/m'",
        "[routes.smart]\ntargets = ['openai/x', 'runpod/their-pod/m']",
        "[providers.runpod]\ndefault_model = 'their-pod/m'",
        "[providers.azure]\nmodels = ['theirs/m']",
    ],
)
def test_a_model_whose_name_chooses_who_gets_a_key_needs_trust(loaded: Loaded, shared: str) -> None:
    keys = {"RUNPOD_API_KEY": "k", "AZURE_OPENAI_API_KEY": "k", "AZURE_API_KEY": "k"}
    loaded(shared=shared)
    with pytest.raises(ConfigError, match=r"llm_call\.toml:\d: .*which says whose machine gets a key"):
        loaded(**keys)
    loaded(trust=True, **keys)


def test_a_region_in_a_name_leads_to_the_same_provider(loaded: Loaded) -> None:
    assert loaded(shared="default_model = 'bedrock/us-east-1/m'", AWS_BEARER_TOKEN_BEDROCK="k").config.default_model
