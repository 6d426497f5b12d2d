"""Anthropic in the registry: reached with its usual variable, priced, and told how long its models' answers may be."""

import pytest

from tests.gateway.serving import provider
from tollkeeper.contracts.catalog import Snapshot
from tollkeeper.contracts.chat import Call, Operation
from tollkeeper.contracts.routing import Target
from tollkeeper.core.errors import BadRequest
from tollkeeper.core.ids import uuid7
from tollkeeper.domains.catalog.environment import environment_catalog
from tollkeeper.domains.catalog.prices import load_price_list
from tollkeeper.domains.catalog.snapshot import Sources, build_snapshot
from tollkeeper.gateway.money.cuttable import can_cut
from tollkeeper.gateway.providers import PROVIDERS, provider_kinds
from tollkeeper.gateway.providers.anthropic import KIND, Anthropic

CLAUDE = Anthropic()


def catalog() -> Snapshot:
    prices = load_price_list()
    environment = environment_catalog({"ANTHROPIC_API_KEY": " k "}, provider_kinds(), prices)
    return build_snapshot(1, Sources(environment=environment, price_list=prices))


def test_key_in_the_environment_serves_every_priced_model() -> None:
    snapshot = catalog()
    config = snapshot.providers["anthropic"]
    assert (config.kind, config.base_url, config.credentials[0].secret) == (
        "anthropic",
        "https://api.anthropic.com",
        "k",
    )
    assert config.credentials[0].origins == {"https://api.anthropic.com:443"}
    for name in ("claude-opus-5-5", "claude-haiku-4-5", "anthropic/claude-sonnet-4-6"):
        route = snapshot.find_model(uuid7(), name)
        assert route is not None
        assert route.price is not None
        assert None not in {route.price.cache_read, route.price.cache_write, route.price.cache_write_1h}
        assert route.targets == (
            Target("anthropic", name.removeprefix("anthropic/"), max_output_tokens=route.max_output_tokens),
        )
        assert route.max_output_tokens in {64_000, 128_000}


def test_registry_knows_it() -> None:
    assert PROVIDERS["anthropic"].kind == "anthropic"
    assert KIND in provider_kinds()


@pytest.mark.parametrize(
    "base", [None, "https://api.anthropic.com", "https://api.anthropic.com/", "https://api.anthropic.com/v1"]
)
def test_address_is_written_with_or_without_the_version(base: str | None) -> None:
    call = Call(Operation.CHAT, "m", is_stream=False, body={})
    url = CLAUDE.url(provider("p", base, kind="anthropic"), call, Target("p", "m"))
    assert url == "https://api.anthropic.com/v1/messages"


def test_every_other_operation_is_refused() -> None:
    config = provider("p", None, kind="anthropic")
    for operation in set(Operation) - {Operation.CHAT}:
        with pytest.raises(BadRequest) as refused:
            CLAUDE.dialect(config, Call(operation, "m", is_stream=False, body={}), Target("p", "m"))
        assert refused.value.code == "unsupported_operation"


@pytest.mark.parametrize(
    ("model", "fields", "may_be_cut"),
    [
        ("claude-haiku-4-5", {}, True),
        ("claude-opus-4-8", {}, True),
        ("claude-opus-4-8", {"reasoning_effort": "none"}, True),
        ("claude-opus-4-8", {"reasoning_effort": "low"}, False),
        ("claude-opus-4-8", {"thinking": {"type": "adaptive"}}, False),
        ("claude-opus-5-5", {}, False),
        ("claude-sonnet-5", {}, False),
    ],
)
def test_answer_is_cut_only_where_all_that_is_billed_is_seen(
    model: str, fields: dict[str, object], *, may_be_cut: bool
) -> None:
    """Thinking is billed whole and shown in summary."""
    config = provider("p", None, kind="anthropic")
    call = Call(Operation.CHAT, model, is_stream=True, body={"model": model, "messages": [], **fields})
    assert can_cut(CLAUDE, config, call, Target("p", model)) is may_be_cut
    told = provider("p", None, kind="anthropic", options={"visible_output": True})
    assert CLAUDE.billing(told, model).shows_output
