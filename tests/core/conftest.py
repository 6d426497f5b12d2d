"""Starter processes for the tests of the embedded servers."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

_ROOT = Path(__file__).parents[2]
Starter = subprocess.Popen[str]


@pytest.fixture
def start_in_process() -> Iterator[Callable[..., Starter]]:
    """Call it with the options of `embedded_starter.py`; what still runs at the end is asked to stop."""
    with ExitStack() as stack:

        def start(python: str = sys.executable, **options: Any) -> Starter:
            packages = [path for path in sys.path if path.endswith("site-packages")]
            process = subprocess.Popen(
                [python, str(Path(__file__).with_name("embedded_starter.py")), json.dumps(options)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={
                    "PYTHONPATH": os.pathsep.join([str(_ROOT / "backend"), *packages]),
                    "PYTHONDONTWRITEBYTECODE": "1",
                },
            )
            stack.enter_context(process)
            return process

        yield start


@pytest.fixture
def ordinary_python() -> str:
    """An interpreter that an account without rights may run; root's own often lies in a private home."""
    for candidate in dict.fromkeys((sys.executable, "/usr/bin/python3", "/usr/local/bin/python3")):
        if shutil.which(candidate) and _works_for_others(candidate):
            return candidate
    pytest.skip("no interpreter of 3.11 or newer that other accounts may run")


def _works_for_others(python: str) -> bool:
    script = "import sys; sys.exit(sys.version_info < (3, 11))"
    who = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
    try:
        return subprocess.run([python, "-c", script], check=False, cwd="/", capture_output=True, **who).returncode == 0
    except PermissionError:
        return False
