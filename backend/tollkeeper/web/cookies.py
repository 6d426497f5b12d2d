"""How every cookie of ours is set: for this host alone, out of reach of scripts, over https wherever there is https."""

from typing import Literal

from fastapi import Response

from tollkeeper.core.config import Settings
from tollkeeper.web.caller import cookie_name, is_https


def host_cookie_name(settings: Settings, name: str) -> str:
    """Browsers accept the `__Host-` prefix over https only; plain http is for loopback."""
    return f"__Host-{name}" if is_https(settings) else name


def write_host_cookie(
    response: Response,
    settings: Settings,
    name: str,
    value: str,
    seconds: int,
    *,
    same_site: Literal["strict", "lax"] = "strict",
) -> None:
    response.set_cookie(
        name,
        value,
        max_age=max(0, seconds),
        path="/",
        secure=is_https(settings),
        httponly=True,
        samesite=same_site,
    )


def write_session_cookie(response: Response, settings: Settings, token: str, seconds: int) -> None:
    """The refresh token of a sign-in."""
    write_host_cookie(response, settings, cookie_name(settings), token, seconds)
