"""The composition root: it names concrete parts and hands them to one another.

`open_services` builds everything a worker of the gateway runs on and takes it down again in the reverse order;
`run_jobs` is the background half alone. Its parts: `opening` (what a start checks), `background` (tasks and jobs) and
`known_keys`.
"""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import structlog

from tollkeeper.background import answer_job, mail_jobs, make_runner, running
from tollkeeper.configuration import read_declared
from tollkeeper.contracts.catalog import ModelRoute
from tollkeeper.contracts.key_proof import KeyProof
from tollkeeper.contracts.money import Spend
from tollkeeper.contracts.ports import CounterView
from tollkeeper.contracts.request_log import CallRecord
from tollkeeper.contracts.usage import Settlement
from tollkeeper.core.access_log import AccessLogWriter
from tollkeeper.core.announcements import PUBLISHER, Announcement, Listener, Publisher, Topic
from tollkeeper.core.clock import Clock, SystemClock
from tollkeeper.core.config import Settings
from tollkeeper.core.crypto import MasterKey, SecretBox
from tollkeeper.core.errors import DependencyUnavailable
from tollkeeper.core.mail import MailServer, MailSettingsError, Smtp
from tollkeeper.core.objects import Objects
from tollkeeper.core.outbound import Outbound
from tollkeeper.core.passwords import Passwords
from tollkeeper.core.redis import RedisLink, RedisUnavailable, create_client
from tollkeeper.core.redis_cluster import make_link
from tollkeeper.core.resp import pack
from tollkeeper.core.run_keys import RunKeys
from tollkeeper.core.secrets import KeyHasher
from tollkeeper.core.tokens import AccessTokens
from tollkeeper.db.session import Database
from tollkeeper.domains.audit.heads import EVERY_SECONDS, Heads, HeadSigning
from tollkeeper.domains.audit.security import SecurityEvents
from tollkeeper.domains.batches.run import Parts
from tollkeeper.domains.batches.service import Batches
from tollkeeper.domains.batches.shares import Shares
from tollkeeper.domains.batches.tasks import batch_jobs
from tollkeeper.domains.budgets.declared import FileRules
from tollkeeper.domains.cache.service import CacheExplorer
from tollkeeper.domains.catalog.control import CatalogControl, build_catalog
from tollkeeper.domains.catalog.kept import CatalogFile
from tollkeeper.domains.catalog.prices import load_price_list
from tollkeeper.domains.events.service import CHANNEL as EVENTS
from tollkeeper.domains.events.service import Feed
from tollkeeper.domains.files.service import Files
from tollkeeper.domains.files.tasks import file_jobs
from tollkeeper.domains.fine_tuning.service import StoredFineTuningJobs
from tollkeeper.domains.fleet.service import Fleet
from tollkeeper.domains.guardrail_policies.control import GuardrailControl, build_guardrails
from tollkeeper.domains.guardrail_policies.lookup import StoredGuardrails
from tollkeeper.domains.guardrail_policies.sink import GuardrailEvents
from tollkeeper.domains.identity.first_run import FirstRun
from tollkeeper.domains.identity.lookup import SqlIdentities
from tollkeeper.domains.identity.sessions import Sessions
from tollkeeper.domains.identity.throttle import LoginThrottle
from tollkeeper.domains.identity_providers.issuers import Issuers
from tollkeeper.domains.identity_providers.lookup import WorkloadTokens
from tollkeeper.domains.jobs.runner import Runner
from tollkeeper.domains.jobs.schemas import JobKind
from tollkeeper.domains.keys.lookup import SqlKeyLookup
from tollkeeper.domains.keys.uses import KeyUseWriter
from tollkeeper.domains.mail.service import Mail
from tollkeeper.domains.request_logs.sink import RequestLogSink
from tollkeeper.domains.responses.lookup import SqlResponses
from tollkeeper.domains.responses.sink import ResponseSink
from tollkeeper.domains.route_policies.explaining import Explaining
from tollkeeper.domains.route_policies.service import RoutePolicies
from tollkeeper.domains.router.service import Router
from tollkeeper.domains.usage.sink import LedgerSink
from tollkeeper.domains.usage.spend import SqlSpend
from tollkeeper.gateway import pipeline
from tollkeeper.gateway.cache.desk import Desk
from tollkeeper.gateway.cache.entry import Seal
from tollkeeper.gateway.cache.meaning import Meaning
from tollkeeper.gateway.cache.meaning import Parts as MeaningParts
from tollkeeper.gateway.cache.memory import Memory
from tollkeeper.gateway.cache.metrics import CacheMetrics
from tollkeeper.gateway.cache.shelf import CHANNEL as PURGES
from tollkeeper.gateway.cache.shelf import Shelf
from tollkeeper.gateway.cache.single_flight import SingleFlight
from tollkeeper.gateway.cache.store import Store
from tollkeeper.gateway.claims import Claims
from tollkeeper.gateway.explain import Explainer
from tollkeeper.gateway.guard_events import GuardEvents
from tollkeeper.gateway.guard_trial import GuardTrial
from tollkeeper.gateway.hint_line import CHANNEL as HINTS
from tollkeeper.gateway.hint_line import HintLine
from tollkeeper.gateway.internal import InternalCalls
from tollkeeper.gateway.kept_answers import KeptAnswers
from tollkeeper.gateway.metrics import Metrics
from tollkeeper.gateway.money.admission import Admission
from tollkeeper.gateway.money.appraiser import Appraiser
from tollkeeper.gateway.money.counter_metrics import CounterMetrics
from tollkeeper.gateway.money.counter_view import LiveCounters
from tollkeeper.gateway.money.counters import Counters
from tollkeeper.gateway.money.journal import Journal
from tollkeeper.gateway.money.reaper import Reaper
from tollkeeper.gateway.money.shipper import Shipper
from tollkeeper.gateway.pressure.metrics import QueueMetrics
from tollkeeper.gateway.pressure.slots import Slots
from tollkeeper.gateway.probe import Probe
from tollkeeper.gateway.probing import Probing
from tollkeeper.gateway.providers import PROVIDERS, provider_kinds
from tollkeeper.gateway.request_log import RequestLog
from tollkeeper.gateway.routing.targets import Targets
from tollkeeper.gateway.stages.recall import Recalling
from tollkeeper.gateway.target_metrics import TargetMetrics
from tollkeeper.gateway.upstream import Upstream
from tollkeeper.known_keys import KnownKeys
from tollkeeper.opening import (
    StartRefused,
    database_url_for_listening,
    find_master_keys,
    open_database,
    open_for_gateway,
    open_master_keys,
    required,
)
from tollkeeper.readiness import Readiness

