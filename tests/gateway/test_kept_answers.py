"""The same call under the same `Idempotency-Key` gets the same answer for a day, where the tenant lets answers be kept."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import httpx
import pytest

from tests.gateway.serving import KEY, MASTER, ManualClock, Serving, provider, route, serving, snapshot
from tests.gateway.test_claims import call, code
from tests.gateway.upstream import FakeUpstream, answer_json, completion, good_stream, stream
from tollkeeper.core.crypto import MasterKey, SecretBox
from tollkeeper.core.errors import DependencyUnavailable
from tollkeeper.core.ids import uuid7
from tollkeeper.core.objects import Objects
from tollkeeper.core.redis import RedisLink
from tollkeeper.gateway.claims import Claims
from tollkeeper.gateway.kept_answers import KeptAnswer, KeptAnswers

BOUND = 20_000
GEMINI = "/v1beta/models/gpt-4o-mini"


@pytest.fixture
def objects(tmp_path: Path) -> Objects:
    return Objects.open(None, tmp_path)


@pytest.fixture
def answers(objects: Objects) -> KeptAnswers:
    return KeptAnswers(objects, SecretBox(MASTER), ManualClock(), max_bytes=BOUND)


@pytest.fixture
async def gateway(
    tmp_path: Path, vendor: FakeUpstream, valkey_url: str, answers: KeptAnswers
) -> AsyncIterator[Serving]:
    link = RedisLink(valkey_url, ManualClock(), operation_seconds=1.0)
    await link.start()
    snap = snapshot([provider("one", vendor.base_url)], [route("gpt-4o-mini", ("one", "m"))])
    claims = Claims(link, ManualClock())
    async with serving(tmp_path / "gateway", snap, claims=claims, kept_answers=answers) as running:
        running.keys.add(KEY, logging_policy="full")
        yield running
    await answers.close()
    await link.close()


async def again(gateway: Serving, key: str, **body: object) -> httpx.Response:
    """An answer is kept just after its last byte has left."""
    async with asyncio.timeout(10):
        while code(answer := await call(gateway, key, **body)) == (409, "in_progress"):
            await asyncio.sleep(0.01)
    return answer


async def test_a_whole_answer_is_given_again_and_costs_nothing(gateway: Serving, vendor: FakeUpstream) -> None:
    key = uuid7().hex
    first = await call(gateway, key)
    second = await again(gateway, key)
    assert (second.status_code, second.content) == (200, first.content)
    assert second.headers["content-type"] == first.headers["content-type"]
    assert second.headers["x-tollkeeper-replayed"] == "true"
    assert second.headers["x-tollkeeper-original-request-id"] == first.headers["x-request-id"]
    assert second.headers["x-request-id"] != first.headers["x-request-id"]
    assert "x-tollkeeper-cost-usd" not in second.headers
    assert "x-tollkeeper-replayed" not in first.headers
    assert len(vendor.seen) == len(gateway.settlements) == 1


async def test_a_stream_is_given_again_event_by_event(gateway: Serving, vendor: FakeUpstream) -> None:
    vendor.script = stream(*good_stream("a", "b", "c"))
    key = uuid7().hex
    first = await call(gateway, key, stream=True)
    second = await again(gateway, key, stream=True)
    assert "x-tollkeeper-cost-usd" in first.text
    assert "x-tollkeeper-cost-usd" not in second.text
    events = [line for line in first.text.splitlines() if line.startswith("data: ")]
    assert [line for line in second.text.splitlines() if line.startswith("data: ")] == events
    assert events[-1] == "data: [DONE]"
    assert second.headers["content-type"] == first.headers["content-type"]
    assert len(vendor.seen) == 1


async def test_another_call_under_the_key_gets_nothing_of_it(gateway: Serving) -> None:
    key = uuid7().hex
    await call(gateway, key)
    answer = await again(gateway, key, temperature=0.5)
    assert code(answer) == (400, "idempotency_mismatch")
    assert answer.headers["x-should-retry"] == "false"


@pytest.mark.parametrize(
    ("first", "second", "changed"),
    [
        ("/v1/responses", "/v1/responses", {"metadata": {"a": "b"}}),
        ("/v1/responses", "/v1/responses", {"truncation": "auto"}),
        (f"{GEMINI}:streamGenerateContent", f"{GEMINI}:streamGenerateContent?alt=sse", {}),
        (f"{GEMINI}:streamGenerateContent", f"{GEMINI}:generateContent", {}),
    ],
)
async def test_what_only_the_callers_dialect_says_makes_another_call(
    gateway: Serving, vendor: FakeUpstream, first: str, second: str, changed: dict[str, object]
) -> None:
    vendor.script = stream(*good_stream("a", "b", "c")) if "stream" in first else answer_json(completion("a"))
    gemini = {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}
    body: dict[str, object] = (
        gemini if first.startswith(GEMINI) else {"model": "gpt-4o-mini", "input": "Hi", "store": False}
    )
    headers = {"idempotency-key": uuid7().hex, "authorization": f"Bearer {KEY}"}
    assert (await gateway.client.post(first, json=body, headers=headers)).status_code == 200
    assert (await gateway.client.post(f"/api{first}", json=body, headers=headers)).status_code in {200, 409}
    answer = await gateway.client.post(second, json={**body, **changed}, headers=headers)
    assert (answer.status_code, "Idempotency-Key was used for another call" in answer.text) == (400, True)
    assert len(vendor.seen) == 1


@pytest.mark.parametrize("policy", ["none", "metadata", "redacted"])
async def test_nothing_is_kept_for_who_does_not_want_everything_kept(
    gateway: Serving, tmp_path: Path, policy: str
) -> None:
    gateway.keys.add(KEY, logging_policy=policy)
    key = uuid7().hex
    await call(gateway, key)
    assert code(await again(gateway, key)) == (409, "already_done")
    assert not list((tmp_path / "objects").rglob("*/*"))


async def test_nothing_is_given_again_once_the_tenant_has_changed_its_mind(gateway: Serving) -> None:
    key = uuid7().hex
    await call(gateway, key)
    await again(gateway, key)
    gateway.keys.add(KEY, logging_policy="metadata", key_id=gateway.keys.record(KEY).principal.key_id)
    gateway.cache.forget_all()
    assert code(await again(gateway, key)) == (409, "already_done")


async def test_an_answer_that_is_too_large_is_not_kept(gateway: Serving, vendor: FakeUpstream) -> None:
    vendor.script = answer_json(completion("x" * BOUND))
    key = uuid7().hex
    assert (await call(gateway, key)).status_code == 200
    assert code(await again(gateway, key)) == (409, "already_done")


async def test_an_answer_that_broke_off_is_not_kept(gateway: Serving, vendor: FakeUpstream) -> None:
    vendor.script = stream(*good_stream("a", "b")[:-2], ends=False)
    key = uuid7().hex
    first = await call(gateway, key, stream=True)
    assert "error" in first.text
    assert code(await again(gateway, key, stream=True)) == (409, "already_done")


async def test_while_the_store_is_away_calls_are_served_all_the_same(
    gateway: Serving, answers: KeptAnswers, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(_key: str, _data: bytes) -> None:
        raise DependencyUnavailable("away")

    monkeypatch.setattr(answers._objects, "put", away)
    key = uuid7().hex
    assert (await call(gateway, key)).status_code == 200
    assert code(await again(gateway, key)) == (409, "already_done")


async def test_what_is_kept_can_be_read_by_nobody_else(objects: Objects, tmp_path: Path) -> None:
    answers = KeptAnswers(objects, SecretBox(MASTER), ManualClock(), max_bytes=BOUND)
    tenant, request_id = uuid7(), uuid7()
    kept = KeptAnswer(is_stream=False, content_type="audio/mpeg", body=b"\x00a secret\n answer")
    answers.keep(tenant, request_id, kept, lambda _: None)
    await answers.close()
    (file,) = [path for path in (tmp_path / "objects").rglob("*") if path.is_file()]
    assert b"secret" not in file.read_bytes()
    assert await answers.find(tenant, request_id) == kept
    stranger = KeptAnswers(objects, SecretBox(MasterKey(MasterKey.generate())), ManualClock(), max_bytes=BOUND)
    assert await stranger.find(tenant, request_id) is None
    other = uuid7()
    elsewhere = file.parents[1] / other.hex / file.name
    elsewhere.parent.mkdir()
    file.rename(elsewhere)
    assert await answers.find(other, request_id) is None


async def test_what_has_expired_is_swept(objects: Objects, tmp_path: Path) -> None:
    answers = KeptAnswers(objects, SecretBox(MASTER), ManualClock(), max_bytes=BOUND)
    kept = KeptAnswer(is_stream=False, content_type=None, body=b"{}")
    now = datetime.now(UTC)
    ids = [
        UUID(int=(int((now - timedelta(hours=hours)).timestamp() * 1000) << 80) | uuid7().int % (1 << 80))
        for hours in (1, 23, 26, 60)
    ]
    for one in ids:
        answers.keep(ids[0], one, kept, lambda _: None)
    await answers.close()
    assert await answers.sweep() == 2
    assert [await answers.find(ids[0], one) is not None for one in ids] == [True, True, False, False]
