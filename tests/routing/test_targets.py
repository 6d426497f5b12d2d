"""A worker's targets: what each failure does to a place, to a credential, to the standing a decision sees."""

from dataclasses import replace
from types import MappingProxyType
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tollkeeper.contracts.catalog import Credential, ProviderConfig, Snapshot
from tollkeeper.contracts.routing import Branch, BreakerRule, CanaryRule, Fork, Place, Strategy, Target
from tollkeeper.core.errors import UpstreamError
from tollkeeper.gateway.provider import Failure, FailureClass
from tollkeeper.gateway.routing.hints import Hint, HintKind, read_hint, write_hint
from tollkeeper.gateway.routing.targets import MOST_SPOTS, Targets

ONE, TWO = UUID(int=1), UUID(int=2)
RULE = BreakerRule(failures=3, open_seconds=2.0, successes=2, floor_millionths=0)
HERE = Place("acme", "large", ONE)


class Catalog:
    """The snapshot a worker has, exchanged as a reload does."""

    def __init__(self) -> None:
        self.set(ProviderConfig(uuid4(), "acme", "openai", "https://acme.test/v1", (cred(ONE), cred(TWO))))

    def set(self, *providers: ProviderConfig) -> None:
        named = {provider.name: provider for provider in providers}
        self.snapshot = Snapshot(version=1, providers=MappingProxyType(named), models=MappingProxyType({}))

    def __call__(self) -> Snapshot:
        return self.snapshot


def cred(number: UUID, secret: str = "s") -> Credential:
    return Credential(number, secret)


def failure(kind: FailureClass, retry_after: float | None = None) -> Failure:
    return Failure(kind, UpstreamError("no"), retry_after)


@pytest.fixture
def catalog() -> Catalog:
    return Catalog()


@pytest.fixture
def targets(catalog: Catalog) -> Targets:
    return Targets(catalog, chance=lambda: 0.0)


def fail(targets: Targets, kind: FailureClass, now: float, place: Place = HERE, times: int = 1) -> None:
    for _ in range(times):
        ticket = targets.enter(place, RULE, now)
        assert ticket is not None
        ticket.failed(now, failure(kind))


def answer(targets: Targets, now: float, place: Place = HERE) -> None:
    ticket = targets.enter(place, RULE, now)
    assert ticket is not None
    ticket.answered(now, 0.1)


def test_a_credential_that_is_spared_says_why(targets: Targets) -> None:
    ticket = targets.enter(HERE, RULE, 1.0)
    assert ticket is not None
    ticket.failed(1.0, Failure(FailureClass.CREDENTIAL, UpstreamError("pay", code="upstream_quota")))

    assert targets.blocked(HERE, 1.0) == ("quarantined: upstream_quota", 5.0)
    (row,) = targets.report(1.0)
    assert row.state == "quarantined"


@pytest.mark.parametrize("kind", [FailureClass.SERVER, FailureClass.TIMEOUT])
def test_the_targets_own_failures_open_its_breaker(targets: Targets, kind: FailureClass) -> None:
    fail(targets, kind, 1.0, times=3)

    assert targets.enter(HERE, RULE, 1.5) is None
    assert targets.blocked(HERE, 1.5) == ("breaker_open", 1.5)


@pytest.mark.parametrize("kind", [FailureClass.REQUEST, FailureClass.CONTEXT_WINDOW, FailureClass.CONTENT_POLICY])
def test_what_is_wrong_with_the_call_says_nothing_of_the_target(targets: Targets, kind: FailureClass) -> None:
    fail(targets, kind, 1.0, times=100)

    assert targets.enter(HERE, RULE, 1.0) is not None
    assert targets.standing("acme", "large", 1.0).blocked_until == 0.0


def test_a_model_the_vendor_does_not_know_keeps_nobody_away(targets: Targets) -> None:
    for _ in range(100):
        ticket = targets.enter(HERE, RULE, 1.0)
        assert ticket is not None
        ticket.failed(1.0, Failure(FailureClass.SERVER, UpstreamError("no such model", status=404)))

    assert targets.enter(HERE, RULE, 1.0) is not None


