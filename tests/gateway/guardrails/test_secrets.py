"""Every form of credential is found wherever it stands; placeholders, hashes and names are not."""

import base64
import random
import string
import zlib
from collections.abc import Mapping
from typing import Final

import pytest

from tests.gateway.guardrails.samples import CLEAN_OF_SECRETS
from tollkeeper.gateway.guardrails.secrets import LABELS, Secrets, SecretSettings
from tollkeeper.gateway.shapes import Shapes

ALL = Shapes([("secrets", Secrets().shapes())])
_ALNUM: Final = string.ascii_letters + string.digits
_HEX: Final = "0123456789abcdef"


def _made() -> Mapping[str, str]:
    """Of a seed of its own, so that no scanner of repositories finds a token in this file."""
    generator = random.Random(20_261_121)

    def some(count: int, alphabet: str = _ALNUM) -> str:
        return "".join(generator.choice(alphabet) for _ in range(count))

    def hexes(count: int) -> str:
        return some(count, _HEX)

    def github() -> str:
        body, digits, check = some(30), string.digits + string.ascii_uppercase + string.ascii_lowercase, ""
        number = zlib.crc32(body.encode())
        while number:
            number, rest = divmod(number, 62)
            check = digits[rest] + check
        return "ghp_" + body + check.rjust(6, "0")

    def jwt() -> str:
        head = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').decode().rstrip("=")
        return f"{head}.{some(40)}.{some(43)}"

    upper = string.ascii_uppercase + "234567"
    return {
        "aws_access_key_id": "AKIA" + some(16, upper),
        "aws_secret_access_key": 'aws_secret_access_key = "' + some(40) + '"',
        "aws_session_token": "IQoJb3JpZ2lu" + some(200),
        "aws_bedrock_key": "ABSK" + some(128),
        "gcp_api_key": "AIza" + some(35),
        "gcp_oauth_secret": "GOCSPX-" + some(28),
        "gcp_oauth_token": "ya29." + some(120),
        "gcp_service_account": '"private_key_id": "' + hexes(40) + '"',
        "azure_storage_key": "DefaultEndpointsProtocol=https;AccountKey=" + some(86) + "==;",
        "azure_sas": "https://a.blob.core.windows.net/c?sv=2024&sig=" + some(43) + "%3D",
        "azure_client_secret": some(3) + "8Q~" + some(34),
        "azure_service_bus_key": "SharedAccessKey=" + some(43) + "=",
        "digitalocean_token": "dop_v1_" + hexes(64),
        "alibaba_access_key_id": "LTAI" + some(20),
        "tencent_secret_id": "AKID" + some(32),
        "cloudflare_origin_key": "v1.0-" + hexes(24) + "-" + hexes(146),
        "heroku_token": "HRKU-" + some(40),
        "fly_token": "fo1_" + some(43),
        "vault_token": "hvs." + some(90),
        "terraform_token": some(14) + ".atlasv1." + some(67),
        "pulumi_token": "pul-" + hexes(40),
        "databricks_token": "dapi" + hexes(32),
        "planetscale_token": "pscale_tkn_" + some(43),
        "supabase_key": "sbp_" + hexes(40),
        "github_token": github(),
        "github_fine_grained_token": "github_pat_" + some(22) + "_" + some(59),
        "gitlab_token": "glpat-" + some(20),
        "bitbucket_token": "ATCTT3xFfG" + some(160),
        "atlassian_token": "ATATT3xFfG" + some(180),
        "npm_token": "npm_" + some(36),
        "pypi_token": "pypi-AgE" + some(150),
        "rubygems_key": "rubygems_" + hexes(48),
        "crates_token": "cio" + some(32),
        "docker_token": "dckr_pat_" + some(27),
        "circleci_token": "CCIPAT_" + some(22) + "_" + hexes(40),
        "buildkite_token": "bkua_" + hexes(40),
        "sonarqube_token": "squ_" + hexes(40),
        "sentry_token": "sntrys_" + some(100),
        "linear_key": "lin_api_" + some(40),
        "figma_token": "figd_" + some(43),
        "postman_key": "PMAK-" + hexes(24) + "-" + hexes(34),
        "notion_token": "ntn_" + some(46),
        "airtable_token": "pat" + some(14) + "." + hexes(64),
        "slack_token": "xoxb-" + some(12, string.digits) + "-" + some(12, string.digits) + "-" + some(24),
        "slack_app_token": "xapp-1-A" + some(10, upper) + "-" + some(13, string.digits) + "-" + hexes(64),
        "slack_webhook": "https://hooks.slack.com/services/T" + some(8, upper) + "/B" + some(8, upper) + "/" + some(24),
        "discord_token": "M" + some(25) + "." + some(6) + "." + some(38),
        "discord_webhook": "https://discord.com/api/webhooks/" + some(18, string.digits) + "/" + some(68),
        "teams_webhook": "https://acme.webhook.office.com/webhookb2/"
        f"{hexes(8)}-{hexes(4)}-{hexes(4)}-{hexes(4)}-{hexes(12)}@{hexes(8)}-{hexes(4)}-{hexes(4)}-{hexes(4)}-{hexes(12)}"
        f"/IncomingWebhook/{hexes(32)}/{hexes(8)}-{hexes(4)}-{hexes(4)}-{hexes(4)}-{hexes(12)}",
        "telegram_bot_token": some(10, "123456789") + ":AA" + some(33),
        "twilio_key": "SK" + hexes(32),
        "sendgrid_key": "SG." + some(22) + "." + some(43),
        "mailgun_key": "key-" + hexes(32),
        "mailchimp_key": hexes(32) + "-us12",
        "brevo_key": "xkeysib-" + hexes(64) + "-" + some(16),
        "resend_key": "re_" + some(8) + "_" + some(24),
        "stripe_key": "sk_live_" + some(24),
        "stripe_webhook_secret": "whsec_" + some(32),
        "square_token": "sq0atp-" + some(22),
        "braintree_token": "access_token$production$"
        + some(16, string.ascii_lowercase + string.digits)
        + "$"
        + hexes(32),
        "shopify_token": "shpat_" + hexes(32),
        "plaid_token": f"access-production-{hexes(8)}-{hexes(4)}-{hexes(4)}-{hexes(4)}-{hexes(12)}",
        "adyen_key": "AQEyh" + some(120),
        "openai_key": "sk-proj-" + some(48),
        "anthropic_key": "sk-ant-api03-" + some(95),
        "groq_key": "gsk_" + some(52),
        "xai_key": "xai-" + some(80),
        "huggingface_token": "hf_" + some(34, string.ascii_letters),
        "replicate_token": "r8_" + some(37),
        "perplexity_key": "pplx-" + some(48),
        "nvidia_key": "nvapi-" + some(64),
        "langsmith_key": "lsv2_pt_" + hexes(32) + "_" + hexes(10),
        "pinecone_key": "pcsk_" + some(6) + "_" + some(63),
        "tollkeeper_key": "tk-live_" + some(43),
        "newrelic_key": "NRAK-" + some(27, upper),
        "grafana_token": "glsa_" + some(32) + "_" + hexes(8),
        "dynatrace_token": "dt0c01." + some(24, upper) + "." + some(64, upper),
        "posthog_key": "phx_" + some(43),
        "private_key": "-----BEGIN RSA PRIVATE KEY-----\n"
        + some(64)
        + "\n"
        + some(64)
        + "\n-----END RSA PRIVATE KEY-----",
        "putty_private_key": "PuTTY-User-Key-File-3: ssh-ed25519",
        "age_secret_key": "AGE-SECRET-KEY-1" + some(58, "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L"),
        "jwt": jwt(),
        "connection_string": "postgresql://app:" + some(14) + "@db.internal:5432/app",
        "basic_auth_header": "Authorization: Basic " + some(24),
        "bearer_header": "authorization: bearer " + some(40),
        "assigned_secret": 'MY_API_KEY="' + some(32) + '"',
    }


