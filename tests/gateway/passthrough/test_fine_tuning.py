"""Fine-tuning jobs over real sockets: OpenAI's SDK before a vendor's account that several tenants share."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import openai
import pytest
from openai import AsyncOpenAI

from tests.gateway.serving import KEY, Serving, provider, route, serving, snapshot
from tests.gateway.test_admit import Desk
from tests.gateway.test_settlement import replace_request
from tests.gateway.upstream import FakeUpstream, Seen, answer, answer_json
from tests.money.admissions import make_budget
from tests.money.records import FakeHolds
from tollkeeper.contracts.files import StoredFile, format_file_id
from tollkeeper.contracts.fine_tuning import FineTuningJob
from tollkeeper.contracts.principal import Principal
from tollkeeper.contracts.usage import CallStatus
from tollkeeper.core.errors import DependencyUnavailable
from tollkeeper.core.ids import uuid7
from tollkeeper.core.secrets import new_key
from tollkeeper.gateway.money.appraiser import Appraiser
from tollkeeper.gateway.simulator.refusal import Refusal
from tollkeeper.gateway.simulator.tuning import TuningShop
from tollkeeper.gateway.simulator.vendors.places import Ask

JOB_NANO = 25 * 10**9
MODEL = "gpt-4o-mini-2024-07-18"


class FakeFiles:
    """Of whoever asks; `others` are another tenant's."""

    def __init__(self) -> None:
        self.contents: dict[UUID, tuple[StoredFile, bytes]] = {}

    def add(self, content: bytes, purpose: str = "fine-tune") -> str:
        file_id = uuid7()
        self.contents[file_id] = (StoredFile(file_id, 'tr"ain\r\n.jsonl', purpose, len(content), 1), content)
        return format_file_id(file_id)

    async def find(self, principal: Principal, file_id: UUID) -> StoredFile | None:
        found = self.contents.get(file_id)
        return None if found is None else found[0]

    async def read(self, principal: Principal, file_id: UUID) -> AsyncIterator[bytes]:
        content = self.contents[file_id][1]
        yield content[:10]
        yield content[10:]


class FakeJobs:
    def __init__(self) -> None:
        self.kept: dict[tuple[UUID, str], FineTuningJob] = {}
        self.is_down = False

    async def keep(self, principal: Principal, job: FineTuningJob) -> None:
        self._check()
        self.kept[principal.tenant_id, job.vendor_id] = job

    async def find(self, principal: Principal, vendor_id: str) -> FineTuningJob | None:
        self._check()
        return self.kept.get((principal.tenant_id, vendor_id))

    async def list_page(self, principal: Principal, after: str | None, limit: int) -> Sequence[FineTuningJob] | None:
        self._check()
        own = [job for (tenant_id, _), job in self.kept.items() if tenant_id == principal.tenant_id][::-1]
        names = [job.vendor_id for job in own]
        if after is not None and after not in names:
            return None
        start = 0 if after is None else names.index(after) + 1
        return own[start : start + limit]

    def _check(self) -> None:
        if self.is_down:
            raise DependencyUnavailable("PostgreSQL does not answer.")


class Shop:
    """The simulator's files and jobs as a vendor's account."""

    def __init__(self) -> None:
        self.shop = TuningShop()

    async def __call__(self, seen: Seen, writer: asyncio.StreamWriter) -> None:
        path, _, query = seen.path.partition("?")
        found = self.shop.find(Ask(path, query, dict(seen.headers), "req-1"), seen.method)
        try:
            assert found is not None, seen.path
            document, status = found(seen.body), 200
        except Refusal as refusal:
            document, status = (
                {"error": {"message": refusal.message, "code": refusal.code, "type": "x"}},
                refusal.status,
            )
        await answer_json(document, status)(seen, writer)


@dataclass
class Tuned:
    gateway: Serving
    client: AsyncOpenAI
    files: FakeFiles
    jobs: FakeJobs
    others: AsyncOpenAI
    holds: FakeHolds = field(default_factory=FakeHolds)


@asynccontextmanager
async def tuned(
    folder: Path, vendor: FakeUpstream, *, others: dict[str, Any] | None = None, **fields: Any
) -> AsyncIterator[Tuned]:
    vendor.script = Shop()
    options = {name: fields.pop(name) for name in ("admission", "appraise") if name in fields}
    config = provider("one", vendor.base_url, kind="openai", **{"fine_tuning_nano": JOB_NANO, **fields})
    snap = snapshot([config], [route("tune-me", ("one", MODEL)), route("other", ("one", MODEL))])
    files, jobs, holds = FakeFiles(), FakeJobs(), FakeHolds()
    if "admission" not in options:
        options["holds"] = holds
    async with serving(folder, snap, files=files, fine_tuning=jobs, **options) as gateway:
        token = new_key().token
        gateway.keys.add(token, **({"tenant_id": uuid7()} if others is None else others))
        base_url = f"{gateway.origin}/v1"
        async with (
            AsyncOpenAI(base_url=base_url, api_key=KEY, max_retries=0) as client,
            AsyncOpenAI(base_url=base_url, api_key=token, max_retries=0) as other,
        ):
            yield Tuned(gateway, client, files, jobs, other, holds)


