"""Access tokens: the known faults of JWT libraries, each with a token that would use it."""

import base64
import hashlib
import hmac
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tollkeeper
from tollkeeper.core.crypto import MasterKey
from tollkeeper.core.errors import TollkeeperError, Unauthenticated
from tollkeeper.core.tokens import AccessTokens

MASTER = MasterKey("0123456789abcdef" * 4)
OTHER = MasterKey("fedcba9876543210" * 4)
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
USER, TENANT, SESSION = uuid4(), uuid4(), uuid4()
GOOD_HEADER = {"alg": "HS256", "typ": "at+jwt", "kid": MASTER.jwt_key_id}
GOOD_CLAIMS = {
    "iss": "tollkeeper",
    "aud": "tollkeeper-api",
    "sub": str(USER),
    "jti": str(uuid4()),
    "iat": int(NOW.timestamp()),
    "exp": int(NOW.timestamp()) + 900,
    "tenant": str(TENANT),
    "sid": str(SESSION),
    "epoch": 3,
}


class StoppedClock:
    def __init__(self, now: datetime) -> None:
        self.time = now

    def now(self) -> datetime:
        return self.time

    def unix(self) -> float:
        return self.time.timestamp()

    def monotonic(self) -> float:
        return self.time.timestamp()


def tokens(now: datetime = NOW, **options: Any) -> AccessTokens:
    return AccessTokens(MASTER, StoppedClock(now), **options)


def segment(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def forge(header: object = None, claims: object = None, *, key: bytes = MASTER.jwt_key) -> str:
    """A token signed with the right key unless told otherwise; bytes stand for themselves."""
    parts = [
        segment(part if isinstance(part, bytes) else json.dumps(part).encode())
        for part in (GOOD_HEADER if header is None else header, GOOD_CLAIMS if claims is None else claims)
    ]
    signature = hmac.digest(key, ".".join(parts).encode(), hashlib.sha256)
    return ".".join([*parts, segment(signature)])


def refuse(token: str, verifier: AccessTokens | None = None) -> None:
    with pytest.raises(Unauthenticated) as caught:
        (verifier or tokens()).verify(token)
    assert caught.value.status == 401
    assert caught.value.__cause__ is None


def test_issued_token_is_verified() -> None:
    token, claims = tokens(minutes=5).issue(user_id=USER, tenant_id=TENANT, session_id=SESSION, epoch=7)
    assert tokens().verify(token) == claims
    assert (claims.user_id, claims.tenant_id, claims.session_id, claims.epoch) == (USER, TENANT, SESSION, 7)
    assert claims.expires_at - claims.issued_at == timedelta(minutes=5)
    header = json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))
    assert header == {"alg": "HS256", "typ": "at+jwt", "kid": MASTER.jwt_key_id}


def test_two_tokens_never_share_an_id() -> None:
    issue = [tokens().issue(user_id=USER, tenant_id=TENANT, session_id=SESSION, epoch=0)[1] for _ in range(2)]
    assert issue[0].token_id != issue[1].token_id


def test_well_made_forgery_is_the_yardstick() -> None:
    """The forge itself is right, so each refusal below is for the one thing changed."""
    assert tokens().verify(forge()).epoch == 3


def test_token_ends_at_its_time() -> None:
    token = forge()
    assert tokens(NOW + timedelta(seconds=899)).verify(token)
    with pytest.raises(Unauthenticated) as caught:
        tokens(NOW + timedelta(seconds=900)).verify(token)
    assert caught.value.code == "token_expired"


def test_token_that_lives_too_long_is_refused() -> None:
    refuse(forge(claims=GOOD_CLAIMS | {"exp": GOOD_CLAIMS["exp"] + 1}))  # type: ignore[operator]
    refuse(forge(claims=GOOD_CLAIMS | {"exp": GOOD_CLAIMS["iat"]}))


def test_token_from_the_future_is_refused_beyond_the_leeway() -> None:
    assert tokens(NOW - timedelta(seconds=30)).verify(forge())
    refuse(forge(), tokens(NOW - timedelta(seconds=31)))


@pytest.mark.parametrize("name", sorted(GOOD_CLAIMS))
def test_missing_claim_is_refused(name: str) -> None:
    refuse(forge(claims={key: value for key, value in GOOD_CLAIMS.items() if key != name}))


@pytest.mark.parametrize("name", sorted(GOOD_CLAIMS))
@pytest.mark.parametrize("value", [None, "other", 1.5, True, -1, [], {}, "9" * 400, ["tollkeeper-api", "x"]])
def test_claim_of_another_kind_is_refused(name: str, value: object) -> None:
    refuse(forge(claims=GOOD_CLAIMS | {name: value}))