TOKENS: Final = _made()


def found(text: str) -> set[str]:
    return {finding.label for finding in ALL.find(text)}


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize(
    "frame",
    [
        pytest.param("it is {} as I said", id="prose"),
        pytest.param('{{"value": "{}"}}', id="json"),
        pytest.param("X={}\n", id="environment"),
        pytest.param("({})", id="brackets"),
        pytest.param("日本 {} é", id="beside other scripts"),
    ],
)
def test_a_token_is_found_wherever_it_stands(label: str, frame: str) -> None:
    assert label in found(frame.format(TOKENS[label]))


def test_there_are_as_many_forms_as_promised_and_each_has_a_sample() -> None:
    assert len(LABELS) >= 60
    assert set(TOKENS) == set(LABELS)


@pytest.mark.parametrize("text", CLEAN_OF_SECRETS)
def test_what_is_no_secret_is_left_alone(text: str) -> None:
    assert found(text) == set()


def test_a_finding_covers_the_secret_and_not_its_name() -> None:
    text = TOKENS["connection_string"]
    [finding] = [one for one in ALL.find(text) if one.label == "connection_string"]
    assert text[: finding.start] == "postgresql://app:"
    assert text[finding.end :].startswith("@db.internal")


def test_a_private_key_is_found_with_all_its_lines() -> None:
    text = "here:\n" + TOKENS["private_key"] + "\nthanks!"
    [finding] = ALL.find(text)
    assert text[finding.start : finding.end].startswith("-----BEGIN RSA")
    assert "END RSA PRIVATE KEY" in text[finding.start : finding.end]


def test_labels_can_be_chosen() -> None:
    chosen = Secrets(SecretSettings(only=frozenset({"jwt"}))).shapes()
    assert [shape.label for shape in chosen] == ["jwt"]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"only": ["jwtt"]}, "there is no label 'jwtt'"),
        ({"ignore": ["nothing_has_this"]}, "there is no label"),
        ({"only": ["jwt"], "ignore": ["jwt"]}, "leave nothing to look for"),
    ],
)
def test_labels_that_nothing_has_are_refused(settings: dict[str, list[str]], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        SecretSettings.model_validate(settings)