async def make(one: Tuned, **fields: Any) -> Any:
    return await one.client.fine_tuning.jobs.create(
        **{"model": "tune-me", "training_file": one.files.add(b'{"messages": []}'), **fields}
    )


async def test_sdk_makes_watches_and_ends_a_job(tmp_path: Path, vendor: FakeUpstream) -> None:
    async with tuned(tmp_path, vendor) as one:
        training, validation = one.files.add(b"train me"), one.files.add(b"check me")
        made = await make(one, training_file=training, validation_file=validation, suffix="mine", seed=3)
        assert (made.object, made.status, made.seed) == ("fine_tuning.job", "queued", 3)
        assert (made.training_file, made.validation_file) == (training, validation), "as the caller knows them"
        first, second, create = vendor.seen
        assert [one.path for one in (first, second, create)] == ["/v1/files", "/v1/files", "/v1/fine_tuning/jobs"]
        assert b"train me" in first.body
        assert b"check me" in second.body
        assert first.body.count(b"\r\n\r\n") == 2, "a name of a file opens no field of its own"
        sent = create.json()
        assert (sent["model"], sent["suffix"], sent["training_file"]) == (MODEL, "mine", "file-vendor0")
        jobs = one.client.fine_tuning.jobs
        assert [job.id async for job in jobs.list()] == [made.id]
        found = await jobs.retrieve(made.id)
        assert (found.id, found.training_file) == (made.id, training)
        assert (await jobs.pause(made.id)).status == "paused"
        assert (await jobs.resume(made.id)).status == "running"
        assert [event.object async for event in jobs.list_events(made.id, limit=5)] == ["fine_tuning.job.event"]
        assert vendor.seen[-1].path == f"/v1/fine_tuning/jobs/{made.id}/events?limit=5"
        assert [step.step_number async for step in jobs.checkpoints.list(made.id)] == [1]
        assert (await jobs.cancel(made.id)).status == "cancelled"
        assert [job.status async for job in jobs.list()] == ["cancelled"], "as the vendor told of it last"
        assert all(seen.header("authorization") == "Bearer secret-of-one" for seen in vendor.seen)


async def test_another_tenant_sees_and_stops_nothing(tmp_path: Path, vendor: FakeUpstream) -> None:
    async with tuned(tmp_path, vendor) as one:
        made = await make(one)
        asked = len(vendor.seen)
        theirs = one.others.fine_tuning.jobs
        refusals = []
        for name in (made.id, "ftjob-nobody"):
            for call in (theirs.retrieve, theirs.cancel, theirs.pause, theirs.resume):
                with pytest.raises(openai.NotFoundError) as caught:
                    await call(name)
                error = caught.value.response.json()["error"]
                error.pop("request_id")
                refusals.append(json.dumps(error).replace(name, "…"))
        assert len(set(refusals)) == 1
        assert [job async for job in theirs.list()] == []
        assert len(vendor.seen) == asked, "nothing was asked of the vendor"


@pytest.mark.parametrize(
    "bounds", [{"allowed_models": frozenset({"other"})}, {"allowed_providers": frozenset({"two"})}]
)
async def test_a_narrowed_key_of_the_same_tenant_is_kept_out(
    tmp_path: Path, vendor: FakeUpstream, bounds: dict[str, Any]
) -> None:
    async with tuned(tmp_path, vendor, others=bounds) as one:
        made = await make(one)
        with pytest.raises(openai.NotFoundError):
            await one.others.fine_tuning.jobs.cancel(made.id)
        assert [job async for job in one.others.fine_tuning.jobs.list()] == []
        with pytest.raises(openai.PermissionDeniedError):
            await one.others.fine_tuning.jobs.create(model="tune-me", training_file=one.files.add(b"x"))


async def test_a_job_costs_its_flat_price_and_the_rest_nothing(tmp_path: Path, vendor: FakeUpstream) -> None:
    async with tuned(tmp_path, vendor) as one:
        one.gateway.admission.hold = replace_request(one.holds, full=JOB_NANO, forecast=JOB_NANO)
        made = await make(one)
        (settlement,) = await one.gateway.settled()
        assert (settlement.charge_nano, settlement.status) == (JOB_NANO, CallStatus.OK)
        intent = settlement.intent
        assert (intent.operation, intent.model, intent.upstream_model) == ("fine_tuning", "tune-me", MODEL)
        assert one.holds.settled == [(JOB_NANO, 1, 0, 0)]
        one.gateway.admission.hold = None
        await one.client.fine_tuning.jobs.retrieve(made.id)
        assert (await one.gateway.settled(2))[1].charge_nano == 0


