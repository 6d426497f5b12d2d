"""What is passed on is looked at as every call is: no road to a vendor leads past the guard."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.guardrails.guarding import CARD, MAIL, pii, policy
from tests.gateway.passthrough.test_relay import opened
from tests.gateway.serving import TENANT, serving, snapshot
from tests.gateway.upstream import FakeUpstream, answer_json
from tollkeeper.contracts.guardrails import Action, Attachment, Level

FORM = b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n\xff\xfe card %b\r\n--b--\r\n'
BODIES = {
    "json": json.dumps({"id": CARD, "model": "x"}).encode(),
    "lines": b'{"text": "%b"}\n{"text": "b"}\n' % CARD.encode(),
    "text": f"card {CARD}".encode(),
    "form": FORM % CARD.encode(),
}


def guarded(vendor: FakeUpstream, action: Action) -> Any:
    attached = {TENANT: (Attachment(policy(pii(action)), Level.TENANT, TENANT),)}
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
        vendor.script = answer_json({"mail": MAIL})
        body = b'{"a" : 1,  "b":"\\u00e9"}\xff'
        response = await gateway.post("/v1/providers/one/threads", body)
        assert response.status_code == 200
        assert vendor.seen[0].body == body