log = structlog.get_logger(__name__)

# Time for the journal to be shipped once the last call has ended.
_SHIP_SECONDS: Final = 5.0
# The control plane has time for a look-up that a call has not.
_LOOK_SECONDS: Final = 2.0
# A batch whose process died goes on elsewhere after this time.
_BATCH_LEASE_SECONDS: Final = 15.0
# A look-up in the cache.
_CACHE_SECONDS: Final = 0.02
# For the last calls' records.
_LOG_SECONDS: Final = 2.0


@dataclass(slots=True)
class Services:
    """What one process runs on. Routes of the control plane reach it as `request.app.state.services`."""

    settings: Settings
    clock: Clock
    master_key: MasterKey
    database: Database
    objects: Objects
    key_hasher: KeyHasher
    run_keys: RunKeys
    secret_box: SecretBox
    issuers: Issuers
    access_tokens: AccessTokens
    passwords: Passwords
    identities: SqlIdentities
    csrf_key: bytes
    login_throttle: LoginThrottle
    mail: Mail
    audit_heads: Heads
    security_events: SecurityEvents
    catalog: CatalogControl
    key_lookup: SqlKeyLookup
    key_proof: KeyProof
    key_uses: KeyUseWriter
    session_lookup: Sessions
    gateway: pipeline.Services
    provider_probe: Probe
    route_policies: RoutePolicies
    guardrails: GuardrailControl
    cache: CacheExplorer
    explaining: Explaining
    router: Router
    counter_view: CounterView
    readiness: Readiness
    feed: Feed
    first_run: FirstRun | None = None
    # Set by the supervisor for its workers: each writes its metrics into files there, and any of them reads all.
    is_multiprocess: bool = False

    def describe(self) -> dict[str, Any]:
        """What a worker reports when it is ready; the first start's secrets are in it, for the banner alone."""
        snapshot = self.catalog.holder.current()
        real = sorted(name for name in snapshot.providers if name != "simulated")
        models = [route for route in snapshot.models.values() if not route.is_simulated and route.tenant_id is None]
        # A later start that only adds what TOLLKEEPER_INIT_* names has no secret to tell.
        first = self.first_run if self.first_run is not None and self.first_run.is_new else None
        return {
            "port": self.settings.port,
            "providers": [*real, "simulated"],
            "only_simulated": snapshot.is_only_simulated(),
            # The first thing anybody pastes should cost next to nothing.
            "example_model": min(models, key=_output_price).name if models else "simulated",
            "first_run": None
            if first is None
            else {
                "api_key": first.api_key,
                "admin_email": first.admin_email,
                "admin_password": first.admin_password,
            },
        }

    async def reload(self) -> str:
        """Read the configuration file again, whole or not at all; a sentence for the operator."""
        version = await self.catalog.reloader.reload()
        return f"the configuration is reloaded (version {version})"


