"""Credentials that open nothing, by the forms of those who issue them, where people leave them: code, settings, logs, chat."""

import base64
import random
import string
import zlib
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import orjson

from bench.guardrails.items import Item, Span

_ALNUM: Final = string.ascii_letters + string.digits
_URL: Final = _ALNUM + "-_"
_B64: Final = _ALNUM + "+/"
_HEX: Final = "0123456789abcdef"
_UPPER: Final = string.ascii_uppercase + "234567"

# A form: pieces of fixed text and `count alphabet`; from the issuers' references.
_ALPHABETS: Final = {"w": _ALNUM, "u": _URL, "b": _B64, "h": _HEX, "A": _UPPER, "d": string.digits, "l": string.ascii_letters,
                     "C": string.ascii_uppercase + string.digits, "s": string.ascii_lowercase + string.digits}  # fmt: skip
_FORMS: Final[Mapping[str, Sequence[str]]] = MappingProxyType({
    "aws_access_key_id": ("AKIA{16A}", "ASIA{16A}"),
    "aws_bedrock_key": ("ABSK{128w}",),
    "gcp_api_key": ("AIza{35u}",),
    "gcp_oauth_secret": ("GOCSPX-{28u}",),
    "gcp_oauth_token": ("ya29.{120u}",),
    "digitalocean_token": ("dop_v1_{64h}", "doo_v1_{64h}"),
    "azure_client_secret": ("{3w}8Q~{34w}",),
    "alibaba_access_key_id": ("LTAI{20w}",),
    "tencent_secret_id": ("AKID{32w}",),
    "vault_token": ("hvs.{24w}", "hvb.{90u}"),
    "terraform_token": ("{14w}.atlasv1.{67w}",),
    "pulumi_token": ("pul-{40h}",),
    "databricks_token": ("dapi{32h}", "dapi{32h}-2"),
    "planetscale_token": ("pscale_tkn_{43u}",),
    "supabase_key": ("sbp_{40h}", "sb_secret_{31u}"),
    "github_fine_grained_token": ("github_pat_{22w}_{59w}",),
    "gitlab_token": ("glpat-{20u}", "glrt-{20u}"),
    "atlassian_token": ("ATATT3xFfG{180u}",),
    "npm_token": ("npm_{36w}",),
    "pypi_token": ("pypi-AgEIcHlwaS5vcmc{80u}",),
    "rubygems_key": ("rubygems_{48h}",),
    "docker_token": ("dckr_pat_{27u}",),
    "buildkite_token": ("bkua_{40h}",),
    "sonarqube_token": ("squ_{40h}", "sqp_{40h}"),
    "sentry_token": ("sntrys_{100w}",),
    "linear_key": ("lin_api_{40w}",),
    "figma_token": ("figd_{43u}",),
    "postman_key": ("PMAK-{24h}-{34h}",),
    "notion_token": ("ntn_{46w}", "secret_{43w}"),
    "airtable_token": ("pat{14w}.{64h}",),
    "slack_token": ("xoxb-{12d}-{12d}-{24w}", "xoxp-{12d}-{12d}-{12d}-{32h}"),
    "slack_app_token": ("xapp-1-A{10C}-{13d}-{64h}",),
    "slack_webhook": ("https://hooks.slack.com/services/T{8C}/B{8C}/{24w}",),
    "discord_token": ("M{25w}.{6u}.{38u}",),
    "discord_webhook": ("https://discord.com/api/webhooks/{18d}/{68u}",),
    "telegram_bot_token": ("{10d}:AA{33u}",),
    "twilio_key": ("SK{32h}", "AC{32h}"),
    "sendgrid_key": ("SG.{22u}.{43u}",),
    "mailgun_key": ("key-{32h}",),
    "mailchimp_key": ("{32h}-us{1d}",),
    "brevo_key": ("xkeysib-{64h}-{16w}",),
    "resend_key": ("re_{8w}_{24w}",),
    "stripe_key": ("sk_live_{24w}", "rk_live_{99w}", "sk_test_{24w}"),
    "stripe_webhook_secret": ("whsec_{32w}",),
    "square_token": ("EAAA{60u}", "sq0atp-{22u}"),
    "shopify_token": ("shpat_{32h}", "shpss_{32h}"),
    "plaid_token": ("access-production-{8h}-{4h}-{4h}-{4h}-{12h}",),
    "openai_key": ("sk-proj-{120u}", "sk-{48w}", "sk-svcacct-{100u}"),
    "anthropic_key": ("sk-ant-api03-{93u}AA",),
    "groq_key": ("gsk_{52w}",),
    "xai_key": ("xai-{80w}",),
    "huggingface_token": ("hf_{34l}",),
    "replicate_token": ("r8_{37w}",),
    "perplexity_key": ("pplx-{48w}",),
    "nvidia_key": ("nvapi-{64u}",),
    "langsmith_key": ("lsv2_pt_{32h}_{10h}",),
    "tollkeeper_key": ("tk-live_{12w}_{43u}",),
    "newrelic_key": ("NRAK-{27C}",),
    "grafana_token": ("glsa_{32w}_{8h}", "glc_{120w}"),
    "dynatrace_token": ("dt0c01.{24A}.{64A}",),
    "posthog_key": ("phx_{43w}",),
    "age_secret_key": ("AGE-SECRET-KEY-1{58Q}",),
})  # fmt: skip


def _some(r: random.Random, count: int, alphabet: str) -> str:
    return "".join(r.choices(alphabet, k=count))


