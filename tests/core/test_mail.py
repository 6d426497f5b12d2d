"""Mail over real sockets: what arrives, what is never said in clear, and what is refused."""

import ssl

import pytest

from tests.smtp import SmtpServer, make_certificate, running
from tollkeeper.core import mail
from tollkeeper.core.mail import MailRefused, MailServer, MailSettingsError, MailUnavailable, Message, Smtp

FROM = "Tollkeeper <no-reply@example.com>"
MESSAGE = Message("ann@example.com", "Grüße ✓", "First line\n.\n\nhttps://gateway.example/console/x#token=secret\n")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    return make_certificate(tmp_path_factory.mktemp("smtp"))


def smtp(url: str, tls: ssl.SSLContext | None = None) -> Smtp:
    return Smtp(MailServer.parse(url), FROM, tls=tls)


async def test_a_message_arrives_as_it_was_written() -> None:
    async with running(SmtpServer()) as server:
        await smtp(f"smtp://localhost:{server.port}").send(MESSAGE)
    (received,) = server.messages
    assert received["subject"] == "Grüße ✓"
    assert received["from"] == FROM
    assert received["to"] == "ann@example.com"
    assert received["auto-submitted"] == "auto-generated"
    assert received["message-id"].endswith("@example.com>")
    assert received.get_content().replace("\r\n", "\n") == MESSAGE.text
    assert server.recipients == ["ann@example.com"]


async def test_the_password_goes_through_tls_only(certificate: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    theirs, ours = certificate
    async with running(SmtpServer(tls=theirs, login=("us er", "p:/@ss"))) as server:
        sender = smtp(f"smtp://us%20er:p%3A%2F%40ss@localhost:{server.port}", ours)
        # Not this machine, as far as the rule is concerned.
        sender._server = MailServer("localhost", server.port, False, True, "us er", "p:/@ss")
        await sender.send(MESSAGE)
        assert len(server.messages) == 1
        assert {line.split(" ")[0].upper() for line in server.in_clear} == {"EHLO", "STARTTLS"}
    async with running(SmtpServer(tls=theirs, is_tls_from_start=True, login=("ann", "right"))) as server:
        await smtp(f"smtps://ann:right@localhost:{server.port}", ours).send(MESSAGE)
        with pytest.raises(MailRefused, match="535"):
            await smtp(f"smtps://ann:wrong@localhost:{server.port}", ours).send(MESSAGE)
        assert len(server.messages) == 1


async def test_nothing_is_said_to_a_server_without_tls_or_with_a_strange_certificate(
    certificate: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    async with running(SmtpServer()) as server:
        sender = smtp("smtp://relay.example")
        sender._server = MailServer("localhost", server.port, False, True, None, None)
        with pytest.raises(MailRefused):
            await sender.send(MESSAGE)
        assert {line.split(" ")[0].upper() for line in server.in_clear} <= {"EHLO", "QUIT"}
    async with running(SmtpServer(tls=certificate[0], is_tls_from_start=True)) as server:
        with pytest.raises(MailUnavailable):
            await smtp(f"smtps://localhost:{server.port}").send(MESSAGE)
        assert server.messages == []


@pytest.mark.parametrize("verb", ["EHLO", "MAIL", "RCPT", "DATA"])
async def test_a_refusal_names_the_status_and_no_secret(verb: str) -> None:
    async with running(SmtpServer(refuses={verb: "554 ann@example.com token=secret", "HELO": "554 no"})) as server:
        with pytest.raises(MailRefused) as refused:
            await smtp(f"smtp://localhost:{server.port}").send(MESSAGE)
    assert "ann@" not in refused.value.message
    assert "secret" not in refused.value.message


async def test_a_server_that_is_gone_or_silent_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail, "STEP_SECONDS", 0.2)
    async with running(SmtpServer(hangs="MAIL")) as server:
        url = f"smtp://localhost:{server.port}"
        with pytest.raises(MailUnavailable):
            await smtp(url).send(MESSAGE)
    with pytest.raises(MailUnavailable):
        await smtp(url).send(MESSAGE)


@pytest.mark.parametrize("text", ["a@b\r\nBcc: all@example.com", "a@b\nc", "a@b\0", "a@b\x85x", "a@b\u2028x", ""])
def test_no_text_begins_another_header(text: str) -> None:
    with pytest.raises(ValueError):
        Message(text, "subject", "text")
    with pytest.raises(ValueError):
        Message("ann@example.com", text, "text")


@pytest.mark.parametrize("to", ["ann", "@b", "a@", "a@b, c@d", "<a@b>", "ann <a@b>", "ä@b.example", "a b@c"])
def test_only_one_plain_address_is_a_recipient(to: str) -> None:
    with pytest.raises(ValueError):
        Message(to, "subject", "text")


@pytest.mark.parametrize(
    "url",
    ["", "http://x", "smtp://", "smtp:x", "smtp://x:port", "smtp://[", "smtp://x/path", "smtp://x?tls=no", "smtp://x#f",
     "smtp://ann:secret@relay.example?tls=none"],
)  # fmt: skip
def test_a_wrong_url_says_how_one_reads(url: str) -> None:
    with pytest.raises(MailSettingsError, match="TOLLKEEPER_MAIL_URL") as refused:
        MailServer.parse(url)
    assert "secret" not in str(refused.value)


def test_tls_is_the_rule_and_this_machine_the_exception() -> None:
    assert MailServer.parse("smtp://relay.example").needs_tls
    assert not MailServer.parse("smtp://relay.example?tls=none").needs_tls
    assert not MailServer.parse("smtp://127.0.0.1:25").needs_tls
    assert MailServer.parse("smtps://relay.example") == MailServer("relay.example", 465, True, True, None, None)
    assert "secret" not in repr(MailServer.parse("smtp://ann:secret@relay.example"))


@pytest.mark.parametrize("sender", ["", "nobody", "a@b\r\nBcc: x@y", "@", "Name <>"])
def test_a_wrong_sender_says_how_one_reads(sender: str) -> None:
    with pytest.raises(MailSettingsError, match="TOLLKEEPER_MAIL_FROM"):
        Smtp(MailServer.parse("smtp://localhost"), sender)