def test_faults_that_callers_asked_a_simulator_for_close_nothing(catalog: Catalog) -> None:
    catalog.set(ProviderConfig(uuid4(), "acme", "simulated", None))
    targets = Targets(catalog, staged_kinds={"simulated"})

    for kind in (FailureClass.SERVER, FailureClass.RATE, FailureClass.CREDENTIAL, FailureClass.TIMEOUT):
        fail(targets, kind, 1.0, Place("acme", "simulated"), times=20)

    assert targets.enter(Place("acme", "simulated"), RULE, 1.0) is not None
    assert targets.down(1.0) == {}


def test_callers_that_go_away_say_nothing_of_the_target(targets: Targets) -> None:
    for _ in range(100):
        ticket = targets.enter(HERE, RULE, 1.0)
        assert ticket is not None
        ticket.left(2.0)

    assert targets.enter(HERE, RULE, 2.0) is not None


def wait_in_vain(targets: Targets, now: float, seconds: float, times: int = 1) -> float:
    """Callers one after the other, each gone after so many seconds without a word; returns when the last one left."""
    for _ in range(times):
        ticket = targets.enter(HERE, RULE, now)
        now += seconds
        if ticket is not None:
            ticket.left(now)
    return now


def test_callers_that_all_wait_in_vain_open_a_breaker(targets: Targets) -> None:
    now = wait_in_vain(targets, 1.0, 6.0, times=5)
    assert targets.enter(HERE, RULE, now) is not None

    now = wait_in_vain(targets, now, 6.0)

    assert targets.enter(HERE, RULE, now) is None
    assert targets.blocked(HERE, now)[0] == "breaker_open"
    (row,) = [row for row in targets.report(now) if row.model == "large"]
    assert row.why == "6 callers in a row waited in vain"


def test_whoever_has_no_other_target_is_let_through_after_weak_signs(targets: Targets) -> None:
    now = wait_in_vain(targets, 1.0, 6.0, times=6)

    for _ in range(100):
        ticket = targets.enter(HERE, RULE, now, last_resort=True)
        assert ticket is not None
        ticket.left(now + 6.0)


def test_one_answer_takes_back_what_the_impatient_said(targets: Targets) -> None:
    now = 1.0
    for _ in range(20):
        now = wait_in_vain(targets, now, 6.0, times=5)
        answer(targets, now)

    assert targets.enter(HERE, RULE, now) is not None


def test_a_caller_that_waits_in_vain_now_and_then_says_nothing(targets: Targets) -> None:
    now = 1.0
    for _ in range(100):
        now = wait_in_vain(targets, now, 6.0) + 61.0

    assert targets.enter(HERE, RULE, now) is not None


def test_a_trial_that_is_never_answered_is_a_failed_one(targets: Targets) -> None:
    now = wait_in_vain(targets, 1.0, 6.0, times=6)
    now += RULE.open_seconds

    now = wait_in_vain(targets, now, 6.0)

    assert targets.blocked(HERE, now) == ("breaker_open", 2 * RULE.open_seconds)


def test_a_stream_whose_caller_leaves_after_the_first_word_is_no_sign(targets: Targets) -> None:
    for number in range(50):
        ticket = targets.enter(HERE, RULE, number * 10.0)
        assert ticket is not None
        ticket.speaks(number * 10.0 + 1.0, 1.0)
        ticket.left(number * 10.0 + 9.0)

    assert targets.enter(HERE, RULE, 500.0) is not None


@settings(max_examples=100, deadline=None)
@given(
    latency=st.floats(0.05, 60.0),
    patiences=st.lists(st.floats(0.001, 1.0), min_size=20, max_size=200),
)
def test_no_caller_s_haste_closes_a_slow_model_that_is_well(latency: float, patiences: list[float]) -> None:
    """Each patience is a share of the time the model takes; who waits longer is answered."""
    targets, now = Targets(Catalog(), chance=lambda: 0.5), 1.0
    for _ in range(20):
        ticket = targets.enter(HERE, RULE, now)
        assert ticket is not None
        now += latency
        ticket.answered(now, latency)

    for patience in patiences:
        ticket = targets.enter(HERE, RULE, now)
        assert ticket is not None, "it is as well as ever"
        now += latency * patience
        ticket.left(now)


