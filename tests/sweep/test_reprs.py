"""An object that holds a secret does not print it: not in a traceback, not in a log line, not in a pickle."""

import pickle
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from tests.canaries import Canary, Sweep, canary
from tollkeeper.contracts.catalog import Credential, ProviderConfig
from tollkeeper.core.clock import SystemClock
from tollkeeper.core.config import Settings
from tollkeeper.core.crypto import MasterKey, SecretBox
from tollkeeper.core.embedded import Endpoint
from tollkeeper.core.ids import uuid7
from tollkeeper.core.key_file import KeyTexts
from tollkeeper.core.master_keys import MasterKeys
from tollkeeper.core.run_keys import RunKeys
from tollkeeper.core.secrets import KeyDigest, KeyHasher, NewKey, ParsedKey
from tollkeeper.core.tokens import AccessTokens
from tollkeeper.domains.catalog.schemas import ProviderCreate
from tollkeeper.domains.identity.first_run import FirstRun
from tollkeeper.domains.identity.schemas import Login, PasswordChange
from tollkeeper.domains.users.schemas import UserCreate
from tollkeeper.gateway.provider import UpstreamRequest

SECRET = canary("master_key")
SWEEP = Sweep([Canary("any", SECRET)])
PROVIDER = ProviderConfig(
    uuid7(), "p", "openai", None, (Credential(uuid7(), SECRET),), headers={"x": SECRET}, proxy_url=SECRET
)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Settings(_env_file=None, master_key=SecretStr(SECRET), database_url=SecretStr(SECRET)),
        lambda: MasterKey(SECRET),
        lambda: MasterKeys(MasterKey(SECRET), (MasterKey(SECRET),)),
        lambda: KeyTexts(SECRET, (SECRET,)),
        lambda: SecretBox(MasterKey(SECRET)),
        lambda: KeyHasher(MasterKey(SECRET)),
        lambda: RunKeys(MasterKey(SECRET)),
        lambda: AccessTokens(MasterKey(SECRET), SystemClock()),
        lambda: NewKey(SECRET, "live", "public", SECRET, "tk-live_public", "1234"),
        lambda: ParsedKey("live", "public", SECRET),
        lambda: KeyDigest("pepper", SECRET.encode()),
        lambda: PROVIDER,
        lambda: UpstreamRequest("POST", "u", {}, b"", PROVIDER, 1.0, False, PROVIDER.credentials[0], {"a": SECRET}),
        lambda: FirstRun(SECRET, "a@example.com", SECRET, True),
        lambda: Endpoint(f"postgresql://u:{SECRET}@h/d", 1, 2, Settings(_env_file=None).data_dir),
        lambda: Login(email="a@example.com", password=SecretStr(SECRET)),
        lambda: PasswordChange(current_password=SecretStr(SECRET), new_password=SecretStr(SECRET)),
        lambda: UserCreate(email="a@example.com", name="a", role="developer", password=SecretStr(SECRET)),
        lambda: ProviderCreate(name="p", kind="openai", api_key=SecretStr(SECRET), headers={"x-key": SECRET}),
        lambda: datetime.now(UTC),
    ],
)  # fmt: skip
def test_object_does_not_print_its_secret(make: Callable[[], Any]) -> None:
    made = make()
    assert SWEEP.search(f"{made!r} {made} {[made]}".encode(), "its text") == []


def test_refused_payload_is_not_repeated() -> None:
    with pytest.raises(ValidationError) as refusal:
        Login.model_validate({"email": "a@example.com", "password": [SECRET], SECRET: 1})
    problems = refusal.value.errors(include_input=False, include_url=False, include_context=False)
    assert SWEEP.search(repr([item["msg"] for item in problems]).encode(), "its problems") == []


@pytest.mark.parametrize("make", [lambda: MasterKey(SECRET), lambda: MasterKeys(MasterKey(SECRET))])
def test_master_key_does_not_leave_its_process(make: Callable[[], Any]) -> None:
    with pytest.raises(TypeError):
        pickle.dumps(make())
