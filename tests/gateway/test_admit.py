"""What is worked out of a call before it is admitted: as little as its rules need, and exactly where it is near."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any
from uuid import UUID

import pytest

from tests.gateway.serving import Serving, chat, provider, route, serving, snapshot
from tests.gateway.upstream import FakeUpstream
from tests.money.admissions import make_budget
from tests.money.records import make_principal
from tollkeeper.contracts.money import Budget, Limit, Period, RuleScope, ScopeKind, Unit
from tollkeeper.contracts.principal import Principal
from tollkeeper.core.errors import InsufficientQuota
from tollkeeper.core.ids import uuid7
from tollkeeper.gateway.money.admission import Admitted
from tollkeeper.gateway.money.appraiser import Appraiser
from tollkeeper.gateway.money.hold import Appraisal
from tollkeeper.gateway.money.terms import Asked, Terms, terms_of
from tollkeeper.gateway.stage import Exchange
from tollkeeper.gateway.stages.admit import Appraise

BOUND = Appraisal(10, 100, 5_000, 2_000, output_pico=1)
EXACT = replace(BOUND, full_nano=4_000, forecast_nano=1_000)


@dataclass
class Desk:
    """Admits what costs no more than `most_nano`, and appraises as it is told; keeps what it was asked."""

    rules: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    most_nano: int = 10_000
    bound: Appraisal = field(default_factory=lambda: BOUND)
    exact: Appraisal = field(default_factory=lambda: EXACT)
    is_near: bool = False
    # As for what cannot be cut.
    holds_all: bool = False
    appraised: list[str] = field(default_factory=list)
    asked: list[tuple[int | None, int, bool]] = field(default_factory=list)
    payloads: list[bytes] = field(default_factory=list)
    endpoints: list[str] = field(default_factory=list)

    def terms(self, principal: Principal, asked: Asked) -> Sequence[Terms]:
        self.endpoints.append(asked.endpoint)
        found = terms_of(replace(make_principal(), **self.rules), asked, 1_790_000_000.0)
        for one in found:
            one.near_until = float("inf") if self.is_near else 0.0
        return found

    async def admit(
        self, terms: Sequence[Terms], request_id: UUID, appraisal: Appraisal, *, is_cuttable: bool, payload: bytes
    ) -> Admitted:
        self.asked.append((appraisal.full_nano, appraisal.forecast_nano, is_cuttable))
        self.payloads.append(payload)
        needed = appraisal.full_nano if self.holds_all else appraisal.forecast_nano
        if needed is not None and needed > self.most_nano:
            raise InsufficientQuota("no room")
        return Admitted({})

    def __call__(self, exchange: Exchange) -> Appraisal:
        self.appraised.append("bound")
        return self.bound

    async def exactly(self, exchange: Exchange) -> Appraisal:
        self.appraised.append("exact")
        return self.exact


@pytest.fixture
def desk() -> Desk:
    return Desk()


@asynccontextmanager
async def gateway_of(
    desk: Desk,
    folder: Path,
    vendor: FakeUpstream,
    *,
    appraise: Appraise | None = None,
    settings: Mapping[str, Any] = MappingProxyType({}),
    **options: Any,
) -> AsyncIterator[Serving]:
    config = replace(provider("one", vendor.base_url), options=options)
    snap = snapshot([config], [route("gpt-4o-mini", ("one", "m"))])
    async with serving(folder, snap, admission=desk, appraise=appraise or desk, **settings) as gateway:
        yield gateway


def limit(unit: Unit) -> Limit:
    return Limit(uuid7(), RuleScope(ScopeKind.TENANT), unit, 100, Period.MINUTE)


def hard() -> tuple[Budget, ...]:
    return (make_budget(),)


async def test_what_counts_requests_alone_is_not_appraised(desk: Desk, tmp_path: Path, vendor: FakeUpstream) -> None:
    desk.rules = {"limits": (limit(Unit.REQUESTS),)}
    async with gateway_of(desk, tmp_path, vendor) as gateway:
        assert (await gateway.post()).status_code == 200
    assert desk.appraised == []
    assert desk.payloads == [b""]


async def test_each_dialect_counts_at_its_own_endpoint(desk: Desk, tmp_path: Path, vendor: FakeUpstream) -> None:
    texts: Any = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 5}
    asked = [
        ("/v1/chat/completions", chat()),
        ("/api/v1/chat/completions", chat()),
        ("/v1/messages", texts),
        ("/v1/responses", {"model": "gpt-4o-mini", "input": "hi", "store": False}),
        ("/v1beta/models/gpt-4o-mini:generateContent", {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}),
    ]
    async with gateway_of(desk, tmp_path, vendor) as gateway:
        for path, body in asked:
            assert (await gateway.post(path, body=body)).status_code == 200
    assert desk.endpoints == [
        *["chat/completions"] * 2,
        "messages",
        "responses",
        "v1beta/models/gpt-4o-mini:generateContent",
    ]


async def test_token_rates_count_the_text(desk: Desk, tmp_path: Path, vendor: FakeUpstream) -> None:
    desk.rules = {"limits": (limit(Unit.INPUT_TOKENS),)}
    async with gateway_of(desk, tmp_path, vendor) as gateway:
        assert (await gateway.post()).status_code == 200
    assert desk.appraised == ["exact"]
    assert desk.payloads == [b""]


async def test_a_budget_far_from_its_end_takes_the_cheap_bound(
    desk: Desk, tmp_path: Path, vendor: FakeUpstream
) -> None:
    desk.rules = {"budgets": hard()}
    async with gateway_of(desk, tmp_path, vendor) as gateway:
        assert (await gateway.post()).status_code == 200
        (row,) = await gateway.settled()
    assert desk.appraised == ["bound"]
    # The row of this very call could be written from what lies with the hold.
    assert str(row.intent.request_id).encode() in desk.payloads[0]
    assert row.intent.budgets[0].encode() in desk.payloads[0]


async def test_near_its_end_the_text_is_counted_at_once(desk: Desk, tmp_path: Path, vendor: FakeUpstream) -> None:
    desk.rules, desk.is_near = {"budgets": hard()}, True
    async with gateway_of(desk, tmp_path, vendor) as gateway:
        assert (await gateway.post()).status_code == 200
    assert desk.appraised == ["exact"]


async def test_a_refusal_of_the_bound_is_asked_again_with_the_count(
    desk: Desk, tmp_path: Path, vendor: FakeUpstream
) -> None:
    desk.rules, desk.most_nano = {"budgets": hard()}, 1_500
    async with gateway_of(desk, tmp_path, vendor) as gateway:
        assert (await gateway.post()).status_code == 200
        assert desk.asked == [(5_000, 2_000, False), (4_000, 1_000, False)]
        desk.most_nano = 500
        response = await gateway.post()
        assert (response.status_code, response.json()["error"]["code"]) == (429, "insufficient_quota")
        assert response.headers["x-should-retry"] == "false"
        desk.exact, desk.asked = desk.bound, []
        assert (await gateway.post()).status_code == 429
        # Counting did not help, so nobody was asked again.
        assert len(desk.asked) == 1
    assert len(vendor.seen) == 1


async def test_what_nothing_bounds_is_refused_with_what_to_do(desk: Desk, tmp_path: Path, vendor: FakeUpstream) -> None:
    desk.rules = {"budgets": hard()}
    desk.bound = replace(BOUND, full_nano=None, unbounded_because="an image given by URL has no known size.")
    async with gateway_of(desk, tmp_path, vendor, cancel_stops_billing=True, visible_output=True) as gateway:
        error = (await gateway.post()).json()["error"]
    assert error["code"] == "cost_unbounded"
    assert "an image given by URL has no known size." in error["message"]
    assert desk.asked == []


async def test_an_answer_without_end_needs_a_cap_unless_it_can_be_cut(
    desk: Desk, tmp_path: Path, vendor: FakeUpstream
) -> None:
    desk.rules = {"budgets": hard()}
    desk.bound = desk.exact = replace(BOUND, full_nano=None, needs_cap=True, unbounded_because="output")
    async with gateway_of(desk, tmp_path, vendor, settings={"uncapped_calls": "require_cap"}) as gateway:
        response = await gateway.post()
        assert (response.status_code, response.json()["error"]["code"]) == (400, "cap_required")
        assert response.json()["error"]["param"] == "max_completion_tokens"
    async with gateway_of(desk, tmp_path / "cut", vendor, cancel_stops_billing=True, visible_output=True) as gateway:
        assert (await gateway.post(body=chat())).status_code == 200
    assert desk.asked == [(None, 2_000, True)]


async def test_an_answer_without_end_is_given_one_and_the_caller_is_told(
    desk: Desk, tmp_path: Path, vendor: FakeUpstream
) -> None:
    desk.rules, desk.most_nano, desk.holds_all = {"budgets": hard()}, 10**9, True
    settings = {"applied_cap_tokens": 4_000}
    async with gateway_of(desk, tmp_path, vendor, appraise=Appraiser(), settings=settings) as gateway:
        response = await gateway.post()
        assert (response.status_code, response.headers["x-tollkeeper-applied-cap"]) == (200, "4000")
        sent = vendor.seen[0].json()
        assert [sent.get(name) for name in ("max_tokens", "max_completion_tokens")] == [4_000, None]
        # What is left pays for a shorter one.
        (most, _, _), desk.asked = desk.asked[0], []
        assert most is not None
        desk.most_nano = most // 2
        response = await gateway.post()
        assert (response.status_code, response.headers["x-tollkeeper-applied-cap"]) == (200, "1024")
        # And at last for none.
        desk.most_nano = 1_000
        response = await gateway.post()
        assert (response.status_code, response.json()["error"]["code"]) == (429, "insufficient_quota")
        assert "x-tollkeeper-applied-cap" not in response.headers
        # A caller's own is never touched.
        assert "x-tollkeeper-applied-cap" not in (await gateway.post(body=chat(max_tokens=9_000))).headers
    assert len(vendor.seen) == 2


async def test_a_soft_budget_asks_for_no_cap(desk: Desk, tmp_path: Path, vendor: FakeUpstream) -> None:
    desk.rules = {"budgets": (make_budget(is_hard=False),)}
    desk.bound = replace(BOUND, full_nano=None, unbounded_because="a file has no known length.")
    async with gateway_of(desk, tmp_path, vendor) as gateway:
        assert (await gateway.post()).status_code == 200
