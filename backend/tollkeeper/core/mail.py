"""Plain-text mail over SMTP: one message, one connection, in a thread and within a deadline.

`smtp://` turns TLS on (STARTTLS) before anything is told, `smtps://` begins with it; only a relay on this machine, or one
named with `?tls=none`, is spoken to in clear. Nothing of a message or of a server's answer reaches an error's text.
"""

import asyncio
import ipaddress
import smtplib
import ssl
import unicodedata
from dataclasses import dataclass, field
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import formatdate, make_msgid, parseaddr
from typing import Final, Protocol
from urllib.parse import parse_qs, unquote, urlsplit

from tollkeeper.core.errors import DependencyUnavailable, TollkeeperError

STEP_SECONDS: Final = 10.0
TOTAL_SECONDS: Final = 45.0
LONGEST_TEXT: Final = 100_000
_LONGEST_SUBJECT: Final = 200
_PORTS: Final = {"smtp": 587, "smtps": 465}


class MailSettingsError(ValueError):
    """`mail_url` or `mail_from` cannot be used; the message says what to write instead."""


class MailRefused(TollkeeperError):
    """The server answered, and did not take the message."""

    code = "mail_refused"


class MailUnavailable(DependencyUnavailable):
    """The server did not answer in time, or not as one that we trust."""


@dataclass(frozen=True, slots=True)
class Message:
    """Refuses line breaks and other controls where they would begin another header. Raises ValueError."""

    to: str
    subject: str
    text: str = field(repr=False)

    def __post_init__(self) -> None:
        if not (_is_one_line(self.to) and _is_one_line(self.subject)):
            raise ValueError("a recipient and a subject are one line of text")
        if len(self.subject) > _LONGEST_SUBJECT or len(self.text) > LONGEST_TEXT:
            raise ValueError("the message is too long")
        _address(self.to)


class Sender(Protocol):
    async def send(self, message: Message) -> None:
        """Raises `MailRefused` or `MailUnavailable`; whether a server that fell silent took the message is unknown."""
        ...


@dataclass(frozen=True, slots=True)
class MailServer:
    host: str
    port: int
    is_tls_from_start: bool
    needs_tls: bool
    user: str | None
    password: str | None = field(repr=False)

    @classmethod
    def parse(cls, url: str) -> "MailServer":
        """Raises MailSettingsError; the password is never part of its text."""
        try:
            parts = urlsplit(url.strip())
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port = None, None
            parts = urlsplit("")
        if parts.scheme not in _PORTS or not host or parts.path not in {"", "/"} or parts.fragment:
            raise MailSettingsError(
                "TOLLKEEPER_MAIL_URL reads smtp://user:password@host:587 (STARTTLS) or smtps://user:password@host:465."
            )
        options = parse_qs(parts.query)
        if options not in ({}, {"tls": ["none"]}):
            raise MailSettingsError("TOLLKEEPER_MAIL_URL knows one option, ?tls=none, for a relay that has no TLS.")
        is_clear = parts.scheme == "smtp" and ("tls" in options or _is_this_machine(host))
        user = None if parts.username is None else unquote(parts.username)
        password = None if parts.password is None else unquote(parts.password)
        if user is not None and is_clear and not _is_this_machine(host):
            raise MailSettingsError("TOLLKEEPER_MAIL_URL may not send a password in clear: leave out ?tls=none.")
        return cls(host, port or _PORTS[parts.scheme], parts.scheme == "smtps", not is_clear, user, password)


class Smtp:
    """Failure policy: server gone, slow or untrusted: `MailUnavailable`; the job that sends tries again."""

    def __init__(self, server: MailServer, mail_from: str, *, tls: ssl.SSLContext | None = None) -> None:
        """`mail_from` is `name@host`, or `A name <name@host>`. `tls` is for tests; else the system's certificates."""
        name, address = parseaddr(mail_from) if _is_one_line(mail_from) else ("", "")
        try:
            self._from = _address(address, name)
        except ValueError:
            raise MailSettingsError(
                "TOLLKEEPER_MAIL_FROM is the sender's address, as in: Tollkeeper <no-reply@example.com>"
            ) from None
        self._server = server
        self._tls = tls

    async def send(self, message: Message) -> None:
        try:
            async with asyncio.timeout(TOTAL_SECONDS):
                await asyncio.to_thread(self._send, self._render(message), message.to)
        except (smtplib.SMTPServerDisconnected, smtplib.SMTPConnectError):
            raise _unavailable() from None
        except smtplib.SMTPResponseException as error:
            raise MailRefused(f"The mail server refused (status {error.smtp_code}).") from None
        except smtplib.SMTPException:
            raise MailRefused("The mail server refused the recipient, or cannot do what is needed (TLS).") from None
        except OSError:
            # Timeouts and certificates that do not fit are among these.
            raise _unavailable() from None

    def _render(self, message: Message) -> EmailMessage:
        mail = EmailMessage()
        mail["From"] = self._from
        mail["To"] = _address(message.to)
        mail["Subject"] = message.subject
        mail["Date"] = formatdate()
        mail["Message-ID"] = make_msgid(domain=self._from.domain)
        # RFC 3834: nobody's holiday note answers it.
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(message.text)
        return mail

    def _send(self, mail: EmailMessage, to: str) -> None:
        server = self._server
        context = self._tls or ssl.create_default_context()
        if server.is_tls_from_start:
            client: smtplib.SMTP = smtplib.SMTP_SSL(server.host, server.port, timeout=STEP_SECONDS, context=context)
        else:
            client = smtplib.SMTP(server.host, server.port, timeout=STEP_SECONDS)
        with client:
            if server.needs_tls and not server.is_tls_from_start:
                client.starttls(context=context)
            if server.user is not None:
                client.login(server.user, server.password or "")
            client.send_message(mail, self._from.addr_spec, [to])


def _address(text: str, name: str = "") -> Address:
    """Raises ValueError for what is no single address."""
    try:
        address = Address(name, addr_spec=text)
    except Exception as error:  # the standard library's parser raises IndexError and its own errors for odd input
        raise ValueError("not an e-mail address") from error
    if not address.username or not address.domain or not text.isascii():
        raise ValueError("not an e-mail address")
    return address


def _unavailable() -> MailUnavailable:
    return MailUnavailable("The mail server did not answer, or not with a certificate that is trusted here.")


def _is_one_line(text: str) -> bool:
    refused = {"Cc", "Cs", "Zl", "Zp"}
    return bool(text) and not any(unicodedata.category(character) in refused for character in text)


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