def test_retry_after_is_waited_for_without_opening_the_breaker(targets: Targets) -> None:
    ticket = targets.enter(HERE, RULE, 1.0)
    assert ticket is not None
    ticket.failed(1.0, failure(FailureClass.RATE, 7.0))

    assert targets.enter(HERE, RULE, 7.9) is None
    assert targets.blocked(HERE, 2.0) == ("paused", 6.0)
    assert targets.standing("acme", "large", 2.0).blocked_until == 0.0, "its other credential is not paused"
    assert targets.enter(Place("acme", "large", TWO), RULE, 2.0) is not None
    assert targets.enter(HERE, RULE, 8.0) is not None


def test_without_an_alternative_only_a_wait_that_the_vendor_asked_for_is_waited(targets: Targets) -> None:
    fail(targets, FailureClass.RATE, 0.0)
    assert targets.enter(HERE, RULE, 0.1) is None
    ticket = targets.enter(HERE, RULE, 0.1, last_resort=True)
    assert ticket is not None

    ticket.failed(0.2, failure(FailureClass.RATE, 5.0))

    assert targets.enter(HERE, RULE, 0.3, last_resort=True) is None


def test_a_vendor_cannot_close_itself_for_a_day(targets: Targets) -> None:
    ticket = targets.enter(HERE, RULE, 0.0)
    assert ticket is not None
    ticket.failed(0.0, failure(FailureClass.RATE, 86_400.0))

    assert targets.enter(HERE, RULE, 120.0) is not None


def test_pauses_without_a_word_grow_until_a_call_is_served(targets: Targets) -> None:
    now, waits = 0.0, []
    for _ in range(7):
        fail(targets, FailureClass.RATE, now)
        waits.append(targets.blocked(HERE, now)[1])
        now += waits[-1]
    answer(targets, now)
    fail(targets, FailureClass.RATE, now + 1.0)

    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert targets.blocked(HERE, now + 1.0)[1] == 1.0


def test_one_burst_of_refusals_is_one_pause(targets: Targets) -> None:
    tickets = [targets.enter(HERE, RULE, 0.0) for _ in range(20)]
    for ticket in tickets:
        assert ticket is not None
        ticket.failed(0.5, failure(FailureClass.RATE))

    assert targets.blocked(HERE, 0.5) == ("paused", 1.0)


def test_a_refused_credential_is_spared_longer_and_longer_and_one_call_finds_out(targets: Targets) -> None:
    now, waits = 0.0, []
    for _ in range(9):
        fail(targets, FailureClass.CREDENTIAL, now)
        assert targets.blocked(HERE, now)[0] == "quarantined"
        waits.append(targets.blocked(HERE, now)[1])
        now += waits[-1]

    assert waits == [5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0, 300.0]
    assert targets.enter(HERE, RULE, now) is not None
    assert targets.enter(HERE, RULE, now) is None, "one call is to find out, not all"


def test_a_good_answer_ends_the_quarantine(targets: Targets) -> None:
    fail(targets, FailureClass.CREDENTIAL, 0.0)

    answer(targets, 5.0)

    assert targets.enter(HERE, RULE, 5.0) is not None
    assert targets.enter(HERE, RULE, 5.0) is not None
    fail(targets, FailureClass.CREDENTIAL, 6.0)
    assert targets.blocked(HERE, 6.0)[1] == 5.0


def test_the_call_that_was_to_find_out_may_be_cancelled(targets: Targets) -> None:
    fail(targets, FailureClass.CREDENTIAL, 0.0)
    ticket = targets.enter(HERE, RULE, 5.0)
    assert ticket is not None
    ticket.left(5.5)

    assert targets.enter(HERE, RULE, 5.5) is not None


def test_one_refusal_of_one_model_spares_no_other(targets: Targets) -> None:
    """A name that the account may not use is no reason to leave the others' calls alone."""
    small = Place("acme", "small", ONE)

    fail(targets, FailureClass.CREDENTIAL, 0.0)
    answer(targets, 0.1, small)
    fail(targets, FailureClass.CREDENTIAL, 5.0)

    assert targets.enter(small, RULE, 5.0) is not None


