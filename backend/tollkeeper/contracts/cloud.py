"""Credentials of clouds: documents that a token or a signature is made of, for the kinds of providers that take them.

A provider's secret is either a plain key or such a document, as JSON text. Both planes read it by the same function: the
control plane refuses what could never work, the data plane asks with it. Google's forms are those of its own files.
"""

import json
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, Self, TypeAlias
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints, ValidationError, model_validator

LONGEST_DOCUMENT: Final = 16_384


class DocumentFamily(StrEnum):
    """Whose form a kind of provider takes."""

    ENTRA = "entra"
    GOOGLE = "google"
    AWS = "aws"


_Text = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,512}$")]
_Secret = Annotated[SecretStr, Field(min_length=1, max_length=8192)]
_Url = Annotated[str, StringConstraints(pattern=r"^https?://[\x21-\x7e]{1,512}$")]
_File = Annotated[str, StringConstraints(pattern=r"^/[\x20-\x7e]{1,512}$")]
_RoleArn = Annotated[str, StringConstraints(pattern=r"^arn:aws[a-z-]{0,20}:iam::[0-9]{12}:role/[\x21-\x7e]{1,512}$")]
_SessionName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_+=,.@-]{2,64}$")]


class _Ours(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Theirs(BaseModel):
    """A vendor's own file: it may hold more than we need."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class EntraClient(_Ours):
    """An application of Microsoft Entra ID: by its secret, or by a token that the platform wrote to a file."""

    tenant_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.-]{1,128}$")]
    client_id: _Text
    client_secret: _Secret | None = None
    federated_token_file: _File | None = None
    authority: _Url = "https://login.microsoftonline.com"
    scope: _Text = "https://cognitiveservices.azure.com/.default"

    @model_validator(mode="after")
    def _has_one_proof(self) -> Self:
        if (self.client_secret is None) == (self.federated_token_file is None):
            raise ValueError("give client_secret or federated_token_file, one of the two")
        return self

    def urls(self) -> tuple[str, ...]:
        return (self.authority,)

    def files(self) -> tuple[str, ...]:
        return () if self.federated_token_file is None else (self.federated_token_file,)


class ServiceAccount(_Theirs):
    """Google's key file of a service account."""

    type: Literal["service_account"]
    client_email: _Text
    private_key: _Secret
    private_key_id: _Text | None = None
    token_uri: _Url = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address

    def urls(self) -> tuple[str, ...]:
        return (self.token_uri,)

    def files(self) -> tuple[str, ...]:
        return ()


class _SourceFormat(_Theirs):
    type: Literal["text", "json"] = "text"
    subject_token_field_name: _Text | None = None


class _TokenSource(_Theirs):
    """Only files: what else Google's clients can ask (a URL, a program) would run with the gateway's own rights."""

    file: _File
    format: _SourceFormat = _SourceFormat()


class ExternalAccount(_Theirs):
    """Google's workload identity federation: another platform's token, exchanged for one of Google's."""

    type: Literal["external_account"]
    audience: _Text
    subject_token_type: _Text
    token_url: _Url = "https://sts.googleapis.com/v1/token"  # noqa: S105 - an address
    service_account_impersonation_url: _Url | None = None
    credential_source: _TokenSource

    def urls(self) -> tuple[str, ...]:
        impersonation = self.service_account_impersonation_url
        return (self.token_url,) if impersonation is None else (self.token_url, impersonation)

    def files(self) -> tuple[str, ...]:
        return (self.credential_source.file,)


class AuthorizedUser(_Theirs):
    """What `gcloud auth application-default login` writes; for trying things out."""

    type: Literal["authorized_user"]
    client_id: _Text
    client_secret: _Secret
    refresh_token: _Secret
    token_uri: _Url = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address

    def urls(self) -> tuple[str, ...]:
        return (self.token_uri,)

    def files(self) -> tuple[str, ...]:
        return ()


class Role(_Ours):
    """A role to assume. One that is reached through another lasts an hour at most, by AWS' own rule."""

    role_arn: _RoleArn
    external_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_+=,.@:/-]{2,1224}$")] | None = None
    session_name: _SessionName = "tollkeeper"
    duration_seconds: Annotated[int, Field(ge=900, le=43_200, strict=True)] = 3600