def _of(r: random.Random, form: str) -> str:
    pieces = []
    for piece in form.replace("}", "{").split("{"):
        is_slot = piece[:-1].isdigit() and len(piece) > 1 and piece[-1] in "wubhAdlCsQ" and f"{{{piece}}}" in form
        alphabet = _ALPHABETS.get(piece[-1:], "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L")
        pieces.append(_some(r, int(piece[:-1]), alphabet) if is_slot else piece)
    return "".join(pieces)


def _github(r: random.Random) -> str:
    body, order = _some(r, 30, _ALNUM), string.digits + string.ascii_uppercase + string.ascii_lowercase
    rest, check = zlib.crc32(body.encode()), ""
    while rest:
        rest, index = divmod(rest, 62)
        check = order[index] + check
    return r.choice(("ghp_", "gho_", "ghs_")) + body + check.rjust(6, "0")


def _jwt(r: random.Random) -> str:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(orjson.dumps(value)).decode().rstrip("=")

    return f"{part({'alg': r.choice(('HS256', 'RS256', 'ES384')), 'typ': 'JWT'})}.{part({'sub': r.randint(1, 9999), 'exp': 1_900_000_000})}.{_some(r, 43, _URL)}"


def _private_key(r: random.Random) -> str:
    kind = r.choice(("RSA ", "EC ", "", "OPENSSH "))
    lines = "\n".join(_some(r, 64, _B64) for _ in range(r.randint(3, 24)))
    return f"-----BEGIN {kind}PRIVATE KEY-----\n{lines}\n{_some(r, 22, _B64)}==\n-----END {kind}PRIVATE KEY-----"


# Where the value is a part of what is written: what stands before, how it is made, what stands behind.
_PARTS: Final[Mapping[str, tuple[str, Callable[[random.Random], str], str]]] = MappingProxyType({
    "aws_secret_access_key": ("aws_secret_access_key = ", lambda r: _some(r, 40, _B64), ""),
    "gcp_service_account": ('"private_key_id": "', lambda r: _some(r, 40, _HEX), '"'),
    "azure_storage_key": ("DefaultEndpointsProtocol=https;AccountKey=", lambda r: _some(r, 86, _B64) + "==", ";Suffix=core"),
    "connection_string": ("postgresql://app:", lambda r: _some(r, 18, _ALNUM + "!%*"), "@db.internal:5432/app"),
    "bearer_header": ("Authorization: Bearer ", lambda r: _some(r, 40, _URL), ""),
    "basic_auth_header": ("Authorization: Basic ", lambda r: base64.b64encode(b"svc:" + _some(r, 17, _ALNUM).encode()).decode(), ""),
    "assigned_secret": ("client_secret: ", lambda r: _some(r, 32, _ALNUM) + "7x", ""),
})  # fmt: skip
_FRAMES: Final[Mapping[str, Sequence[str]]] = MappingProxyType({
    "env": ("DEBUG=0\nTOKEN={v}\nPORT=8080\n", 'export SERVICE_TOKEN="{v}"\n'),
    "python": ('client = Client("{v}", timeout=30)\n', "TOKEN = '{v}'  # rotate before the release\n"),
    "javascript": ("const client = new Client({{ token: `{v}` }});", 'fetch(url, {{headers: {{"x-token": "{v}"}}}})'),
    "yaml": ("service:\n  token: {v}\n  retries: 3\n",),
    "json": ('{{"token":"{v}","region":"eu"}}',),
    "shell": ("curl -s -H 'X-Token: {v}' https://api.example.com/v1/me",),
    "log": ("2026-11-02 10:31:07 DEBUG http: sent token={v} status=401",),
    "url": ("GET /v1/things?page=2&token={v}",),
    "chat-en": ("hey, the token is {v} - please don't share it", "Use `{v}` for staging for now, I will rotate it later."),
    "chat-de": ("Der Schlüssel ist {v}, bitte nicht weitergeben.",),
    "chat-fr": ("Voici la clé : {v}. Garde-la pour toi.",),
    "chat-es": ("La clave es {v}, no la compartas.",),
    "chat-zh": ("密钥是{v},别告诉别人。",),
    "chat-ja": ("トークンは{v}です。",),
    "terraform": ('provider "x" {{\n  token = "{v}"\n}}\n',),
    "dockerfile": ("ENV SERVICE_TOKEN={v}\nRUN make\n",),
    "diff": ('-  token: ""\n+  token: "{v}"\n',),
})  # fmt: skip


def tokens(r: random.Random, count: int) -> list[Item]:
    made: dict[str, Callable[[random.Random], tuple[str, str, str]]] = {}
    for label, forms in _FORMS.items():
        made[label] = lambda r, forms=forms: ("", _of(r, r.choice(forms)), "")  # type: ignore[misc]
    for label, (head, make, end) in _PARTS.items():
        made[label] = lambda r, head=head, make=make, end=end: (head, make(r), end)  # type: ignore[misc]
    made |= {
        "github_token": lambda r: ("", _github(r), ""),
        "jwt": lambda r: ("", _jwt(r), ""),
        "private_key": lambda r: ("", _private_key(r), ""),
    }
    items = []
    for number in range(count):
        label = sorted(made)[number % len(made)]
        head, value, end = made[label](r)
        kind = r.choice(sorted(_FRAMES))
        before, _, after = r.choice(_FRAMES[kind]).format(v="\0").partition("\0")
        start = len(before) + len(head)
        text = before + head + value + end + after
        items.append(Item(text, (label,), (Span(start, start + len(value), label),), f"secrets/{kind}"))
    return items
