"""The order of work, composed once at the start. This list is the design: every call passes it from top to bottom."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from tollkeeper.contracts.chat import Reply
from tollkeeper.contracts.ports import (
    BatchStore,
    FileStore,
    FineTuningJobs,
    ForeignKeys,
    KeyLookup,
    KeyUses,
    ResponseLookup,
    ResponseSink,
    SessionLookup,
    SnapshotSource,
    TokenLookup,
)
from tollkeeper.core.clock import Clock
from tollkeeper.core.config import Settings
from tollkeeper.core.run_keys import RunKeys
from tollkeeper.core.secrets import KeyHasher
from tollkeeper.gateway.carrier import Line
from tollkeeper.gateway.claims import Claims
from tollkeeper.gateway.cloud_tokens import Tokens
from tollkeeper.gateway.drain import Drains
from tollkeeper.gateway.edge.record import AccessLog
from tollkeeper.gateway.fine_tuning import Tuning, TuningDesk
from tollkeeper.gateway.guard_events import GuardEvents
from tollkeeper.gateway.guard_notes import GuardNotes
from tollkeeper.gateway.guardrails import RULES
from tollkeeper.gateway.kept_answers import KeptAnswers
from tollkeeper.gateway.key_cache import KeyCache
from tollkeeper.gateway.key_snapshot import KeySnapshot
from tollkeeper.gateway.metrics import Metrics
from tollkeeper.gateway.money.crossing import Crossing
from tollkeeper.gateway.money.forecast import Forecasts
from tollkeeper.gateway.money.hold import Holds
from tollkeeper.gateway.money.journal import Journal
from tollkeeper.gateway.outside import WaysOut
from tollkeeper.gateway.passthrough import PassedRequest, PassThrough
from tollkeeper.gateway.pressure.slots import Slots
from tollkeeper.gateway.provider import Channel, Provider
from tollkeeper.gateway.providers import PROVIDERS
from tollkeeper.gateway.request_log import RequestLog
from tollkeeper.gateway.routing.health import Gate
from tollkeeper.gateway.screens import Screens
from tollkeeper.gateway.stage import Exchange, Next, Stage, Step
from tollkeeper.gateway.stages.adapt import adapt
from tollkeeper.gateway.stages.admit import Admit, Admits, Appraise, endpoint
from tollkeeper.gateway.stages.authenticate import Authenticate
from tollkeeper.gateway.stages.claim import Claim
from tollkeeper.gateway.stages.converse import Converse
from tollkeeper.gateway.stages.count_tokens import CountTokens
from tollkeeper.gateway.stages.dispatch import Dispatch
from tollkeeper.gateway.stages.guard import Guard
from tollkeeper.gateway.stages.meter import Meter
from tollkeeper.gateway.stages.read import read
from tollkeeper.gateway.stages.recall import NothingKept, Recall, Recalling
from tollkeeper.gateway.stages.resolve import Reckoning, Resolve
from tollkeeper.gateway.stages.wait import Wait
from tollkeeper.gateway.tuning_files import TuningFiles
from tollkeeper.gateway.tuning_paths import TuningPlace


@dataclass(frozen=True, slots=True)
class Services:
    """What the data plane needs from outside; `wiring` makes one per worker."""

    settings: Settings
    clock: Clock
    snapshots: SnapshotSource
    key_cache: KeyCache
    key_lookup: KeyLookup
    key_hasher: KeyHasher
    admission: Admits
    journal: Journal
    channel: Channel
    metrics: Metrics
    appraise: Appraise
    session_lookup: SessionLookup | None = None
    # Tokens that trusted issuers signed; None: only our own sessions' tokens are looked at.
    token_lookup: TokenLookup | None = None
    # Which keys in other forms there are; None: each well-formed token costs a look-up.
    foreign_keys: ForeignKeys | None = None
    key_uses: KeyUses | None = None
    key_snapshot: KeySnapshot | None = None
    # Proves run keys; None: there are none.
    run_keys: RunKeys | None = None
    # Who serves the call of an idempotency key; None: the header means nothing.
    claims: Claims | None = None
    # Their answers, where a tenant lets them be kept; None: none is given again.
    kept_answers: KeptAnswers | None = None
    # Answers of the Responses API that are kept; None: none are.
    response_lookup: ResponseLookup | None = None
    response_sink: ResponseSink | None = None
    # Files and batches, by ports each; None: there are none.
    files: FileStore | None = None
    batches: BatchStore | None = None
    # Which fine-tuning job is whose; None: there are none.
    fine_tuning: FineTuningJobs | None = None
    # One call per finished call with its figures; None: no access log.
    access_log: AccessLog | None = None
    # One note per finished call, for whoever looks it up later; None: none is taken.
    request_log: RequestLog | None = None
    # What guardrails find, for whoever looks it up later; None: it is counted and logged alone.
    guard_events: GuardEvents | None = None
    providers: Mapping[str, Provider] = field(default_factory=lambda: PROVIDERS)
    # What calls have put aside; None: nothing limits money.
    holds: Holds | None = None
    # Who runs and who waits; None: nothing bounds them.
    slots: Slots | None = None
    # What is known of targets, and who may be called; None: nothing, and all are taken for well.
    gate: Gate | None = None
    # How long answers get, as `appraise` learns it.
    forecasts: Forecasts | None = None
    # Answers that are given again; None: none is.
    recalling: Recalling | None = None
    # Whoever closes the journal closes them before.
    drains: Drains = field(default_factory=Drains)


def make_authenticate(services: Services) -> Authenticate:
    return Authenticate(
        services.key_cache,
        services.key_lookup,
        services.key_hasher,
        services.clock,
        services.settings,
        services.session_lookup,
        foreign=services.foreign_keys,
        tokens=services.token_lookup,
        uses=services.key_uses,
        snapshot=services.key_snapshot,
        run_keys=services.run_keys,
    )


def make_resolve(services: Services) -> Resolve:
    return Resolve(services.clock, services.gate, Reckoning(services.forecasts))


def make_stages(services: Services, authenticate: Stage) -> list[Stage]:
    settings = services.settings
    crossing = None
    if services.holds is not None:
        crossing = Crossing(services.admission, services.holds, services.appraise, services.providers, endpoint)
    guard, recall = make_guard(services), Recall(services.recalling, services.clock)
    return [
        authenticate,
        read,
        # Before `resolve`, which keeps conversations together by how they began.
        Converse(services.response_lookup, services.response_sink),
        make_resolve(services),
        Meter(services.journal, services.clock, services.metrics, services.drains, services.holds),
        Wait(services.slots),
        Claim(services.claims, services.clock, services.kept_answers),
        adapt,
        Admit(
            services.admission,
            services.appraise,
            services.providers,
            first_cap=settings.applied_cap_tokens if settings.uncapped_calls == "apply_cap" else None,
            give_kept=None if services.recalling is None else partial(give_kept, guard, recall),
        ),
        guard,
        recall,
        Dispatch(
            services.providers,
            services.channel,
            services.journal,
            services.clock,
            services.metrics,
            services.holds,
            gate=services.gate,
            drains=services.drains,
            enter_provider=None if crossing is None else crossing.enter,
            first_byte_seconds=settings.upstream_first_byte_seconds,
        ),
    ]


async def give_kept(guard: Guard, recall: Recall, exchange: Exchange) -> Reply | None:
    """An answer that costs nothing, for a call that only money refused: behind the guard as any other."""
    if not recall.may_have(exchange):
        return None

    def give(exchange: Exchange) -> Awaitable[Reply]:
        return recall.give_kept(exchange)

    try:
        return await guard(exchange, give)
    except NothingKept:
        return None


def make_count_stages(services: Services, authenticate: Authenticate) -> list[Stage]:
    """Of calls that are counted and not made: nothing is held or billed."""
    converse = Converse(services.response_lookup, services.response_sink)
    return [
        authenticate,
        read,
        converse,
        make_resolve(services),
        Wait(services.slots),
        # A vendor that counts reads the text as well.
        make_guard(services),
        CountTokens(services.admission, services.providers, services.channel, services.clock, services.holds),
    ]


def make_guard(services: Services) -> Guard:
    ways = WaysOut(services.channel, services.providers, services.clock, Tokens(services.channel, services.clock))
    return Guard(Screens(RULES), GuardNotes(services.metrics, services.guard_events), ways)


def make_line(services: Services) -> Line:
    tokens = Tokens(services.channel, services.clock)
    return Line(services.providers, services.channel, services.journal, services.clock, services.metrics, tokens)


def make_tuning(services: Services, authenticate: Authenticate) -> Callable[[TuningPlace, str, bytes], Next]:
    """Of requests about fine-tuning jobs: a pipeline for each, by its place, its method and its query."""
    meter = Meter(services.journal, services.clock, services.metrics, services.drains, services.holds)
    wait, admit = Wait(services.slots), Admit(services.admission, services.appraise, services.providers)
    claim = Claim(services.claims, services.clock)
    files = TuningFiles(services.files, services.channel, services.settings.max_body_bytes)
    guard = make_guard(services)
    desk = TuningDesk(make_line(services), make_resolve(services), services.fine_tuning, files, guard.watch)

    def make(place: TuningPlace, method: str, query: bytes) -> Next:
        tuning = Tuning(desk, place, method, query)
        if not place.job and method == "GET":
            return compose([authenticate, tuning.show_all])
        if tuning.makes_one:
            return compose([authenticate, tuning.find, meter, wait, claim, admit, tuning.send])
        return compose([authenticate, tuning.find, meter, wait, admit, tuning.send])

    return make


def make_passthrough(services: Services, authenticate: Authenticate) -> Callable[[PassedRequest], Next]:
    """Of requests that are passed on: a pipeline for each, as each has a path of its own."""
    meter = Meter(services.journal, services.clock, services.metrics, services.drains, services.holds)
    wait, admit = Wait(services.slots), Admit(services.admission, services.appraise, services.providers)
    line, guard = make_line(services), make_guard(services)

    def make(request: PassedRequest) -> Next:
        passing = PassThrough(line, request, guard.watch)
        return compose([authenticate, passing.find, meter, wait, admit, passing.send])

    return make


def compose(stages: Sequence[Stage]) -> Next:
    """One function out of all stages; the last one answers and calls nobody."""
    following: Next = _nothing_left
    steps: list[Step] = []
    for stage in reversed(stages):
        if isinstance(stage, Step):
            steps.insert(0, stage)
            continue
        following, steps = _bind(stage, _go_through(steps, following)), []
    return _go_through(steps, following)


def _go_through(steps: Sequence[Step], following: Next) -> Next:
    if not steps:
        return following
    enters = tuple(step.enter for step in steps)

    async def run(exchange: Exchange) -> Reply:
        for enter in enters:
            waiting = enter(exchange)
            if waiting is not None and (reply := await waiting) is not None:
                return reply
        return await following(exchange)

    return run


def _bind(stage: Stage, following: Next) -> Next:
    def run(exchange: Exchange) -> Awaitable[Reply]:
        return stage(exchange, following)

    return run


async def _nothing_left(exchange: Exchange) -> Reply:
    raise AssertionError(f"no stage answered {exchange.request_id}")
