"""Signing in by OpenID Connect: the authorization code flow with PKCE, a nonce and a state bound to the browser.

`start` sends the browser away with a sealed journey in a cookie, `finish` takes it back: the state is used up, the code
exchanged, the token judged, the person found or made, the session opened as after a password.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import quote, urlencode
from uuid import UUID

import structlog

from tollkeeper.core.clock import Clock
from tollkeeper.core.crypto import SecretBox
from tollkeeper.core.errors import BadRequest, NotFound, TollkeeperError, Unauthenticated
from tollkeeper.core.foreign_tokens import LONGEST_ID_TOKEN, ForeignTokenRefused, take_apart
from tollkeeper.core.ids import format_id
from tollkeeper.db.models import IdentityProvider
from tollkeeper.db.session import Database
from tollkeeper.domains.audit import service as audit
from tollkeeper.domains.identity.service import Client, Grant, SecurityNotes, SignIn
from tollkeeper.domains.identity_providers import repository
from tollkeeper.domains.identity_providers.exchange import ERROR_NAME, Exchange, ProviderRefused
from tollkeeper.domains.identity_providers.id_token import authenticated_at, check_id_token
from tollkeeper.domains.identity_providers.issuers import Issuer, Issuers, IssuerUnfit, Metadata
from tollkeeper.domains.identity_providers.people import People, Proven
from tollkeeper.domains.identity_providers.schemas import Purpose
from tollkeeper.domains.identity_providers.state import Journey, is_own_path, set_out
from tollkeeper.web.caller import Caller, Identities

log = structlog.get_logger(__name__)


class StateInvalid(BadRequest):
    """The answer is not for a question this browser has open: another's, an old one, or one that was answered."""

    code = "oidc_state_invalid"


class TokenInvalid(Unauthenticated):
    """The provider's ID token does not prove what it should."""

    code = "oidc_token_invalid"


class OtherUser(Unauthenticated):
    """Somebody else proved themselves at the provider."""

    code = "oidc_other_user"


@dataclass(frozen=True, slots=True)
class Answered:
    """What the browser brought back."""

    state: str | None
    code: str | None = field(repr=False)
    issuer: str | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Arrival:
    """`grant` is None when an account was linked: its session goes on."""

    redirect_to: str
    grant: Grant | None


