"""A request that the simulator turns down, as OpenAI would: status, sentence, type, param and code."""

import math
from collections.abc import Mapping
from typing import Final

import orjson

# Status → type, code and sentence, as OpenAI's error reference has them.
_KNOWN: Final[Mapping[int, tuple[str, str | None, str]]] = {
    400: ("invalid_request_error", None, "Simulated: the request is not valid."),
    401: ("invalid_request_error", "invalid_api_key", "Simulated: incorrect API key provided."),
    403: ("permission_error", "permission_denied", "Simulated: you may not use this model."),
    404: ("invalid_request_error", "model_not_found", "Simulated: the model does not exist."),
    409: ("invalid_request_error", "conflict", "Simulated: the resource is locked."),
    413: ("invalid_request_error", "payload_too_large", "Simulated: the request is too large."),
    422: ("invalid_request_error", "unprocessable", "Simulated: the request cannot be processed."),
    429: ("requests", "rate_limit_exceeded", "Simulated: rate limit reached for requests."),
    503: ("server_error", "overloaded", "Simulated: the engine is overloaded, please try again later."),
}
_CODES: Final[Mapping[str, tuple[str, str]]] = {
    "insufficient_quota": ("insufficient_quota", "Simulated: you exceeded your current quota."),
    "context_length_exceeded": (
        "invalid_request_error",
        "Simulated: this model's maximum context length is 8192 tokens. Please reduce the length of the messages.",
    ),
}


class Refusal(Exception):
    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "invalid_request_error",  # noqa: A002 - the wire's word
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.type = type
        self.param = param
        self.code = code
        self.headers = headers or {}

    def body(self) -> bytes:
        return orjson.dumps({"error": self.as_dict()})

    def as_dict(self) -> dict[str, str | None]:
        return {"message": self.message, "type": self.type, "param": self.param, "code": self.code}


def chosen(status: int, code: str | None, retry_after_seconds: float | None) -> Refusal:
    """The refusal that a directive asked for."""
    if code is not None:
        kind, message = _CODES[code]
    else:
        default = ("server_error" if status >= 500 else "invalid_request_error", None, f"Simulated: status {status}.")
        kind, code, message = _KNOWN.get(status, default)
    headers: dict[str, str] = {}
    if retry_after_seconds is None and status == 429 and code == "rate_limit_exceeded":
        retry_after_seconds = 1.0
    if retry_after_seconds is not None:
        headers["retry-after"] = str(math.ceil(retry_after_seconds))
        headers["retry-after-ms"] = str(round(retry_after_seconds * 1000))
    return Refusal(status, message, type=kind, code=code, headers=headers)


def invalid(param: str, expected: str) -> Refusal:
    return Refusal(400, f"Invalid value for '{param}': expected {expected}.", param=param, code="invalid_value")
