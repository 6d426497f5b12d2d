"""Whether a branch is there for a call. Pure."""

from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

from tollkeeper.contracts.routing import Condition, Hours
from tollkeeper.gateway.routing.facts import Facts


def unmet(condition: Condition, facts: Facts) -> str | None:
    """What of it does not hold, by its name in a policy; None when all does."""
    return _of_caller(condition, facts) or _of_call(condition, facts)


def _of_caller(condition: Condition, facts: Facts) -> str | None:
    if condition.tenants is not None and facts.principal.tenant_id not in condition.tenants:
        return "tenants"
    if condition.tags is not None and condition.tags.isdisjoint(facts.tags):
        return "tags"
    for name, values in condition.headers.items():
        if facts.header(name) not in values:
            return f"headers.{name}"
    if condition.hours and not any(is_within(hours, facts.unix) for hours in condition.hours):
        return "hours"
    return None


def _of_call(condition: Condition, facts: Facts) -> str | None:
    if condition.capabilities is not None and not facts.asked <= condition.capabilities:
        return "capabilities"
    if condition.min_input_tokens is not None and facts.input_tokens < condition.min_input_tokens:
        return "min_input_tokens"
    if condition.max_input_tokens is not None and facts.input_tokens > condition.max_input_tokens:
        return "max_input_tokens"
    return None


def is_within(hours: Hours, unix: float) -> bool:
    """`since` is in, `until` is not. Hours that cross midnight belong to the day they begin on."""
    local = datetime.fromtimestamp(unix, _zone(hours.zone))
    minute, weekday = local.hour * 60 + local.minute, local.weekday()
    if hours.since < hours.until:
        return hours.since <= minute < hours.until and weekday in hours.weekdays
    if minute >= hours.since:
        return weekday in hours.weekdays
    return minute < hours.until and (weekday - 1) % 7 in hours.weekdays


# Zones are few, and those of policies only.
@lru_cache(maxsize=256)
def _zone(name: str) -> tzinfo:
    return UTC if name == "UTC" else ZoneInfo(name)
