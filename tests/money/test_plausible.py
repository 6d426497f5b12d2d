"""Which counts of a vendor cannot be true of the call they are for."""

from typing import Any

import pytest

from tollkeeper.contracts.chat import Call, Operation, Usage
from tollkeeper.gateway.money.plausible import doubt, visible_length

TEXT = [{"role": "user", "content": "hello"}]
PICTURE = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}]}]
SENT = 100


def call(**body: Any) -> Call:
    return Call(Operation.CHAT, "m", is_stream=False, body={"messages": TEXT, **body})


@pytest.mark.parametrize(
    ("usage", "asked", "wanted"),
    [
        (Usage(input=100, output=10), call(), None),
        (Usage(input=SENT + 4_096), call(), None),
        (Usage(input=SENT + 4_097), call(), "input"),
        (Usage(input=60, cache_read=SENT + 4_096), call(), "input"),
        (Usage(input=50_000), call(messages=PICTURE), None),
        (Usage(input=150_000), call(messages=PICTURE), "input"),
        (Usage(input=500_000), call(web_search_options={}), None),
        (Usage(input=500_000), call(tools=[{"type": "web_search"}]), None),
        (Usage(input=500_000), call(tools=[{"type": "function"}]), "input"),
        (Usage(output=100), call(max_tokens=100), None),
        (Usage(output=200), call(max_tokens=100), "output"),
        (Usage(output=200), call(max_completion_tokens=100), "output"),
        (Usage(output=200), call(max_completion_tokens=10, max_tokens=200), None),
        (Usage(output=200), call(max_tokens=100, n=2), None),
        (Usage(output=400), call(max_tokens=100, n=2), "output"),
        (Usage(output=200), call(prompt=["a", "b"], max_tokens=100), None),
        # Vendors that leave reasoning out of the cap.
        (Usage(output=10, reasoning=5_000), call(max_tokens=100), None),
        (Usage(output=10, reasoning=500_000), call(max_tokens=100), "reasoning"),
        (Usage(output=500_000), call(), None),
        (Usage(output=5_000_000), call(), "output"),
    ],
)
def test_only_what_can_be_true_is_believed(usage: Usage, asked: Call, wanted: str | None) -> None:
    assert doubt(usage, asked, SENT) == wanted


def test_what_the_model_can_give_at_most_bounds_a_call_without_a_cap() -> None:
    assert doubt(Usage(output=10_000), call(), SENT, output_cap=8_000) == "output"
    assert doubt(Usage(output=10_000), call(max_tokens=20_000), SENT, output_cap=8_000) is None


def test_the_text_of_a_whole_answer_is_what_a_caller_can_see_of_it() -> None:
    calls = [{"id": "call_1", "type": "function", "function": {"name": "four", "arguments": "eight888"}}]
    message = {"role": "assistant", "content": "four", "tool_calls": calls, "refusal": None}
    assert visible_length({"choices": [{"message": message}]}) == 16
    assert visible_length({"choices": [{"text": "four"}, {"text": "four"}]}) == 8
    assert visible_length({"data": []}) == 0
