"""What can be measured: how each target is started, when it is ready, where it listens and what it wants to be told.

A peer is one more class here with the same members.
"""

import json
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

HOST = "127.0.0.1"


class Target(Protocol):
    name: str

    def command(self, port: int, upstream: str, folder: Path) -> list[str]:
        """The process to start; `folder` is empty and its own."""

    def environment(self) -> dict[str, str]: ...

    def headers(self) -> dict[str, str]:
        """What every call carries."""

    ready_path: str
    ready_timeout_seconds: float


class Floor:
    """`bench/floor.py`: what every figure is divided by."""

    name = "floor"
    ready_path = "/"
    ready_timeout_seconds = 20.0

    def command(self, port: int, upstream: str, folder: Path) -> list[str]:  # noqa: ARG002
        return [sys.executable, "-m", "bench.floor", "--port", str(port), "--upstream", upstream]

    def environment(self) -> dict[str, str]:
        return {}

    def headers(self) -> dict[str, str]:
        return {"authorization": "Bearer none"}


class ThinFloor(Floor):
    """`bench/floor_thin.py`: the same with the gateway's own client."""

    name = "floor-thin"

    def command(self, port: int, upstream: str, folder: Path) -> list[str]:  # noqa: ARG002
        return [sys.executable, "-m", "bench.floor_thin", "--port", str(port), "--upstream", upstream]


class Tollkeeper:
    """The product as a user starts it: one worker, embedded servers, a key, a priced model, a rate limit, a hard budget, accounting."""

    name = "tollkeeper"
    ready_path = "/health/ready"
    ready_timeout_seconds = 120.0

    def __init__(self, models: Sequence[str]) -> None:
        self._models = models
        self._key = "tk-" + secrets.token_hex(24)

    def command(self, port: int, upstream: str, folder: Path) -> list[str]:
        config = folder / "tollkeeper.yaml"
        # JSON is YAML.
        config.write_text(json.dumps(self._config(upstream), indent=2))
        where = ["--host", HOST, "--port", str(port), "--data-dir", str(folder / "data"), "--config", str(config)]
        return [sys.executable, "-m", "tollkeeper", "serve", *where, "--workers", "1"]

    def _config(self, upstream: str) -> dict[str, object]:
        provider = {
            "name": "mock",
            "kind": "openai_compatible",
            "base_url": upstream,
            "api_key": "none",
            "allow_private_address": True,
        }
        price = {"input_per_million": "0.15", "cached_input_per_million": "0.075", "output_per_million": "0.60"}
        models = [
            {
                "name": name,
                "strategy": "priority",
                "targets": [{"provider": "mock", "model": name}],
                "price": price,
                # As the models of the price list say of themselves.
                "max_output_tokens": 16_384,
            }
            for name in self._models
        ]
        # As real as the rate limit below: held, settled and acknowledged for every call, and never reached.
        budget = {"name": "Bench", "tenant": "default", "scope": {"kind": "tenant"}, "amount_usd": "1000000"}
        return {"providers": [provider], "models": models, "budgets": [{**budget, "window": "month", "mode": "hard"}]}

    def environment(self) -> dict[str, str]:
        # A limit that is checked on every call and never reached: 100,000 calls a second.
        return {"TOLLKEEPER_INIT_API_KEY": self._key, "TOLLKEEPER_DEFAULT_REQUESTS_PER_MINUTE": "6000000"}

    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self._key}"}


def choose(name: str, models: Sequence[str]) -> Target:
    if name == Floor.name:
        return Floor()
    if name == Tollkeeper.name:
        return Tollkeeper(models)
    raise ValueError(f"unknown target {name!r}: choose one of {', '.join(NAMES)}")


NAMES = (Tollkeeper.name, Floor.name)
