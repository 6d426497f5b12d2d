"""The access log never stops the gateway: written apart, bounded, and closed with nothing left behind."""

import io
import json
import os
import re
from datetime import datetime

import pytest

from tollkeeper.core import access_log
from tollkeeper.core.access_log import AccessLogWriter
from tollkeeper.core.clock import SystemClock


def test_every_record_is_one_line_of_json_when_it_is_closed() -> None:
    stream = io.StringIO()
    writer = AccessLogWriter(stream, SystemClock(), as_json=True)
    for number in range(100):
        writer({"event": "call", "status": 200, "number": number, "error": None})
    writer.close()

    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["number"] for line in lines] == list(range(100))
    assert "error" not in lines[0]
    assert lines[0]["level"] == "info"


def test_time_is_written_as_the_other_lines_of_the_log_write_theirs() -> None:
    stream = io.StringIO()
    writer = AccessLogWriter(stream, SystemClock(), as_json=True)
    writer({"event": "call"})
    writer.close()
    time = json.loads(stream.getvalue())["time"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", time)
    assert abs(datetime.fromisoformat(time).timestamp() - SystemClock().unix()) < 60


def test_people_get_a_short_line() -> None:
    stream = io.StringIO()
    writer = AccessLogWriter(stream, SystemClock(), as_json=False)
    writer({"status": 429, "operation": "chat", "latency_ms": 1.5, "overhead_ms": 0.2, "error": "rate_limit_exceeded"})
    writer.close()

    assert "429 chat - 1.5 ms" in stream.getvalue()
    assert "rate_limit_exceeded" in stream.getvalue()


def test_a_reader_that_is_gone_costs_lines_and_nothing_else() -> None:
    reader, writing = os.pipe()
    os.close(reader)
    with os.fdopen(writing, "w") as stream:
        writer = AccessLogWriter(stream, SystemClock(), as_json=True)
        writer({"status": 200})
        writer.close()
        with pytest.raises(OSError):
            stream.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), writing)

    assert writer.dropped == 1


def test_too_many_waiting_lines_are_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_log, "MAX_PENDING", 0)
    writer = AccessLogWriter(io.StringIO(), SystemClock(), as_json=True)
    writer({"status": 200})
    writer.close()

    assert writer.dropped == 1
