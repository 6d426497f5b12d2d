"""Forged, stale and monstrous tokens, in every header that takes a credential, on both planes: 401, and never our fault."""

import base64
import hashlib
import hmac
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import orjson
import pytest

from tests.matrix.wire import Wire
from tests.matrix.world import Person, World, shown
from tollkeeper.core.permissions import Role
from tollkeeper.core.tokens import AccessTokens

_HEADERS: Final = (b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key")
_CALL: Final = orjson.dumps({"model": "simulated", "messages": [{"role": "user", "content": "hello"}]})
_PLACES: Final = (
    ("GET", b"/api/v1/me", b""),
    ("GET", b"/api/v1/users", b""),
    ("DELETE", b"/api/v1/keys/key_" + b"0" * 32, b""),
    ("GET", b"/v1/models", b""),
    ("POST", b"/v1/chat/completions", _CALL),
    ("POST", b"/api/v1/chat/completions", _CALL),
)


@dataclass(frozen=True)
class Clock:
    """The system's, moved."""

    ahead: float

    def unix(self) -> float:
        return time.time() + self.ahead

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.unix(), UTC)

    def monotonic(self) -> float:
        return self.unix()


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(segment: str) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    return found


class Forge:
    """Takes a good token apart and puts others together; it holds the true key, as nobody outside does."""

    def __init__(self, world: World, good: str) -> None:
        self.key: bytes = world.services.master_key.jwt_key
        self.good = good
        head, body, self.signature = good.split(".")
        self.head, self.body = decode(head), decode(body)

    def signed(self, head: Any, body: Any, *, key: bytes | None = None) -> str:
        parts = [encode(part if isinstance(part, bytes) else orjson.dumps(part)) for part in (head, body)]
        mac = hmac.digest(self.key if key is None else key, ".".join(parts).encode(), hashlib.sha256)
        return ".".join([*parts, encode(mac)])

    def corpus(self) -> Iterator[tuple[str, str]]:
        yield from self._algorithms()
        yield from self._heads()
        yield from self._claims()
        yield from self._shapes()

    def _algorithms(self) -> Iterator[tuple[str, str]]:
        body = encode(orjson.dumps(self.body))
        for name in ("none", "None", "NONE", "nOnE", ""):
            head = encode(orjson.dumps({**self.head, "alg": name}))
            yield f"alg {name!r} without a signature", f"{head}.{body}."
            yield f"alg {name!r} with a signature", f"{head}.{body}.{self.signature}"
        for name in ("HS384", "HS512", "RS256", "ES256", "EdDSA", "PS256", "hs256", "HS256 "):
            yield f"alg {name!r}", self.signed({**self.head, "alg": name}, self.body)
        for key in (b"", b"secret", b"tollkeeper", str(self.head["kid"]).encode(), b"\0" * 32):
            yield f"signed with {key!r}", self.signed(self.head, self.body, key=key)

    def _heads(self) -> Iterator[tuple[str, str]]:
        added: dict[str, Any] = {
            "crit": ["exp"],
            "b64": False,
            "jwk": {"kty": "oct", "k": encode(b"secret")},
            "jku": "http://127.0.0.1:9/keys",
            "x5u": "http://127.0.0.1:9/keys",
            "x5c": ["MII"],
            "zip": "DEF",
            "cty": "JWT",
            "enc": "A128GCM",
        }
        for name, value in added.items():
            yield f"with {name}", self.signed({**self.head, name: value}, self.body)
        for kid in ("", "../../../dev/null", "' OR 1=1 --", "0" * 8, "x" * 400, "\0", None, 1, ["a"], {"a": 1}):
            yield f"kid {str(kid)[:20]!r}", self.signed({**self.head, "kid": kid}, self.body)
        for kind in ("JWT", "rt+jwt", "id+jwt", None, 1):
            yield f"typ {kind!r}", self.signed({**self.head, "typ": kind}, self.body)
        for name in self.head:
            yield (
                f"without {name}",
                self.signed({key: value for key, value in self.head.items() if key != name}, self.body),
            )
        yield "a deep head", self.signed(b'{"a":' * 90 + b"1" + b"}" * 90, self.body)
        yield "a deep list in the head", self.signed(b'{"crit":' + b"[" * 150 + b"]" * 150 + b"}", self.body)
        yield "a head that is no object", self.signed(b"[]", self.body)
        yield "a name twice in the head", self.signed(orjson.dumps(self.head)[:-1] + b',"alg":"none"}', self.body)
        yield "a head that is no UTF-8", self.signed(b'{"alg":"\xff"}', self.body)

    def _claims(self) -> Iterator[tuple[str, str]]:
        changed: dict[str, tuple[Any, ...]] = {
            "iss": ("other", None, ["tollkeeper"], ""),
            "aud": ("other", None, ["tollkeeper-api", "other"], [], ""),
            "sub": ("0" * 32, None, 1, "x", str(self.body["tenant"]), "../admin", {"$ne": ""}),
            "sid": ("0" * 32, None, "x"),
            "tenant": ("0" * 32, None, "x", "../other"),
            "epoch": (99, -1, None, "0", 0.5, True, 2**70),
            "exp": (0, -1, None, "9999999999", 9999999999, 1e300, 2**70, True, [], "NaN"),
            "iat": (None, 9999999999, -1, "0", 1e300, 0),
            "jti": (None, "x", 1),
        }
        for name, values in changed.items():
            yield (
                f"without {name}",
                self.signed(self.head, {key: value for key, value in self.body.items() if key != name}),
            )
            for value in values:
                yield (
                    f"{name} {str(value)[:20]!r}",
                    self.signed(
                        self.head,
                        {**self.body, name: value}
                        if value != 2**70
                        else orjson.dumps({**self.body, name: 0}).replace(
                            b'"%b":0' % name.encode(), b'"%b":%d' % (name.encode(), 2**70)
                        ),
                    ),
                )
        yield "claims that are no object", self.signed(self.head, b"[]")
        yield "claims that are no JSON", self.signed(self.head, b"{")
        yield "claims that are no UTF-8", self.signed(self.head, b'{"sub":"\xff\xfe"}')
        yield "deep claims", self.signed(self.head, b'{"a":' * 900 + b"1" + b"}" * 900)
        yield "a name twice in the claims", self.signed(self.head, orjson.dumps(self.body)[:-1] + b',"sub":"x"}')

    def _shapes(self) -> Iterator[tuple[str, str]]:
        head, body, signature = self.good.split(".")
        yield "no signature", f"{head}.{body}."
        yield "half a signature", f"{head}.{body}.{signature[:20]}"
        yield "another signature", f"{head}.{body}.{'A' * len(signature)}"
        yield "a part too many", f"{self.good}.{signature}"
        yield "a part too few", f"{head}.{body}"
        yield "padded", f"{head}=.{body}=.{signature}="
        yield "with a line break", f"{head}.{body}.{signature[:-1]}%0a"
        yield "other base64", f"{head}.{body}.{signature[:-2]}+/"
        yield "9 kB", self.signed(self.head, {**self.body, "x": "x" * 6800})
        yield "9 kB of head", self.signed({**self.head, "kid": "x" * 6800}, self.body)
        yield "60 kB", "eyJ" + "x" * 14_000 + ".y.z"
        yield "dots alone", ".."
        yield "eyJ alone", "eyJ"
        yield "eyJ and dots", "eyJ.eyJ.eyJ"