@asynccontextmanager
async def open_services(settings: Settings, *, clock: Clock | None = None) -> AsyncIterator[Services]:
    """Everything a worker of the gateway needs, running. Raises `TollkeeperError` with what to do when it cannot."""
    clock = clock or SystemClock()
    keys = open_master_keys(settings)
    master = keys.current
    async with AsyncExitStack() as stack:
        box = keys.secret_box()
        hasher, run_keys, passwords = KeyHasher(master, *keys.previous), RunKeys(master, *keys.previous), Passwords()
        opened = await open_for_gateway(settings, keys, hasher, passwords, clock, stack)
        database = opened.database
        redis_url = required(settings.redis_url, "TOLLKEEPER_REDIS_URL")
        link = await _open_link(make_link(redis_url, clock), stack)
        feed = _open_publishers(redis_url, database, link, stack)

        mail = _open_mail(settings, box)
        file_rules = FileRules(database, clock)
        catalog = await _open_catalog(settings, database, box, opened.kept, clock, file_rules)
        metrics = Metrics()
        money = await _open_money(settings, database, link, clock, metrics, stack)
        upstream = _open_upstream(settings, clock, stack)

        security_events = _open_security_events(database, clock, stack)
        known = await KnownKeys.open(
            settings,
            database,
            box,
            hasher,
            clock,
            stack,
            on_refused=security_events.key_refused,
            is_late=opened.is_late,
        )
        tokens = AccessTokens(master, clock, minutes=settings.session_minutes, older=keys.previous)
        identities = SqlIdentities(database, clock, idle=timedelta(minutes=settings.session_idle_minutes))
        session_lookup = Sessions(known.lookup, identities, tokens)
        probe = Probe(PROVIDERS, upstream, clock)
        targets = _open_targets(catalog, link, money.fleet.worker_id, clock)
        recalling, cache_desk = await _open_cache(settings, redis_url, master, clock, metrics, stack)
        listener = await _open_listener(
            settings, redis_url, _Hearing(known, catalog, money.counters, targets, recalling.shelf, feed, clock), stack
        )
        objects, files = _open_files(settings, database, box, clock)
        audit_heads = Heads(objects, keys, clock)

        access_log = _open_access_log(settings, clock, stack)
        request_log, guard_events = _open_notes(settings, database, box, clock, metrics, feed, stack)
        kept_answers = _open_answers(settings, objects, box, clock, stack)
        issuers = Issuers(Outbound(ca_bundle=settings.upstream_ca_bundle, proxy_url=settings.upstream_proxy), clock)
        response_lookup, response_sink = _open_responses(settings, database, box, clock, stack)
        appraise = Appraiser()
        services = Services(
            settings=settings,
            clock=clock,
            master_key=master,
            database=database,
            objects=objects,
            key_hasher=hasher,
            run_keys=run_keys,
            secret_box=box,
            issuers=issuers,
            access_tokens=tokens,
            passwords=passwords,
            identities=identities,
            csrf_key=master.derive("csrf"),
            login_throttle=LoginThrottle(clock, link),
            mail=mail,
            audit_heads=audit_heads,
            security_events=security_events,
            catalog=catalog,
            key_lookup=known.lookup,
            key_proof=known.proof,
            key_uses=known.uses,
            session_lookup=session_lookup,
            gateway=pipeline.Services(
                settings=settings,
                clock=clock,
                snapshots=catalog.holder,
                key_cache=known.cache,
                key_lookup=known.lookup,
                key_hasher=hasher,
                admission=money.admission,
                appraise=appraise,
                forecasts=appraise.forecasts,
                holds=money.admission,
                gate=targets,
                journal=money.journal,
                channel=upstream,
                metrics=metrics,
                session_lookup=session_lookup,
                token_lookup=WorkloadTokens(database, issuers, known.lookup, clock),
                foreign_keys=known.foreign,
                key_uses=known.uses,
                key_snapshot=known.snapshot,
                run_keys=run_keys,
                claims=Claims(link, clock),
                kept_answers=kept_answers,
                response_lookup=response_lookup,
                response_sink=response_sink,
                files=files,
                fine_tuning=_open_fine_tuning(database, stack),
                batches=Batches(database, files, box, clock),
                access_log=access_log,
                request_log=request_log,
                guard_events=guard_events,
                recalling=recalling,
                slots=Slots(
                    clock,
                    QueueMetrics(metrics.registry),
                    most_running=settings.max_running_calls,
                    most_waiting=settings.max_waiting_calls,
                    longest_seconds=settings.max_wait_seconds,
                    workers=settings.workers,
                ),
            ),
            provider_probe=probe,
            route_policies=RoutePolicies(catalog.policies),
            guardrails=build_guardrails(
                trial=GuardTrial(),
                declared=lambda: catalog.loader.sources.guardrail_policies,
                snapshot=catalog.holder.current,
                box=box,
                clock=clock,
            ),
            cache=CacheExplorer(cache_desk, clock),
            explaining=Explaining(
                Explainer(catalog.holder, clock, appraise.forecasts, targets),
                SqlKeyLookup(
                    database,
                    default_requests_per_minute=settings.default_requests_per_minute,
                    deadline_seconds=_LOOK_SECONDS,
                ),
                clock,
            ),
            router=Router(targets, catalog.holder.current, clock),
            readiness=Readiness(
                database,
                link.state,
                listener.state,
                money.journal.state,
                money.shipper.state,
                catalog.holder.current,
                money.counters.state,
                lambda: targets.down(clock.monotonic()),
            ),
            counter_view=LiveCounters(link, clock, money.counters),
            feed=feed,
            first_run=opened.first_run,
            is_multiprocess="PROMETHEUS_MULTIPROC_DIR" in os.environ,
        )
        work = {
            **money.work(metrics),
            "targets": TargetMetrics(metrics.registry, targets, catalog.holder.current, clock).run(),
            "probes": Probing(probe, targets, catalog.holder.current, clock, may_probe=HintLine(link).may_probe).run(),
            "request-log": request_log.run(),
            "guard-events": guard_events.run(),
            "catalog": catalog.loader.run(),
            "reload": catalog.reloader.run(),
            "file-rules": file_rules.run(),
            **known.work(),
        }
        if settings.jobs_in_process:
            more = [
                JobKind("audit.heads", HeadSigning(database, audit_heads).handle, every_seconds=EVERY_SECONDS),
                *mail_jobs(settings, database, box, mail, clock),
                *file_jobs(files),
                answer_job(kept_answers),
            ]
            work["jobs"] = make_runner(settings, database, more, name=str(money.fleet.worker_id)).run()
        async with running(work):
            try:
                # Ended first: what they call is settled as any other call is.
                async with running(_batch_work(services, files, name=str(money.fleet.worker_id))):
                    yield _connected(services)
            finally:
                await recalling.flights.close()
                # What is settled then still travels to the ledger.
                await services.gateway.drains.close()
                await known.finish()
                await money.finish()


