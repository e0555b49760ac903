"""Where a key is, and that nothing shows what it is."""

import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from llm_call.core.config import Settings, build_client, shown
from llm_call.core.domain.errors import ConfigError, LLMCallError, MissingCredentialError
from llm_call.core.providers import credentials as credentials_module
from llm_call.core.providers.credentials import Credentials, Reference

Loaded = Callable[..., Settings]
KEY = "zq-0123456789"


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n", encoding="utf-8")
    file.chmod(0o600)
    return file


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    yield
    credentials_module._from_keyring.cache_clear()


def reference(text: str, folder: Path = Path()) -> Reference:
    return Reference(text, folder=folder, setting="providers.a.api_key")


def test_a_key_is_found_in_the_environment_in_a_file_or_where_it_stands(key_file: Path) -> None:
    assert reference("env:NAME").resolve({"NAME": KEY}) == KEY
    assert reference("file:key", key_file.parent).resolve({}) == KEY
    assert reference(f"file:{key_file}", Path("/elsewhere")).resolve({}) == KEY
    assert reference(KEY).resolve({}) == KEY
    assert reference("ab12:cd").resolve({}) == "ab12:cd"


def test_a_path_may_begin_at_home(key_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(key_file.parent))
    assert reference("file:~/key", Path("/elsewhere")).resolve({}) == KEY


def test_a_file_that_others_may_read_is_warned_of(key_file: Path) -> None:
    key_file.chmod(0o640)
    with pytest.warns(UserWarning, match=f"others may read: run chmod 600 {key_file}") as caught:
        assert reference(f"file:{key_file}").resolve({}) == KEY
    assert KEY not in str(caught[0].message)


def test_a_file_is_read_anew_each_time(key_file: Path) -> None:
    credentials = Credentials({"groq": reference(f"file:{key_file}")}, {})
    assert credentials["groq"] == KEY
    key_file.write_text("zq-replaced", encoding="utf-8")
    assert credentials["groq"] == "zq-replaced"


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("env:NAME", MissingCredentialError, "env:NAME holds no key"),
        ("file:/not/there", MissingCredentialError, "file:/not/there holds no key"),
        ("file:/", ConfigError, "Is a directory"),
    ],
)
def test_a_key_that_is_not_there_is_an_error_that_names_setting_and_place(
    text: str, error: type[LLMCallError], said: str
) -> None:
    with pytest.raises(error, match=said) as caught:
        reference(text).resolve({"NAME": ""})
    assert caught.value.message.startswith("providers.a.api_key: ")
    assert caught.value.hint


def test_a_file_that_is_no_text_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="is no text"):
        reference("file:key", tmp_path).resolve({})


@pytest.mark.parametrize(
    "text", ["", "env:", "keyring:", "keyring:service", "keyring:/name", "vault:x", "ENV_KEY:", "fil:x"]
)
def test_what_is_no_reference_is_refused(text: str) -> None:
    if text == "ENV_KEY:":  # upper case is no kind of reference, so it is a key
        assert reference(text).kind == "plain"
        return
    with pytest.raises(ConfigError):
        reference(text)


def test_without_the_keyring_library_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(ConfigError) as caught:
        reference("keyring:service/name").resolve({})
    assert caught.value.hint == 'Run: pip install "llm-call[keyring]"'


def test_a_key_is_found_in_the_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    keyring: Any = pytest.importorskip("keyring", reason="the extra is not installed")

    class Memory(keyring.backend.KeyringBackend):  # type: ignore[misc]  # an optional library without types
        priority = 1
        asked: list[tuple[str, str]] = []  # noqa: RUF012  (one for this test)
        locked = False

        def set_password(self, service: str, username: str, password: str) -> None:
            raise NotImplementedError

        def get_password(self, service: str, username: str) -> str | None:
            self.asked.append((service, username))
            if self.locked:
                raise keyring.errors.KeyringLocked(KEY)
            return {("https://h/v1", "me"): KEY}.get((service, username))

    before = keyring.get_keyring()
    memory = Memory()
    keyring.set_keyring(memory)
    try:
        assert reference("keyring:https://h/v1/me").resolve({}) == KEY
        assert reference("keyring:https://h/v1/me").resolve({}) == KEY
        assert memory.asked == [("https://h/v1", "me")]
        with pytest.raises(MissingCredentialError, match="keyring:h/you holds no key"):
            reference("keyring:h/you").resolve({})
        memory.locked = True
        with pytest.raises(ConfigError, match="KeyringLocked") as caught:
            reference("keyring:h/other").resolve({})
        assert KEY not in "".join(traceback.format_exception(caught.value))
    finally:
        keyring.set_keyring(before)


def test_a_project_never_holds_a_key_itself(loaded: Loaded) -> None:
    shared = f"[providers.groq]\napi_key = '{KEY}'"
    for trust in (False, True):
        with pytest.raises(ConfigError) as caught:
            loaded(shared=shared, trust=trust)
        assert "llm_call.toml:2: providers.groq.api_key is a key itself" in caught.value.message
        assert "env:NAME" in caught.value.hint
        said = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
        assert KEY not in "".join(line for line in said.format() if "shared" not in line)


def test_the_users_own_file_may_hold_one_if_nobody_else_can_read_it(loaded: Loaded, home: Path) -> None:
    settings = loaded(user=f"[providers.groq]\napi_key = '{KEY}'")
    assert build_client(settings).router.resolve("groq/x").endpoint.headers == {"authorization": f"Bearer {KEY}"}
    (home / "config" / "llm_call" / "config.toml").chmod(0o644)
    with pytest.warns(UserWarning, match="a key is in .*config.toml, which others may read"):
        loaded()


def test_what_is_shown_of_a_key_is_where_it_is(loaded: Loaded) -> None:
    user = f"[providers.groq]\napi_key = '{KEY}'\n[providers.xai]\napi_key = 'keyring:a/b'\n[providers.openai]\napi_key = 'env:MINE'"
    settings = loaded(user=user, MINE=KEY, MISTRAL_API_KEY=KEY)
    values = {name: value for name, value, _ in shown(settings)}
    assert values["providers.groq.api_key"] == "<set by a key that stands there>"
    assert values["providers.xai.api_key"] == "<set by keyring:a/b>"
    assert values["providers.openai.api_key"] == "<set by env:MINE>"
    assert {"MINE", "MISTRAL_API_KEY", "groq", "xai"} == set(settings.credentials)
    client = build_client(settings)
    plan = client.plan("hi", model="groq/x")
    for each in (settings, settings.config, settings.credentials, list(shown(settings)), plan, client.router.rows):
        assert KEY not in repr(each)
