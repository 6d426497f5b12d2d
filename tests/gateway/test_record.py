"""What a call leaves for operators."""

import json

from prometheus_client import generate_latest

from tests.gateway.serving import KEY, Serving, chat
from tests.gateway.upstream import FakeUpstream, answer_json, good_stream, stream


async def test_metrics_tell_calls_tokens_and_cost_by_catalogue_names(gateway: Serving, vendor: FakeUpstream) -> None:
    await gateway.post()
    await gateway.post(body=chat(model="made-up-by-the-caller"))
    vendor.script = answer_json({"error": {"message": "x"}}, 500)
    await gateway.post()
    vendor.script = stream(*good_stream("hi"))
    await gateway.post(body=chat(stream=True))
    await gateway.settled(3)
    text = generate_latest(gateway.metrics.registry).decode()
    labels = 'model="gpt-4o-mini",operation="chat",provider="one"'
    assert f'tollkeeper_requests_total{{{labels},status="2xx"}} 2.0' in text
    assert f'tollkeeper_requests_total{{{labels},status="5xx"}} 1.0' in text
    assert 'tollkeeper_requests_total{model="",operation="chat",provider="",status="4xx"} 1.0' in text
    assert 'direction="prompt",model="gpt-4o-mini",operation="chat",provider="one"} 20.0' in text
    assert f"tollkeeper_cost_usd_total{{{labels}}} 9" in text
    assert f"tollkeeper_first_token_seconds_count{{{labels}}} 1.0" in text
    # The lone target was asked once more.
    assert 'tollkeeper_upstream_errors_total{kind="server",provider="one"} 2.0' in text
    assert 'tollkeeper_upstream_attempts_total{outcome="answered",provider="one"} 2.0' in text
    assert "tollkeeper_requests_in_flight 0.0" in text
    assert "made-up" not in text


async def test_access_line_holds_figures_and_ids_only(gateway: Serving) -> None:
    await gateway.post(
        headers={"x-request-id": "mine-1"}, body=chat(messages=[{"role": "user", "content": "a secret prompt"}])
    )
    (line,) = gateway.log
    assert (line["status"], line["ending"], line["model"], line["provider"]) == (200, "done", "gpt-4o-mini", "one")
    assert (line["client_request_id"], line["prompt_tokens"], line["cost_usd"]) == ("mine-1", 10, "0.0000045")
    text = json.dumps(line, default=str)
    assert KEY not in text
    assert "secret" not in text


async def test_clients_request_id_is_kept_only_when_it_is_sane(gateway: Serving) -> None:
    for sent, kept in (("abc-123", "abc-123"), ("x" * 200, None), ("a b", None)):
        await gateway.post(headers={"x-client-request-id": sent})
        assert gateway.settlements[-1].client_request_id == kept