def test_a_model_that_an_account_may_not_use_spares_that_model_alone(targets: Targets) -> None:
    refused = replace(failure(FailureClass.CREDENTIAL), is_of_model=True)
    for model in ("secret", "hidden", "unknown"):
        ticket = targets.enter(Place("acme", model, ONE), RULE, 0.0)
        assert ticket is not None
        ticket.failed(0.0, refused)

    assert targets.enter(Place("acme", "secret", ONE), RULE, 0.1) is None
    assert targets.enter(HERE, RULE, 0.1) is not None


def test_a_credential_refused_everywhere_is_spared_everywhere(targets: Targets) -> None:
    for model in ("large", "small", "tiny"):
        fail(targets, FailureClass.CREDENTIAL, 0.0, Place("acme", model, ONE))

    assert targets.enter(Place("acme", "other", ONE), RULE, 0.2) is None
    assert targets.enter(Place("acme", "other", TWO), RULE, 0.2) is not None


def test_a_changed_credential_starts_clean(targets: Targets, catalog: Catalog) -> None:
    fail(targets, FailureClass.CREDENTIAL, 0.0)
    provider = catalog.snapshot.providers["acme"]

    catalog.set(replace(provider))
    targets.look(1.0)
    assert targets.enter(HERE, RULE, 1.0) is None, "nothing of it has changed"
    catalog.set(replace(provider, credentials=(cred(ONE, "another"), cred(TWO))))
    targets.look(2.0)

    assert targets.enter(HERE, RULE, 2.0) is not None


def test_what_is_gone_from_the_configuration_is_forgotten(targets: Targets, catalog: Catalog) -> None:
    provider = catalog.snapshot.providers["acme"]
    answer(targets, 0.0)
    answer(targets, 0.0, Place("acme", "large", TWO))

    catalog.set(replace(provider, credentials=(cred(TWO),)))
    targets.look(1.0)
    assert [health.credential_id for health in targets.report(1.0)] == [TWO]
    catalog.set(replace(provider, name="other"))
    targets.look(2.0)

    assert targets.report(2.0) == []


def test_names_that_callers_make_up_do_not_fill_the_memory(targets: Targets) -> None:
    fail(targets, FailureClass.SERVER, 0.0, times=3)
    for number in range(2 * MOST_SPOTS):
        answer(targets, number / 1_000, Place("acme", f"made-up-{number}", ONE))

    assert len(targets.report(10.0)) <= MOST_SPOTS


def test_a_standing_tells_what_a_decision_needs(targets: Targets) -> None:
    assert targets.standing("acme", "large", 0.0).latency_seconds is None
    ticket = targets.enter(HERE, RULE, 0.0)
    assert ticket is not None
    assert targets.standing("acme", "large", 0.0).in_flight == 1
    ticket.answered(2.0, 0.5, cache_read_share=1.0)
    ticket.answered(2.0, 9.0)
    ticket.left(2.0)

    standing = targets.standing("acme", "large", 2.0)

    assert standing.in_flight == 0
    assert standing.latency_seconds == 0.5
    assert standing.p95_seconds is None
    assert 0 < standing.cache_read_share < 1


def test_a_target_stands_in_its_place_again_once_a_trial_may_go_there(targets: Targets, catalog: Catalog) -> None:
    provider = catalog.snapshot.providers["acme"]
    catalog.set(replace(provider, credentials=(cred(ONE),)))
    fail(targets, FailureClass.SERVER, 0.0, times=3)

    assert targets.standing("acme", "large", 1.0).blocked_until == 2.0
    assert targets.standing("acme", "large", 2.0).blocked_until == 0.0
    assert targets.enter(HERE, RULE, 2.0) is not None
    assert targets.standing("acme", "large", 2.1).blocked_until == 0.0


def test_a_long_stream_is_a_good_trial_once_it_speaks(targets: Targets) -> None:
    fail(targets, FailureClass.SERVER, 0.0, times=3)

    for now in (2.0, 3.0):
        ticket = targets.enter(HERE, RULE, now)
        assert ticket is not None
        ticket.speaks(now + 0.5, 0.5)

    assert targets.report(4.0)[0].state == "closed"
    assert targets.standing("acme", "large", 4.0).in_flight == 2


