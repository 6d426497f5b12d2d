"""A vendor's words do not carry our secrets on."""

from uuid import uuid4

import pytest

from tollkeeper.contracts.catalog import Credential, ProviderConfig
from tollkeeper.core.errors import BadRequest
from tollkeeper.gateway.secrecy import hide_secrets, read_request_id

CREDENTIAL = Credential(uuid4(), "sk-of-the-gateway")
CONFIG = ProviderConfig(
    uuid4(), "p", "openai", None, (CREDENTIAL,), proxy_url="http://u:pw@proxy:1", headers={"x-key": "a header's secret"}
)


def test_error_keeps_its_sense_without_our_secrets() -> None:
    said = "Bad model in Bearer sk-of-the-gateway, a header's secret, via http://u:pw@proxy:1"
    error = BadRequest(said, code="sk-of-the-gateway", param="messages")
    hide_secrets(error, CONFIG, CREDENTIAL)
    assert error.message == "Bad model in Bearer ***, ***, via ***"
    assert (str(error), error.code, error.param) == (error.message, "***", "messages")


def test_secrets_inside_a_document_and_what_was_made_of_it_are_hidden_too() -> None:
    document = '{"access_key_id":"AKIA","secret_access_key":"the-secret-key","session_token":"the-session"}'
    credential = Credential(uuid4(), document)
    error = BadRequest(f"{document} the-secret-key the-session Bearer ey.token.made AKIA")
    hide_secrets(error, CONFIG, credential, {"authorization": "Bearer ey.token.made"})
    assert error.message == "*** *** *** Bearer *** AKIA"


def test_short_header_values_are_words_of_any_sentence() -> None:
    config = ProviderConfig(uuid4(), "p", "openai", None, headers={"x-team": "blue"})
    error = BadRequest("the blue model")
    hide_secrets(error, config, None)
    assert error.message == "the blue model"


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("req_01a1fe24e35c79d2940ee4a5a9c0d271", True),
        ("2f6d1c84-5c3e-4a8e-9a53-8d6a8c1f2a11", True),
        ("a sentence with a prompt", False),
        ("sk-of-the-gateway", False),
        ("x" * 129, False),
        ("{'a': 1}", False),
        ("", False),
    ],
)
def test_request_id_of_a_vendor_is_an_id_or_nothing(value: str, kept: bool) -> None:
    for name in ("x-request-id", "request-id", "x-amzn-requestid", "apim-request-id"):
        assert read_request_id({name: value}, CREDENTIAL) == (value if kept else None)
    assert read_request_id({}, None) is None
