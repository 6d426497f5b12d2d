"""What is passed on is looked at as every call is: no road to a vendor leads past the guard."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.guardrails.guarding import CARD, MAIL, pii, policy
from tests.gateway.passthrough.test_relay import opened
from tests.gateway.serving import TENANT, serving, snapshot
from tests.gateway.upstream import FakeUpstream, answer, answer_json
from tollkeeper.contracts.guardrails import Action, Attachment, Direction, Level
from tollkeeper.contracts.usage import CallStatus

FORM = b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n\xff\xfe card %b\r\n--b--\r\n'
BODIES = {
    "json": json.dumps({"id": CARD, "model": "x"}).encode(),
    "lines": b'{"text": "%b"}\n{"text": "b"}\n' % CARD.encode(),
    "text": f"card {CARD}".encode(),
    "form": FORM % CARD.encode(),
}


INPUT = frozenset({Direction.INPUT})


def guarded(vendor: FakeUpstream, action: Action, directions: frozenset[Direction] = frozenset(Direction)) -> Any:
    attached = {TENANT: (Attachment(policy(pii(action, directions=directions)), Level.TENANT, TENANT),)}
    return replace(snapshot([opened(vendor)], []), guardrails=attached)


@pytest.mark.parametrize("kind", sorted(BODIES))
async def test_what_may_not_pass_is_not_passed_on(tmp_path: Path, vendor: FakeUpstream, kind: str) -> None:
    async with serving(tmp_path, guarded(vendor, Action.BLOCK)) as gateway:
        response = await gateway.post("/v1/providers/one/threads", BODIES[kind])
        assert response.status_code == 400, response.text
        assert response.json()["error"]["code"] == "guardrail_blocked"
        assert vendor.seen == []
        assert gateway.settlements == []


@pytest.mark.parametrize("kind", sorted(BODIES))
async def test_what_is_taken_out_of_what_is_passed_on_stays_here(
    tmp_path: Path, vendor: FakeUpstream, kind: str
) -> None:
    async with serving(tmp_path, guarded(vendor, Action.REDACT)) as gateway:
        vendor.script = answer_json({"ok": True})
        response = await gateway.post("/v1/providers/one/threads", BODIES[kind])
        assert response.status_code == 200, response.text
        expected = BODIES[kind].replace(CARD.encode(), b"[CARD]")
        assert vendor.seen[0].body.replace(b" ", b"") == expected.replace(b" ", b"")


async def test_what_nothing_was_found_in_is_passed_on_byte_for_byte(tmp_path: Path, vendor: FakeUpstream) -> None:
    async with serving(tmp_path, guarded(vendor, Action.BLOCK)) as gateway:
        vendor.script = answer_json({"ok": True})
        body = b'{"a" : 1,  "b":"\\u00e9"}\xff'
        response = await gateway.post("/v1/providers/one/threads", body)
        assert response.status_code == 200
        assert vendor.seen[0].body == body


ANSWERS = {
    "json": ("application/json", json.dumps({"id": "x", "deep": [{"mail": MAIL}]}).encode()),
    "lines": ("application/x-ndjson", b'{"text": "%b"}\n{"text": "b"}\n' % MAIL.encode()),
    "text": ("text/plain; charset=utf-8", f"mail {MAIL}".encode()),
    "no type": ("", f"mail {MAIL}".encode()),
    "bytes that are text": ("application/octet-stream", f"mail {MAIL}".encode()),
    "half a text": ("text/plain", b"\xff\xfe mail " + MAIL.encode()),
    "events": ("text/event-stream", b'event: x\ndata: {"delta": "mail %b"}\n\ndata: [DONE]\n\n' % MAIL.encode()),
    "an event's own line": ("text/event-stream", b": %b\ndata: {}\n\n" % MAIL.encode()),
    "pieces in events": (
        "text/event-stream",
        b'data: {"delta": {"text": "mail bob@ex"}}\n\ndata: {"delta": {"text": "ample.com"}}\n\n',
    ),
    "escaped": ("application/json", b'{"note": "\\u0062ob\\u0040example.com"}'),
}


@pytest.mark.parametrize("status", [200, 422])
@pytest.mark.parametrize("kind", sorted(ANSWERS))
async def test_what_is_answered_is_looked_at_too(tmp_path: Path, vendor: FakeUpstream, kind: str, status: int) -> None:
    content_type, content = ANSWERS[kind]
    vendor.script = answer(status, content, content_type=content_type)
    async with serving(tmp_path, guarded(vendor, Action.REDACT)) as gateway:
        response = await gateway.post("/v1/providers/one/threads", b"{}")
        assert response.status_code == status, response.text
        assert "example.com" not in response.text
        assert b"ample.com" not in response.content
        assert "[EMAIL]" in response.text
        # The form stays what it was.
        if content_type.startswith("text/event-stream"):
            assert response.text.count("data: ") == content.count(b"data: ")
    async with serving(tmp_path / "other", guarded(vendor, Action.BLOCK)) as gateway:
        response = await gateway.post("/v1/providers/one/threads", b"{}")
        assert response.status_code == 400
        assert response.json()["error"]["code"] == "guardrail_blocked"
        [settled] = await gateway.settled()
        assert settled.status is CallStatus.BLOCKED


async def test_originals_come_back_in_what_is_answered(tmp_path: Path, vendor: FakeUpstream) -> None:
    vendor.script = answer_json({"echo": "to <EMAIL_1>"})
    async with serving(tmp_path, guarded(vendor, Action.REVERSIBLE, INPUT)) as gateway:
        response = await gateway.post("/v1/providers/one/threads", json.dumps({"to": MAIL}).encode())
        assert response.json() == {"echo": f"to {MAIL}"}
        assert MAIL.encode() not in vendor.seen[0].body


async def test_a_picture_is_passed_on_as_it_comes(tmp_path: Path, vendor: FakeUpstream) -> None:
    picture = b"\x89PNG" + bytes(range(256)) + MAIL.encode()
    vendor.script = answer(200, picture, content_type="image/png")
    async with serving(tmp_path, guarded(vendor, Action.REDACT)) as gateway:
        response = await gateway.post("/v1/providers/one/threads", b"{}")
        assert response.content == picture


@pytest.mark.parametrize("action", [Action.BLOCK, Action.REDACT])
@pytest.mark.parametrize("query", ["q=4111%201111%201111%201111", "4111-1111-1111-1111=x", "a=1&b=4111+1111+1111+1111"])
async def test_an_address_is_refused_as_it_cannot_be_written_anew(
    tmp_path: Path, vendor: FakeUpstream, query: str, action: Action
) -> None:
    async with serving(tmp_path, guarded(vendor, action)) as gateway:
        response = await gateway.post(f"/v1/providers/one/threads?{query}", b"{}")
        assert response.status_code == 400, response.text
        assert response.json()["error"]["code"] == "guardrail_blocked"
        assert vendor.seen == []