def test_a_stream_that_breaks_off_is_a_failure(targets: Targets) -> None:
    for _ in range(3):
        ticket = targets.enter(HERE, RULE, 0.0)
        assert ticket is not None
        ticket.speaks(0.5, 0.5)
        ticket.failed(1.0, failure(FailureClass.SERVER))

    assert targets.enter(HERE, RULE, 1.0) is None


def test_a_reset_frees_what_it_names(targets: Targets) -> None:
    fail(targets, FailureClass.SERVER, 0.0, times=3)
    fail(targets, FailureClass.SERVER, 0.0, Place("acme", "small", ONE), times=3)
    fail(targets, FailureClass.CREDENTIAL, 0.0, Place("acme", "large", TWO))

    assert targets.reset("acme", 0.5, model="large", credential_id=TWO) == 1
    assert targets.enter(HERE, RULE, 0.5) is None
    assert targets.reset("acme", 0.5, model="large") == 1
    assert targets.enter(HERE, RULE, 0.5) is not None
    assert targets.enter(Place("acme", "small", ONE), RULE, 0.5) is None
    assert targets.reset("acme", 0.5) == 1

    assert targets.enter(Place("acme", "small", ONE), RULE, 0.5) is not None


class DirectLine:
    """To one other worker, which it remembers things for as Redis does."""

    def __init__(self, to: Targets, kept: dict[str, bytes], is_open: dict[bytes, float] | None = None) -> None:
        self.to = to
        self.kept = kept
        self.is_open = {} if is_open is None else is_open

    def tell(self, message: bytes) -> None:
        self.to.hear(message, 0.0)

    def tell_open(self, message: bytes, name: bytes, seconds: float) -> None:
        self.is_open[name] = seconds
        self.tell(message)

    def forget_open(self, name: bytes) -> None:
        self.is_open.pop(name, None)

    def recall_open(self) -> None:
        """Each test says itself who starts when."""

    def keep(self, canary: str, message: bytes) -> None:
        self.kept[canary] = message
        self.tell(message)

    def recall(self, canary: str) -> None:
        """Nobody starts late here."""

    def forget(self, canary: str) -> None:
        self.kept.pop(canary, None)


def pair(catalog: Catalog) -> tuple[Targets, Targets]:
    """Two workers that hear each other."""
    one, other = Targets(catalog, chance=lambda: 0.0), Targets(catalog, chance=lambda: 0.0)
    kept: dict[str, bytes] = {}
    one.line, other.line = DirectLine(other, kept), DirectLine(one, kept)
    return one, other


def told_open(worker: Targets) -> dict[bytes, float]:
    """What a worker that starts now would be told of this one's breakers."""
    assert isinstance(worker.line, DirectLine)
    return worker.line.is_open


def test_a_worker_that_starts_takes_over_what_is_open_elsewhere(catalog: Catalog) -> None:
    one, other = pair(catalog)
    fail(one, FailureClass.SERVER, 0.0, times=3)
    ((name, seconds),) = told_open(one).items()
    late = Targets(catalog, chance=lambda: 0.999)
    late.line = DirectLine(other, {})

    late.hear_open([(name, seconds)], 0.5)

    assert late.enter(HERE, RULE, 0.6) is None
    assert late.enter(HERE, RULE, 0.6, last_resort=True) is not None
    assert late.enter(Place("acme", "large", TWO), RULE, 0.6) is not None, "its other credential is well"
    assert told_open(late) == {}, "hearsay is told to nobody"
    for now in (0.5 + seconds, 0.6 + seconds):
        answer(late, now)
    assert late.report(3.0)[0].state == "closed"


def test_who_was_answered_there_itself_is_only_more_careful(catalog: Catalog) -> None:
    one, other = pair(catalog)
    fail(one, FailureClass.SERVER, 0.0, times=3)
    ((name, seconds),) = told_open(one).items()
    answer(other, 0.1)

    other.hear_open([(name, seconds)], 0.5)

    assert other.enter(HERE, RULE, 0.6) is not None
    assert other.report(0.6)[0].is_suspect


