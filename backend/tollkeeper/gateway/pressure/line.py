"""The line of calls: bounded, by priority, fair among tenants. Pure: times are told, and nobody is woken here.

Among equals in priority the tenant with the fewest calls running is next, so that what is shared is what is scarce: a
tenant whose calls take long has no more of them at once than another. `slots` puts futures and a timer to it.
"""

import heapq
from collections import OrderedDict
from typing import Final
from uuid import UUID

from tollkeeper.gateway.pressure.entry import GONE, RUNNING, WAITING, Entry, Lane, Priority

_BEST_FIRST: Final = tuple(sorted(Priority, reverse=True))
# Entries that have left stay in the heap of ends until they are this many beside those that wait.
_MOST_STALE: Final = 64


class _Share:
    """A tenant's waiting calls of one priority, by lane, each in the order in which they came."""

    __slots__ = ("count", "lanes", "turn")

    def __init__(self, turn: int) -> None:
        self.lanes: dict[Lane | None, OrderedDict[Entry, None]] = {}
        self.count = 0
        # When it was last served: among those with as many calls running, the one that was not for longest.
        self.turn = turn

    def first(self) -> Entry | None:
        """The oldest of those whose provider has room."""
        found: Entry | None = None
        for lane, waiting in self.lanes.items():
            if lane is None or lane.has_room:
                entry = next(iter(waiting))
                if found is None or entry.number < found.number:
                    found = entry
        return found

    def newest(self) -> Entry:
        return max((next(reversed(waiting)) for waiting in self.lanes.values()), key=lambda entry: entry.number)


