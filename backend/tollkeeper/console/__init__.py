"""Where the console's build lands (`dist/`, made from `frontend/` by the set-up step and not kept in git)."""

from pathlib import Path
from typing import Final

DIST: Final = Path(__file__).parent / "dist"


def is_built() -> bool:
    return (DIST / "index.html").is_file()
