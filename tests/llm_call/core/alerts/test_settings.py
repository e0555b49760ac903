"""`[alerts.NAME]`: from a file of settings to a receiver that is told."""

import asyncio
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from llm_call.core.alerts.dispatch import Alerts
from llm_call.core.config import Settings, load, shown
from llm_call.core.config.alerting import build_alerts
from llm_call.core.domain.alert import Alert
from llm_call.core.domain.errors import ConfigError
from llm_call.testing.servers import FaultServer, respond

Loaded = Callable[..., Settings]
ALERT = Alert(level="critical", kind="k", message="m")


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    """`loaded("...", NAME=value)`: the settings of a user whose file holds that."""

    def make(text: str, **environment: str) -> Settings:
        file = tmp_path / "llm_call" / "config.toml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
        file.chmod(0o600)
        folders = {f"XDG_{kind}_HOME": str(tmp_path) for kind in ("CONFIG", "CACHE", "STATE")}
        return load({**folders, **environment}, folder=tmp_path)

    return make


def told(alerts: Alerts) -> None:
    alerts.send(ALERT)
    asyncio.run(alerts.close(10))


def test_a_table_says_who_hears_of_what(loaded: Loaded) -> None:
    text = "[alerts.calm]\nto = 'log'\nlevel = 'critical'\nkinds = ['breaker_*']\ncooldown = 5\nburst = 2"
    (subscription,) = build_alerts(loaded(text)).subscriptions.values()
    rule = subscription.rule
    assert (rule.level, rule.kinds, rule.cooldown, rule.burst) == ("critical", ("breaker_*",), 5, 2)


def test_without_tables_nobody_is_told(loaded: Loaded) -> None:
    assert build_alerts(loaded("")).subscriptions == {}


def test_to_the_log(loaded: Loaded, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "llm_call.alerts"):
        told(build_alerts(loaded("[alerts.x]\nto = 'log'")))
    assert caplog.messages == ["critical: k: m"]


def test_to_a_webhook_whose_url_and_secret_stand_elsewhere(loaded: Loaded) -> None:
    with FaultServer([respond()]) as server:
        text = "[alerts.x]\nto = 'webhook'\nurl = 'env:HOOK'\nsecret = 'env:HOOK_SECRET'"
        told(build_alerts(loaded(text, HOOK=f"{server.url}/hook", HOOK_SECRET="s" * 20)))
        (request,) = server.requests
    assert json.loads(request.body)["message"] == "m"
    assert request.headers["webhook-signature"].startswith("v1,")


def test_to_a_function(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    got: list[Alert] = []
    module = ModuleType("my_alerts")
    module.told = got.append  # type: ignore[attr-defined]  # a module of the user's
    monkeypatch.setitem(sys.modules, "my_alerts", module)
    told(build_alerts(loaded("[alerts.x]\nto = 'callback'\nfunction = 'my_alerts:told'")))
    assert [each.message for each in got] == ["m"]


@pytest.mark.parametrize("function", ["nowhere:told", "json:told", "json", ":", "json:__doc__"])
def test_a_function_that_is_not_there_is_told_to_the_log(
    loaded: Loaded, caplog: pytest.LogCaptureFixture, function: str
) -> None:
    told(build_alerts(loaded(f"[alerts.x]\nto = 'callback'\nfunction = '{function}'")))
    assert caplog.messages[0].startswith(f"error: receiver_failed x: ConfigError: {function} ")
    assert caplog.messages[0].endswith("It was to be told: critical: k: m")


def test_a_secret_that_is_missing_is_told_to_the_log_when_it_is_needed(
    loaded: Loaded, caplog: pytest.LogCaptureFixture
) -> None:
    told(build_alerts(loaded("[alerts.x]\nto = 'webhook'\nurl = 'env:HOOK'")))
    assert "MissingCredentialError: alerts.x.url: env:HOOK holds no key" in caplog.messages[0]


def test_a_mail_server_with_a_password(loaded: Loaded, caplog: pytest.LogCaptureFixture) -> None:
    text = (
        "[alerts.x]\nto = 'email'\nserver = '127.0.0.1:1'\nsender = 'a@b'\nrecipients = ['c@d']\nuser = 'me'\n"
        "password = 'env:PASSWORD'"
    )
    told(build_alerts(loaded(text, PASSWORD="p" * 20)))
    assert "ConnectionFailedError: 127.0.0.1:1: Connection refused" in caplog.messages[0]


def test_no_secret_of_a_table_is_shown(loaded: Loaded) -> None:
    words = {"url": "https://hooks.example.com/T0/secret-path", "secret": "very-secret-word"}
    lines = "\n".join(f"{name} = '{word}'" for name, word in words.items())
    settings = loaded(f"[alerts.x]\nto = 'webhook'\n{lines}")
    text = f"{settings!r} {dict(enumerate(shown(settings)))} {build_alerts(settings).subscriptions!r}"
    assert not [word for word in words.values() if word in text]


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ("level = 'error'", "missing required field `to`"),
        ("to = 'pigeon'", "Invalid enum value 'pigeon'"),
        ("to = 'log'\nlevel = 'fatal'", "Invalid enum value 'fatal'"),
        ("to = 'log'\ncooldown = -1", "cooldown"),
        ("to = 'log'\nburst = 0", "burst"),
        ("to = 'log'\nurl = 'env:X'", "log has no url"),
        ("to = 'log'\nlevl = 'error'", "unknown key 'levl'"),
        ("to = 'webhook'", "webhook needs url"),
        ("to = 'webhook'\nform = 'pagerduty'", "webhook needs secret"),
        ("to = 'webhook'\nurl = 'env:X'\nserver = 'h'", "webhook has no server"),
        ("to = 'email'\nserver = 'h'", "email needs sender"),
        ("to = 'callback'", "callback needs function"),
    ],
)
def test_a_table_that_cannot_be_is_refused_with_its_place(loaded: Loaded, table: str, why: str) -> None:
    with pytest.raises(ConfigError, match=r"config\.toml:\d") as caught:
        loaded(f"[alerts.x]\n{table}")
    assert why in caught.value.message
