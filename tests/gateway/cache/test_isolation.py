"""Nobody gets another tenant's answer, and nothing that is not ours is given."""

import os
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.gateway.cache.caching import HEADER, SEAL, Cached, attached, before, coalescing
from tests.gateway.serving import chat, principal
from tests.gateway.upstream import FakeUpstream, Seen, answer_json, completion
from tollkeeper.contracts.cache import Sharing
from tollkeeper.contracts.chat import Call, Chunk, Operation, Usage
from tollkeeper.core.ids import uuid7
from tollkeeper.core.secrets import new_key
from tollkeeper.gateway.cache.entry import Entry, Poisoned, Seal
from tollkeeper.gateway.cache.fingerprint import IDLE_FIELDS, fingerprint, scope_of

IS_FULL = "TOLLKEEPER_TEST_FULL" in os.environ
ATTEMPTS = 10_000 if IS_FULL else 300
TENANTS = 4


async def echo(seen: Seen, writer: Any) -> bool | None:
    """Says who asked: the canary of a tenant is in its provider's answer alone."""
    text = f"{seen.json()['messages'][-1]['content']} #{len(ECHOED)}"
    ECHOED.append(text)
    return await answer_json(completion(text))(seen, writer)


ECHOED: list[str] = []


async def test_near_duplicates_of_several_tenants_never_cross(cached: Cached, vendor: FakeUpstream) -> None:
    """All ask the same, in the same words or nearly: whoever is given an answer had asked for it first itself."""
    vendor.script = echo
    ECHOED.clear()
    cached.put(before(vendor, attached(coalescing())))
    tokens = [new_key().token for _ in range(TENANTS)]
    for token in tokens:
        cached.one.gateway.keys.add(token, tenant_id=uuid7())
    seen: dict[str, set[str]] = {token: set() for token in tokens}
    questions = ["Say hello.", "Say hello", "say hello.", "Say  hello.", "Say hello. "]
    hits = crossings = 0
    for attempt in range(ATTEMPTS):
        token = tokens[attempt % TENANTS]
        question = questions[attempt // TENANTS % len(questions)] + (str(attempt % 7) if attempt % 3 else "")
        worker = cached.one if attempt % 2 else cached.two
        answer = await worker.ask(token, json=chat(messages=[{"role": "user", "content": question}]))
        text = answer.json()["choices"][0]["message"]["content"]
        if answer.headers[HEADER] == "miss":
            seen[token].add(text)
        else:
            hits += 1
            crossings += text not in seen[token]
        assert text.startswith(question)
    assert hits > ATTEMPTS // 4
    assert crossings == 0


@pytest.mark.parametrize(
    "damage",
    [
        ("truncated", lambda value: value[:-3]),
        ("cut to its head", lambda value: value[:10]),
        ("changed", lambda value: value[:-1] + bytes([value[-1] ^ 1])),
        ("none of ours", lambda value: b"hello"),
        ("empty", lambda value: b""),
        ("of another key of ours", lambda value: Seal(b"o" * 32).write(entry())[0]),
    ],
    ids=lambda damage: damage[0],
)
async def test_a_value_that_is_no_entry_is_a_miss_and_counted(cached: Cached, damage: Any) -> None:
    await cached.one.ask()
    [key] = [key async for batch in cached.link.scan("tk:*:c:*") for key in batch]
    value = await cached.link.call("GET", key)
    await cached.link.call("SET", key, damage[1](value), "KEEPTTL")
    answer = await cached.two.ask()
    assert (answer.status_code, answer.headers[HEADER]) == (200, "miss")
    assert sum(cached.two.metric("poisoned_total", reason=reason) for reason in ("form", "mac")) == 1
    assert len(cached.vendor.seen) == 2


async def test_a_value_of_another_type_is_a_miss_and_counted(cached: Cached) -> None:
    await cached.one.ask()
    [key] = [key async for batch in cached.link.scan("tk:*:c:*") for key in batch]
    await cached.link.call("DEL", key)
    await cached.link.call("LPUSH", key, "x")
    assert (await cached.two.ask()).headers[HEADER] == "miss"
    assert cached.two.metric("poisoned_total", reason="type") == 1


async def test_another_tenants_entry_under_this_ones_key_is_a_miss(cached: Cached) -> None:
    """Whoever can write to Redis but has not our key cannot move an answer to another tenant."""
    token = new_key().token
    cached.one.gateway.keys.add(token, tenant_id=uuid7())
    await cached.one.ask()
    await cached.one.ask(token)
    first, second = sorted([key async for batch in cached.link.scan("tk:*:c:*") for key in batch])
    await cached.link.call("SET", second, await cached.link.call("GET", first), "KEEPTTL")
    await cached.link.call("SET", first, await cached.link.call("GET", second), "KEEPTTL")
    results = [(await cached.two.ask()).headers[HEADER], (await cached.two.ask(token)).headers[HEADER]]
    assert sorted(results) == ["exact", "miss"]
    assert cached.two.metric("poisoned_total", reason="mac") == 1


def test_the_tenant_is_looked_at_once_more_inside_an_entry() -> None:
    made = entry()
    value, _ = SEAL.write(made)
    assert SEAL.read(value, made.tenant_id, made.fingerprint).chunks == made.chunks
    for tenant_id, name in ((uuid7(), made.fingerprint), (made.tenant_id, b"x" * 32)):
        with pytest.raises(Poisoned):
            SEAL.read(value, tenant_id, name)


def entry(tenant_id: UUID | None = None) -> Entry:
    document = completion("hello")
    chunk = Chunk(document, is_content=True, is_final=True, usage=Usage(input=10, output=5))
    return Entry(tenant_id or uuid7(), b"f" * 32, (chunk,), False, 1.0, "m", "p", "u", Usage(input=10), 7)


# The fingerprint

WHO = principal(user_id=uuid7(), project_id=uuid7())
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
NAMES = st.sampled_from(["temperature", "seed", "tools", "stop", "top_p", "n", "x", "response_format"])


def key(body: dict[str, Any], **said: Any) -> bytes:
    values: dict[str, Any] = {"tenant_id": WHO.tenant_id, "scope": b"s", "namespace": "", "route": "r", "places": b"p"}
    call = said.pop("call", None) or Call(Operation.CHAT, "m", is_stream=False, body=body)
    values |= said
    return fingerprint(
        values["tenant_id"], values["scope"], values["namespace"], call, values["route"], values["places"]
    )


@settings(max_examples=100 if not IS_FULL else 2_000, deadline=None)
@given(st.dictionaries(NAMES, JSON, max_size=4), NAMES, JSON, JSON)
def test_every_parameter_is_part_of_the_key(body: dict[str, Any], name: str, one: Any, other: Any) -> None:
    same = repr(one) == repr(other)
    assert (key({**body, name: one}) == key({**body, name: other})) is same


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(NAMES, JSON, max_size=4), st.sampled_from(sorted(IDLE_FIELDS)), JSON)
def test_what_cannot_change_the_answer_is_not(body: dict[str, Any], name: str, value: Any) -> None:
    assert key({**body, name: value}) == key(body)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(NAMES, JSON, min_size=2, max_size=4))