async def run_jobs(settings: Settings) -> None:
    """`tollkeeper worker`: background jobs alone, until cancelled."""
    async with AsyncExitStack() as stack:
        database = await open_database(settings, stack)
        more: list[JobKind] = []
        if (keys := find_master_keys(settings)) is not None:
            box, objects = keys.secret_box(), Objects.open(settings.objects_url, settings.data_dir)
            heads = Heads(objects, keys, SystemClock())
            more.append(JobKind("audit.heads", HeadSigning(database, heads).handle, every_seconds=EVERY_SECONDS))
            more += file_jobs(Files(database, objects, box, SystemClock(), settings))
            more.append(answer_job(KeptAnswers(objects, box, SystemClock(), max_bytes=0)))
            more += mail_jobs(settings, database, box, _open_mail(settings, box), SystemClock())
        else:
            log.warning("audit_heads_unsigned", note="set TOLLKEEPER_MASTER_KEY for the worker as for the gateway")
        await make_runner(settings, database, more, name=f"{socket.gethostname()}-{os.getpid()}").run()


class _Hearing:
    """What a worker does when it is told of a change: forget, and look again."""

    def __init__(
        self,
        keys: KnownKeys,
        catalog: CatalogControl,
        counters: Counters,
        targets: Targets,
        shelf: Shelf,
        feed: Feed,
        clock: Clock,
    ) -> None:
        self._keys = keys
        self._catalog = catalog
        self._counters = counters
        self._targets = targets
        self._shelf = shelf
        self._clock = clock
        self.feed = feed.hear

    def __call__(self, announcement: Announcement) -> None:
        if announcement.topic is Topic.CATALOG:
            self._catalog.announcements.heard(announcement)
        elif announcement.topic is Topic.COUNTERS:
            self._counters.heard(announcement.subject)
        elif announcement.topic is Topic.TARGETS:
            self._targets.hear_reset(announcement.subject, self._clock.monotonic())
        else:
            self._keys.heard(announcement)

    def hint(self, message: bytes) -> None:
        self._targets.hear(message, self._clock.monotonic())

    def purge(self, message: bytes) -> None:
        self._shelf.hear(message)

    def resync(self) -> None:
        """A channel was away: nothing heard meanwhile can be trusted to be all."""
        self._keys.resync()
        self._catalog.loader.changed()
        self._counters.resync()
        self._targets.recall()
        self._shelf.resync()


