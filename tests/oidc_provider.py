"""A small OpenID provider over real sockets: discovery, authorize, token, userinfo and keys, true to the standards.

It insists on what a strict one insists on: an exact redirect_uri, PKCE with S256, a code that is used once, the client's
secret. `misbehave` makes it break one rule at a time; `asked` counts what was asked of it.
"""

import asyncio
import base64
import hashlib
import json
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_plus, urlencode

from aiohttp import web
from joserfc import jws
from joserfc.jwk import ECKey, RSAKey

Claims = dict[str, Any]


@dataclass
class SigningKey:
    key_id: str
    algorithm: str
    key: RSAKey | ECKey

    def public(self) -> dict[str, Any]:
        return {**self.key.as_dict(private=False), "kid": self.key_id, "use": "sig", "alg": self.algorithm}


def new_key(algorithm: str = "ES256") -> SigningKey:
    """EC keys are made in no time; RSA where a test is about RSA."""
    key = RSAKey.generate_key(2048) if algorithm[:2] in {"RS", "PS"} else ECKey.generate_key("P-256")
    return SigningKey(secrets.token_hex(8), algorithm, key)


def sign(key: SigningKey, claims: Claims, **header: Any) -> str:
    protected = {"alg": key.algorithm, "kid": key.key_id, "typ": "JWT", **header}
    protected = {name: value for name, value in protected.items() if value is not None}
    registry = jws.JWSRegistry(algorithms=[key.algorithm], strict_check_header=False)
    return jws.serialize_compact(protected, json.dumps(claims), key.key, registry=registry)


@dataclass
class Grant:
    """What a code stands for."""

    client_id: str
    redirect_uri: str
    nonce: str | None
    challenge: str
    subject: str
    auth_time: int


