"""The figure of a known key comes from the stage itself."""

import pytest

from bench import authenticate


@pytest.mark.parametrize("bounds", [{}, {"allowed_endpoints": frozenset({"chat/completions"})}])
async def test_stage_is_measured_with_the_key_in_memory(monkeypatch, bounds):
    monkeypatch.setattr(authenticate, "_CALLS", 50)
    monkeypatch.setattr(authenticate, "_ROUNDS", 2)

    assert isinstance(await authenticate.measure(**bounds), float)
