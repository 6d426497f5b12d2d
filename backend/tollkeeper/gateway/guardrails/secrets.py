"""Credentials by their published forms: clouds, code hosting, chat, payment, model vendors, keys and connection strings.

Forms are those of the issuers' own references and of their entries in public secret-scanning lists (2026-11). Forms
without a prefix of their own are looked for only where a name says what they are.
"""

import base64
import binascii
import math
import re
import zlib
from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar, Final, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, model_validator

from tollkeeper.gateway.guardrail import Accept, Shape, accept_all
from tollkeeper.gateway.tails import word

# Bits a character, of what no human makes up; words and placeholders lie below.
_RANDOM: Final = 3.0
_PLACEHOLDER: Final = re.compile(
    r"(?i)example|placeholder|redacted|dummy|sample|your[-_]?|changeme|x{6,}|\*{4,}|\.{3,}|<[a-z_-]+>|0{12,}|1234567890|abcdef(?:gh|12)"
)
_JWT_PART: Final = re.compile(r"[A-Za-z0-9_-]+")
_SCHEMES: Final = (
    r"postgres(?:ql)?(?:\+[a-z0-9]+)?|mysql(?:\+[a-z0-9]+)?|mariadb|mongodb(?:\+srv)?|rediss?|amqps?|mssql|sqlserver|clickhouse|"
    r"cassandra|neo4j(?:\+s)?|bolt|ldaps?|smtps?|ftps?|sftp|ssh|nats|kafka|elasticsearch|https?"
)


def _opening(text: str) -> int:
    """A key of many lines waits from its first one."""
    if "BEGIN " not in text and "PuTTY-" not in text:
        return len(text)
    begin = max(text.rfind("-----BEGIN "), text.rfind("PuTTY-User-Key"))
    return begin if begin >= 0 else len(text)


_BEGIN: Final = r"-----BEGIN (?:[A-Z0-9 ]{0,40} )?PRIVATE KEY(?: BLOCK)?-----"
_BODY: Final = r"[A-Za-z0-9+/=\s\\:,.\-]"
_NAMES: Final = r"api[_\-]?key|secret(?:[_\-]?key)?|access[_\-]?token|auth[_\-]?token|client[_\-]?secret|passw(?:or)?d"


def _random(text: str, start: int, end: int) -> float:
    value = text[start:end]
    if _PLACEHOLDER.search(value):
        return 0.0
    return 1.0 if _entropy(value) >= _RANDOM else 0.0


def _random_with_digits(text: str, start: int, end: int) -> float:
    """Where words joined by dashes have the form as well."""
    return _random(text, start, end) if any(letter.isdigit() for letter in text[start:end]) else 0.0


def _no_placeholder(text: str, start: int, end: int) -> float:
    return 0.0 if _PLACEHOLDER.search(text[start:end]) else 1.0


def _entropy(value: str) -> float:
    counts = Counter(value)
    return -sum(n / len(value) * math.log2(n / len(value)) for n in counts.values())


def _jwt(text: str, start: int, end: int) -> float:
    """A header that is JSON with an algorithm; three dots with letters between are no token."""
    head = text[start:end].split(".", 1)[0]
    try:
        header: Any = orjson.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    except (binascii.Error, ValueError):
        return 0.0
    return 1.0 if isinstance(header, dict) and "alg" in header else 0.0


def _github(text: str, start: int, end: int) -> float:
    """The last six characters are a CRC-32 of those before, in base 62."""
    token = text[start:end]
    body = token[4:-6]
    number, digits = zlib.crc32(body.encode()), "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    check = ""
    while number:
        number, rest = divmod(number, 62)
        check = digits[rest] + check
    if token[-6:] == check.rjust(6, "0"):
        return 1.0
    # Not every generation of them keeps to it: then it has to look random.
    return 0.8 * _random(text, start, end)


def _password_in_url(text: str, start: int, end: int) -> float:
    password = text[start:end]
    if _PLACEHOLDER.search(password) or password.startswith(("$", "{", "<", "%s")) or password in _WEAK_EXAMPLES:
        return 0.0
    return 0.9


_WEAK_EXAMPLES: Final = frozenset({"password", "pass", "secret", "pw", "pwd", "user", "PASSWORD", "xxx"})


def _assigned(text: str, start: int, end: int) -> float:
    """What follows `api_key = `: only what looks random, with letters and digits."""
    value = text[start:end]
    if not (any(c.isdigit() for c in value) and any(c.isalpha() for c in value)):
        return 0.0
    return 0.7 if _random(text, start, end) and _entropy(value) >= _ASSIGNED_BITS else 0.0


