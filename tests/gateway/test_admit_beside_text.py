"""Calls beside text before they are admitted: an end that everybody knows, or a refusal; never a cap of ours."""

from pathlib import Path

import pytest

from tests.gateway.forms import TYPE, transcription
from tests.gateway.serving import provider, route, serving, snapshot
from tests.gateway.test_admit import Desk
from tests.gateway.upstream import FakeUpstream, answer_json
from tests.money.admissions import make_budget
from tollkeeper.contracts.catalog import Price
from tollkeeper.core.ids import uuid7
from tollkeeper.gateway.money.appraiser import Appraiser
from tollkeeper.gateway.simulator import media

BESIDE = Price(uuid7(), 0, 0, audio_second=10**8, request=2 * 10**9)
TOKENS = Price(uuid7(), input=5_000_000, output=40_000_000)
WAV = media.wav(2.0)


@pytest.mark.parametrize(
    ("model", "status", "code"), [("gpt-image-1", 200, None), ("gpt-image-3", 400, "cost_unbounded")]
)
async def test_hard_budget_refuses_pictures_without_an_end(
    tmp_path: Path, vendor: FakeUpstream, model: str, status: int, code: str | None
) -> None:
    vendor.script = answer_json({"created": 1, "data": [{"url": "u"}]})
    snap = snapshot([provider("one", vendor.base_url)], [route(model, ("one", "*"), price=TOKENS)])
    desk = Desk(rules={"budgets": (make_budget(),)}, most_nano=10**12)
    async with serving(tmp_path, snap, admission=desk, appraise=Appraiser(), uncapped_calls="apply_cap") as gateway:
        response = await gateway.post("/v1/images/generations", {"model": model, "prompt": "x"})
        assert response.status_code == status
        if code is not None:
            assert response.json()["error"]["code"] == code
            assert vendor.seen == []
        else:
            assert "max_tokens" not in vendor.seen[0].json(), "no cap of ours where there is none"


async def test_interrupted_call_is_charged_what_it_asked_for(tmp_path: Path, vendor: FakeUpstream) -> None:
    vendor.script = answer_json({"text": "x"})
    snap = snapshot([provider("one", vendor.base_url)], [route("whisper-1", ("one", "*"), price=BESIDE)])
    async with serving(tmp_path, snap) as gateway:
        await gateway.post("/v1/audio/transcriptions", transcription(WAV), headers=TYPE)
        (settlement,) = await gateway.settled()
        assert settlement.intent.estimated_cost_nano == settlement.cost_nano == 2_200_300
