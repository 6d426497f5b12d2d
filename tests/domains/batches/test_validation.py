"""What a batch's input may be: each mistake is named with its line, and nothing is called for a file that has one."""

import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from openai import APIStatusError, BadRequestError, ConflictError, NotFoundError, PermissionDeniedError

from tests.domains.batches.running import CHAT, MODEL, Running, jsonl, line
from tollkeeper.core.ids import uuid7
from tollkeeper.domains.batches.validation import MOST_LINES, MOST_PROBLEMS, Validation, split_lines

GOOD = line("good")
# The very bytes of a file, and the code and the line of the first problem.
MALFORMED: dict[str, tuple[bytes, str, int | None]] = {
    "nothing": (b"", "empty_file", None),
    "blank lines": (b"\n  \n\r\n", "empty_file", None),
    "no JSON": (b"{\n", "invalid_json_line", 1),
    "no UTF-8": (b'{"custom_id": "\xff"}\n', "invalid_json_line", 1),
    "no object": (b"[]\n", "invalid_json_line", 1),
    "a number": (b"7", "invalid_json_line", 1),
    "a later line": (jsonl([GOOD]) + b"\n" + b"oops", "invalid_json_line", 3),
    **{
        f"without {name}": (jsonl([{key: value for key, value in GOOD.items() if key != name}]), "missing_required_parameter", 1)
        for name in GOOD
    },
    "twice": (jsonl([GOOD, line("other"), GOOD]), "duplicate_custom_id", 3),
    "no text for an id": (jsonl([{**GOOD, "custom_id": 7}]), "invalid_custom_id", 1),
    "an empty id": (jsonl([{**GOOD, "custom_id": ""}]), "invalid_custom_id", 1),
    "a long id": (jsonl([{**GOOD, "custom_id": "x" * 513}]), "invalid_custom_id", 1),
    "NUL in an id": (jsonl([{**GOOD, "custom_id": "a\0b"}]), "invalid_custom_id", 1),
    "another method": (jsonl([{**GOOD, "method": "GET"}]), "invalid_method", 1),
    "another endpoint": (jsonl([{**GOOD, "url": "/v1/embeddings"}]), "invalid_url", 1),
    "another host": (jsonl([{**GOOD, "url": "http://elsewhere.example/v1/chat/completions"}]), "invalid_url", 1),
    "no body": (jsonl([{**GOOD, "body": "text"}]), "invalid_body", 1),
    "no model": (jsonl([{**GOOD, "body": {"messages": []}}]), "missing_required_parameter", 1),
    "a model that is no text": (jsonl([line("a", model=7)]), "invalid_model", 1),
    "two models": (jsonl([GOOD, line("b", model="other")]), "mismatched_model", 2),
    "a line that is too long": (jsonl([line("a", padding="x" * 1_100_000)]), "line_too_long", 1),
}  # fmt: skip


@pytest.mark.parametrize("name", MALFORMED)
async def test_a_malformed_input_fails_with_its_line(batches: Running, name: str) -> None:
    content, code, number = MALFORMED[name]
    async with batches.kept.client() as client:
        over = await batches.run(client, await batches.create(client, content))
    assert over.status == "failed"
    assert over.failed_at is not None
    assert over.errors is not None
    assert over.errors.data is not None
    [first, *_] = over.errors.data
    assert (first.code, first.line) == (code, number)
    assert first.message
    assert (over.output_file_id, over.error_file_id) == (None, None)
    assert batches.vendor.seen == []