_ASSIGNED_BITS: Final = 3.4

# Label, pattern, how a match is judged.
_FORMS: Final[tuple[tuple[str, str, Accept], ...]] = (
    # Clouds
    ("aws_access_key_id", r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}", _no_placeholder),
    (
        "aws_secret_access_key",
        r"(?i:aws.{0,24}?(?:secret|private).{0,24}?[\"'\s:=]{1,4})([A-Za-z0-9/+]{40})(?:[^A-Za-z0-9/+=]|$)",
        _random,
    ),
    ("aws_session_token", r"(?:FwoGZXIvYXdz|IQoJb3JpZ2lu)[A-Za-z0-9/+=]{100,}", accept_all),
    ("aws_bedrock_key", r"ABSK[A-Za-z0-9+/]{109,269}={0,2}", accept_all),
    ("gcp_api_key", r"AIza[0-9A-Za-z_\-]{35}", _no_placeholder),
    ("gcp_oauth_secret", r"GOCSPX-[A-Za-z0-9_\-]{28}", _no_placeholder),
    ("gcp_oauth_token", r"ya29\.[A-Za-z0-9_\-]{30,600}", _no_placeholder),
    ("gcp_service_account", r"\"private_key_id\"\s*:\s*\"([0-9a-f]{40})\"", accept_all),
    ("azure_storage_key", r"AccountKey=([A-Za-z0-9+/]{86}==)", accept_all),
    ("azure_sas", r"[?&]sig=([A-Za-z0-9%+/]{43,90}(?:%3[Dd]|=))", accept_all),
    ("azure_client_secret", r"[A-Za-z0-9_~.\-]{3}8Q~[A-Za-z0-9_~.\-]{31,34}", _no_placeholder),
    ("azure_service_bus_key", r"SharedAccessKey=([A-Za-z0-9+/]{43}=)", accept_all),
    ("digitalocean_token", r"do[oprt]_v1_[a-f0-9]{64}", _no_placeholder),
    ("alibaba_access_key_id", r"LTAI[A-Za-z0-9]{12,20}", _random),
    ("tencent_secret_id", r"AKID[A-Za-z0-9]{32}", _random),
    ("cloudflare_origin_key", r"v1\.0-[a-f0-9]{24}-[a-f0-9]{146}", accept_all),
    ("heroku_token", r"HRKU-[A-Za-z0-9_\-]{36,60}", _no_placeholder),
    ("fly_token", r"(?:fo1_[A-Za-z0-9_\-]{43}|fm[12][ar]?_[A-Za-z0-9+/]{100,}={0,3})", accept_all),
    ("vault_token", r"hv[sbr]\.[A-Za-z0-9_\-]{24,200}", _random),
    ("terraform_token", r"[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_\-=]{60,70}", accept_all),
    ("pulumi_token", r"pul-[a-f0-9]{40}", _no_placeholder),
    ("databricks_token", r"dapi[a-f0-9]{32}(?:-[0-9])?", _no_placeholder),
    ("planetscale_token", r"pscale_(?:tkn|pw|oauth)_[A-Za-z0-9_.=\-]{32,64}", accept_all),
    ("supabase_key", r"sb(?:p|_secret)_[A-Za-z0-9_\-]{20,48}", _random),
    # Code hosting and builds
    ("github_token", r"gh[pousr]_[A-Za-z0-9]{36,251}", _github),
    ("github_fine_grained_token", r"github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}", _no_placeholder),
    (
        "gitlab_token",
        r"gl(?:pat|dt|rt|cbt|ptt|ft|imt|agent|oas|soat)-[A-Za-z0-9_\-]{20,64}(?:\.[A-Za-z0-9]{2}\.[A-Za-z0-9]{9})?",
        _random,
    ),
    ("bitbucket_token", r"ATCTT3xFfG[A-Za-z0-9_\-=]{40,250}", accept_all),
    ("atlassian_token", r"ATATT3xFfG[A-Za-z0-9_\-=]{40,250}", accept_all),
    ("npm_token", r"npm_[A-Za-z0-9]{36}", _random),
    ("pypi_token", r"pypi-AgE[A-Za-z0-9_\-]{50,}", accept_all),
    ("rubygems_key", r"rubygems_[a-f0-9]{48}", _no_placeholder),
    ("crates_token", r"cio[A-Za-z0-9]{32}", _random),
    ("docker_token", r"dck(?:r_pat|r_oat)_[A-Za-z0-9_\-]{27,40}", _no_placeholder),
    ("circleci_token", r"CCIPAT_[A-Za-z0-9]{22}_[a-f0-9]{40}", accept_all),
    ("buildkite_token", r"bkua_[a-f0-9]{40}", _no_placeholder),
    ("sonarqube_token", r"sq[aup]_[a-f0-9]{40}", _no_placeholder),
    ("sentry_token", r"sntry[us]_[A-Za-z0-9+/=_\-]{40,300}", accept_all),
    ("linear_key", r"lin_(?:api|oauth)_[A-Za-z0-9]{40,64}", _random),
    ("figma_token", r"fig[dou]_[A-Za-z0-9_\-]{40,64}", _random),
    ("postman_key", r"PMAK-[a-f0-9]{24}-[a-f0-9]{34}", accept_all),
    ("notion_token", r"(?:ntn_[A-Za-z0-9]{43,50}|secret_[A-Za-z0-9]{43})", _random),
    ("airtable_token", r"pat[A-Za-z0-9]{14}\.[a-f0-9]{64}", accept_all),
    # Chat, mail, telephony
    ("slack_token", r"xox[abeoprs]-(?:[0-9A-Za-z]{1,16}-){0,4}[A-Za-z0-9\-]{10,250}", _random),
    ("slack_app_token", r"xapp-[0-9]-[A-Z0-9]{8,14}-[0-9]{10,14}-[a-f0-9]{64}", accept_all),
    (
        "slack_webhook",
        r"https://hooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers)/T?[A-Za-z0-9_/+\-]{30,80}",
        _no_placeholder,
    ),
    ("discord_token", r"[MNO][A-Za-z0-9_\-]{23,28}\.[A-Za-z0-9_\-]{6}\.[A-Za-z0-9_\-]{27,40}", _random),
    (
        "discord_webhook",
        r"https://(?:canary\.|ptb\.)?discord(?:app)?\.com/api/webhooks/[0-9]{17,20}/[A-Za-z0-9_\-]{60,80}",
        accept_all,
    ),
    (
        "teams_webhook",
        r"https://[a-z0-9\-]{1,63}\.webhook\.office\.com/webhookb2/[a-f0-9@\-]{70,80}/IncomingWebhook/[a-f0-9]{32}/[a-f0-9\-]{36}",
        accept_all,
    ),
    ("telegram_bot_token", r"[0-9]{8,10}:AA[A-Za-z0-9_\-]{33}", _random),
    ("twilio_key", r"(?:SK|AC)[a-f0-9]{32}", _random),
    ("sendgrid_key", r"SG\.[A-Za-z0-9_\-]{22}\.[A-Za-z0-9_\-]{43}", accept_all),
    ("mailgun_key", r"key-[a-f0-9]{32}", _random),
    ("mailchimp_key", r"[a-f0-9]{32}-us[0-9]{1,2}", _random),
    ("brevo_key", r"xkeysib-[a-f0-9]{64}-[A-Za-z0-9]{16}", accept_all),
    ("resend_key", r"re_[A-Za-z0-9]{8}_[A-Za-z0-9]{24}", _random),
    # Payment and shops
    ("stripe_key", r"(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{16,247}", _random),
    ("stripe_webhook_secret", r"whsec_[A-Za-z0-9+/=]{32,64}", _random),
    ("square_token", r"(?:EAAA[A-Za-z0-9_\-+=]{60}|sq0(?:atp|csp)-[A-Za-z0-9_\-]{22,43})", accept_all),
    ("braintree_token", r"access_token\$(?:production|sandbox)\$[a-z0-9]{16}\$[a-f0-9]{32}", accept_all),
    ("shopify_token", r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}", _no_placeholder),
    (
        "plaid_token",
        r"access-(?:sandbox|development|production)-[a-f0-9]{8}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{12}",
        accept_all,
    ),
    ("adyen_key", r"AQE[a-z]h[A-Za-z0-9+/=]{80,250}", accept_all),
    # Model vendors
    ("openai_key", r"sk-(?:proj-|svcacct-|admin-)?[A-Za-z0-9_\-]{20,200}", _random_with_digits),
    ("anthropic_key", r"sk-ant-[a-z0-9]{3,6}-[A-Za-z0-9_\-]{60,140}", _no_placeholder),
    ("groq_key", r"gsk_[A-Za-z0-9]{52}", _random),
    ("xai_key", r"xai-[A-Za-z0-9]{70,90}", _random),
    ("huggingface_token", r"(?:hf|api_org)_[A-Za-z]{34}", _random),
    ("replicate_token", r"r8_[A-Za-z0-9]{37}", _random),
    ("perplexity_key", r"pplx-[A-Za-z0-9]{48,56}", _random),
    ("nvidia_key", r"nvapi-[A-Za-z0-9_\-]{60,70}", _random),
    ("langsmith_key", r"lsv2_(?:pt|sk)_[a-f0-9]{32}_[a-f0-9]{10}", accept_all),
    ("pinecone_key", r"pcsk_[A-Za-z0-9]{5,8}_[A-Za-z0-9]{60,70}", accept_all),
    ("tollkeeper_key", r"tk-(?:live|test|run)_[A-Za-z0-9_.\-]{20,512}", _random),
    # Watching
    ("newrelic_key", r"NRAK-[A-Z0-9]{27}", _random),
    ("grafana_token", r"(?:glc_[A-Za-z0-9+/=]{32,400}|glsa_[A-Za-z0-9]{32}_[a-f0-9]{8})", _random),
    ("dynatrace_token", r"dt0[a-z]01\.[A-Z0-9]{24}\.[A-Z0-9]{64}", accept_all),
    ("posthog_key", r"phx_[A-Za-z0-9]{40,50}", _random),
    # Keys and tokens without an issuer
    (
        "private_key",
        # To its end where that is there, else as far as it goes.
        rf"({_BEGIN}(?:{_BODY}*?-----END [A-Z0-9 ]{{0,60}}-----|{_BODY}*))",
        accept_all,
    ),
    ("putty_private_key", r"PuTTY-User-Key-File-[23]: [^\n]{1,60}", accept_all),
    ("age_secret_key", r"AGE-SECRET-KEY-1[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58}", accept_all),
    ("jwt", r"eyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{4,}\.[A-Za-z0-9_\-]*", _jwt),
    (
        "connection_string",
        rf"(?i:{_SCHEMES})://[^\s:/@\"'<>]{{0,64}}:([^\s/@\"'<>]{{3,128}})@[A-Za-z0-9.\-\[]",
        _password_in_url,
    ),
    ("basic_auth_header", r"(?i:authorization\s*[:=]\s*[\"']?basic )([A-Za-z0-9+/]{12,300}={0,2})", accept_all),
    ("bearer_header", r"(?i:authorization\s*[:=]\s*[\"']?bearer )([A-Za-z0-9_\-.~+/]{20,}=*)", _random),
    (
        "assigned_secret",
        rf"(?i:(?:{_NAMES})[\"']?\s{{0,3}}(?:=|:|=>|:=)\s{{0,3}}[\"']?)([A-Za-z0-9_\-+/=.~!@#%^&*]{{16,200}})",
        _assigned,
    ),
)
# The values of these may touch letters or stand behind a sign.
_LOOSE: Final = frozenset(
    {"private_key", "putty_private_key", "connection_string", "azure_sas", "slack_webhook", "assigned_secret"}
)
LABELS: Final = tuple(label for label, _, _ in _FORMS)
_SHAPES: Final = tuple(
    Shape(
        label,
        pattern,
        _opening if label.endswith("private_key") else word,
        accept,
        is_word=label not in _LOOSE,
    )
    for label, pattern, accept in _FORMS
)


class SecretSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    only: frozenset[str] | None = Field(None, description="Labels to look for; unset looks for all.")
    ignore: frozenset[str] = Field(frozenset(), description="Labels to leave alone.")

    @model_validator(mode="after")
    def _knows_labels(self) -> Self:
        """A label that nothing has would look for nothing, and nobody would hear of it."""
        unknown = sorted((self.ignore | (self.only or frozenset())) - set(LABELS))
        if unknown:
            raise ValueError(f"there is no label '{unknown[0]}': known are {', '.join(sorted(LABELS))}")
        if self.only is not None and not self.only - self.ignore:
            raise ValueError("'only' and 'ignore' leave nothing to look for")
        return self


class Secrets:
    NAME: ClassVar[str] = "secrets"
    TITLE: ClassVar[str] = "Secrets: keys, tokens, passwords in connection strings"
    Settings: ClassVar[type[BaseModel]] = SecretSettings

    def __init__(self, settings: SecretSettings | None = None) -> None:
        self._settings = settings or SecretSettings()

    def shapes(self) -> Sequence[Shape]:
        only, ignore = self._settings.only, self._settings.ignore
        return [shape for shape in _SHAPES if (only is None or shape.label in only) and shape.label not in ignore]
