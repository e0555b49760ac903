"""E-mail, to a real SMTP server: with STARTTLS, TLS, a password, and without."""

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any, cast

import pytest
import trustme
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from llm_call.core.alerts.mail import EmailReceiver
from llm_call.core.domain.alert import Alert
from llm_call.core.domain.errors import (
    AuthenticationError,
    ConfigError,
    ConnectionFailedError,
    LLMCallError,
    ProtocolError,
)
from llm_call.core.policy.alerting import Delivery
from llm_call.core.transport.base import HttpSettings
from llm_call.core.transport.http import HttpTransport
from llm_call.testing.servers import FaultServer, hang

PASSWORD = "correct horse battery"
ALERT = Alert(
    level="error",
    kind="breaker_open",
    subject="openai/gpt-4o",
    message="Kein Durchkommen: fünf Fehler\r\nBcc: evil@example.com",
    facts={"failures": 5},
    at=1_700_000_000,
)
DELIVERY = Delivery(receiver="mail", alert=ALERT, repeats=3)


class Inbox:
    """What an SMTP server was given, and whom it refuses."""

    def __init__(self) -> None:
        self.envelopes: list[Envelope] = []
        self.port = 0

    async def handle_RCPT(  # noqa: N802  (aiosmtpd's name for it)
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.startswith("nobody"):
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802  (the same)
        self.envelopes.append(envelope)
        return "250 OK"

    def message(self) -> EmailMessage:
        content = cast("bytes", self.envelopes[-1].content)
        return message_from_bytes(content, policy=policy.default)


def known(server: SMTP, session: Session, envelope: Envelope, mechanism: str, login: Any) -> AuthResult:
    given = isinstance(login, LoginPassword) and (login.login, login.password) == (b"me", PASSWORD.encode())
    return AuthResult(success=given, handled=False)


@contextmanager
def smtp_server(*, tls: ssl.SSLContext | None = None, **options: Any) -> Iterator[Inbox]:
    """A server on a thread of its own; `tls` from the first byte on, `tls_context` for STARTTLS."""
    inbox, ready, stop = Inbox(), threading.Event(), asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: SMTP(inbox, hostname="mail.example.com", loop=loop, **options), "127.0.0.1", 0, ssl=tls
        )
        inbox.port = server.sockets[0].getsockname()[1]
        loops.append(loop)
        ready.set()
        await stop.wait()
        server.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield inbox
    finally:
        loops[0].call_soon_threadsafe(stop.set)
        thread.join(10)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path) -> dict[str, Any]:
    """The option that has `authority` trusted, as the setting `http.ca_file` does."""
    file = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(file)
    return {"tls": lambda: HttpTransport(HttpSettings(ca_file=str(file))).tls}


def send(port: int, **options: Any) -> None:
    given = {"sender": "llm-call@example.com", "recipients": ["ops@example.com"], **options}
    asyncio.run(EmailReceiver(f"127.0.0.1:{port}", **given).deliver(DELIVERY))


def failing(port: int, **options: Any) -> LLMCallError:
    with pytest.raises(LLMCallError) as caught:
        send(port, **options)
    assert PASSWORD not in f"{caught.value} {caught.value.hint} {caught.value.__cause__}"
    return caught.value


def test_a_mail_says_all_there_is_and_nothing_becomes_a_header() -> None:
    with smtp_server() as inbox:
        send(
            inbox.port,
            security="none",
            sender="llm_call <llm-call@example.com>",
            recipients=["ops@example.com", "Me <me@example.com>"],
        )
    (envelope,), message = inbox.envelopes, inbox.message()
    assert (envelope.mail_from, envelope.rcpt_tos) == ("llm-call@example.com", ["ops@example.com", "me@example.com"])
    assert message["Subject"] == "[llm_call] error: breaker_open openai/gpt-4o"
    assert message["To"] == "ops@example.com, Me <me@example.com>"
    assert message["Date"] == "Tue, 14 Nov 2023 22:13:20 +0000"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Bcc"] is None
    text = message.get_content()
    assert "Kein Durchkommen: fünf Fehler" in text
    assert "failures: 5" in text
    assert "and 3 more since the last one" in text


