"""What an audit record shows of a value: never a secret, whatever a caller of `record` hands over by mistake."""

import re
from typing import Any, Final

from tollkeeper.core.log import HIDDEN, mask

# Whole words of a name: `key_id` and `has_credential` are facts, `client_secret` and `refresh_token` are not.
_SECRET_NAME: Final = re.compile(
    r"(?:^|[_-])(?:authorization|cookies?|credentials?|digest|envelope|jwt|otp|passphrase|passwd|password|pepper"
    r"|recovery[_-]codes?|secrets?|token|api[_-]?key|private[_-]key|master[_-]key|signature)$"
    r"|^(?:body|content|messages|prompt)$",
    re.IGNORECASE,
)
# The public part of a key of ours, which lists show; `mask` would take it for a whole one.
_DISPLAY_PREFIX: Final = re.compile(r"tk-(?:live|test)_[0-9A-Za-z]{12}")


def masked(value: Any, name: str = "") -> Any:
    """A plain value (see `schemas.plain`) without what may be secret; facts such as numbers and yes or no stay."""
    if isinstance(value, dict):
        return {key: masked(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [masked(item, name) for item in value]
    if not isinstance(value, str):
        return value
    if _SECRET_NAME.search(name):
        return HIDDEN
    return value if _DISPLAY_PREFIX.fullmatch(value) else mask(value)
