"""Somebody else's verdict: texts go out signed (Standard Webhooks), and block, redact, flag or pass comes back.

The address is judged as every address is that the gateway calls; the secret never leaves it.
"""

import base64
import binascii
import hmac
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, Literal, Self

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from tollkeeper.contracts.guardrails import Action
from tollkeeper.core.addresses import find_location
from tollkeeper.gateway.guardrail import WHOLE, Finding, Outside, Part

_PREFIX: Final = "whsec_"
_MOST_ANSWER: Final = 256 * 1024
_MOST_FINDINGS: Final = 10_000
_LONE: Final = re.compile("[\ud800-\udfff]")


def _read_secret(secret: SecretStr) -> SecretStr:
    try:
        size = len(_key(secret))
    except (ValueError, binascii.Error):
        size = 0
    if not 24 <= size <= 64:
        raise ValueError("write whsec_ and 24 to 64 random bytes in base64")
    return secret


def _key(secret: SecretStr) -> bytes:
    text = secret.get_secret_value()
    if not text.startswith(_PREFIX):
        raise ValueError("a webhook's secret begins with whsec_")
    return base64.b64decode(text.removeprefix(_PREFIX), validate=True)


_Secret = Annotated[SecretStr, AfterValidator(_read_secret)]


class WebhookSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    url: str = Field(max_length=2_000, description="Where texts are sent: https, at a public address.")
    secret: _Secret = Field(
        description="Signs what is sent: whsec_ and 24 to 64 random bytes in base64. In the file write ${VAR}."
    )
    allow_private_address: bool = Field(
        False, description="Allow loopback and private networks, and plain http there; only in the operator's file."
    )
    may_redact: bool = Field(
        True, description="Whether a verdict may be redact; without, a policy can ask beside the call (when: during)."
    )
    most_bytes: int = Field(
        1_048_576, ge=1_024, le=33_554_432, description="Of one question; about more the rule cannot say."
    )
    stream_characters: int | None = Field(
        None,
        ge=200,
        le=100_000,
        description="Of a stream, ask after so many characters and let them go; left out: hold it to its end.",
    )

    @field_validator("url")
    @classmethod
    def _plain(cls, url: str) -> str:
        if find_location(url) is None:
            raise ValueError("no plain http(s) address")
        return url

    @model_validator(mode="after")
    def _is_safe(self) -> Self:
        if not self.url.startswith("https://") and not self.allow_private_address:
            raise ValueError("an address that is not private has to begin with https://")
        return self


class _Verdict(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True, hide_input_in_errors=True)

    text: int = Field(0, ge=0)
    start: int | None = Field(None, ge=0)
    end: int | None = Field(None, ge=0)
    label: str = Field("webhook", pattern=r"^[a-z][a-z0-9_]{0,63}$")
    score: float = Field(1.0, ge=0, le=1)


class _Answer(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)

    verdict: Literal["pass", "flag", "redact", "block"]
    findings: tuple[_Verdict, ...] = Field((), max_length=_MOST_FINDINGS)


_ACTIONS: Final[Mapping[str, Action]] = {"flag": Action.FLAG, "redact": Action.REDACT, "block": Action.BLOCK}


class Webhook:
    NAME: ClassVar[str] = "webhook"
    TITLE: ClassVar[str] = "Webhook: a verdict of your own service"
    Settings: ClassVar[type[BaseModel]] = WebhookSettings

    def __init__(self, settings: WebhookSettings) -> None:
        self._settings = settings
        self._key = _key(settings.secret)
        self.MAY_CHANGE = settings.may_redact
        self.WINDOW = settings.stream_characters or WHOLE

    async def ask(self, parts: Sequence[Part], outside: Outside) -> Sequence[Sequence[Finding]]:
        settings = self._settings
        body = orjson.dumps(_question(parts, outside.request_id))
        if len(body) > settings.most_bytes:
            raise ValueError("more text than may be sent")
        headers = sign(self._key, f"msg_{secrets.token_urlsafe(16)}", int(time.time()), body)
        status, content = await outside.post(
            settings.url, headers, body, allow_private=settings.allow_private_address, most_bytes=_MOST_ANSWER
        )
        if status != 200:
            raise ValueError("no verdict")
        return self._read(_Answer.model_validate(orjson.loads(content)), parts)

    def _read(self, answer: _Answer, parts: Sequence[Part]) -> list[list[Finding]]:
        found: list[list[Finding]] = [[] for _ in parts]
        if answer.verdict == "pass":
            if answer.findings:
                raise ValueError("it passes, and something was found")
            return found
        if answer.verdict == "redact" and not (answer.findings and self.MAY_CHANGE):
            raise ValueError("nothing was said to be taken out, or nothing may be")
        action = _ACTIONS[answer.verdict]
        for one in answer.findings or (_Verdict(),):
            text = parts[one.text].text
            start, end = one.start or 0, len(text) if one.end is None else one.end
            found[one.text].append(Finding(self.NAME, one.label, start, end, one.score, answer.verdict, action))
        return found


def sign(key: bytes, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Standard Webhooks: HMAC-SHA256 over id, timestamp and body, so that an old question cannot be asked again."""
    signed = b"%b.%d.%b" % (message_id.encode(), timestamp, body)
    signature = base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{signature}",
    }


def _question(parts: Sequence[Part], request_id: str) -> dict[str, Any]:
    first = parts[0]
    return {
        "type": "guardrail.check",
        "request_id": request_id,
        "direction": first.direction.value,
        "is_final": all(part.is_final for part in parts),
        # Surrogates alone are no letters, and offsets stay what they are.
        "texts": [{"text": _sendable(part.text), "kind": part.kind.value, "role": part.role} for part in parts],
    }


def _sendable(text: str) -> str:
    return text.encode("utf-8", "replace").decode() if _LONE.search(text) is not None else text