@dataclass(frozen=True, slots=True)
class _Money:
    """What puts money aside, takes what was spent to the ledger, and keeps the counters between them right."""

    fleet: Fleet
    journal: Journal
    shipper: Shipper
    admission: Admission
    counters: Counters
    reaper: Reaper

    def work(self, metrics: Metrics) -> dict[str, Coroutine[Any, Any, None]]:
        return {
            "shipper": self.shipper.run(),
            "fleet": self.fleet.run(),
            "counters": self.counters.run(),
            "reaper": self.reaper.run(),
            "counter-metrics": CounterMetrics(metrics.registry, self.counters.state, self.reaper.state).run(),
        }

    def connected(self, run_id: str | None) -> None:
        self.admission.on_connect(run_id)
        self.counters.connected()

    def shipped(self, settlements: Sequence[Settlement], spends: Sequence[Spend]) -> None:
        self.admission.acknowledge(settlements, spends)
        self.reaper.acknowledge(settlements)

    async def finish(self) -> None:
        """Once no call is open any more."""
        if not await self.shipper.drain(_SHIP_SECONDS):
            log.warning("journal_kept", note="what was not shipped stays on disk for the next start")
        await self.counters.finish()
        await self.reaper.finish()


async def _open_money(
    settings: Settings, database: Database, link: RedisLink, clock: Clock, metrics: Metrics, stack: AsyncExitStack
) -> _Money:
    folder = settings.data_dir / "journal"
    journal = _open_journal(settings, folder, clock, stack)
    worker_id = journal.boot_id
    fleet = Fleet(database, expected=settings.workers, journal_path=str(folder), worker_id=worker_id)
    sink = LedgerSink(database, clock, retention_days=settings.usage_retention_days)
    shipper = Shipper(journal, sink, clock, directory=folder)
    admission = Admission(link, clock, fleet.live, worker_id=worker_id, metrics=metrics)
    held = admission.registry
    counters = Counters(link, SqlSpend(database), fleet, clock, worker_id=worker_id, holdings=held, adopt=shipper.adopt)
    reaper = Reaper(link, counters, fleet, clock, worker_id=worker_id, holdings=held, settle=journal.settle)
    money = _Money(fleet, journal, shipper, admission, counters, reaper)
    link.on_connect = money.connected
    admission.counters = counters
    shipper.on_shipped = money.shipped
    shipper.on_adopted = reaper.adopted
    await admission.start()
    stack.push_async_callback(admission.close)
    # Before the first call: whoever rebuilds counters must know that this worker is to be asked.
    with suppress(DependencyUnavailable):
        await fleet.beat()
    return money