def test_the_order_of_fields_is_not(body: dict[str, Any]) -> None:
    assert key(dict(reversed(body.items()))) == key(body)


def test_whoever_and_wherever_is() -> None:
    base = key({})
    call = Call(Operation.CHAT, "m", is_stream=False, body={})
    others = [
        key({}, tenant_id=uuid7()),
        key({}, scope=b"t"),
        key({}, namespace="n"),
        key({}, route="q"),
        key({}, places=b"q"),
        # Nothing moves from one part into the next.
        key({}, scope=b"", namespace="s"),
        key({}, route="rp", places=b""),
        key({}, call=replace(call, operation=Operation.COMPLETIONS)),
        key({}, call=replace(call, model="other")),
        key({}, call=replace(call, dialect="d")),
        key({}, call=replace(call, native={"a": 1})),
        key({}, call=replace(call, needs_native="tools[0]")),
        key({}, call=replace(call, native={"a": 1}, is_stream=True)),
        key({}, call=replace(call, operation=Operation.TRANSCRIPTIONS)),
        key({}, call=replace(call, operation=Operation.TRANSCRIPTIONS, is_stream=True)),
    ]
    assert len({base, *others}) == 1 + len(others)
    assert key({}, call=replace(call, is_stream=True)) == base


def test_who_belongs_to_nobody_shares_with_nobody() -> None:
    alone = principal()
    assert scope_of(alone, Sharing.PROJECT) == scope_of(alone, Sharing.USER) == scope_of(alone, Sharing.KEY)
    assert len({scope_of(WHO, sharing) for sharing in Sharing}) == len(Sharing)
