"""Closed-loop load by `wrk`, when it is installed: the lightest generator there is, for whole answers.

It cannot hold a rate and cannot see inside a stream, so those runs are always made by `bench/generator.py`.
"""

import json
import shutil
import subprocess
import tempfile
from pathlib import Path

from bench.figures import Spread
from bench.generator import Measured

INSTALL = "wrk is not on PATH (apt-get install wrk, dnf install wrk or brew install wrk); using the built-in generator."

_SCRIPT = """
wrk.method = "POST"
local file = io.open(%(body)s, "rb")
wrk.body = file:read("*a")
file:close()
wrk.headers["content-type"] = "application/json"
%(headers)s
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\\n{"requests":%%d,"seconds":%%f,"failed":%%d,"p50":%%f,"p90":%%f,"p99":%%f,"max":%%f}\\n',
    summary.requests, summary.duration / 1e6, e.status + e.connect + e.read + e.write + e.timeout,
    latency:percentile(50), latency:percentile(90), latency:percentile(99), latency.max))
end
"""


def find() -> str | None:
    return shutil.which("wrk")


def measure(
    program: str, url: str, headers: dict[str, str], body: bytes, *, connections: int, seconds: float
) -> Measured:
    # wrk takes whole seconds only.
    whole_seconds = max(1, round(seconds))
    with tempfile.TemporaryDirectory() as folder:
        body_file, script_file = Path(folder, "body"), Path(folder, "post.lua")
        body_file.write_bytes(body)
        lines = [f"wrk.headers[{_lua(name)}] = {_lua(value)}" for name, value in headers.items()]
        script_file.write_text(_SCRIPT % {"body": _lua(str(body_file)), "headers": "\n".join(lines)})
        command = [
            program,
            "-t1",
            f"-c{connections}",
            f"-d{whole_seconds}s",
            "--timeout",
            "30s",
            "-s",
            str(script_file),
        ]
        ran = subprocess.run([*command, url], capture_output=True, text=True, timeout=whole_seconds + 60, check=True)
    seen = json.loads(ran.stdout.strip().splitlines()[-1])
    return Measured(
        generator="wrk",
        sent=seen["requests"],
        completed=seen["requests"] - seen["failed"],
        failed=seen["failed"],
        seconds=seen["seconds"],
        per_second=(seen["requests"] - seen["failed"]) / seen["seconds"],
        latency_ms=Spread(
            count=seen["requests"],
            p50=seen["p50"] / 1000,
            p90=seen["p90"] / 1000,
            p99=seen["p99"] / 1000,
            max=seen["max"] / 1000,
        ),
    )


def _lua(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
