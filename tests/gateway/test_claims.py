"""`Idempotency-Key` on calls: served at most once, by whichever worker, and given back when nothing was billed."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.gateway.forms import form
from tests.gateway.serving import (
    KEY,
    RUN_KEYS,
    ManualClock,
    Serving,
    chat,
    provider,
    route,
    serving,
    snapshot,
)
from tests.gateway.upstream import FakeUpstream, answer_json, chunk, completion, event, good_stream, silent, stream
from tollkeeper.core.embedded import EmbeddedValkey
from tollkeeper.core.errors import DependencyUnavailable, RateLimited
from tollkeeper.core.ids import format_id, uuid7
from tollkeeper.core.redis import RedisLink
from tollkeeper.core.run_keys import Run
from tollkeeper.core.secrets import new_key
from tollkeeper.gateway.claims import LEEWAY_SECONDS, LIFETIME_MS, Claimed, Claims, Known

NAME, DIGEST, TENANT = b"a name", b"\x01" * 32, uuid7()


@dataclass
class Pair:
    """Two workers before one vendor and one Redis."""

    one: Serving
    two: Serving
    link: RedisLink
    clock: ManualClock


def snap(vendor: FakeUpstream) -> Any:
    names = ("gpt-4o-mini", "alias", "embed")
    return snapshot([provider("one", vendor.base_url)], [route(name, ("one", "gpt-4o-mini")) for name in names])


@pytest.fixture
async def link(valkey_url: str) -> AsyncIterator[RedisLink]:
    link = RedisLink(valkey_url, ManualClock(), operation_seconds=1.0)
    await link.start()
    yield link
    await link.close()


@pytest.fixture
async def pair(tmp_path: Path, vendor: FakeUpstream, link: RedisLink) -> AsyncIterator[Pair]:
    clock = ManualClock()
    async with (
        serving(tmp_path / "one", snap(vendor), claims=Claims(link, clock)) as one,
        serving(tmp_path / "two", snap(vendor), claims=Claims(link, clock)) as two,
    ):
        two.keys.records, two.keys._digests = one.keys.records, one.keys._digests
        yield Pair(one, two, link, clock)


async def call(gateway: Serving, key: str, token: str = KEY, **body: Any) -> httpx.Response:
    headers = {"idempotency-key": key, "authorization": f"Bearer {token}"}
    return await gateway.client.post("/v1/chat/completions", json=chat(**body), headers=headers)


def code(answer: httpx.Response) -> tuple[int, str | None]:
    return answer.status_code, None if answer.status_code == 200 else answer.json()["error"]["code"]


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not holds():
            await asyncio.sleep(0.005)


async def until_free(gateway: Serving, key: str) -> httpx.Response:
    """The first answer that is not "being served": a key is given back just after the answer's last byte."""
    async with asyncio.timeout(5):
        while (answer := await call(gateway, key)).status_code == 409:
            assert code(answer) == (409, "in_progress")
            await asyncio.sleep(0.01)
    return answer


async def test_a_call_is_made_once_whichever_worker_is_asked(pair: Pair, vendor: FakeUpstream) -> None:
    key = uuid7().hex
    first = await call(pair.one, key)
    assert first.status_code == 200
    for gateway in (pair.two, pair.one):
        again = await call(gateway, key)
        while code(again) == (409, "in_progress"):
            again = await call(gateway, key)
        assert code(again) == (409, "already_done")
        assert again.headers["x-should-retry"] == "false"
        assert again.headers["x-tollkeeper-original-request-id"] == first.headers["x-request-id"]
        assert first.headers["x-request-id"] in again.json()["error"]["message"]
    assert len(vendor.seen) == 1


async def test_of_many_at_once_one_is_served(pair: Pair, vendor: FakeUpstream) -> None:
    key = uuid7().hex
    answers = await asyncio.gather(*(call((pair.one, pair.two)[n % 2], key) for n in range(20)))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 19
    assert len(vendor.seen) == 1


async def test_while_it_is_served_the_second_is_asked_to_wait(pair: Pair, vendor: FakeUpstream) -> None:
    key, gate = uuid7().hex, asyncio.Event()

    async def slow(seen: Any, writer: asyncio.StreamWriter) -> bool | None:
        await gate.wait()
        return await answer_json(completion("late"))(seen, writer)

    vendor.script = slow
    first = asyncio.create_task(call(pair.one, key))
    await until(lambda: len(vendor.seen) == 1)
    second = await call(pair.two, key)
    gate.set()
    assert code(second) == (409, "in_progress")
    assert second.headers["retry-after"] == "1"
    assert "x-should-retry" not in second.headers
    assert (await first).status_code == 200


