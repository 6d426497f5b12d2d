"""What is made or changed with a key never reaches further than that key: pure checks over one request.

A session is bounded by its user's role alone; nothing here stops it.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from tollkeeper.contracts.key_bounds import covers_endpoint, covers_network, read_network
from tollkeeper.contracts.money import ScopeKind
from tollkeeper.contracts.principal import Environment, Principal, name_allowed
from tollkeeper.db.models import ApiKey
from tollkeeper.domains.keys.errors import BeyondAuthority
from tollkeeper.domains.keys.schemas import KeyLimits
from tollkeeper.web.caller import Caller

# The fields that bound a key. Of each the narrower value, never a wider one, may be given on.
BOUNDING: Final = (
    "expires_at",
    "rate_limit_override",
    "allowed_models_override",
    "allowed_providers_override",
    "allowed_endpoints",
    "allowed_addresses",
    "allowed_origins",
)


def inherited(caller: Caller, wanted: KeyLimits) -> dict[str, Any]:
    """What a new key has of the key it is made with, where nothing is asked for."""
    key = caller.key
    if key is None:
        return {}
    values: dict[str, Any] = {
        "expires_at": None if caller.key_expires_at is None else datetime.fromtimestamp(caller.key_expires_at, tz=UTC),
        "rate_limit_override": key.requests_per_minute(ScopeKind.KEY),
        "allowed_models_override": _listed(key.allowed_models),
        "allowed_providers_override": _listed(key.allowed_providers),
        "allowed_endpoints": _listed(key.allowed_endpoints),
        "allowed_addresses": None
        if key.allowed_networks is None
        else [str(network) for network in key.allowed_networks],
        "allowed_origins": _listed(key.allowed_origins),
    }
    if wanted.team_id is None and wanted.project_id is None:
        values |= {"project_id": key.project_id, "team_id": None if key.project_id else key.team_id}
    return {name: value for name, value in values.items() if value is not None and getattr(wanted, name) is None}


def check(caller: Caller, fields: Mapping[str, Any]) -> None:
    """Raises BeyondAuthority for a value wider than the one of the key that is used to set it."""
    key = caller.key
    if key is None:
        return
    if fields.get("environment") == Environment.LIVE and key.environment is Environment.TEST:
        raise BeyondAuthority("A test key makes test keys only.")
    if "expires_at" in fields and caller.key_expires_at is not None:
        expires_at: datetime | None = fields["expires_at"]
        if expires_at is None or expires_at.timestamp() > caller.key_expires_at:
            raise BeyondAuthority("The key would outlive the one it is made with.")
    own_rate = key.requests_per_minute(ScopeKind.KEY)
    if "rate_limit_override" in fields and own_rate is not None:
        rate = fields["rate_limit_override"]
        if rate is None or rate > own_rate:
            raise BeyondAuthority("The key would be faster than the one it is made with.")
    for name, what, is_inside in _lists(key):
        if name in fields and (fields[name] is None or not all(is_inside(value) for value in fields[name])):
            raise BeyondAuthority(f"The key would reach {what} that the one it is made with may not.")


def check_place(caller: Caller, team_id: object, project_id: object) -> None:
    """A key of a team or a project makes keys of the same. `team_id` is the team in effect, the project's own included."""
    key = caller.key
    if key is None:
        return
    if (key.team_id is not None and team_id != key.team_id) or (
        key.project_id is not None and project_id != key.project_id
    ):
        raise BeyondAuthority("The key would leave the team or the project of the one it is made with.")


def limits(of: ApiKey | KeyLimits) -> dict[str, Any]:
    return {name: getattr(of, name) for name in BOUNDING}


def _lists(key: Principal) -> Iterable[tuple[str, str, Any]]:
    """The lists this key restricts, each with its name for people and the test of one entry."""
    models, providers = key.allowed_models, key.allowed_providers
    endpoints, networks, origins = key.allowed_endpoints, key.allowed_networks, key.allowed_origins
    if models is not None:
        yield "allowed_models_override", "models", lambda name: name_allowed(name, models)
    if providers is not None:
        yield "allowed_providers_override", "providers", lambda name: name_allowed(name, providers)
    if endpoints is not None:
        yield "allowed_endpoints", "endpoints", lambda entry: any(covers_endpoint(own, entry) for own in endpoints)
    if networks is not None:
        yield (
            "allowed_addresses",
            "addresses",
            lambda text: any(covers_network(own, read_network(text)) for own in networks),
        )
    if origins is not None:
        yield "allowed_origins", "origins", lambda origin: origin in origins


def _listed(names: frozenset[str] | None) -> list[str] | None:
    return None if names is None else sorted(names)
