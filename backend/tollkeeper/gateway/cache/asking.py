"""What a call asks the cache for: whether it may be given an answer again at all, under which key, and how old.

Made once for each call under a policy, before anything is looked for.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from tollkeeper.contracts.cache import CachePolicy, CoalesceRule, ExactRule, Sharing
from tollkeeper.contracts.chat import Call, Operation
from tollkeeper.gateway.cache.controls import Controls
from tollkeeper.gateway.cache.fingerprint import canonical, fingerprint, places_of, scope_of
from tollkeeper.gateway.cache.keeping import Keeping
from tollkeeper.gateway.cache.question import Question, last_turn, without_last_turn
from tollkeeper.gateway.same_call import HEADER as ONCE
from tollkeeper.gateway.stage import Exchange

_ROUTE: Final = b"x-tollkeeper-route"
# What callers say in headers that vendors get to see, and that changes what they answer.
_CARRIED: Final = (b"anthropic-beta", b"anthropic-version", b"openai-beta")
# Of a tenant, a project or a key that wants nothing written down.
_KEEPS_NOTHING: Final = "none"
_NO_CHANCE: Final = frozenset({Operation.EMBEDDINGS, Operation.MODERATIONS, Operation.RERANK})
# What the vendor keeps, or has kept: the same words mean something else the next time.
_KEPT_THERE: Final = ("previous_response_id", "conversation", "container", "background")
_SEMANTIC_BYTES: Final = 262_144


@dataclass(slots=True)
class Asking:
    """`fingerprint` None: no answer is looked for or kept, but calls of the same moment may share one (`shared_key`)."""

    tenant_id: UUID
    policy: CachePolicy
    controls: Controls
    fingerprint: bytes | None
    # How old an answer may be, and how long one is kept.
    max_age: float
    ttl_seconds: float
    # None: it is made alone.
    shared_key: tuple[bytes, bytes, bool, int | None] | None = None
    question: Question | None = None
    # None: nothing of it is kept.
    keeping: Keeping | None = None
    # Calls that waited in vain, this one among them.
    failures: int = field(default=0)

    @property
    def looks(self) -> bool:
        return self.fingerprint is not None and not self.controls.is_fresh


def ask(exchange: Exchange, policy: CachePolicy, controls: Controls) -> Asking | None:
    """None: the call is none that is ever given an answer again."""
    call, principal = exchange.call, exchange.principal
    if exchange.is_reversible or _is_of_a_kept_conversation(call):
        return None
    exact, coalesce = _exact_rule(policy, call), policy.coalesce
    turn = None
    semantic = policy.semantic
    if semantic is not None and (controls.is_semantic or not semantic.is_opt_in):
        turn = last_turn(call, semantic)
    if exact is None and coalesce is None and turn is None:
        return None
    headers = exchange.headers
    named = b"\n".join([headers.get(_ROUTE, b""), *[headers.get(name, b"") for name in _CARRIED]])
    places = places_of(exchange.route, exchange.plan, principal, named.strip(b"\n"))
    try:
        body = canonical(call.body)
        return _asking(exchange, policy, controls, exact, coalesce, turn, places, body)
    except TypeError:
        # Something that JSON has no words for, which a strict reader let in: a number of more than 64 bits.
        return None


def _asking(
    exchange: Exchange,
    policy: CachePolicy,
    controls: Controls,
    exact: ExactRule | None,
    coalesce: CoalesceRule | None,
    turn: str | None,
    places: bytes,
    body: bytes,
) -> Asking:
    call, principal = exchange.call, exchange.principal
    semantic = policy.semantic
    tenant_id, route = principal.tenant_id, exchange.route.name

    def key(sharing: Sharing, content: bytes) -> bytes:
        scope = scope_of(principal, sharing)
        return fingerprint(tenant_id, scope, controls.namespace, call, route, places, body=content)

    kept_by = exact or (semantic if turn is not None else None)
    found = None if kept_by is None else key(kept_by.sharing, body)
    ttl = 0.0
    keeping = None
    question = None
    if kept_by is not None:
        ttl = float(kept_by.ttl_seconds)
        most = exact.most_entry_bytes if exact is not None else _SEMANTIC_BYTES
        if turn is not None and semantic is not None:
            ttl = max(ttl, float(semantic.ttl_seconds))
            partition = key(semantic.sharing, b"semantic" + canonical(without_last_turn(call)))
            question = Question(tenant_id, partition, turn, semantic, call.model, principal.key_id)
        if not controls.is_private and principal.logging_policy != _KEEPS_NOTHING:
            keeping = Keeping(most)
    max_age = float(kept_by.ttl_seconds) if kept_by is not None else 0.0
    if controls.max_age is not None:
        max_age = min(max_age, float(controls.max_age))
    shared = None
    if coalesce is not None and _may_share(exchange, controls):
        same = found if found is not None and kept_by is not None and kept_by.sharing is coalesce.sharing else None
        shared = (tenant_id.bytes, same or key(coalesce.sharing, body), call.is_stream, controls.max_age)
    return Asking(tenant_id, policy, controls, found, max_age, ttl, shared, question, keeping)


def _exact_rule(policy: CachePolicy, call: Call) -> ExactRule | None:
    rule = policy.exact
    if rule is None or call.operation not in rule.operations:
        return None
    if rule.only_deterministic and not _is_deterministic(call):
        return None
    return rule


def _is_deterministic(call: Call) -> bool:
    body: Mapping[str, Any] = call.body
    if call.operation in _NO_CHANCE:
        return True
    # Without a word of the caller's vendors take one above 0.
    return body.get("temperature") == 0 or body.get("seed") is not None


def _is_of_a_kept_conversation(call: Call) -> bool:
    turn = call.turn
    if turn is not None and (turn.is_stored or turn.previous_id is not None or turn.references):
        return True
    return any(call.body.get(name) for name in _KEPT_THERE)


def _may_share(exchange: Exchange, controls: Controls) -> bool:
    if controls.is_fresh or controls.is_private or controls.is_only_cached or ONCE in exchange.headers:
        return False
    # Near a limit an answer may be cut for want of money, and others should not have that.
    hold = exchange.hold
    return hold is None or not hold.refs or hold.is_full