@pytest.fixture(scope="module")
async def admin(world: World) -> Person:
    return await world.person(Role.PLATFORM_ADMIN)


@pytest.fixture(scope="module")
async def key_id(world: World, admin: Person) -> tuple[bytes, bytes]:
    """On the data plane a session speaks with one of its keys."""
    made, _ = await world.new_key(admin.user_id, admin.side, scopes=["inference"])
    return b"x-tollkeeper-key-id", shown("key", made).encode()


async def test_forged_tokens_are_refused_everywhere(world: World, admin: Person, key_id: tuple[bytes, bytes]) -> None:
    forge = Forge(world, admin.token)
    asked = 0
    async with Wire(world.port) as wire:
        for number, (what, token) in enumerate(forge.corpus()):
            for place, (method, path, body) in enumerate(_PLACES):
                # Each token meets each place; the headers take turns.
                name = _HEADERS[(number + place) % len(_HEADERS)]
                value = token.encode() if name != b"authorization" else b"Bearer " + token.encode()
                status, _, answer = await wire.ask(method, path, [(name, value), key_id], body=body)
                assert status in {401, 431}, f"{what} as {name!r} to {path!r}: {status} {answer[:200]!r}"
                asked += 1
    assert asked > 600


async def test_expired_and_future_tokens_are_refused(world: World, admin: Person, key_id: tuple[bytes, bytes]) -> None:
    claims = world.services.access_tokens.verify(admin.token)
    issue = {"user_id": claims.user_id, "tenant_id": claims.tenant_id, "session_id": claims.session_id}
    async with Wire(world.port) as wire:
        for ahead in (-901.0, -86_400.0, 60.0, 86_400.0):
            moved = AccessTokens(world.services.master_key, Clock(ahead))
            token, _ = moved.issue(**issue, epoch=claims.epoch)
            for method, path, body in _PLACES:
                status, _, answer = await wire.ask(
                    method, path, [(b"authorization", b"Bearer " + token.encode()), key_id], body=body
                )
                assert status == 401, f"{ahead} s to {path!r}: {status} {answer[:200]!r}"
                if ahead < 0 and path == b"/api/v1/me":
                    # Clients refresh on this word.
                    assert b'"token_expired"' in answer


