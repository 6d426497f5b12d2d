"""Secrets are write-only by type: what goes in hides itself, and no answer has a field for one but where it is made."""

import re
from collections.abc import Iterator
from typing import Any, Final

import pytest

from tollkeeper.main import create_app

_SECRET: Final = re.compile(
    r"(?:^|_)(?:passwords?|passphrase|secrets?|tokens?|api_key|private_key|master_key|key|credentials?|cookies?|digest"
    r"|envelope|pepper|link|recovery_codes?|uri|proxy|headers|code|authorization|signature)$"
)
# What is told once, to who made it; and names that only sound like it.
_TOLD: Final = frozenset(
    {
        "Bootstrap.csrf_token",
        "InvitationSent.link",
        "KeyCreated.key",
        "Me.csrf_token",
        "RecoveryCodes.recovery_codes",
        "ResetLink.link",
        "RunCreated.key",
        "SecondFactorBegun.secret",
        "SecondFactorBegun.uri",
        "SecondFactorEnabled.recovery_codes",
        "SignedIn.access_token",
        "SignedIn.csrf_token",
    }
)
_HARMLESS: Final = frozenset(
    {
        # The id of a key: where a guardrail policy holds, and who is exempt from it.
        "AttachmentOut.key",
        "BatchError.code",
        # Conditions on headers, and names of headers that go along.
        "ConditionFields.headers",
        "ExemptionOut.key",
        "PassthroughFields.headers",
        "RefusalOut.code",
        "Request.error_code",
        "RequestAttempt.error_code",
        "RequestDetail.error_code",
        "ErrorDetail.code",
        "FieldProblem.code",
        "IdentityProviderView.redirect_uri",
        "MessageErrorDetails.error_code",
        "Problem.code",
    }
)
# Ids of keys as well, in what is sent.
_HARMLESS_WHEN_SENT: Final = _HARMLESS | {"AttachFields.key", "ExemptionCreate.key"}


def properties(schema: Any, known: dict[str, Any], name: str, seen: set[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(Model.field, its schema) of everything that a body may hold."""
    if not isinstance(schema, dict):
        return
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        if name not in seen:
            seen.add(name)
            yield from properties(known[name], known, name, seen)
        return
    for field, inner in schema.get("properties", {}).items():
        yield f"{name.removesuffix('-Input').removesuffix('-Output')}.{field}", inner
        yield from properties(inner, known, name, seen)
    for inner in [
        schema.get("items"),
        schema.get("additionalProperties"),
        *schema.get("anyOf", ()),
        *schema.get("allOf", ()),
        *schema.get("oneOf", ()),
        *schema.get("prefixItems", ()),
    ]:
        yield from properties(inner, known, name, seen)


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    found: dict[str, Any] = create_app().openapi()
    return found


def control_bodies(document: dict[str, Any], side: str) -> Iterator[tuple[str, dict[str, Any]]]:
    known = document["components"]["schemas"]
    seen: set[str] = set()
    for path, methods in document["paths"].items():
        if not path.startswith("/api/v1/") or path.startswith(("/api/v1/chat", "/api/v1/completions", "/api/v1/embed")):
            continue
        for operation in methods.values():
            bodies = [operation.get("requestBody", {})] if side == "in" else operation["responses"].values()
            for body in bodies:
                for content in body.get("content", {}).values():
                    yield from properties(content.get("schema"), known, path, seen)


def texts(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The texts in a value, through lists and maps. The fields of an object inside are looked at by themselves."""
    if schema.get("type") == "string" and not {"enum", "const"} & schema.keys():
        yield schema
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), dict):
            yield from texts(schema[name])
    for inner in (*schema.get("anyOf", ()), *schema.get("allOf", ()), *schema.get("oneOf", ())):
        yield from texts(inner)


def sounds_secret(name: str, schema: dict[str, Any]) -> bool:
    return _SECRET.search(name.rpartition(".")[2]) is not None and any(texts(schema))


def is_write_only(schema: dict[str, Any]) -> bool:
    return bool(schema.get("writeOnly")) or all(text.get("writeOnly") for text in texts(schema))


def test_no_answer_has_a_field_for_a_secret_but_where_it_is_made(document: dict[str, Any]) -> None:
    found = {name for name, schema in control_bodies(document, "out") if sounds_secret(name, schema)}
    assert found - _TOLD - _HARMLESS == set()
    # An exception that is not needed any more would let the next one through.
    assert found >= _TOLD | _HARMLESS


def test_no_answer_holds_a_type_that_is_write_only(document: dict[str, Any]) -> None:
    fields = list(control_bodies(document, "out"))
    assert len(fields) > 100
    assert {name for name, schema in fields if any(text.get("writeOnly") for text in texts(schema))} == set()


def test_every_secret_that_is_sent_hides_itself(document: dict[str, Any]) -> None:
    fields = list(control_bodies(document, "in"))
    shown = {name for name, schema in fields if sounds_secret(name, schema) and not is_write_only(schema)}
    assert shown - _HARMLESS_WHEN_SENT == set()
    assert sum(sounds_secret(name, schema) for name, schema in fields) > 10
