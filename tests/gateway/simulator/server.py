"""The simulator as a process, for tests that ask it in vendors' formats."""

from typing import Any

from tests.e2e.processes import Upstream, wait_for

QUESTION = "Hello, who are you?"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]}},
    "required": ["city", "unit"],
}


def last(server: Upstream, model: str) -> dict[str, Any]:
    """The newest record of a model, once it is closed."""

    def closed() -> dict[str, Any] | None:
        found = server.records(model)
        return found[-1] if found and found[-1]["outcome"] != "open" else None

    found = wait_for(closed)
    assert isinstance(found, dict)
    return found