async def test_the_token_that_is_not_forged_is_taken(world: World, admin: Person, key_id: tuple[bytes, bytes]) -> None:
    """The negative control: put together again by the forge, the same token opens both planes."""
    forge = Forge(world, admin.token)
    token = forge.signed(forge.head, forge.body).encode()
    async with Wire(world.port) as wire:
        for method, path, body in _PLACES:
            for name in _HEADERS:
                value = b"Bearer " + token if name == b"authorization" else token
                status, _, answer = await wire.ask(method, path, [(name, value), key_id], body=body)
                assert status == (404 if method == "DELETE" else 200), f"{name!r} to {path!r}: {answer[:200]!r}"


async def test_two_different_credentials_are_refused(world: World, admin: Person, key_id: tuple[bytes, bytes]) -> None:
    other = (await world.person(Role.VIEWER)).token.encode()
    async with Wire(world.port) as wire:
        for method, path, body in _PLACES:
            headers = [(b"authorization", b"Bearer " + admin.token.encode()), (b"x-api-key", other), key_id]
            status, _, answer = await wire.ask(method, path, headers, body=body)
            assert status == 400, f"{path!r}: {status} {answer[:200]!r}"


@pytest.mark.parametrize(
    "value",
    [
        b"Basic YWRtaW46YWRtaW4=", b"Bearer", b"Bearer ", b"Bearer  ", b"Digest x", b"bearer\ttk-live_x", b"Negotiate x", b"",
        b"Bearer tk-live_" + b"x" * 20_000, b"Bearer tk-test_a_b", b"Bearer ' OR '1'='1", b"Bearer tk-live_%s_%s", b"Bearer \xff\xfe\xfd",
        b"Bearer null", b"Bearer undefined", b"Bearer {}", b"Bearer ../../etc/passwd", b"Bearer tk-live_AAAAAAAAAAAA_" + b"A" * 38,
    ],
    ids=lambda value: value[:24].decode("latin-1"),
)  # fmt: skip
async def test_credentials_that_are_none_are_refused(world: World, value: bytes) -> None:
    async with Wire(world.port) as wire:
        for method, path, body in _PLACES:
            for name in _HEADERS:
                sent = value if name == b"authorization" else value.removeprefix(b"Bearer ")
                status, _, answer = await wire.ask(method, path, [(name, sent)], body=body)
                assert status in {0, 400, 401, 431}, f"{name!r} {value[:40]!r} to {path!r}: {status} {answer[:200]!r}"
