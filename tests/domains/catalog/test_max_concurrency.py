"""What a provider is said to take at once: a number, checked where it is saved and where the file is read."""

import pytest
from pydantic import TypeAdapter, ValidationError

from tollkeeper.domains.catalog.fields import Options

OPTIONS: TypeAdapter[dict[str, object]] = TypeAdapter(Options)


@pytest.mark.parametrize("options", [{}, {"max_concurrency": 1}, {"max_concurrency": 1_000_000, "api": "both"}])
def test_a_bound_is_a_whole_number(options: dict[str, object]) -> None:
    assert OPTIONS.validate_python(options) == options


@pytest.mark.parametrize("value", [0, -1, 1_000_001, 2.5, True, "8", None, [8]])
def test_anything_else_is_refused_by_its_name(value: object) -> None:
    with pytest.raises(ValidationError, match="max_concurrency"):
        OPTIONS.validate_python({"max_concurrency": value})