def test_only_who_starts_takes_over_and_not_who_missed_something(catalog: Catalog) -> None:
    one, other = pair(catalog)
    other.hear_open([], 0.0)
    fail(one, FailureClass.SERVER, 0.0, times=3)

    other.hear_open(list(told_open(one).items()), 0.5)

    assert other.enter(HERE, RULE, 0.6) is not None
    assert other.report(0.6)[0].is_suspect


def test_a_breaker_that_closes_is_told_to_no_late_worker(catalog: Catalog) -> None:
    one, _ = pair(catalog)
    fail(one, FailureClass.SERVER, 0.0, times=3)

    for now in (2.0, 2.1):
        answer(one, now)

    assert told_open(one) == {}


@pytest.mark.parametrize(
    ("place", "seconds"),
    [
        pytest.param(Place("acme", "large", UUID(int=99)), 2.0, id="of a credential that is gone"),
        pytest.param(Place("other", "large", ONE), 2.0, id="of a provider that is gone"),
    ],
)
def test_what_is_not_in_the_catalogue_is_not_taken_over(catalog: Catalog, place: Place, seconds: float) -> None:
    late = Targets(catalog)

    late.hear_open([(write_hint(Hint(HintKind.OPENED, uuid4(), place)), seconds)], 0.0)

    assert late.report(0.0) == []


def test_however_long_an_open_time_is_told_a_minute_is_believed(catalog: Catalog) -> None:
    late = Targets(catalog, chance=lambda: 0.999)

    late.hear_open([(write_hint(Hint(HintKind.OPENED, uuid4(), HERE)), 1e12)], 0.0)

    assert late.enter(HERE, RULE, 59.0) is None
    assert late.enter(HERE, RULE, 60.0) is not None


def test_a_good_probe_of_another_worker_lets_one_call_find_out(catalog: Catalog) -> None:
    one, other = pair(catalog)
    fail(other, FailureClass.SERVER, 0.0, times=3)
    assert other.enter(HERE, RULE, 0.1) is None

    one.tell_probe(Place("acme", "", ONE), 2.0, is_well=True)

    assert other.enter(HERE, RULE, 0.1) is not None
    assert other.enter(HERE, RULE, 0.1) is None, "one at a time"


def test_a_bad_probe_of_another_worker_opens_nothing_alone(catalog: Catalog) -> None:
    one, other = pair(catalog)
    answer(other, 0.0)

    one.tell_probe(Place("acme", "", ONE), 2.0, is_well=False)
    assert other.enter(HERE, RULE, 0.1) is not None
    fail(other, FailureClass.SERVER, 0.2)

    assert other.enter(HERE, RULE, 0.3) is None


def test_one_workers_trouble_lets_the_other_open_at_its_first_failure(catalog: Catalog) -> None:
    one, other = pair(catalog)

    fail(one, FailureClass.SERVER, 0.0, times=3)
    answer(other, 0.1)
    assert other.enter(HERE, RULE, 0.1) is not None, "a hint alone keeps nobody away"
    one.reset("acme", 0.1)
    fail(other, FailureClass.SERVER, 0.2)

    assert other.enter(HERE, RULE, 0.3) is None
    fail(one, FailureClass.SERVER, 0.5)
    assert one.enter(HERE, RULE, 0.6) is not None, "what was opened on hearsay is told to nobody"


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"kind":"opened"}',
        b'{"kind":"closed","sender":"00000000-0000-0000-0000-000000000009"}',
        b'{"kind":"opened","sender":9,"provider":"acme","model":"large","credential":null,"seconds":5}',
        b'{"kind":"opened","sender":"00000000-0000-0000-0000-000000000009","provider":["acme"],"model":"large"}',
        write_hint(Hint(HintKind.OPENED, UUID(int=9), Place("nobody", "large"), 5.0)),
        b'{"kind":"rolled_back","sender":"00000000-0000-0000-0000-000000000009","canary":7}',
        b"[" * 2_000,
        b"x" * 100_000,
    ],
)
def test_garbage_in_a_hint_is_nothing(targets: Targets, message: bytes) -> None:
    targets.hear(message, 0.0)

    assert targets.report(0.0) == []
    fail(targets, FailureClass.SERVER, 0.0, times=2)
    assert targets.enter(HERE, RULE, 0.0) is not None


