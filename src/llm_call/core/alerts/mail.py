"""E-mail over SMTP: the standard library's client, in a thread."""

import smtplib
import ssl
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid, parseaddr
from functools import partial

from llm_call.core.alerts.receivers import in_thread
from llm_call.core.alerts.settings import Security
from llm_call.core.domain.errors import AuthenticationError, ConfigError, ConnectionFailedError, ProtocolError
from llm_call.core.policy.alerting import Delivery
from llm_call.core.transport.http import HttpTransport
from llm_call.core.transport.masking import Secrets

_PORTS: dict[Security, int] = {"starttls": 587, "tls": 465, "none": 25}
_SECONDS = 10.0  # for each answer of the server
_SUBJECT = 200  # characters


class EmailReceiver:
    """Sends alerts as plain text from `sender` to `recipients` through the mail server `server`, `host` or `host:port`.

    `security` is `starttls` (port 587 unless `server` names one), `tls` (465) or `none` (25). A password goes over TLS
    only. `tls` makes the context that servers are verified with; the system's authorities are trusted without it.

    Raises:
        ConfigError: The server or an address cannot be used, or a password would go in the clear.
    """

    def __init__(
        self,
        server: str,
        *,
        sender: str,
        recipients: Sequence[str],
        security: Security = "starttls",
        user: str | None = None,
        password: str | None = None,
        tls: Callable[[], ssl.SSLContext] | None = None,
    ) -> None:
        self._host, self._port = _place(server, _PORTS[security])
        self._security = security
        self._sender = _address(sender)
        self._recipients = [_address(each) for each in recipients]
        self._login = None if user is None or password is None else (user, password)
        self._tls = tls or (lambda: HttpTransport().tls)
        self._known = Secrets([password] if password else [])
        if not self._recipients:
            raise ConfigError("an e-mail needs a recipient", hint='For example recipients = ["ops@example.com"].')
        if (user is None) != (password is None):
            raise ConfigError("a mail server's user and password go together", hint="Give both, or none.")
        if self._login and security == "none":
            raise ConfigError("a password goes over TLS only", hint='Use security = "starttls" or "tls".')

    async def deliver(self, delivery: Delivery) -> None:
        """Send it.

        Raises:
            LLMCallError: The server did not take it for every recipient.
        """
        await in_thread(partial(self._send, self._message(delivery)))

    async def close(self) -> None:
        """Nothing is held."""

    def _message(self, delivery: Delivery) -> EmailMessage:
        message = EmailMessage()
        message["Subject"] = f"[llm_call] {delivery.title}"[:_SUBJECT]
        message["From"] = self._sender
        message["To"] = ", ".join(self._recipients)
        message["Date"] = format_datetime(datetime.fromtimestamp(delivery.alert.at or 0.0, UTC))
        message["Message-ID"] = make_msgid(domain=parseaddr(self._sender)[1].rpartition("@")[2])
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no holiday notice comes back
        facts = "\n".join(f"{name}: {fact}" for name, fact in delivery.alert.facts.items())
        parts = (delivery.alert.message, facts, delivery.missed, f"{delivery.title}\n{delivery.time}")
        message.set_content("\n\n".join(filter(None, parts)))
        return message

    def _send(self, message: EmailMessage) -> None:
        where = f"{self._host}:{self._port}"
        try:
            with self._connected() as smtp:
                if self._login:
                    smtp.login(*self._login)
                refused = smtp.send_message(message, parseaddr(self._sender)[1])
        except smtplib.SMTPAuthenticationError as error:
            raise AuthenticationError(f"{where}: {self._said(error)}", hint="Check the user and password.") from error
        except smtplib.SMTPResponseException as error:
            raise ProtocolError(f"{where}: {self._said(error)}") from error
        except smtplib.SMTPRecipientsRefused as error:
            raise ProtocolError(_refused(where, error.recipients)) from error
        except smtplib.SMTPNotSupportedError as error:
            raise ProtocolError(f"{where}: {error}", hint="Another security may be right.") from error
        except OSError as error:  # smtplib's other errors are ones too
            raise ConnectionFailedError(f"{where}: {error.strerror or error or type(error).__name__}") from error
        if refused:
            raise ProtocolError(_refused(where, refused))

    def _connected(self) -> smtplib.SMTP:
        if self._security == "tls":
            return smtplib.SMTP_SSL(self._host, self._port, timeout=_SECONDS, context=self._tls())
        smtp = smtplib.SMTP(self._host, self._port, timeout=_SECONDS)
        if self._security == "starttls":
            try:
                smtp.starttls(context=self._tls())
            except BaseException:
                smtp.close()
                raise
        return smtp

    def _said(self, error: smtplib.SMTPResponseException) -> str:
        said = error.smtp_error
        text = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
        return f"{error.smtp_code} {self._known.text(text)}"


def _refused(where: str, recipients: dict[str, tuple[int, bytes]]) -> str:
    return f"{where}: refused for {', '.join(recipients)}"


def _place(server: str, port: int) -> tuple[str, int]:
    host, colon, number = server.rpartition(":")
    if not colon or host.startswith("[") != host.endswith("]"):
        host, number = server, str(port)
    if not host or not number.isdecimal() or not 0 < int(number) < 65536:  # noqa: PLR2004  (ports have 16 bits)
        raise ConfigError("the mail server is none", hint="Use host or host:port.")
    return host.strip("[]"), int(number)


def _address(text: str) -> str:
    _, address = parseaddr(text)
    if not all(address.rpartition("@")) or not text.isprintable():
        raise ConfigError(f"{text!r} is no e-mail address", hint="Use name@host, or Name <name@host>.")
    return text
