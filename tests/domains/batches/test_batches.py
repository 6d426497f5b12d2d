"""OpenAI's Batch API by its own SDK: what goes in, what comes out, and what it costs."""

from tests.domains.batches.running import Running, line


async def test_a_batch_answers_every_line_once(batches: Running) -> None:
    async with batches.kept.client() as client:
        made = await batches.create(client, [line(f"r{n}") for n in range(10)], metadata={"team": "blue"})
        assert (made.status, made.endpoint, made.metadata) == ("validating", "/v1/chat/completions", {"team": "blue"})
        over = await batches.run(client, made)
        assert over.status == "completed"
        assert over.request_counts is not None
        assert (over.request_counts.total, over.request_counts.completed, over.request_counts.failed) == (10, 10, 0)
        times = (over.created_at, over.in_progress_at, over.finalizing_at, over.completed_at)
        assert None not in times
        lines = await batches.lines(client, over.output_file_id)
        assert [one["custom_id"] for one in lines] == [f"r{n}" for n in range(10)]
        for one in lines:
            assert one["error"] is None
            assert one["response"]["status_code"] == 200
            assert one["response"]["body"]["choices"][0]["message"]["content"] == "hello"
        assert over.error_file_id is None
    assert len(batches.vendor.seen) == 10
