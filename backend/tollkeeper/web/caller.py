"""Who calls the control plane, proven from the headers: a session (bearer token or cookie) or a key.

Nothing is remembered between requests: a demotion, a logout, a revocation holds at the next call.
Failure policy: PostgreSQL down: 503, never 401.
"""

import hashlib
import hmac
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol
from urllib.parse import urlsplit
from uuid import UUID

from fastapi import Request

from tollkeeper.contracts.key_bounds import key_admits
from tollkeeper.contracts.key_proof import KeyProof
from tollkeeper.contracts.ports import KeyUses
from tollkeeper.contracts.principal import EXPIRED, Principal
from tollkeeper.core.clock import Clock
from tollkeeper.core.config import Settings
from tollkeeper.core.errors import BadRequest, Forbidden, NotFound, Unauthenticated
from tollkeeper.core.passwords import Passwords
from tollkeeper.core.permissions import Permission
from tollkeeper.core.run_keys import PREFIX as RUN_PREFIX
from tollkeeper.core.secrets import KeyHasher
from tollkeeper.core.tokens import AccessTokens
from tollkeeper.db.session import Database

CSRF_HEADER: Final = "x-tollkeeper-csrf"
_PLAIN_HEADERS: Final = frozenset({b"x-api-key", b"api-key", b"x-goog-api-key"})
_LONGEST_CREDENTIAL: Final = 8192
_LONGEST_KEY: Final = 512
_BEFORE_ENROLMENT: Final = frozenset({Permission.ME_VIEW, Permission.ME_UPDATE})
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Identity:
    """A member of a tenant as a request needs it, read fresh. `refusal` is set when user or tenant may not act now.

    `role` is the name of a built-in role or of one of the tenant's own. `home_tenant_id` manages the account; another
    one has the user as a guest. `must_enrol`: the tenant asks for a second factor, and there is none yet.
    """

    user_id: UUID
    tenant_id: UUID
    tenant_name: str
    home_tenant_id: UUID
    email: str
    name: str
    role: str
    permissions: frozenset[Permission]
    session_epoch: int
    refusal: str | None = None
    must_enrol: bool = False


@dataclass(frozen=True, slots=True)
class SessionIdentity:
    """Who a session stands for. `authenticated_at` is when its user last proved who they are, by `method`."""

    identity: Identity
    session_id: UUID
    authenticated_at: datetime
    method: str


class Identities(Protocol):
    """Implemented in `domains/identity`; every method raises `DependencyUnavailable` when PostgreSQL does not answer."""

    async def find_user(self, user_id: UUID, tenant_id: UUID) -> Identity | None:
        """None when the user is no member of the tenant."""
        ...

    async def find_session(self, user_id: UUID, session_id: UUID, tenant_id: UUID) -> SessionIdentity | None:
        """None when the session was ended, or is not this user's, or the user is no member of the tenant any more."""
        ...

    async def find_cookie(self, token: str) -> SessionIdentity | None:
        """None when the cookie is unknown, used up, expired or ended."""
        ...


class ControlServices(Protocol):
    """What the control plane needs of the process; `wiring` puts it at `app.state.services`.

    A domain that needs more (the catalogue, jobs) states it in a narrower Protocol of its own beside its routes.
    """

    @property
    def settings(self) -> Settings: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def database(self) -> Database: ...
    @property
    def key_proof(self) -> KeyProof: ...
    @property
    def key_uses(self) -> KeyUses: ...
    @property
    def key_hasher(self) -> KeyHasher: ...
    @property
    def access_tokens(self) -> AccessTokens: ...
    @property
    def passwords(self) -> Passwords: ...
    @property
    def identities(self) -> Identities: ...
    @property
    def csrf_key(self) -> bytes:
        """`MasterKey.derive("csrf")`"""
        ...


@dataclass(frozen=True, slots=True)
class Caller:
    """The proven caller of one request. `key` is set when a key was used: it bounds what may be made with it."""

    tenant_id: UUID
    user_id: UUID
    role: str
    # All that the role grants; `permissions` is what of it counts for this request.
    role_permissions: frozenset[Permission]
    permissions: frozenset[Permission]
    name: str
    email: str
    request_id: UUID
    home_tenant_id: UUID
    address: str | None = None
    session_id: UUID | None = None
    authenticated_at: datetime | None = None
    method: str | None = None
    must_enrol: bool = False
    key: Principal | None = None
    key_expires_at: float | None = None

    @property
    def key_id(self) -> UUID | None:
        return None if self.key is None else self.key.key_id

    @property
    def is_platform(self) -> bool:
        return Permission.PLATFORM in self.permissions

    def may(self, permission: Permission) -> bool:
        return permission in self.permissions

    def covers(self, permissions: frozenset[Permission]) -> bool:
        """Whether the caller's own role grants all of these: nobody gives, takes or uses more than they hold."""
        return permissions <= self.role_permissions

    def tenant_for(self, requested: UUID | None) -> UUID:
        """The tenant to work in: the caller's own unless a platform caller names another."""
        if requested is None or requested == self.tenant_id:
            return self.tenant_id
        if not self.is_platform:
            raise NotFound("There is no such tenant.")
        return requested


