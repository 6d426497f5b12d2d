"""Signature Version 4 against the vectors that AWS publishes ("aws-sig-v4-test-suite"), and what they leave out."""

import hashlib
from datetime import UTC, datetime

import pytest

from tollkeeper.gateway.cloud_aws import AwsKeys, sign

NOW = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
KEYS = AwsKeys("AKIDEXAMPLE", SECRET)
# Of the suite's post-sts-header-before.
SESSION = (
    "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7"
    "mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d"
    "+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA=="
)
NOTHING = hashlib.sha256(b"").hexdigest()


@pytest.mark.parametrize(
    ("method", "path", "session", "signature"),
    [
        ("GET", "/", None, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("POST", "/", None, "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        (
            "GET",
            "/?Param2=value2&Param1=value1",
            None,
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
        ("POST", "/?Param1=value1", None, "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11"),
        ("POST", "/", SESSION, "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead"),
    ],
    ids=["get-vanilla", "post-vanilla", "get-vanilla-query-order", "post-vanilla-query", "post-sts-header-before"],
)
def test_signature_is_the_one_that_aws_publishes(method: str, path: str, session: str | None, signature: str) -> None:
    keys = AwsKeys("AKIDEXAMPLE", SECRET, session)

    headers = sign(keys, "us-east-1", "service", method, f"https://example.amazonaws.com{path}", NOTHING, NOW)

    names = "host;x-amz-date" + (";x-amz-security-token" if session else "")
    assert headers["authorization"] == (
        f"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        f"SignedHeaders={names}, Signature={signature}"
    )
    assert headers["x-amz-date"] == "20150830T123600Z"
    assert headers.get("x-amz-security-token") == session


def test_colon_of_a_model_is_encoded_twice_in_what_is_signed() -> None:
    """The signature that AWS' own client makes of the same request."""
    url = "https://bedrock-runtime.us-east-1.amazonaws.com/model/anthropic.claude-3-5-sonnet-20241022-v2%3A0/converse-stream"
    digest = hashlib.sha256(b'{"a":1}').hexdigest()
    at = datetime(2026, 11, 21, 19, 33, 27, tzinfo=UTC)

    signed = sign(AwsKeys("AKID", "SECRET"), "us-east-1", "bedrock", "POST", url, digest, at)

    assert signed["authorization"].endswith(
        "Signature=7df0d57b30e23855f897b4333684a0166d1283344fcdc0ef44d449baef0dc22a"
    )


def test_every_part_of_a_request_is_in_its_signature() -> None:
    url = "https://example.amazonaws.com/a"
    kinds = [
        ("POST", url, NOTHING, NOW),
        ("PUT", url, NOTHING, NOW),
        ("POST", url + "b", NOTHING, NOW),
        ("POST", url.replace("example", "other"), NOTHING, NOW),
        ("POST", url, hashlib.sha256(b"x").hexdigest(), NOW),
        ("POST", url, NOTHING, NOW.replace(minute=37)),
    ]

    signatures = {
        sign(KEYS, "us-east-1", "service", method, address, digest, now)["authorization"].rpartition("=")[2]
        for method, address, digest, now in kinds
    }

    assert len(signatures) == len(kinds)


def test_secrets_of_keys_are_in_no_repr() -> None:
    shown = repr(AwsKeys("AKID", "the-secret", "the-session"))
    assert "the-secret" not in shown
    assert "the-session" not in shown
