"""The table of feature flags, and that nothing stands in it or in a tenant's settings that nobody reads."""

from pathlib import Path

import tollkeeper
from tollkeeper.core import flags
from tollkeeper.core.flags import FLAGS, Flag
from tollkeeper.core.tenant_settings import TenantSettings

_PACKAGE = Path(tollkeeper.__file__).parent
_OWN_FILES = {_PACKAGE / "core" / "flags.py", _PACKAGE / "core" / "tenant_settings.py"}


def _source() -> str:
    return "\n".join(path.read_text() for path in sorted(_PACKAGE.rglob("*.py")) if path not in _OWN_FILES)


def test_every_flag_is_listed_and_read_somewhere() -> None:
    named = {name: value for name, value in vars(flags).items() if isinstance(value, Flag)}
    assert {flag.name for flag in named.values()} == FLAGS.keys()
    source = _source()
    assert [name for name in named if name not in source] == []


def test_every_setting_of_a_tenant_is_read_somewhere() -> None:
    # The list of domains is asked by its method.
    words = {name: f".{name}" for name in TenantSettings.model_fields} | {"allowed_email_domains": ".admits("}
    source = _source()
    assert [name for name, word in words.items() if word not in source] == []


def test_every_flag_says_what_it_does() -> None:
    assert all(flag.sentence.endswith(".") for flag in FLAGS.values())
