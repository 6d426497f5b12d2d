"""The table of faults: that a run of it measures what it says, in short."""

from pathlib import Path

import pytest

from bench.faults import FAULTS, Figures, measure, page

pytestmark = pytest.mark.xdist_group("faults-failover")


async def test_a_fault_is_measured_from_its_beginning_to_the_return(tmp_path: Path) -> None:
    [fault] = [one for one in FAULTS if "503" in one.title]
    found = await measure(fault, tmp_path, warm_seconds=2.0, fault_seconds=4.0)
    assert found.calls > 20
    assert (found.failed, found.told, found.wrong_bills) == (0, 0, 0)
    assert found.load_after < 0.9


def test_page_has_a_row_for_each_fault() -> None:
    text = page([Figures("one", calls=3, recovered_seconds=1.5), Figures("two")], fault_seconds=12.0)
    assert "| one | 3 | 0 |" in text
    assert "| 1.5 s |" in text
    assert "| not in 30 s |" in text
