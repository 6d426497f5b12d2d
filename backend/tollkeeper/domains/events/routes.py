"""`/api/v1/events`: a stream of server-sent events that says when to look again."""

from collections.abc import AsyncIterator
from typing import Annotated, Protocol

from fastapi import Depends, Query, Request
from fastapi.responses import StreamingResponse

from tollkeeper.core.permissions import Permission
from tollkeeper.domains.events.service import Feed, Follower, Topic, read
from tollkeeper.web.deps import ControlServices, CurrentCaller, control_router, requires

router = control_router("events")


class EventServices(ControlServices, Protocol):
    @property
    def feed(self) -> Feed: ...


def _services(request: Request) -> EventServices:
    services: EventServices = request.app.state.services
    return services


@router.get(
    "",
    dependencies=[requires(Permission.REQUESTS_VIEW)],
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "Events named as their topic, with an empty object: look at the list again.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        }
    },
)
async def follow_events(
    caller: CurrentCaller,
    services: Annotated[EventServices, Depends(_services)],
    topics: Annotated[list[Topic] | None, Query(max_length=8, description="All there are without it.")] = None,
) -> StreamingResponse:
    """What is new in the caller's tenant, at most once a second. The stream ends after a while; ask again then.

    `requests`: calls ended, of the tenant or, for who may not see the tenant, of the caller's own keys.
    """
    follower = Follower(
        topics=frozenset(topics or ("requests",)),
        person_id=caller.user_id,
        tenant_id=None if caller.is_platform else caller.tenant_id,
        owner_id=None if caller.may(Permission.TENANTS_VIEW) else caller.user_id,
    )
    stream = read(services.feed, follower, seconds=services.settings.event_stream_seconds)
    # Its first word before the status goes out: a stream too many is refused with a problem, not cut short.
    first = await anext(stream)

    async def whole() -> AsyncIterator[bytes]:
        yield first
        async for part in stream:
            yield part

    return StreamingResponse(whole(), media_type="text/event-stream", headers={"x-accel-buffering": "no"})
