"""Every vendor by every caller's dialect: what the vendor received, and what the caller got.

`recorded/<vendor>/<case>.{response,stream}` are the vendor's answers, written from its public reference;
`<case>.request` is what it has to receive for them, whichever dialect asked, but where `<case>.request.<dialect>` says
how one differs. A caller who speaks the vendor's own dialect is relayed: its document goes out as it came. `golden/` has
what the callers got. See README.md beside this file.
"""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest

from tests.gateway.upstream import Script, Seen, answer, http_chunk
from tests.providers.callers import CALLERS, CASES, Caller
from tests.providers.conftest import Bench
from tests.providers.golden import WRITES, compare, compare_document, show
from tests.providers.reading import read_answer
from tests.providers.vendors import HERE, VENDORS, Vendor

MODES = ("whole", "stream")
_NEVER = frozenset({"stream", "stream_options"})


def recorded(vendor: Vendor, case: str, *, is_stream: bool, piece: int | None = None) -> Script:
    """The vendor's answer. `piece`: streams leave in writes of so many bytes."""
    status = vendor.find(f"{case}.status.json")
    streamed = vendor.stream(case) if is_stream else None
    if streamed is not None:
        size = piece or len(streamed)
        return _streamed(vendor, [streamed[at : at + size] for at in range(0, len(streamed), size)])
    path = vendor.find(f"{case}.response.json")
    assert path is not None, f"{vendor.name} has no recorded answer for {case}"
    told = {"status": 200, "headers": {}} if status is None else json.loads(status.read_text())
    return answer(told["status"], path.read_bytes(), list(told["headers"].items()))


def _streamed(vendor: Vendor, pieces: Sequence[bytes]) -> Script:
    async def script(_seen: Seen, writer: asyncio.StreamWriter) -> None:
        head = f"HTTP/1.1 200 OK\r\ncontent-type: {vendor.content_type}\r\ntransfer-encoding: chunked\r\n\r\n"
        writer.write(head.encode() + b"".join(map(http_chunk, pieces)) + b"0\r\n\r\n")
        await writer.drain()

    return script


def sent(vendor: Vendor, seen: Seen, *, is_stream: bool) -> Any:
    """The request as recorded: without what makes a stream of it, which must be there."""
    assert seen.path == vendor.paths[is_stream]
    for name, value in vendor.headers.items():
        assert seen.header(name) == value
    document = seen.json()
    fields = vendor.stream_fields if is_stream else {}
    assert {name: document.get(name) for name in fields} == dict(fields)
    if vendor.in_place_of_model is not None:
        assert "model" not in document
        assert {name: document.pop(name, None) for name in vendor.in_place_of_model} == vendor.in_place_of_model
        document["model"] = vendor.model_name
    return {name: value for name, value in document.items() if name not in _NEVER}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("vendor", VENDORS)
async def test_vendor_and_caller_understand_each_other(
    bench: Bench, vendor: str, caller: str, case: str, mode: str
) -> None:
    there, here, is_stream = VENDORS[vendor], CALLERS[caller], mode == "stream"
    bench.use(there)
    bench.upstream.script = recorded(there, case, is_stream=is_stream)
    path, body = here.ask(case, is_stream=is_stream)
    got = await bench.gateway.post(path, body)
    # What failed without a bill is asked for once more, in the same words.
    seen, *again = bench.upstream.seen
    assert [one.body for one in again] in ([], [seen.body])
    check_request(there, here, case, sent(there, seen, is_stream=is_stream))
    read_answer(caller, got)
    compare(HERE / "golden" / (there.golden or vendor) / f"{caller}.{mode}.txt", case, show(got))


def check_request(vendor: Vendor, caller: Caller, case: str, document: Any) -> None:
    if vendor.dialect == caller.dialect != "openai_chat":
        own = caller.document(case)
        assert document == ({**own, "model": vendor.model_name} if "model" in own else own)
        return
    names = [f"{case}.request.{caller.dialect}.json", f"{case}.request.json"]
    if caller.dialect == "openai_chat":
        del names[0]
    found = next((path for name in names if (path := vendor.find(name))), None)
    if WRITES and (found is None or document != json.loads(found.read_text())):
        usual = vendor.find(names[-1])
        is_usual = usual is not None and document == json.loads(usual.read_text())
        found = HERE / "recorded" / vendor.name / names[0]
        if is_usual:
            found.unlink()
            return
    assert found is not None, f"no request is recorded for {vendor.name}, {case}"
    compare_document(found, document)


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("vendor", VENDORS)
async def test_a_stream_may_be_split_anywhere(bench: Bench, vendor: str, caller: str) -> None:
    bench.use(VENDORS[vendor])
    shown = []
    for piece in (None, 17):
        bench.upstream.script = recorded(VENDORS[vendor], "parallel_tools", is_stream=True, piece=piece)
        path, body = CALLERS[caller].ask("parallel_tools", is_stream=True)
        shown.append(show(await bench.gateway.post(path, body)))
    assert shown[0] == shown[1]
