"""What a start loads: a process that loads what it does not use makes everybody wait for it."""

import subprocess
import sys

import pytest

_SUPERVISOR = "import sys, tollkeeper.serve, tollkeeper.banner, tollkeeper.configuration, tollkeeper.gateway.providers"


@pytest.mark.parametrize("package", ["fastapi", "sqlalchemy", "asyncpg", "redis", "aiohttp", "tollkeeper.main"])
def test_the_supervisor_loads_none_of_what_its_workers_serve_with(package: str) -> None:
    check = f"{_SUPERVISOR}; sys.exit({package!r} in sys.modules)"

    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
