"""The line of calls, by random histories: its bounds, its order, its fairness, and that every call ends once."""

from collections import Counter
from uuid import UUID

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tollkeeper.gateway.pressure.entry import Entry, Lane, Place, Priority
from tollkeeper.gateway.pressure.line import Line

TENANTS = [UUID(int=number) for number in range(1, 5)]
RUNNING, WAITING = 5, 8


class Histories(RuleBasedStateMachine):
    """Calls come, end, leave and run out of time; after each step whoever can run does."""

    def __init__(self) -> None:
        super().__init__()
        self.line = Line(RUNNING, WAITING)
        self.lanes: list[Lane | None] = [None, Lane("narrow", 1), Lane("wide", 3)]
        self.now = 0.0
        self.came = 0
        self.ends: Counter[str] = Counter()
        self.running: list[Entry] = []
        self.waiting: list[Entry] = []

    @rule(
        tenant=st.sampled_from(TENANTS),
        lane=st.integers(0, 2),
        priority=st.sampled_from(Priority),
        patience=st.integers(1, 5),
    )
    def come(self, tenant: UUID, lane: int, priority: Priority, patience: int) -> None:
        self.came += 1
        entry = Entry(tenant, self.lanes[lane], priority)
        if self.line.start(entry):
            self.running.append(entry)
            return
        was = list(self.waiting)
        victim = self.line.wait(entry, self.now, self.now + patience)
        self.waiting.append(entry)
        if victim is not None:
            self._check_displaced(victim, entry, was)
            self.waiting.remove(victim)
            self.ends["displaced"] += 1
        self._serve()

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        entry = data.draw(st.sampled_from(self.running))
        self.running.remove(entry)
        self.line.end(entry)
        self.line.end(entry)  # A second time changes nothing.
        self.ends["ran"] += 1
        self._serve()

    @precondition(lambda self: self.running)
    @rule(data=st.data(), lane=st.integers(0, 2))
    def move(self, data: st.DataObject, lane: int) -> None:
        entry = data.draw(st.sampled_from(self.running))
        there = self.lanes[lane]
        had_room = there is entry.lane or there is None or there.has_room
        assert self.line.move(entry, there) == had_room
        assert (entry.lane is there) == had_room
        self._serve()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        entry = data.draw(st.sampled_from(self.waiting))
        self.waiting.remove(entry)
        self.line.leave(entry)
        self.line.leave(entry)
        self.ends["left"] += 1

    @rule(seconds=st.integers(1, 3))
    def pass_time(self, seconds: int) -> None:
        self.now += seconds
        gone = self.line.expired(self.now)
        assert set(gone) == {entry for entry in self.waiting if entry.give_up_at <= self.now}
        for entry in gone:
            self.waiting.remove(entry)
            self.ends["expired"] += 1

    def _serve(self) -> None:
        while (entry := self.line.next_up()) is not None:
            self._check_next(entry)
            self.waiting.remove(entry)
            self.running.append(entry)

    def _check_next(self, entry: Entry) -> None:
        """It had the highest priority, its tenant the fewest calls, and it came first among its own."""

        def had_room(other: Entry) -> bool:
            lane = other.lane
            return lane is None or lane.running - (lane is entry.lane) < lane.most

        rivals = [other for other in self.waiting if other is not entry and had_room(other)]
        assert all(other.priority <= entry.priority for other in rivals)
        equal = [other for other in rivals if other.priority is entry.priority]
        calls = Counter(other.tenant_id for other in self.running)
        assert all(calls[entry.tenant_id] <= calls[other.tenant_id] for other in equal)
        own = [other for other in equal if other.tenant_id == entry.tenant_id]
        assert all(entry.number < other.number for other in own)

    def _check_displaced(self, victim: Entry, entry: Entry, was: list[Entry]) -> None:
        """Nobody of a higher priority goes for one of a lower, and the tenant with the most waiting goes first."""
        assert len(was) == WAITING
        assert victim.place is Place.GONE
        assert all(victim.priority <= other.priority for other in [*was, entry])
        equal = Counter(other.tenant_id for other in [*was, entry] if other.priority is victim.priority)
        assert equal[victim.tenant_id] == max(equal.values())

    @invariant()
    def never_more_than_the_bounds(self) -> None:
        assert self.line.running == len(self.running) <= RUNNING
        assert self.line.waiting == len(self.waiting) <= WAITING
        for lane in self.lanes[1:]:
            assert lane is not None
            assert lane.running == sum(entry.lane is lane for entry in self.running) <= lane.most
            assert lane.waiting == sum(entry.lane is lane for entry in self.waiting)

    @invariant()
    def nobody_waits_for_nothing(self) -> None:
        if self.line.running < RUNNING:
            assert all(entry.lane is not None and not entry.lane.has_room for entry in self.waiting)

    @invariant()
    def every_call_is_somewhere_and_ends_once(self) -> None:
        assert self.came == len(self.running) + len(self.waiting) + self.ends.total()
        assert self.line.ended == self.ends["ran"]
        ends = [entry.give_up_at for entry in self.waiting]
        assert self.line.next_end() == min(ends, default=None)

    def teardown(self) -> None:
        """When all have ended nothing is left behind."""
        for entry in self.waiting:
            self.line.leave(entry)
        for entry in self.running:
            self.line.end(entry)
        assert (self.line.running, self.line.waiting, self.line.next_end()) == (0, 0, None)
        assert not self.line._by_tenant
        assert not any(self.line._shares.values())
        assert all(lane is None or (lane.running, lane.waiting) == (0, 0) for lane in self.lanes)


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)