async def _pieces(content: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


@pytest.mark.parametrize("size", [1, 7, 1_000_000])
async def test_lines_are_found_where_they_stand(size: int) -> None:
    content = b'\n{"a": 1}\r\n \n{"b": 2}\n{"c": 3}'
    found = [one async for one in split_lines(_pieces(content, size), 1_000)]
    assert [number for number, _, _ in found] == [2, 4, 5]
    for _, start, text in found:
        assert text is not None
        assert content[start : start + len(text)] == text
        json.loads(text)


async def test_a_file_of_blank_lines_is_passed_over_at_once() -> None:
    """Line by line it would hold up everybody on this loop for as long as it has pieces."""
    content = b"\n" * 50_000_000 + b"{}"
    begun = time.process_time()
    found = [one async for one in split_lines(_pieces(content, 1_000_000), 1_000)]
    assert found == [(50_000_001, 50_000_000, b"{}")]
    assert time.process_time() - begun < 5


async def test_a_body_that_cannot_be_written_is_refused(batches: Running) -> None:
    deep = json.dumps(line("deep", messages="@")).replace('"@"', "[" * 500 + "]" * 500)
    async with batches.kept.client() as client:
        over = await batches.run(client, await batches.create(client, deep.encode()))
        assert over.error_file_id is not None
        [told] = (await client.files.content(over.error_file_id)).text.splitlines()
    answer = json.loads(told)["response"]
    assert (answer["status_code"], answer["body"]["error"]["code"]) == (400, "json_too_deep")
    assert batches.vendor.seen == []


def test_a_batch_has_so_many_requests_and_no_more() -> None:
    validation = Validation(CHAT, 1_000)
    for number in range(1, MOST_LINES + 1):
        assert validation.look(number, 0, json.dumps(line(str(number))).encode()) is not None
    assert validation.look(MOST_LINES + 1, 0, json.dumps(line("one more")).encode()) is None
    assert [problem.code for problem in validation.problems] == ["too_many_requests"]


def test_enough_problems_are_told() -> None:
    validation = Validation(CHAT, 1_000)
    for number in range(1, 2 * MOST_PROBLEMS):
        validation.look(number, 0, b"oops")
        if validation.is_over:
            break
    assert len(validation.problems) == MOST_PROBLEMS


@pytest.mark.parametrize(
    ("changed", "param"),
    [
        ({"endpoint": "/v1/files"}, "endpoint"),
        ({"endpoint": None}, "endpoint"),
        ({"completion_window": "1h"}, "completion_window"),
        ({"input_file_id": "file-1"}, "input_file_id"),
        ({"input_file_id": None}, "input_file_id"),
        ({"metadata": {"a": 1}}, "metadata"),
        ({"metadata": {str(n): "x" for n in range(17)}}, "metadata"),
        ({"metadata": {"a": "x" * 513}}, "metadata"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 1}}, "output_expires_after[seconds]"),
        ({"output_expires_after": {"anchor": "now", "seconds": 7200}}, "output_expires_after[anchor]"),
    ],
)
async def test_a_batch_that_cannot_be_is_refused_at_once(batches: Running, changed: Any, param: str) -> None:
    async with batches.kept.client() as client:
        made = await client.files.create(file=("in.jsonl", jsonl([GOOD])), purpose="batch")
        asked = {"input_file_id": made.id, "endpoint": CHAT, "completion_window": "24h", **changed}
        with pytest.raises(BadRequestError) as refused:
            await client.batches.create(**asked)
        assert refused.value.param == param
        assert [one async for one in client.batches.list()] == []


async def test_only_files_for_batches_that_one_has_are_read(batches: Running) -> None:
    kept = batches.kept
    async with kept.client() as client, kept.client(kept.key(tenant_id=await kept.tenant())) as other:
        wrong = await client.files.create(file=("in", jsonl([GOOD])), purpose="user_data")
        foreign = await other.files.create(file=("in", jsonl([GOOD])), purpose="batch")
        bodies = []
        for file_id in (wrong.id, foreign.id, f"file-{uuid7().hex}"):
            with pytest.raises(BadRequestError) as refused:
                await client.batches.create(input_file_id=file_id, endpoint=CHAT, completion_window="24h")
            assert isinstance(refused.value.body, dict)
            bodies.append(str(refused.value.body | {"request_id": ""}).replace(file_id, "…"))
        assert bodies[0] != bodies[1] == bodies[2]


async def test_what_others_have_is_unknown_in_the_same_words(batches: Running) -> None:
    kept = batches.kept
    async with kept.client() as client:
        made = await batches.create(client, [GOOD])
    for key in (kept.key(tenant_id=await kept.tenant()), kept.key(project_id=uuid7())):
        async with kept.client(key) as other:
            for ask in (other.batches.retrieve, other.batches.cancel):
                told = []
                for batch_id in (made.id, f"batch_{uuid7().hex}", "batch_1"):
                    with pytest.raises(NotFoundError) as unknown:
                        await ask(batch_id)
                    assert isinstance(unknown.value.body, dict)
                    told.append(str(unknown.value.body | {"request_id": ""}).replace(batch_id, "…"))
                assert told[0] == told[1] == told[2]
            assert [one async for one in other.batches.list()] == []


async def test_keys_are_held_to_their_bounds(batches: Running) -> None:
    kept = batches.kept
    async with kept.client(kept.key(allowed_endpoints=frozenset({"files", "batches", "embeddings"}))) as client:
        with pytest.raises(PermissionDeniedError) as refused:
            await batches.create(client, [GOOD])
        assert refused.value.code == "endpoint_not_allowed"
        made = await batches.create(client, [line("a", "/v1/embeddings", model="embed", input="x")], "/v1/embeddings")
        assert made.status == "validating"
    async with kept.client(kept.key(run_id="run_1")) as client:
        with pytest.raises(APIStatusError) as refused:
            await batches.create(client, [GOOD])
        assert refused.value.status_code == 403


async def test_lists_are_paged(batches: Running) -> None:
    async with batches.kept.client() as client:
        made = [await batches.create(client, [GOOD]) for _ in range(3)]
        assert [one.id async for one in client.batches.list(limit=2)] == [one.id for one in reversed(made)]
        page = await client.batches.list(limit=1, after=made[2].id)
        assert ([one.id for one in page.data], page.has_more) == ([made[1].id], True)
        with pytest.raises(NotFoundError):
            await client.batches.list(after=f"batch_{uuid7().hex}")


async def test_a_file_that_a_batch_reads_stays(batches: Running) -> None:
    async with batches.kept.client() as client:
        made = await batches.create(client, [GOOD])
        with pytest.raises(ConflictError) as refused:
            await client.files.delete(made.input_file_id)
        assert refused.value.response.headers["x-should-retry"] == "false"
        await batches.run(client, made)
        assert (await client.files.delete(made.input_file_id)).deleted
        assert made.model == MODEL or made.model is None
