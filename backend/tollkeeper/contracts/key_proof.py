"""Finds the key whose secret a token holds: the one place where either plane compares secrets.

Three forms are told apart: ours (found by its public id), a chosen one (`tk-…`, found by its digest) and one of another
gateway (found by the digest of its SHA-256). Garbage is refused without asking anyone.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from tollkeeper.contracts.ports import ForeignKeys, KeyLookup
from tollkeeper.contracts.principal import KeyRecord, SecretDigest
from tollkeeper.core.secrets import LONGEST_TOKEN, KeyDigest, KeyHasher, is_importable, is_other_form


@dataclass(frozen=True, slots=True)
class Proof:
    """`renewed` is set when `known` is under an older pepper: what it is under the current one."""

    record: KeyRecord
    known: SecretDigest
    renewed: KeyDigest | None

    @property
    def valid_until(self) -> float | None:
        """Seconds since 1970; None without end."""
        ends = [end for end in (self.known.expires_at, self.record.expires_at) if end is not None]
        return min(ends, default=None)


class KeyProof:
    def __init__(self, lookup: KeyLookup, hasher: KeyHasher, foreign: ForeignKeys | None = None) -> None:
        """Without `foreign` every well-formed token in another form costs a look-up."""
        self._lookup = lookup
        self._hasher = hasher
        self._foreign = foreign

    async def find(self, token: str, unix: float) -> Proof | None:
        """None for a token that proves nothing. Raises `DependencyUnavailable`."""
        if len(token) > LONGEST_TOKEN or not token.isascii():
            return None
        public_id = self._hasher.public_id(token)
        if public_id is not None:
            record = await self._lookup.find_by_public_id(public_id)
            proof = None if record is None else self.prove(record, token, unix)
            if proof is not None or self._foreign is None:
                return proof
        digests = self.digests_of_other_forms(token)
        if not digests or (self._foreign is not None and not self._foreign.may_hold(digests)):
            return None
        record = await self._lookup.find_by_digest(digests)
        return None if record is None else self.prove(record, token, unix)

    def is_own_form(self, token: str) -> bool:
        return self._hasher.public_id(token) is not None

    def digests_of_other_forms(self, token: str) -> list[bytes]:
        """Under what a key in another form may be stored; none for a token that cannot be one."""
        digests: list[bytes] = []
        if is_other_form(token):
            digests += self._hasher.digests(token).values()
        if is_importable(token):
            digests += self._hasher.imported_digests(token).values()
        return digests

    def digests_of(self, token: str) -> list[bytes]:
        """Under what a key of any form may be stored."""
        if not self.is_own_form(token):
            return self.digests_of_other_forms(token)
        return [*self._hasher.digests(token).values(), *self._hasher.imported_digests(token).values()]

    def prove(self, record: KeyRecord, token: str, unix: float) -> Proof | None:
        """Whether the token is a secret of this key that still holds. Compared in constant time."""
        for candidates in (self._hasher.digests(token), self._hasher.imported_digests(token)):
            known = _match(record, candidates, unix)
            if known is not None:
                current = self._hasher.pepper_id
                is_old = known.pepper_id != current
                return Proof(record, known, KeyDigest(current, candidates[current]) if is_old else None)
        return None


def _match(record: KeyRecord, candidates: Mapping[str, bytes], unix: float) -> SecretDigest | None:
    for known in record.digests:
        ours = candidates.get(known.pepper_id)
        if ours is None or not hmac.compare_digest(ours, known.digest):
            continue
        if known.expires_at is None or known.expires_at > unix:
            return known
    return None