async def _open_catalog(
    settings: Settings, database: Database, box: SecretBox, kept: CatalogFile, clock: Clock, rules: FileRules
) -> CatalogControl:
    kinds, prices = provider_kinds(), load_price_list()
    read = partial(read_declared, settings.config, os.environ, kinds=kinds, price_list=prices)
    declared = await asyncio.to_thread(read)
    rules.replace(declared.rules)
    # Before the first call, not soon after it.
    with suppress(DependencyUnavailable):
        await rules.apply()
    catalog = build_catalog(
        database=database,
        box=box,
        kinds=kinds,
        price_list=prices,
        declared=declared,
        read_declared=read,
        clock=clock,
        kept=kept,
        on_rules=rules.replace,
        guardrails=StoredGuardrails(box).read,
    )
    await catalog.loader.load()
    return catalog


def _open_upstream(settings: Settings, clock: Clock, stack: AsyncExitStack) -> Upstream:
    upstream = Upstream(settings, clock)
    stack.push_async_callback(upstream.aclose)
    return upstream


async def _open_link(link: RedisLink, stack: AsyncExitStack) -> RedisLink:
    await link.start()
    stack.push_async_callback(link.close)
    return link


async def _open_cache(
    settings: Settings, redis_url: str, master: MasterKey, clock: Clock, metrics: Metrics, stack: AsyncExitStack
) -> tuple[Recalling, Desk]:
    """On a connection of its own (RULING 6), with less patience than money has: what comes late is a miss."""
    link = await _open_link(make_link(redis_url, clock, operation_seconds=_CACHE_SECONDS), stack)
    told = CacheMetrics(metrics.registry)
    store = Store(link, tenant_bytes=settings.cache_tenant_bytes)
    memory, seal = Memory(settings.cache_memory_bytes), Seal(master.derive("cache"))
    shelf = Shelf(memory, store, seal, told, clock)
    parts = MeaningParts(
        link,
        master.derive("cache-vectors"),
        told,
        clock,
        tenant_bytes=settings.cache_tenant_bytes,
        worker_bytes=settings.cache_vector_bytes,
    )
    meaning = Meaning(parts)
    stack.push_async_callback(meaning.close)
    patient = await _open_link(make_link(redis_url, clock, operation_seconds=_LOOK_SECONDS), stack)
    whole = Store(patient, tenant_bytes=settings.cache_tenant_bytes)
    desk = Desk(Shelf(memory, whole, seal, told, clock), whole, meaning, shelf.hear)
    return Recalling(shelf, SingleFlight(), told, meaning, master.derive("cache-salt")), desk


def _connected(services: Services) -> Services:
    """The semantic cache may ask a model of the gateway that it is a part of for its vectors."""
    recalling = services.gateway.recalling
    if recalling is not None and isinstance(recalling.semantic, Meaning):
        recalling.semantic.calls = InternalCalls(services.gateway)
    return services


def _open_targets(catalog: CatalogControl, link: RedisLink, worker_id: UUID, clock: Clock) -> Targets:
    line = HintLine(link)
    # Those that answer inside the gateway.
    staged = [kind for kind, provider in PROVIDERS.items() if provider.channel is not None]
    targets = Targets(catalog.holder.current, worker_id=worker_id, line=line, staged_kinds=staged)
    line.hear = lambda message: targets.hear(message, clock.monotonic())
    line.hear_open = lambda found: targets.hear_open(found, clock.monotonic())
    return targets


def _open_security_events(database: Database, clock: Clock, stack: AsyncExitStack) -> SecurityEvents:
    security_events = SecurityEvents(database, clock)
    stack.push_async_callback(security_events.settled)
    return security_events


def _open_mail(settings: Settings, box: SecretBox) -> Mail:
    if settings.mail_url is None:
        return Mail(box, None)
    try:
        server = MailServer.parse(settings.mail_url.get_secret_value())
        return Mail(box, Smtp(server, settings.mail_from or ""))
    except MailSettingsError as error:
        raise StartRefused(str(error)) from error


def _open_access_log(settings: Settings, clock: Clock, stack: AsyncExitStack) -> AccessLogWriter | None:
    if not settings.access_log:
        return None
    is_json = settings.log_format == "json" or (settings.log_format == "auto" and not sys.stdout.isatty())
    writer = AccessLogWriter(sys.stdout, clock, as_json=is_json)
    stack.callback(writer.close)
    return writer


