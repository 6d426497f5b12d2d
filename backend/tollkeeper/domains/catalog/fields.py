"""The small value types that the configuration file and the API share: names, addresses, headers, prices.

An address or a name ends up in URLs and headers of calls to vendors, so each is checked here once, by one rule.
"""

import ipaddress
import re
import socket
from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import SplitResult, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    model_validator,
)

from tollkeeper.contracts.catalog import REST, ProviderKind
from tollkeeper.contracts.cloud import LONGEST_DOCUMENT, compact_document, is_document, read_document
from tollkeeper.core.money import Usd, pico_per_token, pico_per_unit

# Of a model that leads to several vendors.
OWNER: Final = "tollkeeper"
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_HEADER_VALUE: Final = re.compile(r"[\x20-\x7e]{0,4096}")
_LARGEST_FACTOR: Final = 1_000
_MOST_CONCURRENCY: Final = 1_000_000
# Set by the HTTP client itself; a second value would make a request that two parsers read differently.
_RESERVED_HEADERS: Final = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


def _check_url(text: str) -> SplitResult:
    if not text.isascii() or not text.isprintable() or " " in text or "\\" in text:
        raise ValueError("expected an http:// or https:// address without spaces, backslashes or special characters")
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        raise ValueError("the address cannot be read: check its host and port") from None
    if url.scheme not in _DEFAULT_PORTS or not url.hostname or port == 0:
        raise ValueError("expected an address such as https://api.example.com/v1")
    return url


def read_base_url(text: str) -> str:
    """Check and tidy a provider's address: no user name, query or fragment, no slash at the end."""
    url = _check_url(text)
    if url.username is not None or url.password is not None:
        raise ValueError("a user name or password does not belong in the address: use api_key or headers")
    if "#" in text or "?" in text:
        raise ValueError("the address has a query or a fragment: remove it")
    return text.rstrip("/")


def read_proxy_url(text: str) -> str:
    """Check a proxy's address; it may carry a user name and a password, but no path."""
    url = _check_url(text)
    if url.path not in {"", "/"} or url.query or url.fragment:
        raise ValueError("a proxy is an address without a path, such as http://proxy.example.com:3128")
    return text.rstrip("/")


def origin_of(base_url: str) -> str:
    """`scheme://host:port`, the port always written: what a credential is bound to."""
    url = urlsplit(base_url)
    host = (url.hostname or "").lower()
    host = f"[{host}]" if ":" in host else host
    return f"{url.scheme}://{host}:{url.port or _DEFAULT_PORTS[url.scheme]}"


def is_private_host(base_url: str) -> bool:
    """Whether the address names this machine or a private network by itself, without asking DNS.

    What a name resolves to is judged when the connection is made; this only says the obvious early.
    """
    host = (urlsplit(base_url).hostname or "").lower().rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        try:
            # Resolvers take `127.1` and `0x7f000001` for addresses; so does this.
            address = ipaddress.ip_address(socket.inet_aton(host))
        except OSError:
            return False
    return not address.is_global


