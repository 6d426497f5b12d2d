"""Which path is which vendor's, and how a caller proves itself there."""

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs

from tollkeeper.gateway.simulator.directed import Wire
from tollkeeper.gateway.simulator.engine import OpenAIWire, Operation
from tollkeeper.gateway.simulator.other_operations import PATHS as OTHER_PATHS
from tollkeeper.gateway.simulator.other_operations import OtherOperation, OtherWire
from tollkeeper.gateway.simulator.refusal import Refusal
from tollkeeper.gateway.simulator.vendors.anthropic import AnthropicWire
from tollkeeper.gateway.simulator.vendors.azure import AzureWire
from tollkeeper.gateway.simulator.vendors.bedrock import BedrockWire
from tollkeeper.gateway.simulator.vendors.gemini import GeminiWire, Verb
from tollkeeper.gateway.simulator.vendors.responses import ResponsesWire

_PREFIXES: Final = ("/api/v1/", "/v1/", "/")
_NO_ENTITY: Final = Refusal(404, "Requested entity was not found.")
_NO_RESOURCE: Final = Refusal(404, "Resource not found")
_SIGNED: Final = "AWS4-HMAC-SHA256 "
_SIGNED_PARTS: Final = ("Credential=", "SignedHeaders=", "Signature=")


@dataclass(frozen=True, slots=True)
class Ask:
    path: str
    query: str
    headers: Mapping[str, str]
    request_id: str

    def option(self, name: str) -> str | None:
        return parse_qs(self.query).get(name, [None])[0]


@dataclass(frozen=True, slots=True)
class Place:
    """`problem` is raised in the wire's own words once the caller has proved itself."""

    vendor: str
    wire: Wire
    problem: Refusal | None = None


def find_place(ask: Ask) -> Place:
    """The place of a path; paths nobody knows are OpenAI's, and refused there."""
    for finder in _FINDERS:
        place = finder(ask)
        if place is not None:
            return place
    path = strip(ask.path)
    if path in OTHER_PATHS:
        return Place("openai", OtherWire(OtherOperation(path), ask.headers.get("content-type", "")))
    try:
        operation = Operation(path)
    except ValueError:
        return Place("openai", OpenAIWire(Operation.CHAT), Refusal(404, f"Invalid URL (/{path})", code="unknown_url"))
    return Place("openai", OpenAIWire(operation))


def check_key(place: Place, ask: Ask, api_key: str | None) -> None:
    """A signature of AWS only has to be there: the simulator knows no secret to check it."""
    authorization = ask.headers.get("authorization", "")
    if place.vendor == "bedrock" and not authorization.startswith("Bearer "):
        is_signed = authorization.startswith(_SIGNED) and all(part in authorization for part in _SIGNED_PARTS)
        if not (is_signed and "x-amz-date" in ask.headers):
            raise Refusal(403, "Missing Authentication Token", code="invalid_api_key")
        return
    if api_key is None:
        return
    names = {"anthropic": ("x-api-key",), "gemini": ("x-goog-api-key",), "azure": ("api-key",)}
    given = [authorization.removeprefix("Bearer ")]
    given += [ask.headers.get(name, "") for name in names.get(place.vendor, ())]
    if place.vendor == "gemini":
        given.append(ask.option("key") or "")
    if not any(hmac.compare_digest(key.encode(), api_key.encode()) for key in given):
        raise Refusal(401, "Incorrect API key provided.", code="invalid_api_key")


def is_google(ask: Ask) -> bool:
    return ask.path.startswith("/v1beta/") or "x-goog-api-key" in ask.headers


def strip(path: str) -> str:
    prefix = next(prefix for prefix in _PREFIXES if path.startswith(prefix))
    return path.removeprefix(prefix)


def _anthropic(ask: Ask) -> Place | None:
    path = strip(ask.path)
    if path not in ("messages", "messages/count_tokens"):
        return None
    wire = AnthropicWire(ask.request_id, counts=path.endswith("count_tokens"))
    is_dated = "anthropic-version" in ask.headers
    problem = None if is_dated else Refusal(400, "anthropic-version: header is required")
    return Place("anthropic", wire, problem)


def _responses(ask: Ask) -> Place | None:
    """OpenAI's, and Azure's v1 API."""
    if ask.path == "/openai/v1/responses":
        return Place("azure", ResponsesWire())
    return Place("openai", ResponsesWire()) if strip(ask.path) == "responses" else None


def _google(ask: Ask) -> Place | None:
    """The Gemini API, and Vertex, which has Anthropic's models beside Google's."""
    if ":" not in ask.path:
        return Place("gemini", GeminiWire("", Verb.GENERATE, is_sse=False), _NO_ENTITY) if is_google(ask) else None
    before, is_there, last = ask.path.rpartition("/models/")
    model, colon, name = last.rpartition(":")
    if not (is_there and colon and model):
        return None
    if before.endswith("/publishers/anthropic"):
        if name not in ("rawPredict", "streamRawPredict"):
            return None
        return Place("vertex", AnthropicWire(ask.request_id, model, is_stream=name == "streamRawPredict"))
    try:
        verb = Verb(name)
    except ValueError:
        return Place(
            "gemini", GeminiWire(model, Verb.GENERATE, is_sse=False), Refusal(404, "Requested entity was not found.")
        )
    vendor = "vertex" if "/publishers/" in before else "gemini"
    return Place(vendor, GeminiWire(model, verb, is_sse=ask.option("alt") == "sse"))


def _azure(ask: Ask) -> Place | None:
    if not ask.path.startswith("/openai/"):
        return None
    path = ask.path.removeprefix("/openai/")
    deployment: str | None = None
    problem = None
    if path.startswith("v1/"):
        path = path.removeprefix("v1/")
    elif path.startswith("deployments/"):
        rest = path.removeprefix("deployments/")
        # Names of deployments have no slash, but those of the simulator's models may.
        path = next((operation for operation in Operation if rest.endswith("/" + operation)), "")
        deployment = rest.removesuffix("/" + path)
        if not ask.option("api-version"):
            problem = _NO_RESOURCE
    else:
        problem = _NO_RESOURCE
    try:
        operation = Operation(path)
    except ValueError:
        operation, problem = Operation.CHAT, _NO_RESOURCE
    return Place("azure", AzureWire(operation, deployment), problem)


def _bedrock(ask: Ask) -> Place | None:
    if not ask.path.startswith("/model/"):
        return None
    model, _, verb = ask.path.removeprefix("/model/").rpartition("/")
    wire = BedrockWire(model, is_stream=verb == "converse-stream")
    is_there = verb in ("converse", "converse-stream")
    return Place("bedrock", wire, None if is_there else Refusal(404, "The requested operation is not recognized."))


_FINDERS: Final[tuple[Callable[[Ask], Place | None], ...]] = (_anthropic, _responses, _google, _azure, _bedrock)