@pytest.mark.parametrize("other", [{"temperature": 0.5}, {"model": "alias"}, {"stream": True}])
async def test_another_call_under_the_key_is_refused(pair: Pair, vendor: FakeUpstream, other: dict[str, Any]) -> None:
    key = uuid7().hex
    assert (await call(pair.one, key)).status_code == 200
    answer = await call(pair.two, key, **other)
    assert code(answer) == (400, "idempotency_mismatch")
    assert answer.headers["x-should-retry"] == "false"
    assert len(vendor.seen) == 1


async def test_form_under_another_boundary_is_the_same_call(pair: Pair, vendor: FakeUpstream) -> None:
    vendor.script = answer_json({"text": "hello"})
    codes = []
    for boundary, sound in (("one", b"x"), ("two", b"x"), ("two", b"y")):
        headers = {"idempotency-key": "k", "content-type": f"multipart/form-data; boundary={boundary}"}
        fields: tuple[Any, ...] = (("model", "alias"), ("file", sound, "a.wav"))
        content = form(*fields, boundary=boundary.encode())
        codes.append(code(await pair.one.post("/v1/audio/transcriptions", content, headers=headers)))
    assert codes[0] == (200, None)
    assert codes[1][1] in {"already_done", "in_progress"}
    assert codes[2] == (400, "idempotency_mismatch")


async def test_another_endpoint_is_another_call(pair: Pair) -> None:
    key = uuid7().hex
    assert (await call(pair.one, key)).status_code == 200
    headers = {"idempotency-key": key, "authorization": f"Bearer {KEY}"}
    body = {"model": "gpt-4o-mini", "prompt": "x"}
    answer = await pair.one.client.post("/v1/completions", json=body, headers=headers)
    assert code(answer) == (400, "idempotency_mismatch")


async def test_keys_and_runs_have_names_of_their_own(pair: Pair) -> None:
    key, other = uuid7().hex, new_key().token
    pair.one.keys.add(other)
    parent = pair.one.keys.record(KEY).principal
    runs = [
        RUN_KEYS.sign(Run(parent.tenant_id, parent.key_id, uuid7(), int(pair.clock.unix() * 1000), 60))
        for _ in range(2)
    ]
    for token in (KEY, other, *runs):
        assert (await call(pair.one, key, token)).status_code == 200
        assert (await call(pair.two, key, token)).status_code == 409


@pytest.mark.parametrize("status", [400, 429])
async def test_what_the_vendor_refused_unbilled_may_be_sent_again(
    pair: Pair, vendor: FakeUpstream, status: int
) -> None:
    key, good = uuid7().hex, vendor.script
    vendor.script = answer_json({"error": {"message": "no", "type": "x", "code": None}}, status)
    assert (await call(pair.one, key)).status_code == status
    vendor.script = good
    assert (await until_free(pair.two, key)).status_code == 200


async def test_what_we_refused_ourselves_may_be_sent_again(pair: Pair, vendor: FakeUpstream) -> None:
    key = uuid7().hex
    pair.one.admission.refusal = RateLimited("Slow down.")
    assert code(await call(pair.one, key)) == (429, "rate_limit_exceeded")
    assert vendor.seen == []
    assert (await until_free(pair.two, key)).status_code == 200


async def test_a_stream_that_was_cut_is_done(pair: Pair, vendor: FakeUpstream) -> None:
    key = uuid7().hex
    vendor.script = stream(event(chunk({"role": "assistant", "content": "half"})), ends=False)
    broken = await call(pair.one, key, stream=True)
    assert broken.status_code == 200
    vendor.script = stream(*good_stream("whole"))
    again = await call(pair.one, key, stream=True)
    while code(again) == (409, "in_progress"):
        again = await call(pair.one, key, stream=True)
    assert code(again) == (409, "already_done")


async def test_a_caller_who_leaves_in_the_middle_may_not_come_again(pair: Pair, vendor: FakeUpstream) -> None:
    key = uuid7().hex
    vendor.script = silent()
    with pytest.raises(httpx.TimeoutException):
        await pair.one.client.post(
            "/v1/chat/completions",
            json=chat(),
            headers={"idempotency-key": key, "authorization": f"Bearer {KEY}"},
            timeout=0.3,
        )
    assert len(vendor.seen) == 1
    again = await call(pair.two, key)
    while code(again) == (409, "in_progress"):
        again = await call(pair.two, key)
    assert code(again) == (409, "already_done")


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb"])
async def test_keys_that_cannot_be_are_refused(pair: Pair, vendor: FakeUpstream, key: str) -> None:
    assert code(await call(pair.one, key)) == (400, "invalid_idempotency_key")
    assert vendor.seen == []