def _check_headers(headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
    seen: set[str] = set()
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            raise ValueError("a header name has letters, digits and dashes only")
        if name.lower() in _RESERVED_HEADERS:
            raise ValueError(f"the header {name} is set by the gateway itself: remove it")
        if name.lower() in seen:
            raise ValueError(f"the header {name} is given twice")
        seen.add(name.lower())
        if not _HEADER_VALUE.fullmatch(value.get_secret_value()):
            raise ValueError(f"the value of header {name} has characters that cannot be sent")
    return headers


def _check_options(options: dict[str, Any]) -> dict[str, Any]:
    """What every kind of provider knows; the rest is its kind's to read."""
    most = options.get("max_concurrency", 1)
    if not isinstance(most, int) or isinstance(most, bool) or not 1 <= most <= _MOST_CONCURRENCY:
        raise ValueError(f"max_concurrency is a whole number from 1 to {_MOST_CONCURRENCY}")
    return options


def _check_secret(secret: SecretStr) -> SecretStr:
    """A key as it goes into a header, or a cloud's document as one line of JSON. What stands in it depends on the kind."""
    text = secret.get_secret_value().strip()
    if is_document(text):
        compact = compact_document(text)
        if len(compact) > LONGEST_DOCUMENT:
            raise ValueError(f"the secret is longer than {LONGEST_DOCUMENT} characters")
        return SecretStr(compact)
    if not _HEADER_VALUE.fullmatch(secret.get_secret_value()):
        raise ValueError("the secret has characters that cannot be sent in a header: check for line breaks")
    return secret


def check_document(kind: ProviderKind, secret: str, *, is_file_managed: bool, allows_any_host: bool) -> None:
    """Raises ValueError for a document that this kind of provider cannot use; its sentence quotes nothing of it."""
    if not is_document(secret):
        return
    if kind.document is None:
        raise ValueError(f"{kind.title} takes a key, not a JSON document")
    read_document(kind.document, secret, is_file_managed=is_file_managed, allows_any_host=allows_any_host)


def _check_price(amount: Decimal) -> Decimal:
    if amount != amount.quantize(Decimal("0.000001")):
        raise ValueError("a price per million tokens has at most six decimals")
    pico_per_token(amount)
    return amount


def _check_day(value: object) -> object:
    if isinstance(value, date) or (isinstance(value, str) and _DAY.fullmatch(value)):
        return value
    # Numbers would be read as seconds since 1970.
    raise ValueError('a day is written "2026-11-21"')


def _check_unit_price(amount: Decimal) -> Decimal:
    pico_per_unit(amount, 1000)
    return amount


def _check_nine_decimals(amount: Decimal) -> Decimal:
    pico_per_unit(amount)
    return amount


def _check_factor(factor: Decimal) -> Decimal:
    if factor > _LARGEST_FACTOR or factor != factor.quantize(Decimal("0.000001")):
        raise ValueError(f"a factor is between 0 and {_LARGEST_FACTOR} and has at most six decimals")
    return factor


ProviderName = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"),
    Field(description="Letters, digits, dot, dash and underscore; unique whatever the case."),
]
# A model's name is used in addresses and headers: no spaces, nothing that needs quoting.
_MODEL: Final = r"[A-Za-z0-9@][A-Za-z0-9@._:/+-]{0,199}"
ModelName = Annotated[
    str,
    StringConstraints(pattern=rf"^({_MODEL}\*?|\*)$"),
    Field(description="What callers send as `model`; a name that ends in * answers for every name that starts so."),
]
UpstreamModel = Annotated[
    str,
    StringConstraints(pattern=rf"^({_MODEL}|\*|{re.escape(REST)})$"),
    Field(
        description="The model's name at the provider; * passes on the name the caller used, {rest} what the * at the end "
        "of this model's name stands for."
    ),
]
Label = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{1,100}$", strip_whitespace=True)]
BaseUrl = Annotated[str, StringConstraints(max_length=2048), AfterValidator(read_base_url)]
Secret = Annotated[SecretStr, Field(max_length=16384), AfterValidator(_check_secret)]
Headers = Annotated[dict[str, SecretStr], Field(max_length=50), AfterValidator(_check_headers)]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
Day = Annotated[date, BeforeValidator(_check_day)]
Reference = Annotated[
    str,
    StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{1,500}$", strip_whitespace=True),
    Field(description="Where the price was read: an address, a contract, an e-mail."),
]
PricePerMillion = Annotated[Usd, AfterValidator(_check_price)]
Factor = Annotated[
    Usd,
    AfterValidator(_check_factor),
    Field(description='What the cost is multiplied by, as decimal text: "1.20" is a margin, "0.85" a discount.'),
]
PerRequest = Annotated[
    Usd,
    AfterValidator(_check_nine_decimals),
    Field(description="US dollars for each attempt that a vendor may take something for, beside the factor."),
]
PricePerUnit = Annotated[Usd, AfterValidator(_check_unit_price)]
LONGEST_ANSWER: Final = "The longest answer that the model gives, in tokens; left out: as the vendor publishes it."
WHOLE_CONTEXT: Final = "What the model reads and writes together, in tokens; left out: as the vendor publishes it."
Tokens = Annotated[int, Field(ge=1, le=100_000_000, strict=True)]
Options = Annotated[dict[str, Any], AfterValidator(_check_options)]


class Timeouts(BaseModel):
    """Seconds; what is left out takes the process's setting."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    connect: Seconds | None = None
    first_byte: Seconds | None = None
    idle: Seconds | None = None
    total: Seconds | None = None


class Target(BaseModel):
    """One place a model name leads to."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    provider: ProviderName
    model: UpstreamModel
    weight: Annotated[int, Field(ge=1, le=1000)] = 1


def check_leads_somewhere(targets: Sequence[Target], policy: str | None) -> None:
    """Raises ValueError for a model without targets or policy, and for one with both."""
    if bool(targets) == (policy is not None):
        raise ValueError("name the targets that a model leads to, or the policy that decides: one of the two")


def check_rest(name: str, targets: Iterable[Target]) -> None:
    """Raises ValueError for a target that asks for the rest of a name that has none."""
    if not name.endswith("*") and any(target.model == REST for target in targets):
        raise ValueError(f"{REST} is what the * at the end of a name stands for, and {name} has none")


class RateFields(BaseModel):
    """US dollars per million tokens of each class, as decimal text. What is left out costs as input or as output."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    input_per_million: PricePerMillion
    output_per_million: PricePerMillion
    cached_input_per_million: PricePerMillion | None = None
    cache_write_per_million: PricePerMillion | None = None
    cache_write_1h_per_million: PricePerMillion | None = None
    input_audio_per_million: PricePerMillion | None = None
    input_image_per_million: PricePerMillion | None = None
    reasoning_per_million: PricePerMillion | None = None
    output_audio_per_million: PricePerMillion | None = None
    output_image_per_million: PricePerMillion | None = None
    per_image: PricePerUnit | None = Field(None, description="US dollars for each image, beside its tokens.")
    per_audio_second: PricePerUnit | None = Field(None, description="US dollars for each second of sound.")
    per_thousand_characters: PricePerUnit | None = Field(None, description="US dollars for 1,000 characters.")
    per_request: PricePerUnit | None = Field(None, description="US dollars for each call that reached the vendor.")


class TierFields(RateFields):
    """Other rates. They stand alone: what is left out is not taken from the price around them."""

    service_tier: Literal["standard", "batch", "flex", "priority"] = "standard"
    over_input_tokens: Annotated[int, Field(ge=0, le=1_000_000_000, strict=True)] = Field(
        0, description="For calls with more input tokens than this, cached ones included; 0: for all of the tier."
    )


class PriceFields(RateFields):
    """A price, and the rates that take its place for long prompts and for other service tiers."""

    tiers: Annotated[tuple[TierFields, ...], Field(max_length=20)] = ()

    @model_validator(mode="after")
    def _names_each_tier_once(self) -> Self:
        named = {("standard", 0), *((tier.service_tier, tier.over_input_tokens) for tier in self.tiers)}
        if len(named) <= len(self.tiers):
            raise ValueError(
                "each tier has another service_tier or another over_input_tokens, and the price itself is the "
                "standard one from 0"
            )
        return self
