"""Which addresses a text may name: links carry data out, in prompts that were slipped in and in pictures that a page loads."""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Final, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tollkeeper.gateway.guardrail import Shape
from tollkeeper.gateway.tails import word

_Host = Annotated[str, Field(pattern=r"^(?:\*\.)?[a-z0-9\-]+(?:\.[a-z0-9\-]+)*$", max_length=253)]
_URL: Final = r"(?i:(?:https?|ftp|wss?)://)[^\s<>\"'`\])}]+|(?i:www\.)[^\s<>\"'`\])}]+"


class UrlSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    allow: frozenset[_Host] | None = Field(
        None, description="Hosts that may be named, *.example.com for those below it; all others are found."
    )
    deny: frozenset[_Host] = Field(frozenset(), description="Hosts that may not be named, where all others may.")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.allow is None and not self.deny:
            raise ValueError("say which hosts are allowed, or which are not")
        return self


class Urls:
    NAME: ClassVar[str] = "urls"
    TITLE: ClassVar[str] = "Addresses: which hosts may be linked to"
    Settings: ClassVar[type[BaseModel]] = UrlSettings

    def __init__(self, settings: UrlSettings) -> None:
        self._allow = settings.allow
        self._deny = settings.deny

    def shapes(self) -> Sequence[Shape]:
        return [Shape("url", _URL, word, self._judge, is_word=False)]

    def _judge(self, text: str, start: int, end: int) -> float:
        host = host_of(text[start:end])
        if self._allow is not None and not _is_among(host, self._allow):
            return 1.0
        return 1.0 if _is_among(host, self._deny) else 0.0


def host_of(url: str) -> str:
    """As a browser reads it: what stands before an @ is no host, a backslash is a slash."""
    rest = url.partition("://")[2] or url
    for mark in "/\\?#":
        rest = rest.partition(mark)[0]
    return rest.rpartition("@")[2].partition(":")[0].rstrip(".").lower()


def _is_among(host: str, hosts: frozenset[str]) -> bool:
    if host in hosts:
        return True
    return any(pattern.startswith("*.") and host.endswith(pattern[1:]) for pattern in hosts)
