"""Answers given again to the letter: what is, what never is, to whom, and for how long."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.cache.caching import (
    EXACT,
    HEADER,
    Cached,
    attached,
    before,
    policy,
    worker,
)
from tests.gateway.serving import KEY, chat, events_of
from tests.gateway.upstream import (
    FakeUpstream,
    answer_json,
    completion,
    good_stream,
    stream,
)
from tollkeeper.contracts.cache import ExactRule, Sharing
from tollkeeper.contracts.guardrails import Level
from tollkeeper.contracts.usage import CallStatus
from tollkeeper.core.ids import uuid7
from tollkeeper.core.secrets import new_key

OWN_ID = "id"


def without_id(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != OWN_ID}


async def test_the_same_call_again_gets_the_answer_without_a_provider(cached: Cached) -> None:
    first = await cached.one.ask()
    assert (first.status_code, first.headers[HEADER]) == (200, "miss")
    again = await cached.one.ask()
    assert again.headers[HEADER] == "exact"
    assert again.headers["x-tollkeeper-cost-usd"] == "0"
    assert without_id(again.json()) == without_id(first.json())
    assert again.json()["id"] != first.json()["id"]
    assert len(cached.vendor.seen) == 1


async def test_another_worker_finds_it_in_redis(cached: Cached) -> None:
    first = await cached.one.ask()
    again = await cached.two.ask()
    assert again.headers[HEADER] == "exact"
    assert without_id(again.json()) == without_id(first.json())
    assert len(cached.vendor.seen) == 1


async def test_the_ledger_has_one_row_for_each_call(cached: Cached) -> None:
    await cached.one.ask()
    await cached.one.ask()
    asked, given = await cached.one.gateway.settled(2)
    assert asked.status is CallStatus.OK
    assert asked.charge_nano
    assert (given.status, given.cost_nano, given.charge_nano) == (CallStatus.CACHED, 0, 0)
    assert given.usage == asked.usage
    assert (given.intent.provider, given.intent.upstream_model) == ("one", "gpt-4o-mini")
    assert given.extra == {"tollkeeper:cache": "exact", "tollkeeper:saved_nano": str(asked.charge_nano)}
    assert cached.one.metric("calls_total", result="exact") == 1
    assert cached.one.metric("calls_total", result="miss") == 1
    assert cached.one.metric("saved_usd_total") == pytest.approx(asked.charge_nano / 1e9)
    assert len(cached.one.gateway.settlements) == 2


@pytest.mark.parametrize("kept_as_stream", [False, True])
@pytest.mark.parametrize("given_as_stream", [False, True])
async def test_streams_and_whole_answers_stand_for_one_another(
    cached: Cached, vendor: FakeUpstream, *, kept_as_stream: bool, given_as_stream: bool
) -> None:
    async def live(*, is_stream: bool) -> str:
        vendor.script = stream(*good_stream("Hel", "lo")) if is_stream else answer_json(completion("Hello"))
        answer = await cached.one.ask(json=chat(stream=is_stream))
        return said(answer.text, is_stream=is_stream)

    await live(is_stream=kept_as_stream)
    asked = len(vendor.seen)
    again = await cached.two.ask(json=chat(stream=given_as_stream))
    assert again.headers[HEADER] == "exact"
    assert len(vendor.seen) == asked
    assert said(again.text, is_stream=given_as_stream) == "Hello"
    if given_as_stream:
        assert events_of(again.text)[-1] == "[DONE]"
        assert "usage" not in again.text
        seen = await cached.one.ask(json=chat(stream=True, stream_options={"include_usage": True}))
        assert json.loads(events_of(seen.text)[-2])["usage"]["total_tokens"] == 15


def said(text: str, *, is_stream: bool) -> str:
    if not is_stream:
        return str(json.loads(text)["choices"][0]["message"]["content"])
    chunks = [json.loads(data) for data in events_of(text) if data != "[DONE]"]
    assert len({chunk["id"] for chunk in chunks}) == 1
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    assert choices[-1]["finish_reason"] == "stop"
    return "".join(choice["delta"].get("content") or "" for choice in choices)


async def test_an_entry_lasts_as_long_as_its_policy_says(cached: Cached) -> None:
    await cached.one.ask()
    for gateway in (cached.one.gateway, cached.two.gateway):
        gateway.clock.ahead = EXACT.ttl_seconds - 5
    assert (await cached.one.ask()).headers[HEADER] == "exact"
    for gateway in (cached.one.gateway, cached.two.gateway):
        gateway.clock.ahead = EXACT.ttl_seconds + 1
    assert (await cached.one.ask()).headers[HEADER] == "miss"
    assert len(cached.vendor.seen) == 2


CONTROLS: list[tuple[dict[str, str], dict[str, Any], str, int]] = [
    ({HEADER: "no-cache"}, {}, "miss", 2),
    ({}, {"cache": {"no-cache": True}}, "miss", 2),
    ({HEADER: "max-age=0"}, {}, "miss", 2),
    ({}, {"cache": {"max-age": 3600}}, "exact", 1),
    ({HEADER: "namespace=other"}, {}, "miss", 2),
    ({HEADER: "no-store"}, {}, "exact", 1),
    ({HEADER: "only-if-cached"}, {}, "exact", 1),
]


@pytest.mark.parametrize(("headers", "fields", "result", "asked"), CONTROLS)
async def test_a_call_says_what_it_takes(
    cached: Cached, headers: dict[str, str], fields: dict[str, Any], result: str, asked: int
) -> None:
    await cached.one.ask()
    again = await cached.one.ask(json=chat(**fields), headers=headers)
    assert (again.status_code, again.headers[HEADER]) == (200, result)
    assert len(cached.vendor.seen) == asked
    assert all("cache" not in seen.json() for seen in cached.vendor.seen)


async def test_no_store_keeps_nothing_and_no_cache_keeps_the_newer(cached: Cached) -> None:
    await cached.one.ask(headers={HEADER: "no-store"})
    assert (await cached.one.ask()).headers[HEADER] == "miss"
    cached.vendor.script = answer_json(completion("newer"))
    await cached.one.ask(headers={HEADER: "no-cache"})
    again = await cached.two.ask()
    assert again.headers[HEADER] == "exact"
    assert again.json()["choices"][0]["message"]["content"] == "newer"


@pytest.mark.parametrize(
    ("headers", "fields"),
    [
        ({HEADER: "no-stoer"}, {}),
        ({}, {"cache": {"ttl": 5}}),
        ({HEADER: "max-age=soon"}, {}),
        ({HEADER: "namespace="}, {}),
    ],
)
async def test_words_that_are_not_known_are_refused(
    cached: Cached, headers: dict[str, str], fields: dict[str, Any]
) -> None:
    answer = await cached.one.ask(json=chat(**fields), headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_value")
    assert not cached.vendor.seen


async def test_only_if_cached_asks_nobody(cached: Cached) -> None:
    answer = await cached.one.ask(headers={HEADER: "only-if-cached"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_cached")
    assert not cached.vendor.seen
    assert not cached.one.gateway.settlements


async def test_without_a_policy_nothing_is_kept_and_the_field_is_still_ours(
    tmp_path: Path, vendor: FakeUpstream
) -> None:
    async with worker(tmp_path, before(vendor), None) as one:
        for _ in range(2):
            answer = await one.ask(json=chat(cache={"no-store": True}))
            assert HEADER not in answer.headers
        assert [set(seen.json()) for seen in vendor.seen] == [{"model", "messages"}] * 2
        assert len(one.memory) == 0


NEVER: dict[str, Any] = {
    "error": answer_json({"error": {"message": "no", "type": "server_error"}}, 500),
    "refusal": answer_json({"error": {"message": "no", "type": "invalid_request_error"}}, 400),
    "truncated": answer_json(
        completion(
            "x", choices=[{"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "length"}]
        )
    ),
    "filtered": answer_json(
        completion(
            "x",
            choices=[{"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "content_filter"}],
        )
    ),
}


@pytest.mark.parametrize("name", NEVER)
async def test_what_is_no_whole_answer_is_never_kept(cached: Cached, vendor: FakeUpstream, name: str) -> None:
    vendor.script = NEVER[name]
    await cached.one.ask()
    asked = len(vendor.seen)
    await cached.one.ask()
    assert len(vendor.seen) > asked
    assert len(cached.one.memory) == 0
    assert await cached.link.call("DBSIZE") == 0


async def test_a_stream_that_breaks_is_never_kept(cached: Cached, vendor: FakeUpstream) -> None:
    vendor.script = stream(*good_stream("Hel", "lo")[:3], ends=False)
    await cached.one.ask(json=chat(stream=True))
    assert len(cached.one.memory) == 0
    vendor.script = stream(*good_stream("Hel", "lo"))
    assert (await cached.one.ask(json=chat(stream=True))).headers[HEADER] == "miss"


async def test_different_questions_have_different_answers(cached: Cached, vendor: FakeUpstream) -> None:
    """Everything that may change the answer is part of the key; who asks is not."""
    await cached.one.ask(json=chat())
    different: list[dict[str, Any]] = [
        chat(temperature=0.1),
        chat(max_tokens=5),
        chat(seed=1),
        chat(model="alias"),
        chat(n=2),
        chat(stop=["x"]),
        chat(response_format={"type": "json_object"}),
        chat(tools=[{"type": "function", "function": {"name": "f"}}]),
        chat(reasoning_effort="low"),
        chat(something_new=1),
    ]
    for body in different:
        assert (await cached.one.ask(json=body)).headers[HEADER] == "miss", body
    assert len(vendor.seen) == 1 + len(different)
    for body in (chat(user="me"), chat(metadata={"a": "b"}), chat(service_tier="flex"), chat(store=False)):
        assert (await cached.one.ask(json=body)).headers[HEADER] == "exact", body


async def test_only_deterministic_calls_where_the_policy_says_so(cached: Cached, vendor: FakeUpstream) -> None:
    rule = ExactRule(operations=EXACT.operations, only_deterministic=True)
    cached.put(before(vendor, attached(policy(exact=rule))))
    for body, result in ((chat(), "bypass"), (chat(temperature=0), "exact"), (chat(seed=7), "exact")):
        await cached.one.ask(json=body)
        assert (await cached.one.ask(json=body)).headers[HEADER] == result


async def test_the_most_specific_policy_holds_alone(cached: Cached, vendor: FakeUpstream) -> None:
    off = policy(exact=None)
    cached.put(before(vendor, attached(policy()), attached(off, Level.MODEL, "ali*")))
    for model, result in (("gpt-4o-mini", "exact"), ("alias", None)):
        await cached.one.ask(json=chat(model=model))
        assert (await cached.one.ask(json=chat(model=model))).headers.get(HEADER) == result


SHARINGS = [
    (Sharing.TENANT, "exact", "exact", "exact"),
    (Sharing.PROJECT, "exact", "miss", "exact"),
    (Sharing.USER, "miss", "exact", "exact"),
    (Sharing.KEY, "miss", "miss", "exact"),
]


@pytest.mark.parametrize(("sharing", "same_project", "same_user", "same_key"), SHARINGS)
async def test_answers_are_shared_as_far_as_the_policy_says(
    cached: Cached, vendor: FakeUpstream, sharing: Sharing, same_project: str, same_user: str, same_key: str
) -> None:
    cached.put(before(vendor, attached(policy(exact=ExactRule(sharing=sharing)))))
    project, user = uuid7(), uuid7()
    keys = cached.one.gateway.keys
    first, second, third = (new_key().token for _ in range(3))
    keys.add(first, project_id=project, user_id=user)
    keys.add(second, project_id=project, user_id=uuid7())
    keys.add(third, project_id=uuid7(), user_id=user)
    await cached.one.ask(first)
    assert (await cached.one.ask(second)).headers[HEADER] == same_project
    assert (await cached.one.ask(first)).headers[HEADER] == same_key
    assert (await cached.one.ask(third)).headers[HEADER] == same_user


async def test_who_wants_nothing_written_down_leaves_nothing(cached: Cached) -> None:
    token = new_key().token
    cached.one.gateway.keys.add(token, logging_policy="none")
    await cached.one.ask(token)
    assert len(cached.one.memory) == 0
    assert await cached.link.call("DBSIZE") == 0
    assert (await cached.one.ask(KEY)).headers[HEADER] == "miss"