class AwsDocument(_Ours):
    """Keys of AWS, or a token that the platform wrote to a file, and the roles assumed with it, one after the other."""

    access_key_id: _Text | None = None
    secret_access_key: _Secret | None = None
    session_token: _Secret | None = None
    web_identity_token_file: _File | None = None
    roles: Annotated[tuple[Role, ...], Field(max_length=5)] = ()
    region: Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{3,32}$")] | None = None
    sts_endpoint: _Url | None = None

    @model_validator(mode="after")
    def _has_one_beginning(self) -> Self:
        if self.web_identity_token_file is not None:
            if self.access_key_id is not None or self.secret_access_key is not None or self.session_token is not None:
                raise ValueError("give access_key_id and secret_access_key, or web_identity_token_file, not both")
            if not self.roles:
                raise ValueError("web_identity_token_file needs roles: the first is the one that trusts the token")
        elif self.access_key_id is None or self.secret_access_key is None:
            raise ValueError("give access_key_id and secret_access_key, or web_identity_token_file and roles")
        return self

    def urls(self) -> tuple[str, ...]:
        return () if self.sts_endpoint is None else (self.sts_endpoint,)

    def files(self) -> tuple[str, ...]:
        return () if self.web_identity_token_file is None else (self.web_identity_token_file,)


CloudDocument: TypeAlias = EntraClient | ServiceAccount | ExternalAccount | AuthorizedUser | AwsDocument

_GOOGLE: Final[Mapping[object, type[CloudDocument]]] = {
    "service_account": ServiceAccount,
    "external_account": ExternalAccount,
    "authorized_user": AuthorizedUser,
}
# Where a family's tokens come from. Elsewhere only with the operator's word for the provider's address.
_HOSTS: Final[Mapping[DocumentFamily, Callable[[str], bool]]] = {
    DocumentFamily.ENTRA: frozenset(
        {"login.microsoftonline.com", "login.microsoftonline.us", "login.partner.microsoftonline.cn"}
    ).__contains__,
    DocumentFamily.GOOGLE: lambda host: host.endswith(".googleapis.com"),
    DocumentFamily.AWS: lambda host: (
        (host.startswith("sts.") or ".sts." in host) and host.endswith((".amazonaws.com", ".amazonaws.com.cn"))
    ),
}


def is_document(secret: str) -> bool:
    """Whether a provider's secret is a document rather than a key. No vendor's key begins like this."""
    return secret.startswith("{")


def read_document(
    family: DocumentFamily, secret: str, *, is_file_managed: bool, allows_any_host: bool
) -> CloudDocument:
    """The document, checked. Raises ValueError with a sentence for the operator that quotes nothing of it.

    Files of the gateway's machine may be named in the configuration file alone: who writes that rules the machine anyway.
    """
    document = _parse(family, secret)
    if document.files() and not is_file_managed:
        raise ValueError("the credential names a file of the gateway's machine, which only tollkeeper.yaml may do")
    for url in document.urls():
        split = urlsplit(url)
        host = (split.hostname or "").lower()
        if not allows_any_host and (split.scheme != "https" or not _HOSTS[family](host)):
            raise ValueError(
                "the credential names an address for tokens that is not the vendor's own: "
                "correct it, or set allow_private_address if it is meant"
            )
    return document


def compact_document(text: str) -> str:
    """A document as one line of ASCII, as it is kept. Raises ValueError for what is no JSON object."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("the secret begins with { and is no JSON: check for a missing quote or bracket") from None
    return json.dumps(value, separators=(",", ":"))


def secrets_of(secret: str) -> tuple[str, ...]:
    """Everything in a document that must not be repeated by anybody; for a plain key the key."""
    if not is_document(secret):
        return (secret,)
    try:
        value = json.loads(secret)
    except (ValueError, RecursionError):
        return (secret,)
    named = ("client_secret", "private_key", "secret_access_key", "session_token", "refresh_token")
    return (secret, *(value[name] for name in named if isinstance(value.get(name), str) and value[name]))


def _parse(family: DocumentFamily, secret: str) -> CloudDocument:
    try:
        value = json.loads(secret)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise ValueError("the credential is no JSON object")
    model = _model_of(family, value)
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        said = first["msg"].removeprefix("Value error, ")
        raise ValueError(f"the credential's {place}: {_words(said)}" if place else _words(said)) from None


def _model_of(family: DocumentFamily, value: Mapping[str, Any]) -> type[CloudDocument]:
    if family is DocumentFamily.ENTRA:
        return EntraClient
    if family is DocumentFamily.AWS:
        return AwsDocument
    kind = value.get("type")
    model = _GOOGLE.get(kind) if isinstance(kind, str) else None
    if model is None:
        raise ValueError(f"the credential's type: expected one of {', '.join(map(str, _GOOGLE))}")
    return model


def _words(message: str) -> str:
    return message[:1].lower() + message[1:]