def _open_notes(
    settings: Settings,
    database: Database,
    box: SecretBox,
    clock: Clock,
    metrics: Metrics,
    feed: Feed,
    stack: AsyncExitStack,
) -> tuple[RequestLog, GuardEvents]:
    """Of finished calls, and of what guardrails found in them."""

    def tell(records: Sequence[CallRecord]) -> None:
        feed.tell("requests", ((record.principal.tenant_id, record.principal.user_id) for record in records))

    sink = RequestLogSink(database, clock, retention_days=settings.request_log_retention_days, on_written=tell)
    log_of_calls = RequestLog(sink, metrics.registry, share=settings.request_log_sample)
    stack.push_async_callback(log_of_calls.finish, _LOG_SECONDS)
    found = GuardrailEvents(database, box, clock, retention_days=settings.request_log_retention_days)
    events = GuardEvents(found, metrics.registry)
    stack.push_async_callback(events.finish, _LOG_SECONDS)
    return log_of_calls, events


def _open_answers(
    settings: Settings, objects: Objects, box: SecretBox, clock: Clock, stack: AsyncExitStack
) -> KeptAnswers:
    answers = KeptAnswers(objects, box, clock, max_bytes=settings.kept_answer_max_bytes)
    stack.push_async_callback(answers.close)
    return answers


def _open_files(settings: Settings, database: Database, box: SecretBox, clock: Clock) -> tuple[Objects, Files]:
    objects = Objects.open(settings.objects_url, settings.data_dir)
    return objects, Files(database, objects, box, clock, settings)


def _batch_work(services: Services, files: Files, *, name: str) -> dict[str, Coroutine[Any, Any, None]]:
    """A runner of their own: batches last for hours, and keep no other job waiting."""
    settings, database = services.settings, services.database
    if settings.batch_jobs == 0:
        return {}
    parts = Parts(
        database=database,
        files=files,
        box=services.secret_box,
        clock=services.clock,
        calls=InternalCalls(services.gateway),
        shares=Shares(settings.batch_tenant_calls),
        most_calls=settings.batch_calls,
        max_body_bytes=settings.max_body_bytes,
    )
    runner = Runner(
        database,
        batch_jobs(parts),
        name=f"{name}-batches",
        concurrency=settings.batch_jobs,
        lease_seconds=_BATCH_LEASE_SECONDS,
    )
    return {"batches": runner.run()}


def _open_fine_tuning(database: Database, stack: AsyncExitStack) -> StoredFineTuningJobs:
    jobs = StoredFineTuningJobs(database)
    stack.push_async_callback(jobs.close)
    return jobs


def _open_responses(
    settings: Settings, database: Database, box: SecretBox, clock: Clock, stack: AsyncExitStack
) -> tuple[SqlResponses, ResponseSink]:
    lookup = SqlResponses(database, box, max_bytes=settings.max_body_bytes)
    stack.push_async_callback(lookup.close)
    days, max_bytes = settings.stored_response_days, settings.stored_response_max_bytes
    sink = ResponseSink(database, box, clock, days=days, max_bytes=max_bytes)
    stack.push_async_callback(sink.close)
    return lookup, sink


def _output_price(route: ModelRoute) -> tuple[bool, int]:
    """Cheapest first; models without output, such as embeddings, and unpriced ones last."""
    price = 0 if route.price is None else route.price.output
    return price == 0, price


def _open_journal(settings: Settings, folder: Path, clock: Clock, stack: AsyncExitStack) -> Journal:
    journal = Journal(
        folder,
        host=socket.gethostname(),
        clock=clock,
        max_bytes=settings.journal_max_bytes // settings.workers,
        sync=settings.journal_sync,
    )
    stack.callback(journal.close)
    return journal


def _publish(link: RedisLink, message: bytes) -> None:
    """To the consoles that other workers serve; lost where Redis is away."""
    with suppress(RedisUnavailable):
        link.ask(pack(("PUBLISH", EVENTS, message)), 1, lambda _replies: None, None)


async def _open_listener(settings: Settings, redis_url: str, hearing: "_Hearing", stack: AsyncExitStack) -> Listener:
    listener = Listener(
        database_url_for_listening(settings),
        create_client(redis_url, operation_seconds=None),
        on_announcement=hearing,
        on_resync=hearing.resync,
        on_message={HINTS: hearing.hint, PURGES: hearing.purge, EVENTS: hearing.feed},
    )
    await listener.start()
    stack.push_async_callback(listener.close)
    return listener


def _open_publishers(redis_url: str, database: Database, link: RedisLink, stack: AsyncExitStack) -> Feed:
    publisher = Publisher(create_client(redis_url))
    stack.push_async_callback(publisher.close)
    database.carry(PUBLISHER, publisher)
    return Feed(partial(_publish, link))
