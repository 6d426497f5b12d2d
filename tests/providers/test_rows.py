"""Every vendor that is a row: it receives OpenAI's request but for what its row says, and its answers are understood."""

from dataclasses import replace
from typing import Any

import pytest

from tests.providers.callers import CALLERS
from tests.providers.conftest import Bench
from tests.providers.golden import show
from tests.providers.test_contract import recorded
from tests.providers.vendors import VENDORS as RECORDED
from tollkeeper.gateway.providers.vendors import VENDORS, Vendor

_OPENAI = RECORDED["openai"]
_CAPS = ("max_tokens", "max_completion_tokens")


def expected(row: Vendor, document: dict[str, Any], *, is_stream: bool) -> dict[str, Any]:
    """The caller's document as the row's data say that the vendor takes it."""
    wanted = {name: value for name, value in document.items() if name not in row.drops}
    if row.max_tokens_field is not None:
        wanted[row.max_tokens_field] = wanted.pop(_CAPS[1])
    if is_stream and row.supports_stream_usage:
        wanted["stream_options"] = {"include_usage": True}
    return {**wanted, "model": _OPENAI.model}


def visible(text: str) -> list[str]:
    """What the caller got, without the price and what was left out, which differ."""
    return [line for line in text.splitlines() if not line.startswith((": x-tollkeeper", "x-tollkeeper-dropped"))]


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("case", ["plain", "parallel_tools"])
@pytest.mark.parametrize("row", VENDORS, ids=lambda row: row.kind)
async def test_a_row_is_openais_form_but_for_what_it_says(
    bench: Bench, row: Vendor, case: str, is_stream: bool
) -> None:
    path, body = CALLERS["openai_chat"].ask(case, is_stream=is_stream)
    body |= {"metadata": {"order": "7"}, "logit_bias": {"7": 1}, "user": "someone"}
    bench.upstream.script = recorded(_OPENAI, case, is_stream=is_stream)
    shown = []
    for kind in ("openai", row.kind):
        bench.use(replace(_OPENAI, name=kind, kind=kind, options={"api": "chat"}))
        got = await bench.gateway.post(path, body)
        shown.append(visible(show(got)))
    [seen] = bench.upstream.seen
    assert seen.path == "/v1/chat/completions"
    assert seen.header(row.auth_header) == row.auth_scheme + _OPENAI.secret
    assert seen.json() == expected(row, body, is_stream=is_stream)
    dropped = sorted(row.drops & body.keys())
    assert got.headers.get("x-tollkeeper-dropped", "") == ",".join(dropped)
    assert shown[0] == shown[1]
