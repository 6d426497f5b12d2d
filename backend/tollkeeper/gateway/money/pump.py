"""The way of operations to Redis and back: those that wait together travel together, one command for each space.

Operations that wait in one turn of the event loop, or while two round trips are on their way, share the next one (as in
group commit), settlements with them, so the cost per call falls as load rises. What an operation is and what its reply
means is nothing to it.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from hashlib import sha1
from importlib.resources import files
from typing import Any, Final

import hiredis
import structlog

from tollkeeper.core.redis import RedisLink, RedisUnavailable
from tollkeeper.core.resp import pack
from tollkeeper.gateway.money.admission_batch import Group, Operation, group
from tollkeeper.gateway.money.terms import gen_key

log = structlog.get_logger(__name__)

SCRIPT: Final = files(__package__).joinpath("admission.lua").read_bytes()
SCRIPT_SHA: Final = sha1(SCRIPT, usedforsecurity=False).hexdigest().encode()
# Operations in one round trip, over all tenants; the rest waits for the next.
MAX_BATCH: Final = 512
# Round trips at a time. One more than one, so that a call seldom waits for the end of somebody else's.
MAX_TRIPS: Final = 2
# What a node of a cluster says of slots that are on their way: it is well itself.
_ELSEWHERE: Final = ("MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN")


class Pump:
    """`start` and `close` frame its life. An operation that cannot be asked is answered with None."""

    def __init__(self, redis: RedisLink, owner: bytes, is_gone: Callable[[Operation], bool]) -> None:
        """`is_gone`: nobody waits for it any more, and it need not be made."""
        self.redis = redis
        self._owner = owner
        self._is_gone = is_gone
        self._loop: asyncio.AbstractEventLoop | None = None
        self._queue: deque[Operation] = deque()
        self._is_leaving = False
        self._trips = 0
        # Tests give the script its time; 0 lets Redis look at its own clock.
        self.script_now_us = 0

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def close(self) -> None:
        self._loop = None
        queue, self._queue = self._queue, deque()
        for operation in queue:
            operation.answer(None, None)

    def post(self, operation: Operation) -> None:
        self._queue.append(operation)
        self._wake()

    def _wake(self) -> None:
        """Leave at the end of this turn of the loop, with everyone who comes until then."""
        if self._loop is not None and not self._is_leaving and self._trips < MAX_TRIPS:
            self._is_leaving = True
            self._loop.call_soon(self._leave)

    def _leave(self) -> None:
        self._is_leaving = False
        queue = self._queue
        batch = [queue.popleft() for _ in range(min(len(queue), MAX_BATCH))]
        # Who left before the bus did is left out.
        batch = [operation for operation in batch if not self._is_gone(operation)]
        if not batch:
            return
        groups = group(batch)
        try:
            self._send(groups, (b"EVALSHA", SCRIPT_SHA))
        except RedisUnavailable:
            self._lost(groups)
        except Exception:
            # A caller must never wait for an answer that nobody asked for.
            log.exception("admission_failed")
            self._lost(groups)
        if queue:
            self._wake()

    def _send(self, groups: Sequence[Group], verb: tuple[bytes, bytes]) -> None:
        """Raises `RedisUnavailable`; of a cluster those whose node is gone are told so, and the others leave."""
        if self.redis.is_cluster:
            self._send_apart(groups, verb)
        else:
            self._send_to(self.redis, groups, verb)

    def _send_apart(self, groups: Sequence[Group], verb: tuple[bytes, bytes]) -> None:
        nodes: dict[RedisLink, list[Group]] = {}
        for entry in groups:
            try:
                nodes.setdefault(self.redis.node(gen_key(entry.space)), []).append(entry)
            except RedisUnavailable:
                self._lost([entry])
        for node, some in nodes.items():
            try:
                self._send_to(node, some, verb)
            except RedisUnavailable:
                self._lost(some)

    def _send_to(self, link: RedisLink, groups: Sequence[Group], verb: tuple[bytes, bytes]) -> None:
        run_id = link.run_id or ""
        packed = b"".join([pack(entry.command(*verb, run_id, self._owner, self.script_now_us)) for entry in groups])
        link.ask(packed, len(groups), partial(self._hear, link, groups))
        self._trips += 1

    def _hear(self, link: RedisLink, groups: Sequence[Group], replies: list[Any] | None) -> None:
        self._trips -= 1
        if replies is None:
            self._lost(groups)
        else:
            again: list[Group] = []
            for entry, reply in zip(groups, replies, strict=True):
                if not isinstance(reply, hiredis.ReplyError):
                    self._pass_on(entry, reply)
                elif str(reply).startswith("NOSCRIPT"):
                    again.append(entry)
                else:
                    self._refused(link, entry, str(reply))
            if again:
                try:
                    # A fresh or flushed server; nothing was done. EVAL loads the script as well.
                    self._send_to(link, again, (b"EVAL", SCRIPT))
                except RedisUnavailable:
                    self._lost(again)
        if self._queue:
            self._wake()

    def _refused(self, link: RedisLink, entry: Group, problem: str) -> None:
        """It answers, but cannot decide (loading, read-only, out of memory): the local share does; or another node."""
        if self.redis.moves(problem):
            self._send_apart([entry], (b"EVALSHA", SCRIPT_SHA))
            return
        if not problem.startswith(_ELSEWHERE):
            link.trip(problem)
        self._lost([entry])

    def _pass_on(self, entry: Group, reply: list[int]) -> None:
        try:
            entry.hear(reply)
        except Exception:
            log.exception("admission_failed")
            self._lost([entry])

    def _lost(self, groups: Iterable[Group]) -> None:
        for entry in groups:
            for operation in entry.operations:
                operation.answer(None, None)