@pytest.mark.parametrize(
    "change",
    [
        {"alg": "none"},
        {"alg": "None"},
        {"alg": "hs256"},
        {"alg": "HS384"},
        {"alg": "RS256"},
        {"alg": ["HS256"]},
        {"alg": None},
        {"typ": "JWT"},
        {"typ": None},
        {"kid": "unknown"},
        {"kid": "../../dev/null"},
        {"kid": "' OR 1=1 --"},
        {"kid": None},
        {"crit": ["exp"]},
        {"crit": []},
        {"crit": "b64"},
        {"b64": False},
        {"b64": False, "crit": ["b64"]},
        {"jwk": {"kty": "oct", "k": "AAAA"}},
        {"jku": "https://attacker.example/keys"},
        {"x5u": "https://attacker.example/cert"},
        {"x5c": ["AAAA"]},
        {"zip": "DEF"},
        {"cty": "JWT"},
    ],
)
def test_header_with_anything_else_is_refused(change: dict[str, object]) -> None:
    refuse(forge(GOOD_HEADER | change))


def test_unsigned_token_is_refused() -> None:
    head, body, _ = forge(GOOD_HEADER | {"alg": "none"}).split(".")
    refuse(f"{head}.{body}.")
    refuse(f"{head}.{body}")


def test_signature_of_another_key_is_refused() -> None:
    refuse(forge(key=OTHER.jwt_key))
    refuse(forge(key=b""))
    refuse(forge(key=MASTER.pepper))


def test_key_in_the_name_of_another_is_refused() -> None:
    rotating = tokens(older=[OTHER])
    assert rotating.verify(forge(GOOD_HEADER | {"kid": OTHER.jwt_key_id}, key=OTHER.jwt_key)).epoch == 3
    refuse(forge(GOOD_HEADER | {"kid": OTHER.jwt_key_id}), rotating)
    refuse(forge(key=OTHER.jwt_key), rotating)


def test_duplicate_header_members_do_not_hide_an_algorithm() -> None:
    head = b'{"alg":"none","alg":"HS256","typ":"at+jwt","kid":"%s"}' % MASTER.jwt_key_id.encode()
    key = hashlib.sha256(b"not ours").digest()
    refuse(forge(head, key=key))


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_deep_header_is_refused_before_it_is_parsed(opening: bytes) -> None:
    refuse(forge(opening * 60))
    refuse(forge(opening * 5000))
    head = b'{"alg":"HS256","typ":"at+jwt","kid":"x","deep":' + opening * 60
    refuse(forge(head))


def test_deep_claims_with_a_good_signature_are_refused() -> None:
    refuse(forge(claims=b'{"sub":' + b"[" * 5000))


def test_oversized_token_is_refused_unread() -> None:
    refuse(forge(claims=GOOD_CLAIMS | {"pad": "x" * 8192}))
    refuse("x" * 10_000_000)


def test_second_spelling_of_a_signature_is_refused() -> None:
    token = forge()
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twin = alphabet[alphabet.index(token[-1]) | 1]
    refuse(token[:-1] + twin)
    refuse(token + "=")
    refuse(token + "\n")
    refuse(" " + token)


def test_every_changed_character_is_refused() -> None:
    token = forge()
    for position in range(len(token)):
        changed = token[:position] + ("A" if token[position] != "A" else "B") + token[position + 1 :]
        refuse(changed)


@pytest.mark.parametrize("token", ["", ".", "..", "a.b.c", "\ud800.\ud800.\ud800", "ä" * 50, "\0"])
def test_no_token_at_all_is_401(token: str) -> None:
    refuse(token)


@given(st.text(), st.text(), st.text())
def test_garbage_is_401_and_nothing_else(head: str, body: str, tail: str) -> None:
    refuse(f"{head}.{body}.{tail}")


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_signed_garbage_is_401_and_nothing_else(head: bytes, body: bytes) -> None:
    refuse(forge(head, body))
    refuse(forge(claims=body))


@pytest.mark.parametrize(("library", "module"), [("jose", "tokens.py"), ("passlib", "passwords.py")])
def test_library_with_known_faults_has_one_importer(library: str, module: str) -> None:
    imports = re.compile(rf"^\s*(?:import|from) {library}\b", re.MULTILINE)
    package = Path(tollkeeper.__file__).parent
    assert [path.name for path in package.rglob("*.py") if imports.search(path.read_text())] == [module]


def test_refusals_say_nothing_of_the_reason() -> None:
    messages = set()
    for token in (
        "",
        forge(key=b"x" * 32),
        forge(GOOD_HEADER | {"crit": []}),
        forge(claims=GOOD_CLAIMS | {"aud": "x"}),
    ):
        with pytest.raises(TollkeeperError) as caught:
            tokens().verify(token)
        messages.add((caught.value.message, caught.value.code))
    assert len(messages) == 1