def test_starttls_and_a_password(server_tls: ssl.SSLContext, trusted: dict[str, Any]) -> None:
    options: dict[str, Any] = {
        "tls_context": server_tls,
        "require_starttls": True,
        "authenticator": known,
        "auth_required": True,
    }
    with smtp_server(**options) as inbox:
        send(inbox.port, user="me", password=PASSWORD, **trusted)
        assert len(inbox.envelopes) == 1


def test_tls_from_the_first_byte(server_tls: ssl.SSLContext, trusted: dict[str, Any]) -> None:
    with smtp_server(tls=server_tls) as inbox:
        send(inbox.port, security="tls", **trusted)
        assert len(inbox.envelopes) == 1


def test_a_wrong_password_is_said_so(server_tls: ssl.SSLContext, trusted: dict[str, Any]) -> None:
    with smtp_server(tls_context=server_tls, authenticator=known, auth_required=True) as inbox:
        error = failing(inbox.port, user="me", password=f"not {PASSWORD}", **trusted)
    assert isinstance(error, AuthenticationError)
    assert "535" in error.message


def test_a_server_that_nobody_vouches_for_is_not_trusted(server_tls: ssl.SSLContext) -> None:
    with smtp_server(tls_context=server_tls) as inbox:
        error = failing(inbox.port)
    assert isinstance(error, ConnectionFailedError)
    assert "certificate verify failed" in error.message
    assert inbox.envelopes == []


def test_a_server_without_starttls_gets_nothing() -> None:
    with smtp_server() as inbox:
        error = failing(inbox.port, user="me", password=PASSWORD)
    assert isinstance(error, ProtocolError)
    assert "STARTTLS" in error.message
    assert inbox.envelopes == []


@pytest.mark.parametrize("others", [[], ["ops@example.com"]])
def test_a_recipient_who_is_refused_is_named(others: list[str]) -> None:
    with smtp_server() as inbox:
        error = failing(inbox.port, security="none", recipients=["nobody@example.com", *others])
    assert isinstance(error, ProtocolError)
    assert "refused for nobody@example.com" in error.message
    assert len(inbox.envelopes) == len(others)


def test_nobody_there_is_said_so() -> None:
    with smtp_server() as inbox:
        pass
    error = failing(inbox.port, security="none")
    assert isinstance(error, ConnectionFailedError)
    assert error.message == f"127.0.0.1:{inbox.port}: Connection refused"


def test_a_server_that_says_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llm_call.core.alerts.mail._SECONDS", 0.05)
    with FaultServer([hang()]) as server:
        error = failing(server.port, security="none")
    assert isinstance(error, ConnectionFailedError)
    assert "timed out" in error.message


@pytest.mark.parametrize(
    ("server", "security", "place"),
    [
        ("h", "starttls", ("h", 587)),
        ("h", "tls", ("h", 465)),
        ("h", "none", ("h", 25)),
        ("h:2525", "tls", ("h", 2525)),
        ("[::1]", "tls", ("::1", 465)),
        ("[::1]:2525", "tls", ("::1", 2525)),
    ],
)
def test_the_port_is_that_of_the_security_unless_it_is_named(
    server: str, security: Any, place: tuple[str, int]
) -> None:
    receiver = EmailReceiver(server, sender="a@b", recipients=["c@d"], security=security)
    assert (receiver._host, receiver._port) == place


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"server": ""}, "mail server"),
        ({"server": "h:mail"}, "mail server"),
        ({"server": "h:70000"}, "mail server"),
        ({"sender": "nobody"}, "no e-mail address"),
        ({"recipients": ["a@b\r\nBcc: c@d"]}, "no e-mail address"),
        ({"recipients": []}, "recipient"),
        ({"user": "me"}, "go together"),
        ({"password": PASSWORD}, "go together"),
        ({"user": "me", "password": PASSWORD, "security": "none"}, "over TLS only"),
    ],
)
def test_what_cannot_be_is_refused(change: dict[str, Any], why: str) -> None:
    given: dict[str, Any] = {"server": "h", "sender": "a@b", "recipients": ["c@d"], **change}
    with pytest.raises(ConfigError, match=why) as caught:
        EmailReceiver(**given)
    assert PASSWORD not in str(caught.value)
