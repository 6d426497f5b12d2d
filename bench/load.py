"""Drives load at one URL and prints what it saw: `python -m bench.load URL --model mock --connections 32 --seconds 5`.

Whole answers at full speed go through `wrk` when it is on PATH; streams and fixed rates always through our own generator.
`--json` prints one line that `bench/harness.py` reads.
"""

import argparse
import gc
import json
import sys
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlsplit

import orjson
import uvloop

from bench import wrk
from bench.generator import Measured, Plan, build_request, measure

PROMPT = "Say in one sentence what a gateway is, please, for someone who has never heard of one before."


def chat_body(model: str, *, is_stream: bool = False, prompt: str = PROMPT) -> bytes:
    """A call of about 0.2 kB, as an SDK would send it."""
    call: dict[str, object] = {"model": model, "messages": [{"role": "user", "content": prompt}], "temperature": 0.2}
    if is_stream:
        call |= {"stream": True, "stream_options": {"include_usage": True}}
    return orjson.dumps(call)


def drive(given: argparse.Namespace) -> Measured:
    body = Path(given.body_file).read_bytes() if given.body_file else chat_body(given.model, is_stream=given.stream)
    headers = dict(part.split(": ", 1) for part in given.header)
    program = wrk.find() if given.generator != "own" else None
    if program is None and given.generator == "wrk":
        sys.exit(wrk.INSTALL)
    if program is not None and given.per_second is None and not given.stream:
        return wrk.measure(program, given.url, headers, body, connections=given.connections, seconds=given.seconds)
    parts = urlsplit(given.url)
    assert parts.hostname is not None
    port = parts.port or 80
    plan = Plan(
        host=parts.hostname,
        port=port,
        request=build_request(parts.hostname, port, parts.path, headers, body),
        connections=given.connections,
        seconds=given.seconds,
        warmup_seconds=given.warmup,
        per_second=given.per_second,
    )
    gc.disable()  # A run is short and bounded; a collection would show up as somebody else's latency.
    return uvloop.run(measure(plan))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--model", default="mock")
    parser.add_argument("--stream", action="store_true")
    parser.add_argument("--body-file", help="send these bytes instead of a small chat call")
    parser.add_argument("--header", action="append", default=[], help='"name: value", may be repeated')
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--warmup", type=float, default=0.5)
    parser.add_argument("--per-second", type=float, help="open loop at this rate instead of as fast as it goes")
    parser.add_argument("--generator", choices=("auto", "own", "wrk"), default="auto")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if not given.json and given.generator == "auto" and wrk.find() is None:
        print(wrk.INSTALL, file=sys.stderr)
    measured = drive(given)
    print(json.dumps(asdict(measured), indent=None if given.json else 2))


if __name__ == "__main__":
    main()
