"""Fine-tuning jobs: made at the provider that the job's model leads to, and shown to whoever made them alone.

All tenants' jobs run in the gateway's account at the vendor, so nothing is asked there of a job that the caller's own
rows do not have. Making one costs the provider's flat price; the rest is free.
"""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qs, quote
from uuid import uuid5

import orjson
import structlog

from tollkeeper.contracts.catalog import Credential, ModelRoute, Price, ProviderConfig
from tollkeeper.contracts.chat import Amounts, Call, Chunk, Operation, Reply
from tollkeeper.contracts.files import StoredFile
from tollkeeper.contracts.fine_tuning import FineTuningJob
from tollkeeper.contracts.ports import FineTuningJobs
from tollkeeper.contracts.principal import Principal, name_allowed
from tollkeeper.contracts.routing import Target
from tollkeeper.core.errors import (
    BadRequest,
    DependencyUnavailable,
    NoTargetAvailable,
    NotFound,
    TollkeeperError,
    UpstreamError,
)
from tollkeeper.gateway.carrier import Carrier, Line
from tollkeeper.gateway.passed import FindWatch, Passed
from tollkeeper.gateway.provider import Provider, TunesModels, UpstreamRequest
from tollkeeper.gateway.same_call import digest_of
from tollkeeper.gateway.stage import Exchange, Next
from tollkeeper.gateway.stages.resolve import Resolve
from tollkeeper.gateway.tuning_files import FIELDS, TuningFiles
from tollkeeper.gateway.tuning_paths import VENDOR_ID, TuningPlace

log = structlog.get_logger(__name__)

_JSON: Final = {"content-type": "application/json"}
_MOST_LISTED: Final = 100
_USUAL_LISTED: Final = 20


class TuningDesk:
    """What all requests about jobs have in common; one for a gateway."""

    def __init__(
        self, line: Line, resolve: Resolve, jobs: FineTuningJobs | None, files: TuningFiles, find_watch: FindWatch
    ) -> None:
        self.line = line
        self.find_watch = find_watch
        self.carrier = Carrier(line)
        self.resolve = resolve
        self.tuners = {kind: one for kind, one in line.providers.items() if isinstance(one, TunesModels)}
        self.files = files
        self._jobs = jobs

    @property
    def jobs(self) -> FineTuningJobs:
        if self._jobs is None:
            raise DependencyUnavailable("No fine-tuning jobs are kept here.")
        return self._jobs