class OidcSignIn:
    def __init__(
        self,
        database: Database,
        issuers: Issuers,
        box: SecretBox,
        sign_in: SignIn,
        identities: Identities,
        notes: SecurityNotes,
        clock: Clock,
        redirect_uri: str,
    ) -> None:
        self._database = database
        self._issuers = issuers
        self._exchange = Exchange(issuers.outbound, box, redirect_uri)
        self._sign_in = sign_in
        self._identities = identities
        self._notes = notes
        self._clock = clock
        self._redirect_uri = redirect_uri
        self._people = People(clock)

    async def list_options(self, tenant: str | None, email: str | None) -> Sequence[IdentityProvider]:
        """By the exact slug of a tenant, or by an address's domain.

        Nothing tells a tenant that is not there from one without a provider. A domain that several tenants claim leads to
        none of them.
        """
        async with self._database.platform() as session:
            if tenant is not None:
                return await repository.list_options_of_tenant(session, tenant)
            if email is None:
                return ()
            found = await repository.list_options_of_domain(session, email.rpartition("@")[2].lower())
        return found if len({row.tenant_id for row in found}) == 1 else ()

    async def start(
        self, provider_id: UUID, purpose: Purpose, redirect_to: str, caller: Caller | None
    ) -> tuple[str, Journey]:
        """Where to send the browser, and what it carries. `caller` is needed for every purpose but signing in."""
        if not is_own_path(redirect_to):
            raise BadRequest("redirect_to is a path of this site, like /console/keys.", param="redirect_to")
        provider = await self._provider(provider_id)
        metadata = await self._issuers.metadata(_issuer(provider))
        if metadata.authorization_endpoint is None or provider.client_id is None:
            raise IssuerUnfit("The identity provider has no authorization_endpoint: nobody can sign in through it.")
        if caller is not None:
            _check_home(caller, provider)
        journey = set_out(
            provider.id,
            purpose,
            redirect_to,
            self._clock.unix(),
            user_id=None if caller is None else caller.user_id,
            session_id=None if caller is None else caller.session_id,
        )
        asked = {
            "response_type": "code",
            "client_id": provider.client_id,
            "redirect_uri": self._redirect_uri,
            "scope": " ".join(provider.scopes),
            "state": journey.state,
            "nonce": journey.nonce,
            "code_challenge": journey.challenge,
            "code_challenge_method": "S256",
        }
        if purpose == "step_up":
            asked |= {"prompt": "login", "max_age": "0"}
        joint = "&" if "?" in metadata.authorization_endpoint else "?"
        return f"{metadata.authorization_endpoint}{joint}{urlencode(asked, quote_via=quote)}", journey

    async def finish(self, journey: Journey | None, answered: Answered, client: Client) -> Arrival:
        """Raises the errors above and those of `people`, `DependencyUnavailable`, `IssuerUnfit`."""
        if journey is None or not journey.has_state(answered.state):
            raise StateInvalid("This sign-in was begun in another browser, or too long ago. Begin again.")
        async with self._database.platform() as session:
            ends_at = datetime.fromtimestamp(journey.ends_at, UTC)
            is_first = await repository.use_up(session, journey.digest, "oidc_state", ends_at)
        if not is_first:
            raise StateInvalid("This sign-in was finished before. Begin again.")
        provider = await self._provider(journey.provider_id)
        name = format_id("idp", provider.id)
        actor = audit.Actor("identity_provider", name, provider.name, client.request_id, client.address)
        try:
            return await self._arrive(provider, journey, answered, client, actor)
        except TollkeeperError as error:
            details = {"reason": error.code, "purpose": journey.purpose}
            self._notes.note(provider.tenant_id, "auth.oidc_refused", actor, "identity_provider", name, details)
            raise

    async def _arrive(
        self, provider: IdentityProvider, journey: Journey, answered: Answered, client: Client, actor: audit.Actor
    ) -> Arrival:
        metadata = await self._issuers.metadata(_issuer(provider))
        code = _read_answer(metadata, answered)
        proven = await self._prove(provider, metadata, journey, code)
        if journey.purpose == "sign_in":
            return await self._open(provider, proven, journey, client, actor)
        return await self._go_on(provider, proven, journey, client, actor)

    async def _open(
        self, provider: IdentityProvider, proven: Proven, journey: Journey, client: Client, actor: audit.Actor
    ) -> Arrival:
        async with self._database.tenant(provider.tenant_id) as session:
            user_id = await self._people.admit(session, provider, proven, actor)
        identity = await self._identities.find_user(user_id, provider.tenant_id)
        if identity is None or identity.refusal is not None:
            raise ProviderRefused("Your account here may not sign in. Ask an administrator.")
        said = authenticated_at(proven.claims)
        now = self._clock.unix()
        # A provider's session of this morning is no proof of who sits there now: changes of credentials will ask again.
        proven_at = datetime.fromtimestamp(now if said is None else min(said, now), UTC)
        grant = await self._sign_in.open_session(identity, client, method="oidc", authenticated_at=proven_at)
        return Arrival(journey.redirect_to, grant)

    async def _go_on(
        self, provider: IdentityProvider, proven: Proven, journey: Journey, client: Client, actor: audit.Actor
    ) -> Arrival:
        """Link an account to the session that asked, or renew that session's proof."""
        user_id, session_id = journey.user_id, journey.session_id
        found = None
        if user_id is not None and session_id is not None:
            found = await self._identities.find_session(user_id, session_id, provider.tenant_id)
        if found is None or found.identity.refusal is not None:
            raise StateInvalid("The session that asked for this has ended. Sign in again.")
        assert user_id is not None and session_id is not None  # noqa: PT018 - one fact
        identity = found.identity
        if journey.purpose == "link":
            holder = audit.Actor("user", format_id("usr", user_id), identity.email, client.request_id, client.address)
            async with self._database.tenant(provider.tenant_id) as session:
                await self._people.link(session, provider, proven, user_id, holder)
            return Arrival(journey.redirect_to, None)
        async with self._database.tenant(provider.tenant_id) as session:
            if await self._people.find_user(session, provider, proven) != user_id:
                raise OtherUser("Another account proved itself at the provider than the one that is signed in here.")
        await self._sign_in.renew_proof(session_id, user_id, client, method="oidc")
        log.info("oidc_step_up", provider_id=actor.id)
        return Arrival(journey.redirect_to, None)

    async def _provider(self, provider_id: UUID) -> IdentityProvider:
        async with self._database.platform() as session:
            row = await repository.find_in_force(session, provider_id)
        if row is None:
            raise NotFound("There is no such identity provider.")
        return row

    async def _prove(self, provider: IdentityProvider, metadata: Metadata, journey: Journey, code: str) -> Proven:
        assert provider.client_id is not None
        tokens = await self._exchange.tokens(provider, metadata, code, journey.verifier)
        try:
            unproven = take_apart(tokens.id_token, longest=LONGEST_ID_TOKEN)
            claims = await self._issuers.verify(_issuer(provider), unproven)
            subject = check_id_token(
                unproven,
                client_id=provider.client_id,
                nonce=journey.nonce,
                access_token=tokens.access_token,
                proven_since=journey.started_at if journey.purpose == "step_up" else None,
            )
        except ForeignTokenRefused as error:
            log.warning("oidc_token_refused", provider_id=format_id("idp", provider.id), problem=str(error))
            raise TokenInvalid(
                "The identity provider's token is not valid. Begin again, or tell an administrator."
            ) from error
        claims = await self._exchange.complete(provider, metadata, subject, claims, tokens.access_token)
        return Proven(subject, claims)


def _issuer(provider: IdentityProvider) -> Issuer:
    return Issuer(provider.issuer, provider.allow_private_address)


def _check_home(caller: Caller, provider: IdentityProvider) -> None:
    """A provider speaks for accounts that its own tenant manages: a guest's account is proven at home."""
    if caller.home_tenant_id != provider.tenant_id or caller.tenant_id != provider.tenant_id:
        raise NotFound("There is no such identity provider.")
    if caller.session_id is None:
        raise BadRequest("A key has no session; sign in first.", code="no_session")


def _read_answer(metadata: Metadata, answered: Answered) -> str:
    # RFC 9207: an answer that was meant for another issuer's question ends here.
    if (answered.issuer is not None or metadata.says_issuer) and answered.issuer != metadata.issuer:
        raise StateInvalid("The answer comes from another issuer than was asked. Begin again.")
    if answered.error is not None:
        said = answered.error if ERROR_NAME.fullmatch(answered.error) else "an error"
        raise ProviderRefused(f"The identity provider did not sign you in: {said}.")
    if not answered.code or len(answered.code) > 4096:
        raise StateInvalid("The identity provider sent no code. Begin again.")
    return answered.code
