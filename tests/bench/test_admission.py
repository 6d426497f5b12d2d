import pytest

from bench import admission


async def test_what_money_costs_a_call_can_be_measured(monkeypatch: pytest.MonkeyPatch, valkey_url: str) -> None:
    monkeypatch.setattr(admission, "CALLS", 64)
    monkeypatch.setattr(admission, "PACED_SECONDS", 0.05)

    figures = await admission.measure(valkey_url)

    assert set(figures) >= {"busy_us", "paced_us", "paced_p99_ms", "idle_p50_ms", "journal_us"}
    assert figures["idle_p50_ms"] > 0