def test_a_hint_arrives_as_it_was_sent_but_for_absurd_times() -> None:
    hint = Hint(HintKind.OPENED, uuid4(), HERE, 2.5)

    assert read_hint(write_hint(hint)) == hint
    far = read_hint(write_hint(replace(hint, seconds=1e9)))
    assert far is not None
    assert far.seconds == 60.0


CANARY = Fork(
    Strategy.CANARY,
    (Branch(Target("acme", "large")), Branch(Fork(Strategy.PRIORITY, (Branch(Target("acme", "next")),)))),
    name="chat",
    canary=CanaryRule(share_millionths=100_000, most_errors_millionths=50_000, least_calls=20, window_seconds=300.0),
)
NEXT = Place("acme", "next", ONE)
LOOSE = replace(RULE, failures=1_000, most_errors_millionths=1_000_000)


def traffic(targets: Targets, place: Place, now: float, calls: int, failures: int) -> None:
    for number in range(calls):
        ticket = targets.enter(place, LOOSE, now)
        assert ticket is not None
        if number < failures:
            ticket.failed(now, failure(FailureClass.SERVER))
        else:
            ticket.answered(now, 0.1)


def test_a_canary_that_fails_is_rolled_back_and_stays_so(targets: Targets) -> None:
    assert not targets.is_rolled_back(CANARY, 0.0)
    traffic(targets, HERE, 1.0, 200, 2)
    traffic(targets, NEXT, 1.0, 20, 3)

    assert targets.is_rolled_back(CANARY, 2.0)
    traffic(targets, NEXT, 600.0, 100, 0)
    assert targets.is_rolled_back(replace(CANARY), 1_000.0)


@pytest.mark.parametrize(
    ("first", "canary"),
    [
        pytest.param((200, 0), (19, 19), id="too few calls"),
        pytest.param((200, 0), (40, 2), id="within its bound"),
        pytest.param((200, 30), (40, 12), id="no worse than twice the other"),
    ],
)
def test_a_canary_is_kept(targets: Targets, first: tuple[int, int], canary: tuple[int, int]) -> None:
    assert not targets.is_rolled_back(CANARY, 0.0)
    traffic(targets, HERE, 1.0, *first)
    traffic(targets, NEXT, 1.0, *canary)

    assert not targets.is_rolled_back(CANARY, 2.0)


def test_a_roll_back_is_told_to_the_others_and_ended_by_a_reset(catalog: Catalog) -> None:
    one, other = pair(catalog)
    one.is_rolled_back(CANARY, 0.0)
    traffic(one, NEXT, 1.0, 20, 20)
    assert one.is_rolled_back(CANARY, 2.0)

    assert isinstance(one.line, DirectLine)
    assert len(one.line.kept) == 1
    for worker in (one, other):
        worker.reset("acme", 3.0, model="next")
    assert one.line.kept == {}
    assert not one.is_rolled_back(CANARY, 4.0)
    assert not other.is_rolled_back(CANARY, 4.0)


def test_a_canary_rolled_back_elsewhere_is_rolled_back_here(catalog: Catalog) -> None:
    one, other = pair(catalog)
    one.is_rolled_back(CANARY, 0.0)
    traffic(one, NEXT, 1.0, 20, 20)
    assert one.is_rolled_back(CANARY, 2.0)

    assert other.is_rolled_back(replace(CANARY), 2.0)


def test_another_share_is_another_canary(targets: Targets) -> None:
    targets.is_rolled_back(CANARY, 0.0)
    traffic(targets, NEXT, 1.0, 20, 20)
    assert targets.is_rolled_back(CANARY, 2.0)
    assert CANARY.canary is not None

    again = replace(CANARY, canary=replace(CANARY.canary, share_millionths=50_000))

    assert not targets.is_rolled_back(again, 2.0)