class Line:
    """An entry is new, waits, runs and is gone; every method moves entries on and none brings one back."""

    def __init__(self, most_running: int, most_waiting: int) -> None:
        self.most_running = most_running
        self.most_waiting = most_waiting
        self.running = 0
        self.waiting = 0
        # How many have run and ended.
        self.ended = 0
        self._by_tenant: dict[UUID, int] = {}
        self._shares: dict[Priority, dict[UUID, _Share]] = {priority: {} for priority in _BEST_FIRST}
        self._ends: list[tuple[float, int, Entry]] = []
        self._number = 0
        self._turn = 0

    def start(self, entry: Entry) -> bool:
        """Let it run at once, where nobody has to wait for that. Whoever waits already waits for something else."""
        lane = entry.lane
        if self.running >= self.most_running:
            return False
        if lane is not None and (lane.waiting or lane.running >= lane.most):
            return False
        self._run(entry)
        return True

    def wait(self, entry: Entry, now: float, give_up_at: float) -> Entry | None:
        """Join the line. Where it is full, somebody leaves it: who that is comes back, and may be `entry` itself."""
        victim: Entry | None = None
        if self.waiting >= self.most_waiting:
            victim = self._least_deserving(entry)
            if victim is entry:
                entry.place = GONE
                return entry
            self.leave(victim)
        self._number += 1
        entry.number, entry.since, entry.give_up_at = self._number, now, give_up_at
        entry.place = WAITING
        shares = self._shares[entry.priority]
        share = shares.get(entry.tenant_id)
        if share is None:
            share = shares[entry.tenant_id] = _Share(self._turn)
        share.lanes.setdefault(entry.lane, OrderedDict())[entry] = None
        share.count += 1
        self.waiting += 1
        if entry.lane is not None:
            entry.lane.waiting += 1
        heapq.heappush(self._ends, (give_up_at, entry.number, entry))
        return victim

    def next_up(self) -> Entry | None:
        """Take the one who deserves it most out of the line and let it run; None: nobody can."""
        if not self.waiting or self.running >= self.most_running:
            return None
        for priority in _BEST_FIRST:
            found: Entry | None = None
            best: tuple[int, int, int] | None = None
            shares = self._shares[priority]
            for tenant_id, share in shares.items():
                entry = share.first()
                if entry is None:
                    continue
                rank = (self._by_tenant.get(tenant_id, 0), share.turn, entry.number)
                if best is None or rank < best:
                    found, best = entry, rank
            if found is not None:
                self._turn += 1
                shares[found.tenant_id].turn = self._turn
                self._unlink(found)
                self._run(found)
                return found
        return None

    def move(self, entry: Entry, lane: Lane | None) -> bool:
        """It runs on at another provider; False: there is no room, and it stays where it is."""
        before = entry.lane
        if lane is before:
            return True
        if entry.place is not RUNNING or (lane is not None and not lane.has_room):
            return False
        if before is not None:
            before.running -= 1
            before.ended += 1
        if lane is not None:
            lane.running += 1
        entry.lane = lane
        return True

    def end(self, entry: Entry) -> None:
        """It has run."""
        if entry.place is not RUNNING:
            return
        entry.place = GONE
        self.running -= 1
        self.ended += 1
        if entry.lane is not None:
            entry.lane.running -= 1
            entry.lane.ended += 1
        tenant_id, running = entry.tenant_id, self._by_tenant
        left = running[tenant_id] - 1
        if left:
            running[tenant_id] = left
        else:
            del running[tenant_id]

    def leave(self, entry: Entry) -> None:
        """It waits no longer, and will not run."""
        if entry.place is not WAITING:
            return
        self._unlink(entry)
        entry.place = GONE

    def expired(self, now: float) -> list[Entry]:
        """Take out those whose time is over."""
        found = []
        while self._ends and (self._ends[0][0] <= now or self._ends[0][2].place is not WAITING):
            entry = heapq.heappop(self._ends)[2]
            if entry.place is WAITING:
                self.leave(entry)
                found.append(entry)
        return found

    def next_end(self) -> float | None:
        """When `expired` has something to do; None: nobody waits."""
        while self._ends and self._ends[0][2].place is not WAITING:
            heapq.heappop(self._ends)
        return self._ends[0][0] if self._ends else None

    def ahead_of(self, entry: Entry) -> int:
        """How many would be served before it, if it joined now and nobody else came: of those who wait for the same,
        which is a full provider's room or else the gateway's.
        """
        lane, priority = entry.lane, entry.priority
        is_lane_full = lane is not None and not lane.has_room

        def count(share: _Share) -> int:
            if is_lane_full:
                return len(share.lanes.get(lane, ()))
            return sum(len(waiting) for other, waiting in share.lanes.items() if other is None or other.has_room)

        better = sum(
            count(share) for other, shares in self._shares.items() if other > priority for share in shares.values()
        )
        equal = self._shares[priority]
        own = equal.get(entry.tenant_id)
        mine = 0 if own is None else count(own)
        # Tenants are served in turns: of another's calls no more come first than of one's own.
        others = sum(min(count(share), mine + 1) for other, share in equal.items() if other != entry.tenant_id)
        return better + others + mine

    def _least_deserving(self, entry: Entry) -> Entry:
        """Who makes room in a full line: of the lowest priority, of the tenant with the most in it, the last that came."""
        for priority in reversed(_BEST_FIRST):
            shares = self._shares[priority]
            if priority is entry.priority:
                own = shares.get(entry.tenant_id)
                mine = 1 if own is None else own.count + 1
                heaviest = max(shares.values(), key=lambda share: share.count, default=None)
                return entry if heaviest is None or heaviest.count <= mine else heaviest.newest()
            if shares:
                return max(shares.values(), key=lambda share: share.count).newest()
        raise AssertionError("a priority that is none")

    def _run(self, entry: Entry) -> None:
        entry.place = RUNNING
        self.running += 1
        tenant_id, running = entry.tenant_id, self._by_tenant
        running[tenant_id] = running.get(tenant_id, 0) + 1
        if entry.lane is not None:
            entry.lane.running += 1

    def _unlink(self, entry: Entry) -> None:
        shares = self._shares[entry.priority]
        share = shares[entry.tenant_id]
        waiting = share.lanes[entry.lane]
        del waiting[entry]
        if not waiting:
            del share.lanes[entry.lane]
        share.count -= 1
        if not share.count:
            del shares[entry.tenant_id]
        self.waiting -= 1
        if entry.lane is not None:
            entry.lane.waiting -= 1
        if len(self._ends) > 2 * self.waiting + _MOST_STALE:
            self._ends = [one for one in self._ends if one[2].place is WAITING and one[2] is not entry]
            heapq.heapify(self._ends)