async def test_hard_budget_wants_a_price_and_holds_it(tmp_path: Path, vendor: FakeUpstream) -> None:
    budget = make_budget()
    desk = Desk(rules={"budgets": (budget,)}, most_nano=JOB_NANO, holds_all=True)
    async with tuned(tmp_path, vendor, others={"budgets": (budget,)}, admission=desk, appraise=Appraiser()) as one:
        await one.others.fine_tuning.jobs.create(model="tune-me", training_file=one.files.add(b"x"))
        assert desk.asked == [(JOB_NANO, JOB_NANO, False)]
        desk.most_nano = JOB_NANO - 1
        with pytest.raises(openai.RateLimitError):
            await one.others.fine_tuning.jobs.create(model="tune-me", training_file=one.files.add(b"x"))
        assert len(vendor.seen) == 2


async def test_hard_budget_refuses_jobs_without_a_price(tmp_path: Path, vendor: FakeUpstream) -> None:
    rules = {"budgets": (make_budget(),)}
    async with tuned(tmp_path, vendor, others=rules, fine_tuning_nano=None) as one:
        with pytest.raises(openai.BadRequestError) as caught:
            await one.others.fine_tuning.jobs.create(model="tune-me", training_file=one.files.add(b"x"))
        assert caught.value.code == "cost_unbounded"
        assert vendor.seen == []
        # Without one it is made, and stands in the ledger as unpriced.
        await make(one)
        assert (await one.gateway.settled())[-1].charge_nano is None


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"training_file": "file-vendor0"}, "file_not_found"),
        ({"training_file": f"file-{uuid7().hex}"}, "file_not_found"),
        ({"training_file": "batch"}, "invalid_file_purpose"),
        ({"validation_file": "file-vendor0"}, "file_not_found"),
        ({"training_file": 7}, "missing_required_parameter"),
        ({"model": ""}, "missing_required_parameter"),
    ],
)
async def test_nothing_is_uploaded_for_a_job_that_cannot_be(
    tmp_path: Path, vendor: FakeUpstream, fields: dict[str, Any], code: str
) -> None:
    async with tuned(tmp_path, vendor) as one:
        if fields.get("training_file") == "batch":
            fields = {"training_file": one.files.add(b"x", "batch")}
        with pytest.raises(openai.BadRequestError) as caught:
            await make(one, **fields)
        assert caught.value.code == code
        assert (vendor.seen, one.gateway.settlements) == ([], [])


async def test_vendor_without_jobs_says_so(tmp_path: Path, vendor: FakeUpstream) -> None:
    async with tuned(tmp_path, vendor) as one:
        one.gateway.snapshots.snapshot = snapshot(
            [provider("one", vendor.base_url, kind="deepseek")], [route("tune-me", ("one", MODEL))]
        )
        with pytest.raises(openai.BadRequestError) as caught:
            await make(one)
        assert caught.value.code == "unsupported_operation"
        with pytest.raises(openai.NotFoundError):
            await one.client.fine_tuning.jobs.create(model="unknown", training_file=one.files.add(b"x"))


async def test_vendors_refusal_is_free_and_in_its_own_words(tmp_path: Path, vendor: FakeUpstream) -> None:
    async with tuned(tmp_path, vendor) as one:
        shop = vendor.script
        refused = answer(
            400, json.dumps({"error": {"message": "too few examples", "code": "invalid", "type": "x"}}).encode()
        )

        async def script(seen: Seen, writer: asyncio.StreamWriter) -> bool | None:
            return await (shop if seen.path == "/v1/files" else refused)(seen, writer)

        vendor.script = script
        with pytest.raises(openai.BadRequestError, match="too few examples"):
            await make(one)
        (settlement,) = await one.gateway.settled()
        assert (settlement.charge_nano, settlement.status) == (0, CallStatus.ERROR)
        assert one.jobs.kept == {}


async def test_file_that_the_vendor_does_not_take_ends_the_job(tmp_path: Path, vendor: FakeUpstream) -> None:
    async with tuned(tmp_path, vendor) as one:
        vendor.script = answer_json({"error": {"message": "no"}}, 400)
        with pytest.raises(openai.InternalServerError) as caught:
            await make(one)
        assert caught.value.code == "upstream_file_refused"
        assert one.gateway.settlements == []


async def test_no_job_is_made_that_nobody_could_find(tmp_path: Path, vendor: FakeUpstream) -> None:
    async with tuned(tmp_path, vendor) as one:
        one.jobs.is_down = True
        with pytest.raises(openai.InternalServerError) as caught:
            await make(one)
        assert caught.value.status_code == 503
        assert vendor.seen == []
