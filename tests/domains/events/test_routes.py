"""`GET /api/v1/events`: who is told that there is something new, and that a stream ends."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from tests.domains.control_plane import ControlPlane
from tollkeeper.core.errors import RateLimited
from tollkeeper.core.ids import uuid7
from tollkeeper.core.permissions import Role
from tollkeeper.domains.events.service import MOST_STREAMS_OF_A_PERSON, Feed, Follower, read

TENANT, OTHER, ANN, BEN = uuid7(), uuid7(), uuid7(), uuid7()
# Far beyond what a test waits for.
LONG = 600.0


def follower(tenant_id: UUID | None = TENANT, owner_id: UUID | None = None, person_id: UUID = ANN) -> Follower:
    return Follower(frozenset({"requests"}), person_id, tenant_id, owner_id)


async def next_event(stream: AsyncIterator[bytes]) -> bytes:
    """The next word that is no comment."""
    async with asyncio.timeout(30):
        while True:
            part = await anext(stream)
            if not part.startswith((b":", b"retry:")):
                return part


@pytest.mark.parametrize(
    ("who", "hears"),
    [
        (follower(), True),
        (follower(None), True),
        (follower(OTHER), False),
        (follower(owner_id=ANN), True),
        (follower(owner_id=BEN), False),
    ],
)
def test_who_is_told_of_a_call(who: Follower, hears: bool) -> None:
    feed = Feed()
    with feed.following(who):
        feed.tell("requests", [(TENANT, ANN)])
    assert who.take() == (["requests"] if hears else [])
    assert who.take() == []


def test_what_one_worker_tells_another_hears() -> None:
    sent: list[bytes] = []
    there = Feed()
    near, far = follower(), follower()
    here = Feed(sent.append)
    with here.following(near), there.following(far):
        here.tell("requests", [(TENANT, ANN), (TENANT, ANN), (OTHER, None)])
        assert len(sent) == 1
        there.hear(sent[0])
    assert near.take() == far.take() == ["requests"]


@pytest.mark.parametrize(
    "message", [b"", b"[]", b"{}", b'["requests"]', b'["requests",[["x",null]]]', b'["new",[]]', b"\xff"]
)
def test_what_cannot_be_read_is_passed_over(message: bytes) -> None:
    feed = Feed()
    with feed.following(follower()) as who:
        feed.hear(message)
    assert who.take() == []


async def test_a_stream_says_that_there_is_something_new() -> None:
    feed, who = Feed(), follower()
    stream = read(feed, who, seconds=LONG)
    assert (await anext(stream)).startswith(b"retry: ")
    feed.tell("requests", [(TENANT, ANN)])
    feed.tell("requests", [(TENANT, BEN)])
    assert await next_event(stream) == b"event: requests\ndata: {}\n\n"
    await stream.aclose()  # type: ignore[attr-defined]
    assert feed.open_streams == 0


async def test_a_stream_ends_by_itself() -> None:
    feed = Feed()
    parts = [part async for part in read(feed, follower(), seconds=0)]
    assert len(parts) == 1
    assert feed.open_streams == 0


def test_a_person_has_only_so_many_streams() -> None:
    feed = Feed()
    open_streams = [feed.following(follower()) for _ in range(MOST_STREAMS_OF_A_PERSON)]
    for one in open_streams:
        one.__enter__()
    with pytest.raises(RateLimited), feed.following(follower()):
        pass
    with feed.following(follower(person_id=BEN)):
        assert feed.open_streams == MOST_STREAMS_OF_A_PERSON + 1
    for one in open_streams:
        one.__exit__(None, None, None)
    assert feed.open_streams == 0


async def test_the_route_streams_events_to_who_may_see_calls(plane: ControlPlane) -> None:
    plane.services.settings = plane.services.settings.model_copy(update={"event_stream_seconds": 0})
    async with plane.as_role(Role.DEVELOPER) as client:
        answer = await client.get("/api/v1/events", params={"topics": "requests"})
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        assert answer.text.startswith("retry: 1000\n")
        assert (await client.get("/api/v1/events", params={"topics": "everything"})).status_code == 422
    async with plane.as_role(Role.FINANCE) as client:
        assert (await client.get("/api/v1/events")).status_code == 403
    async with plane.client() as client:
        assert (await client.get("/api/v1/events")).status_code == 401
