"""Workloads that call with the token of their own platform: bound to a key, in their own tenant, or refused."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import update

from tests.domains.control_plane import ControlPlane
from tests.domains.identity_providers.setting import PROVIDERS, trust
from tests.domains.members import new_holder
from tests.oidc_provider import Provider, new_key, sign
from tollkeeper.contracts.principal import KeyRecord
from tollkeeper.core.errors import DependencyUnavailable
from tollkeeper.core.ids import format_id, parse_id, uuid7
from tollkeeper.core.permissions import Permission, Role
from tollkeeper.db.models import ApiKey
from tollkeeper.domains.identity_providers.issuers import IssuerUnavailable
from tollkeeper.domains.identity_providers.lookup import WorkloadTokens

SUBJECT = "repo:example/app:ref:refs/heads/main"


class Setting:
    """A provider whose tokens with one subject act as one key."""

    def __init__(self, plane: ControlPlane, provider: Provider) -> None:
        self.plane = plane
        self.provider = provider
        self.tokens = WorkloadTokens(plane.database, plane.services.issuers, plane.services.key_lookup, plane.clock)

    async def prepare(self, tenant_id: UUID | None = None, **fields: Any) -> "Setting":
        self.tenant_id = tenant_id or self.plane.tenant_id
        self.audience = f"tollkeeper:{format_id('ten', self.tenant_id)}"
        self.provider_id = await trust(
            self.plane, self.provider, self.tenant_id, allows_sign_in=False, allows_workloads=True, **fields
        )
        self.key_id = await self.new_key()
        return self

    async def new_key(self, **columns: Any) -> UUID:
        owner = await self.plane.new_user(Role.DEVELOPER, self.tenant_id)
        return parse_id("key", (await self.plane.new_key(owner, **columns))[0])

    async def bind(self, claims: dict[str, Any], key_id: UUID | None = None) -> dict[str, Any]:
        body = {
            "name": f"job {uuid4().hex}",
            "key_id": format_id("key", key_id or self.key_id),
            "claims": claims,
        }
        async with self.plane.as_role(Role.PLATFORM_ADMIN) as client:
            answer = await client.post(f"{PROVIDERS}/{self.provider_id}/bindings", json=body)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    async def find(self, token: str | None = None, key_id: UUID | None = None) -> KeyRecord | None:
        token = token or self.provider.token_for(self.audience, sub=SUBJECT)
        found = await self.tokens.find_by_token(token, key_id)
        return None if found is None else found[0]


@pytest.fixture
def setting(plane: ControlPlane, provider: Provider) -> Setting:
    return Setting(plane, provider)


async def test_bound_token_acts_as_the_key_until_it_ends(setting: Setting) -> None:
    await setting.prepare()
    await setting.bind({"sub": SUBJECT})
    token = setting.provider.token_for(
        [setting.audience, "others"], sub=SUBJECT, exp=int(setting.plane.clock.unix()) + 60
    )

    found = await setting.tokens.find_by_token(token, None)

    assert found is not None
    record, ends_at = found
    assert record.principal.key_id == setting.key_id
    assert record.principal.tenant_id == setting.tenant_id
    assert record.digests == ()
    assert 0 < ends_at - setting.plane.clock.unix() <= 60

    setting.plane.clock.ahead = 61
    assert await setting.find(token) is None


@pytest.mark.parametrize(
    ("wanted", "said", "fits"),
    [
        ({"sub": "repo:example/app:*"}, {"sub": SUBJECT}, True),
        ({"sub": "repo:example/app*"}, {"sub": "repo:example/application:ref"}, True),
        ({"sub": "repo:example/other:*"}, {"sub": SUBJECT}, False),
        ({"sub": "*:main"}, {"sub": SUBJECT}, False),
        ({"sub": SUBJECT, "environment": "production"}, {"sub": SUBJECT, "environment": "production"}, True),
        ({"sub": SUBJECT, "environment": "production"}, {"sub": SUBJECT, "environment": "staging"}, False),
        ({"sub": SUBJECT, "environment": "production"}, {"sub": SUBJECT}, False),
        ({"sub": SUBJECT.upper()}, {"sub": SUBJECT}, False),
        ({"groups": "builders"}, {"groups": ["readers", "builders"]}, True),
        ({"groups": "builders"}, {"groups": [["builders"]]}, False),
        ({"protected": True}, {"protected": True}, True),
        ({"protected": True}, {"protected": "true"}, False),
        ({"protected": True}, {"protected": 1}, False),
        ({"run": 1}, {"run": True}, False),
        ({"run": 1}, {"run": 1}, True),
        ({"kubernetes.io.namespace": "prod"}, {"kubernetes.io": {"namespace": "prod"}}, True),
        ({"kubernetes.io.namespace": "prod"}, {"kubernetes.io": {"namespace": "dev"}}, False),
        ({"a.b": "x"}, {"a": "x"}, False),
        ({"sub": "x*"}, {"sub": {"x": 1}}, False),
    ],
    ids=str,
)
async def test_token_must_say_all_that_the_binding_asks(
    setting: Setting, wanted: dict[str, Any], said: dict[str, Any], fits: bool
) -> None:
    await setting.prepare()
    await setting.bind(wanted)
    token = setting.provider.token_for(setting.audience, **said)

    assert (await setting.find(token) is not None) is fits


async def test_narrowest_binding_is_the_one_that_acts(setting: Setting) -> None:
    await setting.prepare()
    narrow = await setting.new_key()
    await setting.bind({"sub": "repo:example/*"})
    await setting.bind({"sub": SUBJECT, "environment": "production"}, narrow)

    record = await setting.find(setting.provider.token_for(setting.audience, sub=SUBJECT, environment="production"))

    assert record is not None
    assert record.principal.key_id == narrow


async def test_provider_of_one_tenant_never_speaks_for_another(setting: Setting) -> None:
    """Two tenants trust the same issuer; each token is for the tenant that its audience names."""
    plane = setting.plane
    await setting.prepare()
    await setting.bind({"sub": SUBJECT})
    other = await Setting(plane, setting.provider).prepare(plane.other_tenant_id)
    await other.bind({"sub": SUBJECT})

    for one in (setting, other):
        record = await setting.find(setting.provider.token_for(one.audience, sub=SUBJECT))
        assert record is not None
        assert (record.principal.tenant_id, record.principal.key_id) == (one.tenant_id, one.key_id)
    both = setting.provider.token_for([setting.audience, other.audience], sub=SUBJECT)
    assert await setting.find(both) is None
    # The key that is named is the other tenant's; the token is not for it.
    assert await setting.find(setting.provider.token_for(setting.audience, sub=SUBJECT), other.key_id) is None


async def test_issuer_that_the_tenant_does_not_trust_is_not_heard(setting: Setting) -> None:
    """Also when another tenant trusts it, and its token names this tenant."""
    await setting.prepare()
    await setting.bind({"sub": SUBJECT})
    other_audience = f"tollkeeper:{format_id('ten', setting.plane.other_tenant_id)}"

    assert await setting.find(setting.provider.token_for(other_audience, sub=SUBJECT)) is None


async def test_fixed_audience_works_with_the_key_that_the_caller_names(setting: Setting) -> None:
    await setting.prepare(audience="https://github.com/example")
    await setting.bind({"sub": SUBJECT})
    token = setting.provider.token_for("https://github.com/example", sub=SUBJECT)

    assert await setting.find(token) is None
    assert await setting.find(token, uuid7()) is None
    record = await setting.find(token, setting.key_id)
    assert record is not None
    assert record.principal.key_id == setting.key_id


async def test_audience_of_somebody_else_is_refused(setting: Setting) -> None:
    await setting.prepare()
    await setting.bind({"sub": SUBJECT})
    for audience in ("https://other.example", "tollkeeper:", "tollkeeper:ten_x", f"{setting.audience} ", []):
        token = setting.provider.token_for(audience, sub=SUBJECT)
        assert await setting.find(token) is None
        assert await setting.find(token, setting.key_id) is None


async def test_forged_tokens_are_refused_without_a_fetch(setting: Setting) -> None:
    await setting.prepare()
    await setting.bind({"sub": SUBJECT})
    good = setting.provider.token_for(setting.audience, sub=SUBJECT)
    head, body, signature = good.split(".")
    evil = f"{setting.provider.issuer}/evil-keys"
    forged = [
        sign(new_key(), _claims(setting), jku=evil),
        sign(new_key(), _claims(setting), x5u=evil),
        sign(new_key(), _claims(setting), jwk=new_key().public()),
        f"eyJhbGciOiJub25lIn0.{body}.",
        f"eyJhbGciOiJub25lIn0.{body}.{signature}",
        f"{'A' * 3000}.{body}.{signature}",
        f"{head}.{'A' * 9000}.{signature}",
        f"{head}.{body}.{signature}.",
        "eyJ.eyJ.x",
        sign(setting.provider.keys[0], {**_claims(setting), "exp": 5}),
        sign(setting.provider.keys[0], {**_claims(setting), "iss": "https://evil.example"}),
        sign(setting.provider.keys[0], {**_claims(setting), "iss": f"{setting.provider.issuer}/"}),
    ]

    for token in forged:
        assert await setting.find(token) is None
        assert await setting.find(token, setting.key_id) is None
    assert not setting.provider.asked


async def test_strangers_signature_is_refused(setting: Setting) -> None:
    await setting.prepare()
    await setting.bind({"sub": SUBJECT})
    stranger = new_key()
    stranger.key_id = setting.provider.keys[0].key_id

    assert await setting.find(sign(stranger, _claims(setting))) is None


async def test_rotated_key_works_at_once(setting: Setting) -> None:
    await setting.prepare()
    await setting.bind({"sub": SUBJECT})
    assert await setting.find() is not None

    setting.provider.rotate("RS256")

    assert await setting.find() is not None


async def test_issuer_that_is_down_is_no_refusal_and_known_keys_serve_on(setting: Setting) -> None:
    await setting.prepare()
    await setting.bind({"sub": SUBJECT})
    setting.provider.is_down = True
    with pytest.raises(DependencyUnavailable):
        await setting.find()

    setting.provider.is_down = False
    setting.plane.clock.ahead = 6
    assert await setting.find() is not None
    setting.provider.is_down = True
    setting.plane.clock.ahead = 4000

    assert await setting.find() is not None


async def test_issuer_that_lists_no_keys_is_no_refusal(setting: Setting) -> None:
    await setting.prepare()
    await setting.bind({"sub": SUBJECT})
    token = setting.provider.token_for(setting.audience, sub=SUBJECT)
    setting.provider.keys = []

    with pytest.raises(IssuerUnavailable):
        await setting.find(token)


@pytest.mark.parametrize("change", [{"is_active": False}, {"allows_workloads": False}], ids=str)
async def test_provider_out_of_force_is_not_heard(setting: Setting, change: dict[str, Any]) -> None:
    await setting.prepare()
    await setting.bind({"sub": SUBJECT})
    async with setting.plane.as_role(Role.PLATFORM_ADMIN) as client:
        answer = await client.patch(f"{PROVIDERS}/{setting.provider_id}", json=change)
        assert answer.status_code == 200, answer.text

    assert await setting.find() is None


async def test_binding_that_was_changed_or_removed_takes_nothing(setting: Setting) -> None:
    await setting.prepare()
    first, second = [await setting.bind({"sub": SUBJECT, "n": number}) for number in (1, 2)]
    tokens = [setting.provider.token_for(setting.audience, sub=SUBJECT, n=number) for number in (1, 2)]
    path = f"{PROVIDERS}/{setting.provider_id}/bindings"
    async with setting.plane.as_role(Role.PLATFORM_ADMIN) as client:
        assert (await client.patch(f"{path}/{first['id']}", json={"is_active": False})).status_code == 200
        assert (await client.delete(f"{path}/{second['id']}")).status_code == 204

    assert [await setting.find(token) for token in tokens] == [None, None]
    assert await setting.plane.audited(first["id"]) == ["workload_bindings.create", "workload_bindings.update"]
    assert await setting.plane.audited(second["id"]) == ["workload_bindings.create", "workload_bindings.delete"]


async def test_revoked_key_is_refused_with_its_reason(setting: Setting) -> None:
    await setting.prepare()
    await setting.bind({"sub": SUBJECT})
    async with setting.plane.database.platform() as session:
        await session.execute(update(ApiKey).where(ApiKey.id == setting.key_id).values(status="revoked"))

    record = await setting.find()

    assert record is not None
    assert record.refusal is not None


@pytest.mark.parametrize(
    "fields",
    [
        {"claims": {}},
        {"claims": {"aud": "x"}},
        {"claims": {"iss": "x", "exp": 5}},
        {"claims": {"sub": "*"}},
        {"claims": {"sub": ["a"]}},
        {"claims": {"sub": None}},
        {"claims": {"sub": 1.5}},
        {"claims": {"sub": {"a": "b"}}},
        {"claims": {"a" * 300: "x"}},
        {"claims": {f"c{number}": "x" for number in range(30)}},
        {"claims": {"sub": "x"}, "key_id": "key_x"},
        {"claims": {"sub": "x"}, "tenant_id": "ten_" + "0" * 32},
        {"claims": {"sub": "x"}, "name": ""},
    ],
    ids=str,
)
async def test_binding_that_would_take_anybody_is_refused(setting: Setting, fields: dict[str, Any]) -> None:
    await setting.prepare()
    body = {"name": f"job {uuid4().hex}", "key_id": format_id("key", setting.key_id), **fields}
    async with setting.plane.as_role(Role.TENANT_ADMIN) as client:
        answer = await client.post(f"{PROVIDERS}/{setting.provider_id}/bindings", json=body)

    assert answer.status_code == 422, answer.text


async def test_key_of_another_tenant_cannot_be_bound(setting: Setting) -> None:
    plane = setting.plane
    await setting.prepare()
    foreign, _ = await plane.new_key(await plane.user(Role.DEVELOPER, other=True))
    for role in (Role.TENANT_ADMIN, Role.PLATFORM_ADMIN):
        async with plane.as_role(role) as client:
            answers = [
                await client.post(
                    f"{PROVIDERS}/{setting.provider_id}/bindings",
                    json={"name": f"job {uuid4().hex}", "key_id": key_id, "claims": {"sub": "x"}},
                )
                for key_id in (foreign, format_id("key", uuid7()))
            ]
        assert [answer.status_code for answer in answers] == [404, 404]
        assert answers[0].json()["detail"] == answers[1].json()["detail"]


async def test_key_of_who_may_do_more_cannot_be_bound(setting: Setting) -> None:
    plane = setting.plane
    await setting.prepare(default_role=None)
    mighty, _ = await plane.new_key(await plane.user(Role.TENANT_ADMIN), "inference", "admin")
    holder = await new_holder(
        plane,
        [Permission.IDENTITY_PROVIDERS_UPDATE, Permission.USERS_UPDATE, Permission.USERS_VIEW, Permission.ME_VIEW],
    )
    async with plane.as_user(holder) as client:
        answer = await client.post(
            f"{PROVIDERS}/{setting.provider_id}/bindings",
            json={"name": "job", "key_id": mighty, "claims": {"sub": "x"}},
        )

    assert (answer.status_code, answer.json()["code"]) == (403, "beyond_authority")


async def test_bindings_are_shown_and_listed(setting: Setting) -> None:
    await setting.prepare()
    made = [await setting.bind({"sub": f"job {number}"}) for number in range(3)]
    path = f"{PROVIDERS}/{setting.provider_id}/bindings"
    async with setting.plane.as_role(Role.AUDITOR) as client:
        first = (await client.get(path, params={"limit": 2})).json()
        rest = (await client.get(path, params={"limit": 2, "cursor": first["next_cursor"]})).json()
        shown = await client.get(f"{path}/{made[0]['id']}")

    assert [*first["data"], *rest["data"]] == made[::-1]
    assert shown.json() == made[0]


def _claims(setting: Setting) -> dict[str, Any]:
    now = int(setting.plane.clock.unix())
    return {"iss": setting.provider.issuer, "aud": setting.audience, "sub": SUBJECT, "iat": now, "exp": now + 300}