class Tuning:
    """One request. `find` says where it goes and what it costs, `send` makes it; `show_all` needs neither."""

    def __init__(self, desk: TuningDesk, place: TuningPlace, method: str, query: bytes) -> None:
        self._desk = desk
        self._place = place
        self._method = method
        self._query = query
        self._body: dict[str, Any] = {}
        self._files: dict[str, StoredFile] = {}
        self._job: FineTuningJob | None = None

    @property
    def makes_one(self) -> bool:
        return not self._place.job and self._method == "POST"

    async def show_all(self, exchange: Exchange, _next_stage: Next) -> Reply:
        """The caller's own, newest first, each as the vendor told of it last."""
        after, limit = _read_page(self._query)
        principal, found, last = exchange.principal, list[FineTuningJob](), after
        is_bounded = principal.allowed_models is not None or principal.allowed_providers is not None
        size = _MOST_LISTED + 1 if is_bounded else limit + 1
        while len(found) <= limit:
            page = await self._desk.jobs.list_page(principal, last, size)
            if page is None:
                raise _unknown(after or "")
            # What a narrowed key may not use is as unknown here as when it is asked for by its id.
            found += [job for job in page if _admits(principal, job)]
            if len(page) < size:
                break
            last = page[-1].vendor_id
        data = [dict(job.document) for job in found[:limit]]
        return _document({"object": "list", "data": data, "has_more": len(found) > limit})

    async def find(self, exchange: Exchange, next_stage: Next) -> Reply:
        if self.makes_one:
            await self._find_model(exchange)
        else:
            await self._find_job(exchange)
        return await next_stage(exchange)

    async def send(self, exchange: Exchange, _next_stage: Next) -> Reply:
        config = exchange.snapshot.providers[exchange.plan[0].provider]
        provider = self._desk.line.providers[config.kind]
        credential = _credential(config, self._job)
        if not self.makes_one:
            passed = await self._carry(exchange, provider, config, credential, self._method, self._place.below)
            return await self._shown(exchange, passed)
        principal = exchange.principal
        # A store that is away is known before anything is made: nobody could find the job again.
        await self._desk.jobs.list_page(principal, None, 1)
        watch = self._desk.find_watch(exchange)
        body = dict(self._body)
        if watch is not None:
            body = orjson.loads(await watch.look_at_bytes(orjson.dumps(body)))
        for field, stored in self._files.items():
            upload = self._request(exchange, provider, config, credential, "POST", "/files")
            await self._desk.carrier.authorize(exchange, provider, upload)
            body[field] = await self._desk.files.upload(principal, stored, upload, watch)
        body["model"] = exchange.plan[0].model
        content = orjson.dumps(body)
        passed = await self._carry(exchange, provider, config, credential, "POST", self._place.below, content)
        return await self._made(exchange, passed, config, credential)

    # Where it goes

    async def _find_model(self, exchange: Exchange) -> None:
        content = await exchange.body()
        body = self._body = _read_body(content)
        exchange.digest = digest_of(exchange, content)
        model = body.get("model")
        if not isinstance(model, str) or not model:
            raise BadRequest("Missing required parameter: 'model'.", param="model", code="missing_required_parameter")
        exchange.call = Call(Operation.FINE_TUNING, model, is_stream=False, body={"model": model}, asked=Amounts())
        self._desk.resolve.enter(exchange)
        providers = exchange.snapshot.providers
        target = next((one for one in exchange.plan if self._url(providers[one.provider], "") is not None), None)
        if target is None:
            raise BadRequest(
                f"No provider of the model `{model}` has fine-tuning jobs in OpenAI's form.",
                param="model",
                code="unsupported_operation",
            )
        if target.model == "*":
            target = Target(target.provider, model)
        config = providers[target.provider]
        price = config.fine_tuning_nano
        if price is None and any(budget.is_hard for budget in exchange.principal.budgets):
            raise BadRequest(
                "A budget limits what this job may cost, and nobody has said what jobs cost there. Ask the operator to set "
                f"'fine_tuning.per_job_usd' of the provider '{target.provider}'.",
                code="cost_unbounded",
            )
        self._files = await self._desk.files.find(exchange.principal, body)
        self._fix(exchange, config, target, model, price)

    async def _find_job(self, exchange: Exchange) -> None:
        principal, name = exchange.principal, self._place.job
        job = self._job = await self._desk.jobs.find(principal, name)
        # What a narrowed key may not use is as unknown as what another tenant has.
        if job is None or not _admits(principal, job):
            raise _unknown(name)
        config = exchange.snapshot.providers.get(job.provider)
        if config is None or self._url(config, "") is None:
            raise NoTargetAvailable(
                f"The provider '{job.provider}', where this job runs, is not configured any more.", should_retry=False
            )
        target = Target(job.provider, job.model)
        exchange.call = Call(Operation.FINE_TUNING, job.model, is_stream=False, body={}, asked=Amounts())
        self._fix(exchange, config, target, job.model, 0)

    def _fix(
        self, exchange: Exchange, config: ProviderConfig, target: Target, model: str, price_nano: int | None
    ) -> None:
        price = None
        if price_nano is not None:
            price = Price(uuid5(config.id, f"fine-tuning {price_nano}"), input=0, output=0, request=price_nano * 1000)
        exchange.route = ModelRoute(id=config.id, name=model, targets=(target,), price=price)
        exchange.plan = (target,)
        exchange.fallbacks = {}

    # What is sent, and what is said of it

    async def _carry(
        self,
        exchange: Exchange,
        provider: Provider,
        config: ProviderConfig,
        credential: Credential | None,
        method: str,
        below: str,
        body: bytes = b"",
    ) -> Passed:
        request = self._request(exchange, provider, config, credential, method, below)
        request.body = body
        return await self._desk.carrier.carry(exchange, provider, request)

    def _request(
        self,
        exchange: Exchange,
        provider: Provider,
        config: ProviderConfig,
        credential: Credential | None,
        method: str,
        below: str,
    ) -> UpstreamRequest:
        url = self._url(config, below)
        assert url is not None
        if method == "GET" and (query := _page_query(self._query)):
            url += ("&" if "?" in url else "?") + query
        return UpstreamRequest(
            method=method,
            url=url,
            headers=provider.fixed_headers(config, exchange.call),
            body=b"",
            config=config,
            deadline=exchange.deadline,
            is_stream=False,
            credential=credential,
            secret_headers=provider.headers(credential),
        )

    def _url(self, config: ProviderConfig, below: str) -> str | None:
        provider = self._desk.tuners.get(config.kind)
        return None if provider is None else provider.tuning_url(config, below)

    async def _made(
        self, exchange: Exchange, passed: Passed, config: ProviderConfig, credential: Credential | None
    ) -> Reply:
        content = await _whole(passed)
        if passed.status >= 300:
            return _with_content(passed, content)
        document = _read_document(content)
        name = document.get("id")
        if not isinstance(name, str) or VENDOR_ID.fullmatch(name) is None:
            raise UpstreamError("The provider's answer has no id of a job.", code="upstream_garbage")
        shown = {**document, **{field: self._body[field] for field in self._files}}
        job = FineTuningJob(
            config.name, None if credential is None else credential.id, name, exchange.route.name, shown
        )
        try:
            await self._desk.jobs.keep(exchange.principal, job)
        except TollkeeperError:
            log.exception("fine_tuning_job_not_kept", request_id=exchange.shown_id, provider=config.name, job=name)
            raise
        return _with_content(passed, orjson.dumps(shown))

    async def _shown(self, exchange: Exchange, passed: Passed) -> Reply:
        """A job goes out with the ids that its caller gave the files; lists of events as they came."""
        if passed.status >= 300 or self._place.action in {"events", "checkpoints"}:
            return passed
        job = self._job
        assert job is not None
        content = await _whole(passed)
        document = _read_document(content)
        if document.get("id") != job.vendor_id:
            raise UpstreamError("The provider's answer is about another job.", code="upstream_garbage")
        shown = {**document, **{field: job.document[field] for field in FIELDS if job.document.get(field)}}
        await self._desk.jobs.keep(
            exchange.principal, FineTuningJob(job.provider, job.credential_id, job.vendor_id, job.model, shown)
        )
        return _with_content(passed, orjson.dumps(shown))


