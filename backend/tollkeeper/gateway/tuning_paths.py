"""`/fine_tuning/jobs` and what lies below it, as OpenAI has it."""

import re
from dataclasses import dataclass
from typing import Final

_PATH: Final = re.compile(
    r"/(?:api/)?v1/fine_tuning/jobs(?:/([A-Za-z0-9_.:-]{1,100})(?:/(cancel|pause|resume|events|checkpoints))?)?"
)
_ASKS: Final = frozenset({"", "events", "checkpoints"})
VENDOR_ID: Final = re.compile(r"[A-Za-z0-9_:-][A-Za-z0-9_.:-]{0,99}")


@dataclass(frozen=True, slots=True)
class TuningPlace:
    """All jobs, one of them (`job`), or what is done with it (`action`)."""

    job: str = ""
    action: str = ""

    @property
    def allow(self) -> str:
        if not self.job:
            return "GET, POST"
        return "GET" if self.action in _ASKS else "POST"

    @property
    def below(self) -> str:
        """The same place at a vendor, below its address."""
        return "/fine_tuning/jobs" + "".join(f"/{part}" for part in (self.job, self.action) if part)


def find_tuning_place(path: str) -> TuningPlace | None:
    found = _PATH.fullmatch(path)
    if found is None or (found[1] and VENDOR_ID.fullmatch(found[1]) is None):
        return None
    return TuningPlace(found[1] or "", found[2] or "")