class SecondFactorRequired(Forbidden):
    """Until one is set up, the caller may look at and change their own account only."""

    code = "second_factor_required"


class StepUpRequired(Forbidden):
    """The session is proven, but not lately enough for credentials, roles and exports."""

    code = "step_up_required"


def services_of(request: Request) -> ControlServices:
    services: ControlServices = request.app.state.services
    return services


def request_uuid_of(request: Request) -> UUID:
    value: UUID = request.state.request_uuid
    return value


async def prove_caller(request: Request) -> Caller:
    """The caller, proven once per request. Raises 401, 400 for two credentials, 403 for a missing CSRF token, 503."""
    known: Caller | None = getattr(request.state, "caller", None)
    if known is None:
        known = await _prove(request)
        request.state.caller = known
    return known


def allow(caller: Caller, permission: Permission) -> None:
    """Raises Forbidden unless the caller holds the permission."""
    if not caller.may(permission):
        if caller.must_enrol and permission in caller.role_permissions:
            raise SecondFactorRequired(
                "Your organisation asks for a second factor. Set one up first: POST /api/v1/me/second-factor."
            )
        holder = "this key" if caller.key is not None else f"the role '{caller.role}'"
        raise Forbidden(f"This needs the permission '{permission}', which {holder} does not grant.")