def _admits(principal: Principal, job: FineTuningJob) -> bool:
    return name_allowed(job.model, principal.allowed_models) and name_allowed(job.provider, principal.allowed_providers)


def _credential(config: ProviderConfig, job: FineTuningJob | None) -> Credential | None:
    """That of the account the job runs in, as long as it is there."""
    if job is not None:
        for credential in config.credentials:
            if credential.id == job.credential_id:
                return credential
    return config.credentials[0] if config.credentials else None


async def _whole(passed: Passed) -> bytes:
    parts = [chunk.native or b"" for chunk in passed.primed]
    rest = passed.rest
    if rest is not None:
        async for batch in rest:
            for chunk in batch:
                if chunk.error is not None:
                    raise chunk.error
                parts.append(chunk.native or b"")
        await rest.aclose()  # type: ignore[attr-defined]
    return b"".join(parts)


def _with_content(passed: Passed, content: bytes) -> Passed:
    chunk = Chunk({}, native=content, is_final=True)
    return Passed(is_stream=True, primed=(chunk,), status=passed.status, headers=passed.headers, failure=passed.failure)


def _document(document: Mapping[str, Any]) -> Passed:
    chunk = Chunk({}, native=orjson.dumps(document), is_final=True)
    return Passed(is_stream=True, primed=(chunk,), headers=_JSON)


def _read_document(content: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError:
        document = None
    if not isinstance(document, dict):
        raise UpstreamError("The provider's answer is no JSON object.", code="upstream_garbage")
    return document


def _read_body(content: bytes) -> dict[str, Any]:
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError:
        body = None
    if not isinstance(body, dict):
        raise BadRequest("The request body is not a JSON object.", code="invalid_json")
    return body


def _read_page(query: bytes) -> tuple[str | None, int]:
    asked = parse_qs(query.decode("latin-1"))
    limit = asked.get("limit", [str(_USUAL_LISTED)])[-1]
    if not (limit.isascii() and limit.isdigit() and 1 <= int(limit[:9]) <= _MOST_LISTED):
        raise BadRequest(
            f"Invalid 'limit': expected a whole number from 1 to {_MOST_LISTED}.", param="limit", code="invalid_value"
        )
    after = asked.get("after", [""])[-1]
    return after or None, int(limit)


def _page_query(query: bytes) -> str:
    """What a vendor's lists know, and nothing else."""
    asked = parse_qs(query.decode("latin-1"))
    return "&".join(f"{name}={quote(asked[name][-1], safe='')}" for name in ("after", "limit") if name in asked)


def _unknown(name: str) -> NotFound:
    # OpenAI's own words.
    return NotFound(f"Could not find fine tune: {name[:100]}", param="fine_tune_id", code="fine_tune_not_found")