async def test_without_the_header_nobody_asks_redis(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: object, **__: object) -> None:
        raise AssertionError("asked")

    monkeypatch.setattr(pair.link, "call_many", never)
    assert (await pair.one.post()).status_code == 200


async def test_without_redis_a_call_with_a_key_is_refused_and_one_without_is_not(
    tmp_path: Path, vendor: FakeUpstream
) -> None:
    clock = ManualClock()
    # Nobody listens there.
    link = RedisLink("redis://127.0.0.1:9/0", clock)
    await link.start()
    try:
        async with serving(tmp_path, snap(vendor), claims=Claims(link, clock)) as gateway:
            answer = await call(gateway, "one")
            assert code(answer) == (503, "dependency_unavailable")
            assert answer.headers["retry-after"] == "1"
            assert vendor.seen == []
            assert (await gateway.post()).status_code == 200
    finally:
        await link.close()


# ── Claims by themselves ──


async def take(claims: Claims, name: bytes = NAME, digest: bytes = DIGEST, seconds: float = 10) -> Claimed | Known:
    return await claims.take(TENANT, name, digest, uuid7(), seconds)


async def test_a_claim_lasts_a_day_whatever_becomes_of_it(link: RedisLink) -> None:
    claims, name = Claims(link, ManualClock()), uuid7().bytes
    claimed = await take(claims, name)
    assert isinstance(claimed, Claimed)
    for _ in range(2):
        assert LIFETIME_MS - 60_000 < await link.call("PTTL", claimed.name) <= LIFETIME_MS
        claims.complete(claimed)
    known = await take(claims, name)
    assert isinstance(known, Known)
    assert (known.is_same, known.is_over) == (True, True)


async def test_a_worker_that_died_leaves_a_claim_that_is_over_and_never_free(link: RedisLink) -> None:
    clock, name = ManualClock(), uuid7().bytes
    claims = Claims(link, clock)
    assert isinstance(await take(claims, name, seconds=10), Claimed)
    known = await take(claims, name)
    assert isinstance(known, Known)
    assert not known.is_over
    clock.ahead += 10 + LEEWAY_SECONDS + 2
    known = await take(claims, name)
    assert isinstance(known, Known)
    assert known.is_over


async def test_a_late_end_touches_nobody_elses_claim(link: RedisLink) -> None:
    claims, name = Claims(link, ManualClock()), uuid7().bytes
    first = await take(claims, name)
    assert isinstance(first, Claimed)
    claims.give_back(first)
    second = await take(claims, name)
    assert isinstance(second, Claimed)
    claims.give_back(first)
    claims.complete(first)
    known = await take(claims, name)
    assert isinstance(known, Known)
    assert (format_id("req", known.request_id), known.is_over) == (f"req_{second.text.split()[2].decode()}", False)


async def test_a_caller_who_leaves_while_claiming_leaves_nothing(link: RedisLink) -> None:
    claims, name = Claims(link, ManualClock()), uuid7().bytes
    task = asyncio.create_task(take(claims, name))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert isinstance(await take(claims, name), Claimed)


async def test_what_redis_took_without_an_answer_is_given_back_when_it_returns(server_dir: Path) -> None:
    with EmbeddedValkey(server_dir) as server:
        link = RedisLink(server.endpoint.url, ManualClock(), operation_seconds=0.2)
        await link.start()
        try:
            claims, name = Claims(link, ManualClock()), uuid7().bytes
            os.kill(server.endpoint.pid, signal.SIGSTOP)
            try:
                with pytest.raises(DependencyUnavailable):
                    await take(claims, name)
            finally:
                os.kill(server.endpoint.pid, signal.SIGCONT)
            # The paused server finds the command in its socket and makes the claim after all.
            await until(lambda: link.is_available)
            assert isinstance(await take(claims, name), Claimed)
        finally:
            await link.close()


async def test_the_oldest_redis_we_support_knows_the_commands(redis62_url: str) -> None:
    link = RedisLink(redis62_url, ManualClock(), operation_seconds=1.0)
    await link.start()
    try:
        claims, name = Claims(link, ManualClock()), uuid7().bytes
        first = await take(claims, name)
        assert isinstance(first, Claimed)
        claims.give_back(first)
        second = await take(claims, name)
        assert isinstance(second, Claimed)
        claims.complete(second)
        known = await take(claims, name)
        assert isinstance(known, Known)
        assert known.is_over
    finally:
        await link.close()