def read_credential(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The one credential of a call, whichever of the four headers carries it. Two different ones are refused."""
    found: bytes | None = None
    for name, value in headers:
        lowered = name.lower()
        if lowered == b"authorization":
            scheme, _, token = value.strip().partition(b" ")
            if scheme.lower() != b"bearer":
                raise Unauthenticated("Send the credential as 'Authorization: Bearer <token>'.")
            candidate = token.strip()
        elif lowered in _PLAIN_HEADERS:
            candidate = value.strip()
        else:
            continue
        if found is not None and not hmac.compare_digest(found, candidate):
            raise BadRequest("The request carries two different credentials; send one.", code="conflicting_credentials")
        found = candidate
    if found is None:
        return None
    if not found or len(found) > _LONGEST_CREDENTIAL or not found.isascii():
        raise _unknown()
    return found.decode("ascii")


def cookie_name(settings: Settings) -> str:
    """Browsers accept the `__Host-` prefix over https only; plain http is for loopback."""
    return "__Host-tollkeeper_session" if is_https(settings) else "tollkeeper_session"


def is_https(settings: Settings) -> bool:
    return settings.origin.startswith("https:")


def csrf_token(services: ControlServices, session_id: UUID) -> str:
    """Bound to the session: readable only by pages of our own origin, which ask `GET /api/v1/me` for it."""
    return hmac.new(services.csrf_key, session_id.bytes, hashlib.sha256).hexdigest()


def check_same_origin(request: Request) -> None:
    """A browser says where a write comes from; programs say nothing and carry no ambient cookie."""
    settings = services_of(request).settings
    origin = request.headers.get("origin")
    if origin is not None and origin in settings.listed_origins:
        # The operator's own console, hosted elsewhere; a write by cookie still needs the token.
        return
    site = request.headers.get("sec-fetch-site")
    if site is not None and site not in {"same-origin", "none"}:
        raise _cross_site()
    # A proxy in front may have put another Host; then `public_url` says what browsers call us.
    ours = {request.headers.get("host", "").lower(), _place(settings.origin)}
    if origin is not None and _place(origin) not in ours - {""}:
        raise _cross_site()


def _place(origin: str) -> str:
    """Host and port of an origin; empty for what is none, such as `null` or brackets without an end."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def address_of(request: Request) -> str | None:
    """The caller's address where there is one; forwarded headers are the server's business."""
    if request.client is None:
        return None
    try:
        return str(ipaddress.ip_address(request.client.host.partition("%")[0]))
    except ValueError:
        return None


async def _prove(request: Request) -> Caller:
    services = services_of(request)
    credential = read_credential(request.scope["headers"])
    if credential is None:
        cookie = request.cookies.get(cookie_name(services.settings))
        if not cookie:
            raise Unauthenticated(
                "Sign in, or send a key with scope 'admin' as 'Authorization: Bearer <key>'.", code="missing_credential"
            )
        return await _by_cookie(request, services, cookie)
    if credential.startswith("eyJ") and credential.count(".") == 2:
        claims = services.access_tokens.verify(credential)
        found = await services.identities.find_session(claims.user_id, claims.session_id, claims.tenant_id)
        if found is None or found.identity.session_epoch != claims.epoch:
            raise _ended()
        return _of_session(request, found)
    return await _by_key(request, services, credential)


async def _by_cookie(request: Request, services: ControlServices, cookie: str) -> Caller:
    found = None if len(cookie) > _LONGEST_KEY else await services.identities.find_cookie(cookie)
    if found is None:
        raise _ended()
    if request.method not in _SAFE_METHODS:
        check_same_origin(request)
        sent = request.headers.get(CSRF_HEADER, "").encode()
        if not hmac.compare_digest(sent, csrf_token(services, found.session_id).encode()):
            raise Forbidden(
                f"A change by cookie needs the header '{CSRF_HEADER}'; GET /api/v1/me tells its value.",
                code="csrf_token_missing" if not sent else "csrf_token_wrong",
            )
    return _of_session(request, found)


def _of_session(request: Request, found: SessionIdentity) -> Caller:
    identity = found.identity
    _check_refusal(identity.refusal)
    # Whoever came through their organisation's provider has proven there what that organisation asks for.
    must_enrol = identity.must_enrol and found.method != "oidc"
    return Caller(
        tenant_id=identity.tenant_id,
        user_id=identity.user_id,
        role=identity.role,
        role_permissions=identity.permissions,
        permissions=identity.permissions & _BEFORE_ENROLMENT if must_enrol else identity.permissions,
        name=identity.name,
        email=identity.email,
        request_id=request_uuid_of(request),
        home_tenant_id=identity.home_tenant_id,
        address=address_of(request),
        session_id=found.session_id,
        authenticated_at=found.authenticated_at,
        method=found.method,
        must_enrol=must_enrol,
    )


async def _by_key(request: Request, services: ControlServices, token: str) -> Caller:
    if token.startswith(RUN_PREFIX):
        # Whether it is a good one is nobody's business here.
        raise Forbidden("A run key calls models and nothing else. Use the key it was made of.", code="run_key")
    proof = await services.key_proof.find(token, services.clock.unix())
    if proof is None:
        raise _unknown()
    record = proof.record
    if record.refusal is not None:
        services.key_uses.refused(record.principal, record.refusal, address_of(request))
    _check_refusal(record.refusal)
    if record.expires_at is not None and record.expires_at <= services.clock.unix():
        raise Unauthenticated(EXPIRED)
    principal = record.principal
    if principal.user_id is None:
        raise _unknown()
    if principal.is_bounded:
        _check_bounds(request, principal)
    identity = await services.identities.find_user(principal.user_id, principal.tenant_id)
    if identity is None:
        raise _unknown()
    _check_refusal(identity.refusal)
    services.key_uses.used(principal.key_id)
    if proof.renewed is not None:
        services.key_uses.renew(principal.key_id, proof.known.digest, proof.renewed)
    return Caller(
        tenant_id=identity.tenant_id,
        user_id=identity.user_id,
        role=identity.role,
        role_permissions=identity.permissions,
        permissions=principal.permissions & identity.permissions,
        name=identity.name,
        email=identity.email,
        request_id=request_uuid_of(request),
        home_tenant_id=identity.home_tenant_id,
        address=address_of(request),
        key=principal,
        # Of a secret that was rotated away, the end of its grace: what it makes does not outlive it.
        key_expires_at=proof.valid_until,
    )


def _check_bounds(request: Request, principal: Principal) -> None:
    refusal = key_admits(
        principal,
        endpoint=request.scope["path"],
        address=address_of(request),
        origin=request.headers.get("origin"),
    )
    if refusal is not None:
        services_of(request).key_uses.refused(principal, refusal.code, address_of(request))
        raise refusal


def _check_refusal(refusal: str | None) -> None:
    if refusal is not None:
        raise Unauthenticated(refusal)


def _unknown() -> Unauthenticated:
    return Unauthenticated("Incorrect API key or token provided. Check it, or make one: tollkeeper keys create.")


def _ended() -> Unauthenticated:
    return Unauthenticated("The session has ended. Sign in again.", code="session_ended")


def _cross_site() -> Forbidden:
    return Forbidden("A change by cookie must come from our own pages.", code="cross_site_request")