@dataclass
class Provider:
    """`issuer` is set once it listens. `people` are subjects with their claims; `who` is at the keyboard."""

    issuer: str = ""
    client_id: str = "tollkeeper-client"
    client_secret: str | None = field(default_factory=lambda: secrets.token_urlsafe(32))
    redirect_uris: set[str] = field(default_factory=set)
    people: dict[str, Claims] = field(default_factory=dict)
    who: str = "ann"
    keys: list[SigningKey] = field(default_factory=lambda: [new_key()])
    auth_methods: list[str] = field(default_factory=lambda: ["client_secret_basic"])
    cache_control: str = "max-age=600"
    clock: Callable[[], float] = time.time
    # What is changed in the next answers.
    discovery: dict[str, Any] = field(default_factory=dict)
    id_claims: Claims = field(default_factory=dict)
    id_header: dict[str, Any] = field(default_factory=dict)
    sign_with: SigningKey | None = None
    is_down: bool = False
    # Answers once it is set; None answers at once.
    gate: asyncio.Event | None = None
    is_thin: bool = False
    skips_code_checks: bool = False
    refuses: str | None = None
    names_itself: bool = True
    auth_time: int | None = None
    asked: Counter[str] = field(default_factory=Counter)
    codes: dict[str, Grant | None] = field(default_factory=dict)
    access_tokens: dict[str, str] = field(default_factory=dict)

    def rotate(self, algorithm: str = "ES256", *, keep: bool = False) -> SigningKey:
        key = new_key(algorithm)
        self.keys = [key, *(self.keys if keep else [])]
        return key

    def add(self, subject: str, **claims: Any) -> None:
        self.people[subject] = {
            "email": f"{subject}@example.com",
            "email_verified": True,
            "name": subject.title(),
            **claims,
        }

    def token_for(self, audience: str | list[str], **claims: Any) -> str:
        """A workload's token, as a CI system or a cluster gives it."""
        now = int(self.clock())
        return sign(
            self.keys[0], {"iss": self.issuer, "aud": audience, "iat": now, "nbf": now, "exp": now + 300, **claims}
        )

    # The endpoints.

    async def discover(self, request: web.Request) -> web.Response:
        document = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "jwks_uri": f"{self.issuer}/keys",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256", "ES256"],
            "token_endpoint_auth_methods_supported": self.auth_methods,
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": self.names_itself,
            **self.discovery,
        }
        return self._cached({name: value for name, value in document.items() if value is not None})

    async def list_keys(self, request: web.Request) -> web.Response:
        return self._cached({"keys": [key.public() for key in self.keys]})

    async def authorize(self, request: web.Request) -> web.Response:
        asked = request.query
        if asked["client_id"] != self.client_id or asked["redirect_uri"] not in self.redirect_uris:
            return web.Response(status=400, text="unknown client or redirect_uri")
        answer = {"state": asked["state"]}
        if self.names_itself:
            answer["iss"] = self.issuer
        if self.refuses is not None:
            answer["error"] = self.refuses
        elif asked.get("code_challenge_method") != "S256" or "openid" not in asked["scope"].split():
            answer["error"] = "invalid_request"
        else:
            now = int(self.clock())
            asks_anew = asked.get("prompt") == "login"
            code = secrets.token_urlsafe(24)
            self.codes[code] = Grant(
                asked["client_id"],
                asked["redirect_uri"],
                asked.get("nonce"),
                asked["code_challenge"],
                self.who,
                now if asks_anew or self.auth_time is None else self.auth_time,
            )
            answer |= {"code": code, "session_state": "of no interest to a client"}
        raise web.HTTPFound(f"{asked['redirect_uri']}?{urlencode(answer)}")

    async def exchange(self, request: web.Request) -> web.Response:
        form = await request.post()
        if self._client_of(request, form) != self.client_id:
            return web.json_response({"error": "invalid_client"}, status=401)
        code = str(form.get("code"))
        grant = self.codes.get(code)
        # A used code is known, and good for nothing.
        self.codes[code] = None
        digest = hashlib.sha256(str(form.get("code_verifier")).encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if grant is None or (
            not self.skips_code_checks
            and (grant.redirect_uri != form.get("redirect_uri") or grant.challenge != challenge)
        ):
            return web.json_response({"error": "invalid_grant"}, status=400)
        access_token = secrets.token_urlsafe(24)
        self.access_tokens[access_token] = grant.subject
        return web.json_response(
            {
                "access_token": access_token,
                "token_type": "Bearer",
                "expires_in": 300,
                "id_token": self._id_token(grant, access_token),
            },
            headers={"cache-control": "no-store"},
        )

    async def userinfo(self, request: web.Request) -> web.Response:
        subject = self.access_tokens.get(request.headers.get("authorization", "").removeprefix("Bearer "))
        if subject is None:
            return web.Response(status=401)
        return web.json_response({"sub": subject, **self.people[subject]})

    def _id_token(self, grant: Grant, access_token: str) -> str:
        key = self.sign_with or self.keys[0]
        now = int(self.clock())
        digest = hashlib.sha256(access_token.encode()).digest()[:16]
        claims: Claims = {
            "iss": self.issuer,
            "sub": grant.subject,
            "aud": grant.client_id,
            "iat": now,
            "exp": now + 300,
            "nonce": grant.nonce,
            "auth_time": grant.auth_time,
            "at_hash": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            **({} if self.is_thin else self.people[grant.subject]),
            **self.id_claims,
        }
        return sign(key, {name: value for name, value in claims.items() if value is not None}, **self.id_header)

    def _client_of(self, request: web.Request, form: Any) -> str | None:
        if self.client_secret is None:
            return str(form.get("client_id"))
        if "client_secret_basic" in self.auth_methods:
            scheme, _, value = request.headers.get("authorization", "").partition(" ")
            if scheme != "Basic":
                return None
            name, _, secret = base64.b64decode(value).decode().partition(":")
            name, secret = unquote_plus(name), unquote_plus(secret)
        else:
            name, secret = str(form.get("client_id")), str(form.get("client_secret"))
        return name if secret == self.client_secret else None

    def _cached(self, document: Any) -> web.Response:
        return web.json_response(document, headers={"cache-control": self.cache_control})


@asynccontextmanager
async def running_provider(**settings: Any) -> AsyncIterator[Provider]:
    """On a free port of the loopback, in plain http: reached only by who may reach private addresses."""
    provider = Provider(**settings)

    @web.middleware
    async def count(request: web.Request, handler: Any) -> web.StreamResponse:
        provider.asked[request.path] += 1
        if provider.gate is not None:
            await provider.gate.wait()
        if provider.is_down:
            return web.Response(status=503)
        return await handler(request)

    app = web.Application(middlewares=[count])
    app.add_routes(
        [
            web.get("/.well-known/openid-configuration", provider.discover),
            web.get("/keys", provider.list_keys),
            web.get("/authorize", provider.authorize),
            web.post("/token", provider.exchange),
            web.get("/userinfo", provider.userinfo),
        ]
    )
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        provider.issuer = f"http://{host}:{port}"
        yield provider
    finally:
        await runner.cleanup()