def test_a_tenants_flood_does_not_keep_another_waiting() -> None:
    flood, other = TENANTS[:2]
    line = Line(10, 1_000)
    running = [Entry(flood, None, Priority.NORMAL) for _ in range(10)]
    assert all(line.start(entry) for entry in running)
    for number in range(500):
        line.wait(Entry(flood, None, Priority.NORMAL), number, 1e9)
    late = [Entry(other, None, Priority.NORMAL) for _ in range(20)]
    for entry in late:
        line.wait(entry, 500.0, 1e9)
    # As calls end, the other tenant gets every slot until it has as many, and half of them from then on.
    for _ in range(5):
        line.end(running.pop(0))
        served = line.next_up()
        assert served in late
        running.append(served)
    served_to: Counter[UUID] = Counter()
    for _ in range(20):
        line.end(running.pop(0))
        served = line.next_up()
        assert served is not None
        running.append(served)
        served_to[served.tenant_id] += 1
    assert abs(served_to[flood] - served_to[other]) <= 2


def test_many_that_come_and_leave_take_no_room() -> None:
    line = Line(1, 10)
    assert line.start(Entry(TENANTS[0], None, Priority.NORMAL))
    patient = Entry(TENANTS[0], None, Priority.NORMAL)
    line.wait(patient, 0.0, 1.0)
    for number in range(10_000):
        entry = Entry(TENANTS[number % 4], None, Priority.NORMAL)
        line.wait(entry, 0.0, 1_000.0)
        line.leave(entry)
    assert len(line._ends) < 200
    assert line.waiting == 1
    assert line.expired(2.0) == [patient]


def test_what_stands_ahead_is_what_would_be_served_before() -> None:
    line = Line(1, 100)
    assert line.start(Entry(TENANTS[3], None, Priority.NORMAL))
    for tenant, count in zip(TENANTS, (50, 2, 1), strict=False):
        for _ in range(count):
            line.wait(Entry(tenant, None, Priority.NORMAL), 0.0, 9.0)
    line.wait(Entry(TENANTS[0], None, Priority.HIGH), 0.0, 9.0)
    line.wait(Entry(TENANTS[0], None, Priority.BATCH), 0.0, 9.0)
    # A newcomer: the one of higher priority, and one of each tenant.
    assert line.ahead_of(Entry(TENANTS[3], None, Priority.NORMAL)) == 1 + 3
    # One of the flood: all its own, and what the others have.
    assert line.ahead_of(Entry(TENANTS[0], None, Priority.NORMAL)) == 1 + 50 + 3
    assert line.ahead_of(Entry(TENANTS[0], None, Priority.HIGH)) == 1


def test_who_waits_for_another_provider_does_not_stand_ahead() -> None:
    line, narrow = Line(2, 100), Lane("narrow", 1)
    assert line.start(Entry(TENANTS[0], narrow, Priority.NORMAL))
    for _ in range(10):
        line.wait(Entry(TENANTS[0], narrow, Priority.NORMAL), 0.0, 9.0)
    assert line.start(Entry(TENANTS[0], None, Priority.NORMAL))
    line.wait(Entry(TENANTS[0], None, Priority.NORMAL), 0.0, 9.0)
    assert line.ahead_of(Entry(TENANTS[0], None, Priority.NORMAL)) == 1
    assert line.ahead_of(Entry(TENANTS[0], narrow, Priority.NORMAL)) == 10
