"""Webhooks: an alert as a POST of JSON, in the form that its receiver reads, signed where there is a secret.

Signatures are those of Standard Webhooks (github.com/standard-webhooks/standard-webhooks, 1.0), which has libraries
that verify them: base64 of HMAC-SHA256 over `id.timestamp.body`. All tries of one delivery have the same id, signed or not.
"""

import hmac
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from secrets import token_hex
from time import time
from typing import Any
from urllib.parse import urlsplit

import msgspec

from llm_call.core.alerts.settings import Form
from llm_call.core.domain.errors import ConfigError, LLMCallError
from llm_call.core.policy.alerting import Delivery
from llm_call.core.retry import ExponentialBackoffRetry
from llm_call.core.transport.base import Clock, Endpoint, Timeouts, Transport
from llm_call.core.transport.http import HttpTransport
from llm_call.core.transport.masking import Secrets
from llm_call.core.wire.base import WireRequest
from llm_call.core.wire.http_errors import decode_http_error

PAGERDUTY_URL = "https://events.pagerduty.com/v2/enqueue"
_ATTEMPTS = 3
_TIMEOUTS = Timeouts(connect=5, first_byte=10, between_bytes=5, total=15)
_PAGERDUTY_SUMMARY = 1024  # characters, by the documentation of Events API v2
_PAGERDUTY_KEY = 255  # the same
_SLACK_TEXT = 4000  # characters, after which Slack advises to stop
_PREFIX = "whsec_"


class Webhook:
    """POSTs alerts to `url`. What may pass (5xx, 429, a broken connection) is tried again, three times in all.

    `form` is `json`, all there is to know; `slack`, the text for chats (Slack, Mattermost, Rocket.Chat, ...); or
    `pagerduty`, an event for Events API v2, whose integration key is `secret`. Otherwise a `secret` signs what is sent:
    `whsec_` and the key in base64, or any text.

    Raises:
        ConfigError: The URL or the secret cannot be used.
    """

    def __init__(
        self,
        url: str = "",
        *,
        form: Form = "json",
        secret: str | None = None,
        transport: Transport | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._url = url or (PAGERDUTY_URL if form == "pagerduty" else "")
        self._form = form
        self._secret = secret
        if urlsplit(self._url).scheme not in {"http", "https"}:
            raise ConfigError("the webhook's URL is none", hint="Use something like https://ops.example.com/alerts.")
        if form == "pagerduty" and not secret:
            raise ConfigError("PagerDuty needs a secret", hint="Give the integration key of the service.")
        self._key = None if secret is None or form == "pagerduty" else signing_key(secret)
        self._transport = transport or HttpTransport()
        self._retry = ExponentialBackoffRetry(max_attempts=_ATTEMPTS, base_delay=0.5, max_delay=5, clock=clock)
        self._known = Secrets([self._url, urlsplit(self._url).path, *filter(None, (secret,))])

    async def deliver(self, delivery: Delivery) -> None:
        """Send it.

        Raises:
            LLMCallError: It did not arrive, or was refused.
        """
        content = _FORMS[self._form](delivery)
        body = msgspec.json.encode({"routing_key": self._secret, **content} if self._form == "pagerduty" else content)
        identity = f"msg_{token_hex(12)}"
        try:
            await self._retry.execute(self._post, identity, body)
        except LLMCallError as error:  # as everywhere, what the peer says may hold what it was told
            error.rewrite(self._known.text)
            raise

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

    async def _post(self, identity: str, body: bytes) -> None:
        headers = {"webhook-id": identity} if self._key is None else signed(identity, time(), body, self._key)
        path = "/" if self._url.endswith("/") else ""  # the transport takes it off
        request = WireRequest(path=path, body=body, headers=headers)
        async with self._transport.open(Endpoint(base_url=self._url), request, _TIMEOUTS) as reply:
            answer = self._known.text((await reply.read()).decode("utf-8", "replace")).encode()
            if not 200 <= reply.status < 300:  # noqa: PLR2004  (what HTTP calls a success)
                error = decode_http_error(reply.status, reply.headers, answer)
                error.hint = "Look at what the webhook's receiver expects."
                raise error


def signing_key(secret: str) -> bytes:
    """The key that `secret` stands for: base64 behind `whsec_`, else the text itself.

    Raises:
        ConfigError: What stands behind `whsec_` is no base64.
    """
    if not secret.startswith(_PREFIX):
        return secret.encode()
    try:
        return b64decode(secret.removeprefix(_PREFIX), validate=True)
    except ValueError:
        raise ConfigError("the webhook's secret is no base64", hint="Copy it again, with its whsec_.") from None


def signed(identity: str, at: float, body: bytes, key: bytes) -> Mapping[str, str]:
    """The headers of a signed webhook. `at` is in seconds since the epoch."""
    timestamp = str(int(at))
    digest = hmac.digest(key, b"%b.%b.%b" % (identity.encode(), timestamp.encode(), body), "sha256")
    return {
        "webhook-id": identity,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{b64encode(digest).decode()}",
    }


def _json(delivery: Delivery) -> Mapping[str, Any]:
    told = msgspec.structs.asdict(delivery.alert)
    return {**told, "at": delivery.time, "repeats": delivery.repeats, "others": delivery.others}


def _slack(delivery: Delivery) -> Mapping[str, Any]:
    facts = "".join(f"\n{name}: {fact}" for name, fact in delivery.alert.facts.items())
    text = (delivery.line + facts)[:_SLACK_TEXT]
    # Or a peer's words could mention a whole channel (docs.slack.dev: "Escaping text").
    return {"text": text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")}


def _pagerduty(delivery: Delivery) -> Mapping[str, Any]:
    alert = delivery.alert
    return {
        "event_action": "trigger",
        "dedup_key": f"{alert.kind} {alert.subject}"[:_PAGERDUTY_KEY],
        "client": "llm_call",
        "payload": {
            "summary": delivery.line[:_PAGERDUTY_SUMMARY],
            "source": alert.subject or "llm_call",
            "severity": alert.level,  # its four levels have the names of ours
            "timestamp": delivery.time,
            "class": alert.kind,
            "custom_details": {**alert.facts, "repeats": delivery.repeats, "others": delivery.others},
        },
    }


_FORMS: Mapping[Form, Callable[[Delivery], Mapping[str, Any]]] = {
    "json": _json,
    "slack": _slack,
    "pagerduty": _pagerduty,
}
