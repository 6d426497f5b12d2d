"""Codes that change every thirty seconds (TOTP, RFC 6238, over HOTP, RFC 4226): SHA-1, six digits, as every app reads them.

Pure: the caller brings the time, keeps the secret sealed and remembers which steps are used up.
"""

import base64
import hmac
import secrets
import struct
from typing import Final
from urllib.parse import quote

STEP_SECONDS: Final = 30
DIGITS: Final = 6
SECRET_BYTES: Final = 20  # RFC 4226, section 4, R6: as long as the hash
# One step to either side: clocks of telephones drift, and people type slowly.
DRIFT_STEPS: Final = 1


def new_secret() -> bytes:
    return secrets.token_bytes(SECRET_BYTES)


def code_at(secret: bytes, step: int, *, digits: int = DIGITS) -> str:
    """The code of one step (`unix seconds // 30`)."""
    mac = hmac.digest(secret, struct.pack(">Q", step), "sha1")
    offset = mac[-1] & 0xF
    number = int.from_bytes(mac[offset : offset + 4]) & 0x7FFFFFFF
    return str(number % 10**digits).zfill(digits)


def find_step(secret: bytes, code: str, unix: float, *, after: int) -> int | None:
    """The step whose code this is, near now and later than `after`; None when there is none, or it is used up."""
    now = int(unix) // STEP_SECONDS
    found = None
    # All are compared, so that the time tells nothing of which one fits.
    for step in range(max(0, now - DRIFT_STEPS), now + DRIFT_STEPS + 1):
        if hmac.compare_digest(code_at(secret, step).encode(), code.encode()) and step > after and found is None:
            found = step
    return found


def to_base32(secret: bytes) -> str:
    """As people type it into an app."""
    return base64.b32encode(secret).decode().rstrip("=")


def provisioning_uri(secret: bytes, *, account: str, issuer: str) -> str:
    """What the QR code holds (the Key URI format of authenticator apps)."""
    label = f"{quote(issuer, safe='')}:{quote(account, safe='')}"
    return (
        f"otpauth://totp/{label}?secret={to_base32(secret)}&issuer={quote(issuer, safe='')}"
        f"&algorithm=SHA1&digits={DIGITS}&period={STEP_SECONDS}"
    )
