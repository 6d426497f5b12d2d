"""A small mail server on a real socket: greets, may ask for TLS and a password, keeps what it is given."""

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass
class SmtpServer:
    """`refuses` maps a command to the line that answers it; `hangs` names the command that is never answered."""

    tls: ssl.SSLContext | None = None
    is_tls_from_start: bool = False
    login: tuple[str, str] | None = None
    refuses: dict[str, str] = field(default_factory=dict)
    hangs: str | None = None
    port: int = 0
    messages: list[EmailMessage] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    # Every command line that came without TLS.
    in_clear: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
                await self._converse(reader, writer)
        finally:
            writer.close()
            with suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        is_secure = self.is_tls_from_start
        is_known = self.login is None
        await say(writer, "220 test ready")
        while line := (await reader.readline()).decode().rstrip("\r\n"):
            verb = line.split(" ")[0].upper()
            if not is_secure:
                self.in_clear.append(line)
            if verb == self.hangs:
                await asyncio.sleep(3600)
            if verb in self.refuses:
                await say(writer, self.refuses[verb])
            elif verb == "EHLO":
                offers = ["test"]
                offers += ["STARTTLS"] if self.tls is not None and not is_secure else []
                offers += ["AUTH PLAIN"] if self.login is not None else []
                await say(writer, *[f"250-{offer}" for offer in offers[:-1]], f"250 {offers[-1]}")
            elif verb == "STARTTLS":
                assert self.tls is not None
                await say(writer, "220 go on")
                await writer.start_tls(self.tls)
                is_secure = True
            elif verb == "AUTH":
                given = base64.b64decode(line.split(" ")[2]).decode().split("\0")[1:]
                is_known = tuple(given) == self.login
                await say(writer, "235 welcome" if is_known else "535 wrong")
            elif verb == "RCPT":
                self.recipients.append(line.partition("<")[2].partition(">")[0])
                await say(writer, "250 ok")
            elif verb == "DATA" and is_known:
                await say(writer, "354 go on")
                raw = (await reader.readuntil(b"\r\n.\r\n")).removesuffix(b".\r\n")
                raw = raw.replace(b"\r\n..", b"\r\n.")
                self.messages.append(cast("EmailMessage", message_from_bytes(raw, policy=policy.default)))
                await say(writer, "250 kept")
            elif verb == "QUIT":
                await say(writer, "221 bye")
                return
            else:
                await say(writer, "250 ok" if is_known else "530 sign in first")


async def say(writer: asyncio.StreamWriter, *lines: str) -> None:
    writer.write("".join(f"{line}\r\n" for line in lines).encode())
    await writer.drain()


@asynccontextmanager
async def running(server: SmtpServer) -> AsyncIterator[SmtpServer]:
    context = server.tls if server.is_tls_from_start else None
    conversations: set[asyncio.Task[None]] = set()
    writers: list[asyncio.StreamWriter] = []

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        conversations.add(asyncio.ensure_future(server.serve(reader, writer)))

    listening = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        for conversation in conversations:
            conversation.cancel()
        await asyncio.gather(*conversations, return_exceptions=True)
        # A conversation that was cancelled before its first step has closed nothing.
        for writer in writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)
        await listening.wait_closed()


def make_certificate(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """For `localhost`: the server's side, and that of a client who trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    both = folder / "smtp.pem"
    both.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(both)
    client = ssl.create_default_context(cafile=str(both))
    return server, client
