"""`first-run.json`: where the secrets of the first start are kept, readable by their owner alone.

Written before anything listens, so that whoever waits for the gateway finds it. What an earlier start wrote and a later
one does not know any more stays.
"""

import json
import os
from pathlib import Path
from typing import Final

NAME: Final = "first-run.json"


def base_url(origin: str) -> str:
    """What a developer sets as `base_url`; every snippet takes it from here."""
    return f"{origin}/v1"


def read_first_run(data_dir: Path) -> dict[str, str]:
    """Empty when there is none, or none that can be read."""
    try:
        document = json.loads((data_dir / NAME).read_text())
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def write_first_run(data_dir: Path, origin: str, *, api_key: str, admin_email: str, admin_password: str) -> Path:
    """An empty secret is one that was not made now."""
    before = read_first_run(data_dir)
    if not admin_password and before.get("admin_email") == admin_email:
        admin_password = before.get("admin_password", "")
    document = {
        "base_url": base_url(origin),
        "api_key": api_key or before.get("api_key", ""),
        "admin_email": admin_email,
        "admin_password": admin_password,
    }
    path = data_dir / NAME
    fresh = path.with_suffix(f".{os.getpid()}")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(document, file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)
    return path
