"""What lies beyond models, through the whole product: OpenAI's fine-tuning with files kept here, and opened paths."""

import json

import httpx
import openai
import pytest
from openai import OpenAI

from tests.e2e.processes import Product, wait_for


def test_fine_tuning_of_the_sdk_from_file_to_cancelled_job(client: OpenAI, product: Product) -> None:
    lines = json.dumps({"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]})
    file = client.files.create(file=("train.jsonl", lines.encode() * 10), purpose="fine-tune")
    jobs = client.fine_tuning.jobs
    made = jobs.create(model="priced-chat", training_file=file.id, suffix="mine", metadata={"a": "b"})
    assert (made.status, made.training_file, made.model) == ("queued", file.id, "simulated")
    assert jobs.retrieve(made.id).id == made.id
    assert [event.level for event in jobs.list_events(made.id)] == ["info"]
    assert [step.step_number for step in jobs.checkpoints.list(made.id)] == [1]
    assert jobs.pause(made.id).status == "paused"
    assert jobs.resume(made.id).status == "running"
    assert jobs.cancel(made.id).status == "cancelled"
    assert made.id in [job.id for job in jobs.list(limit=5)]

    def shipped() -> list[str]:
        return [one["model"] for one in product.usage_records() if one["cost_usd"] == "25"]

    assert wait_for(shipped) == ["priced-chat"]
    with pytest.raises(openai.NotFoundError):
        jobs.retrieve("ftjob-nobody")
    with pytest.raises(openai.BadRequestError):
        jobs.create(model="priced-chat", training_file="file-vendor0")


@pytest.mark.parametrize("place", [0, 1], ids=["/v1", "/api/v1"])
def test_opened_path_is_passed_on_and_priced(product: Product, place: int) -> None:
    base_url = product.base_urls[place]
    headers = {"authorization": f"Bearer {product.api_key}"}
    listed = httpx.get(f"{base_url}/providers/upstream/fine_tuning/jobs", headers=headers, timeout=30)
    assert listed.status_code == 200
    assert listed.json()["object"] == "list"
    assert listed.headers["x-tollkeeper-cost-usd"] == "0.002"
    closed = httpx.post(f"{base_url}/providers/upstream/fine_tuning/jobs", headers=headers, json={}, timeout=30)
    assert (closed.status_code, closed.json()["error"]["code"]) == (404, "not_opened")
