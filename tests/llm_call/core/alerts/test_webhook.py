"""Webhooks, against a real server that misbehaves."""

import asyncio
import base64
import hashlib
import hmac
import json
from typing import Any

import pytest

from llm_call.core.alerts.webhook import PAGERDUTY_URL, Webhook, signed, signing_key
from llm_call.core.domain.alert import LEVELS, Alert
from llm_call.core.domain.errors import BadRequestError, ConfigError, ConnectionFailedError, LLMCallError, ServerError
from llm_call.core.policy.alerting import Delivery
from llm_call.testing.servers import Behaviour, FaultServer, reset, respond

ALERT = Alert(
    level="critical",
    kind="all_targets_failed",
    subject="openai/gpt-4o",
    message="no target answered <!channel> & so on",
    facts={"attempts": 4, "seconds": 1.5, "error": "AllTargetsFailedError"},
    at=1_700_000_000.25,
)
DELIVERY = Delivery(receiver="ops", alert=ALERT, repeats=3, others=2)
LINE = (
    "critical: all_targets_failed openai/gpt-4o: no target answered <!channel> & so on"
    " (and 3 more since the last one; 2 other alerts were held back)"
)


class Hasty:
    """A clock on which all waits are over at once."""

    def __init__(self) -> None:
        self.sleeps: list[float] = []

    def now(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)


def deliver(*script: Behaviour, path: str = "/hook", **options: Any) -> tuple[FaultServer, Hasty, LLMCallError | None]:
    clock = Hasty()

    async def inside() -> None:
        webhook = Webhook(f"{server.url}{path}", clock=clock, **options)
        try:
            await webhook.deliver(DELIVERY)
        finally:
            await webhook.close()

    with FaultServer(script) as server:
        try:
            asyncio.run(inside())
        except LLMCallError as error:
            return server, clock, error
    return server, clock, None


def test_json_says_all_there_is_to_know() -> None:
    server, _, error = deliver(respond())
    assert error is None
    (request,) = server.requests
    assert (request.method, request.path, request.headers["content-type"]) == ("POST", "/hook", "application/json")
    assert "webhook-signature" not in request.headers
    assert json.loads(request.body) == {
        "level": "critical",
        "kind": "all_targets_failed",
        "subject": "openai/gpt-4o",
        "message": "no target answered <!channel> & so on",
        "facts": {"attempts": 4, "seconds": 1.5, "error": "AllTargetsFailedError"},
        "at": "2023-11-14T22:13:20.250+00:00",
        "repeats": 3,
        "others": 2,
    }


def test_chats_get_a_text_that_mentions_nobody() -> None:
    server, _, _ = deliver(respond(), form="slack")
    body = json.loads(server.requests[0].body)
    escaped = LINE.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert body == {"text": f"{escaped}\nattempts: 4\nseconds: 1.5\nerror: AllTargetsFailedError"}


def test_pagerduty_gets_an_event_with_the_key() -> None:
    server, _, _ = deliver(respond(status=202), form="pagerduty", secret="R0UT1NGKEY0123456789")
    body = json.loads(server.requests[0].body)
    assert body["routing_key"] == "R0UT1NGKEY0123456789"
    assert (body["event_action"], body["dedup_key"]) == ("trigger", "all_targets_failed openai/gpt-4o")
    assert body["payload"]["summary"] == LINE
    assert body["payload"]["severity"] == "critical"
    assert body["payload"]["custom_details"]["attempts"] == 4
    assert "webhook-signature" not in server.requests[0].headers


def test_pagerduty_needs_no_url_but_a_key() -> None:
    assert Webhook(form="pagerduty", secret="k")._url == PAGERDUTY_URL
    with pytest.raises(ConfigError, match="needs a secret"):
        Webhook(form="pagerduty")


def test_pagerduty_knows_our_levels() -> None:
    assert set(LEVELS) == {"critical", "error", "warning", "info"}  # the values of `severity` in Events API v2


@pytest.mark.parametrize(
    ("secret", "key"),
    [("my own secret", b"my own secret"), ("whsec_" + base64.b64encode(b"x" * 24).decode(), b"x" * 24)],
)
def test_the_signature_is_over_identity_time_and_body(secret: str, key: bytes) -> None:
    server, _, _ = deliver(respond(), secret=secret)
    request = server.requests[0]
    content = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode() + request.body
    digest = hmac.new(key, content, hashlib.sha256).digest()
    assert request.headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"
    assert abs(int(request.headers["webhook-timestamp"]) - 1_700_000_000) > 1000  # it is of now, not of the alert


def test_the_signature_is_that_of_the_standards_own_example() -> None:
    # From the documentation of Standard Webhooks.
    key = signing_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = signed("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}', key)
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_what_may_pass_is_tried_again_under_the_same_identity() -> None:
    server, clock, error = deliver(reset(), respond(status=500), respond(), secret="s" * 20)
    assert error is None
    assert len({request.headers["webhook-id"] for request in server.requests}) == 1
    assert len(server.requests) == 3
    assert len(clock.sleeps) == 2
    assert max(clock.sleeps) <= 5


def test_the_servers_own_wish_to_wait_is_heeded() -> None:
    _, clock, error = deliver(respond(status=429, headers={"retry-after": "7"}), respond())
    assert error is None
    assert clock.sleeps == [7]


@pytest.mark.parametrize(
    ("behaviour", "kind", "tries"),
    [
        (respond(status=503), ServerError, 3),
        (reset(), ConnectionFailedError, 3),
        (respond(status=400), BadRequestError, 1),
    ],
)
def test_after_its_tries_it_fails(behaviour: Behaviour, kind: type[LLMCallError], tries: int) -> None:
    server, _, error = deliver(behaviour)
    assert isinstance(error, kind)
    assert len(server.requests) == tries


def test_what_the_server_echoes_of_the_url_and_the_secret_is_not_told() -> None:
    path, secret = "/services/T0/B0/abcdefgh", "very-secret-words"
    echo = json.dumps({"error": {"message": f"no {path} with {secret}"}}).encode()
    _, _, error = deliver(respond(echo, status=403, headers={"x-request-id": secret}), path=path, secret=secret)
    assert error is not None
    seen = f"{error} {error.hint} {vars(error)}"
    assert "<hidden>" in seen
    assert secret not in seen
    assert path not in seen


@pytest.mark.parametrize("path", ["", "/", "/hook/", "/hook?key=1"])
def test_the_path_arrives_as_it_was_given(path: str) -> None:
    server, _, _ = deliver(respond(), path=path)
    assert server.requests[0].path == (path or "/")


@pytest.mark.parametrize(
    "options", [{"url": ""}, {"url": "ftp://h/x"}, {"url": "word"}, {"url": "https://h", "secret": "whsec_a word"}]
)
def test_what_cannot_be_is_refused_without_being_shown(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        Webhook(**options)
    assert "word" not in f"{caught.value}"
