"""When two calls ask for the same: the key of the cache. Pure, and versioned, so that a change here is a miss there.

A fingerprint (v1) is a SHA-256 over these in their order, behind the lengths of the first ten:

1. `tk-cache-v1`, the tenant's id, the id that the sharing names (tenant, project, user or key), the namespace asked for;
2. the operation, the caller's dialect, the name the model was called by, the route's own name;
3. where it may lead (`places`): the targets that this caller may reach, in no order;
4. the canonical body in JSON with sorted keys, without what cannot change the answer (`IDLE_FIELDS`);
5. the caller's own document of a call that came in another dialect, the same way; and whether the answer is to be streamed,
   but for chat and completions in the canonical form: of all others a stream is no whole answer in pieces;
6. of a form: each of its fields with its name, its file's name, its type and its bytes.

Guardrails have rewritten the call by then, and caps and defaults of its model stand in it. The id of no policy is in it:
an edited policy goes on with what is there, and narrower sharing has another key.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from hashlib import sha256
from struct import Struct
from typing import Any, Final
from uuid import UUID

import orjson

from tollkeeper.contracts.cache import Sharing
from tollkeeper.contracts.catalog import ModelRoute
from tollkeeper.contracts.chat import Call, Operation
from tollkeeper.contracts.principal import Principal, name_allowed
from tollkeeper.contracts.routing import Branch, Fork, Target

VERSION: Final = b"tk-cache-v1"
# Who asks, how the answer travels, and what the vendor keeps of it: not what it says.
IDLE_FIELDS: Final = frozenset(
    {
        "user",
        "metadata",
        "safety_identifier",
        "stream",
        "stream_options",
        "service_tier",
        "store",
        "prompt_cache_key",
        "prompt_cache_retention",
        "cache_salt",
        "model",
    }
)
_LENGTHS: Final = Struct(">10Q")
_OPTIONS: Final = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS
# Whose streams can be put together, and whose whole answers can be taken apart.
_IN_PIECES: Final = frozenset({Operation.CHAT, Operation.COMPLETIONS})


def scope_of(principal: Principal, sharing: Sharing) -> bytes:
    """Whose answers are shared. Who belongs to nobody of the kind shares with nobody: the next narrower level holds."""
    match sharing:
        case Sharing.TENANT:
            return b"tenant" + principal.tenant_id.bytes
        case Sharing.PROJECT if principal.project_id is not None:
            return b"project" + principal.project_id.bytes
        case Sharing.USER if principal.user_id is not None:
            return b"user" + principal.user_id.bytes
    return b"key" + principal.key_id.bytes


def fingerprint(
    tenant_id: UUID, scope: bytes, namespace: str, call: Call, route: str, places: bytes, *, body: bytes | None = None
) -> bytes:
    """32 bytes. `places` is `places_of`; `body` in place of the canonical one (a question's, without its last turn)."""
    parts = (
        VERSION,
        tenant_id.bytes,
        scope,
        namespace.encode(),
        call.operation.value.encode(),
        call.dialect.encode(),
        call.model.encode("utf-8", "surrogatepass"),
        route.encode("utf-8", "surrogatepass"),
        places,
        canonical(call.body) if body is None else body,
    )
    # All lengths first, so that nothing moves from one part into the next.
    digest = sha256(b"".join((_LENGTHS.pack(*map(len, parts)), *parts)))
    if call.native is not None or call.operation not in _IN_PIECES:
        digest.update(b"stream%d" % call.is_stream)
    if call.native is not None:
        native = canonical(call.native)
        digest.update(b"native" + len(native).to_bytes(8, "big"))
        digest.update(native)
    elif call.needs_native is not None or call.unexpressed:
        # Its own document was taken away, and with it what was asked for beside the canonical body.
        digest.update(b"lost" + orjson.dumps([call.needs_native, call.unexpressed]))
    if call.form is not None:
        for field in call.form.parts:
            if field.key in IDLE_FIELDS and not field.is_file:
                continue
            content = call.form.view(field)
            head = orjson.dumps([field.name, field.filename, field.content_type, len(content)])
            digest.update(len(head).to_bytes(8, "big"))
            digest.update(head)
            digest.update(content)
    return digest.digest()


def canonical(body: Mapping[str, Any]) -> bytes:
    """JSON with sorted keys, without what cannot change the answer."""
    return orjson.dumps({name: value for name, value in body.items() if name not in IDLE_FIELDS}, option=_OPTIONS)


def places_of(route: ModelRoute, plan: Iterable[Target], principal: Principal, named: bytes) -> bytes:
    """Where a call may lead, in no order. `named`: what its own header keeps it to.

    All that the route has, so that a provider's trouble is no reason to find nothing; the plan alone where a policy
    sends callers to different places.
    """
    if named or (route.policy is not None and _tells_apart(route.policy.root)):
        return named + _written(plan)
    return _allowed(route.targets, principal.allowed_providers)


@lru_cache(maxsize=4096)
def _allowed(targets: tuple[Target, ...], providers: frozenset[str] | None) -> bytes:
    return _written(one for one in targets if name_allowed(one.provider, providers))


def _written(targets: Iterable[Target]) -> bytes:
    return orjson.dumps(sorted({(target.provider, target.model) for target in targets}))


def _tells_apart(to: Fork | Target) -> bool:
    return isinstance(to, Fork) and any(_is_conditional(branch) for branch in to.branches)


def _is_conditional(branch: Branch) -> bool:
    return branch.when is not None or _tells_apart(branch.to)
