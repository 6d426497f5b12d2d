import json

import pytest

from tests.gateway.simulator.asking import CHAT, ask, chunks, content, document, events
from tollkeeper.gateway.simulator.directives import Directives, Family, read_header, read_model
from tollkeeper.gateway.simulator.engine import answer
from tollkeeper.gateway.simulator.refusal import Refusal
from tollkeeper.gateway.simulator.script import Ending


@pytest.mark.parametrize(
    ("name", "family", "wish"),
    [
        ("simulated", Family.TEXT, Directives()),
        ("vendor/simulated", Family.TEXT, Directives()),
        ("simulated-embedding", Family.EMBEDDING, Directives()),
        ("simulated-reasoning-slow-2s", Family.REASONING, Directives(slow_seconds=2.0)),
        ("simulated-pace-20ms-length-100", Family.TEXT, Directives(pace_seconds=0.02, length=100)),
        ("simulated-status-503-retry-after-250ms", Family.TEXT, Directives(status=503, retry_after_seconds=0.25)),
        ("simulated-no-usage-no-done", Family.TEXT, Directives(has_usage=False, has_done=False)),
        ("simulated-hang", Family.TEXT, Directives(is_hanging=True)),
        ("simulated-hang-after-5", Family.TEXT, Directives(hang_after=5)),
        ("simulated-cut-after-0", Family.TEXT, Directives(cut_after=0)),
    ],
)
def test_names_are_read_as_documented(name: str, family: Family, wish: Directives) -> None:
    assert read_model(name) == (family, wish)


@pytest.mark.parametrize(
    "name",
    [
        "gpt-4o",
        "simulated-nonsense",
        "simulated-length",
        "simulated-length-many",
        "simulated-length-9999999",
        "simulated-length-²",
        "simulated-status-200",
        "simulated-slow-20",
        "simulated-",
        "simulatedx",
        "",
    ],
)
def test_other_names_are_unknown_models(name: str) -> None:
    with pytest.raises(Refusal) as caught:
        read_model(name)
    assert (caught.value.status, caught.value.code, caught.value.param) == (404, "model_not_found", "model")
    assert caught.value.message.startswith(f"The model `{name}` does not exist")


def test_header_adds_to_the_name() -> None:
    _, wish = read_model("simulated-length-5")
    assert read_header(wish, "pace-10ms, cached-7 refuse") == Directives(
        length=5, pace_seconds=0.01, cached_tokens=7, is_refusal=True
    )


def test_bad_header_is_a_bad_request() -> None:
    script = ask(header="dance")
    assert script.status == 400
    assert document(script)["error"]["param"] == "x-simulate"


def test_status_comes_with_openais_shape_and_its_headers() -> None:
    script = ask(model="simulated-status-429-retry-after-1500ms")
    error = document(script)["error"]
    assert script.status == 429
    assert error.keys() == {"message", "type", "param", "code"}
    assert (error["type"], error["code"]) == ("requests", "rate_limit_exceeded")
    assert (script.headers["retry-after"], script.headers["retry-after-ms"]) == ("2", "1500")


def test_named_failures_have_openais_codes() -> None:
    assert document(ask(model="simulated-quota"))["error"]["code"] == "insufficient_quota"
    assert "retry-after" not in ask(model="simulated-quota").headers
    assert document(ask(model="simulated-context"))["error"]["code"] == "context_length_exceeded"


def test_status_ends_after_so_many_times() -> None:
    body = b'{"model":"simulated-status-500-times-2","messages":[{"role":"user","content":"x"}]}'
    statuses = [answer(CHAT, body, tries=lambda _, n=n: n).status for n in (1, 2, 3)]
    assert statuses == [500, 500, 200]


def test_length_is_exact() -> None:
    for length in (1, 7, 500):
        answered = document(ask(model=f"simulated-length-{length}"))
        assert answered["usage"]["completion_tokens"] == length
        assert answered["choices"][0]["finish_reason"] == "stop"


def test_pace_is_the_wait_between_chunks_and_slow_the_wait_before_them() -> None:
    script = ask(model="simulated-pace-20ms-slow-1s-length-4", stream=True)
    assert script.wait_seconds == 1.0
    waits = [part.wait_seconds for part in script.parts]
    assert waits[0] == 0
    assert set(waits[1:-1]) == {0.02}


def test_cached_tokens_are_reported_and_never_exceed_the_prompt() -> None:
    details = document(ask(model="simulated-cached-3"))["usage"]["prompt_tokens_details"]
    assert details["cached_tokens"] == 3
    usage = document(ask(model="simulated-cached-9999"))["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] == usage["prompt_tokens"]


def test_cut_stream_stops_inside_an_event_after_so_many_tokens() -> None:
    script = ask(model="simulated-cut-after-3", stream=True)
    parts = list(script.parts)
    assert script.ending is Ending.CUT
    assert sum(part.tokens for part in parts) == 3
    assert not parts[-1].data.endswith(b"\n\n")


def test_cut_whole_answer_is_shorter_than_its_length_says() -> None:
    script = ask(model="simulated-cut-after-3")
    assert script.ending is Ending.CUT
    assert script.content_length is not None
    assert len(content(script)) < script.content_length


def test_error_in_a_stream_is_an_event_and_its_end() -> None:
    script = ask(model="simulated-error-after-2", stream=True)
    assert '"error":{' in events(script)[-1]
    assert ask(model="simulated-error-after-2").status == 500


def test_hanging() -> None:
    assert ask(model="simulated-hang").never_begins
    script = ask(model="simulated-hang-after-2", stream=True)
    assert script.ending is Ending.HANG
    assert sum(part.tokens for part in script.parts) == 2


def test_garbage_is_no_json() -> None:
    with pytest.raises(ValueError, match="Expecting"):
        document(ask(model="simulated-garbage"))
    with pytest.raises(ValueError, match="Expecting"):
        json.loads(events(ask(model="simulated-garbage", stream=True))[-1])


def test_usage_and_end_can_be_left_out() -> None:
    assert "usage" not in document(ask(model="simulated-no-usage"))
    asked = {"stream": True, "stream_options": {"include_usage": True}}
    assert all(not chunk.get("usage") for chunk in chunks(ask(model="simulated-no-usage", **asked)))
    assert events(ask(model="simulated-no-done", **asked))[-1] != "[DONE]"


def test_refusal_and_filter() -> None:
    refused = document(ask(model="simulated-refuse"))["choices"][0]
    assert refused["message"]["content"] is None
    assert refused["message"]["refusal"]
    assert document(ask(model="simulated-filter"))["choices"][0]["finish_reason"] == "content_filter"
