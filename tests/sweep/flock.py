"""A gateway full of canaries: every kind of secret, planted through its own API, and every answer it gave."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx

from tests.canaries import Canary, Find, Sweep, canary, remember
from tests.faults.gateway import Gateway


@dataclass
class Answer:
    """`tells` are the secrets that this answer is there to tell, once, or that its caller has just sent."""

    what: str
    data: bytes
    tells: set[str]


@dataclass
class Flock:
    gateway: Gateway
    canaries: list[Canary] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)

    def plant(self, kind: str) -> str:
        """A secret that we make."""
        value = canary(kind)
        self.canaries.append(Canary(kind, value))
        return value

    def adopt(self, kind: str, value: str) -> str:
        """A secret that the gateway made."""
        self.canaries.append(Canary(kind, remember(kind, value)))
        return value

    def ask(
        self,
        method: str,
        path: str,
        document: Any = None,
        *,
        token: str | None = None,
        tells: dict[str, str] | None = None,
        echoes: Iterable[str] = (),
        expect: Iterable[int] | None = None,
        **options: Any,
    ) -> httpx.Response:
        """One call. `tells`: JSON path of a new secret in the answer → its kind. `echoes`: what it may repeat."""
        headers = {
            "authorization": f"Bearer {token or self.gateway.key}",
            # Answers are stored for a repetition, and those with a secret must not be.
            **({"idempotency-key": uuid4().hex} if method == "POST" and path.startswith("/api/v1/") else {}),
            **options.pop("headers", {}),
        }
        if document is not None:
            options["json"] = document
        with httpx.Client(trust_env=False, timeout=30) as client:
            deadline = time.monotonic() + 15
            answer = client.request(method, self.gateway.origin + path, headers=headers, **options)
            # A busy machine may be late for a look-up.
            while answer.status_code == 503 and path.startswith("/api/v1/") and time.monotonic() < deadline:
                time.sleep(0.1)
                answer = client.request(method, self.gateway.origin + path, headers=headers, **options)
        assert expect is None or answer.status_code in expect, f"{method} {path}: {answer.status_code} {answer.text}"
        told = {self.adopt(kind, _at(answer.json(), name)) for name, kind in (tells or {}).items()}
        cookie = next(iter(answer.cookies.values()), None)
        if cookie is not None:
            told.add(self.adopt("session_cookie", cookie))
        data = answer.content + b"\n" + repr(answer.headers.multi_items()).encode()
        self.answers.append(Answer(f"answer {answer.status_code} of {method} {path}", data, told | {*echoes}))
        return answer

    def sweep(self, *kinds_left_out: str) -> Sweep:
        return Sweep(item for item in self.canaries if item.kind not in kinds_left_out)

    def search_answers(self) -> list[Find]:
        found = []
        for answer in self.answers:
            sweep = Sweep(item for item in self.canaries if item.value not in answer.tells)
            found += sweep.search(answer.data, answer.what)
        return found


def _at(document: Any, name: str) -> str:
    for part in name.split("."):
        document = document[int(part)] if part.isdigit() else document[part]
    return str(document)
