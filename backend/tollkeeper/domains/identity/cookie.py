"""The one cookie of the console: the refresh token, out of reach of scripts and of other sites."""

from fastapi import Response

from tollkeeper.core.config import Settings
from tollkeeper.web.caller import cookie_name, is_https


def write_cookie(response: Response, settings: Settings, token: str, seconds: int) -> None:
    response.set_cookie(
        cookie_name(settings),
        token,
        max_age=max(0, seconds),
        path="/",
        secure=is_https(settings),
        httponly=True,
        samesite="strict",
    )


def clear_cookie(response: Response, settings: Settings) -> None:
    write_cookie(response, settings, "", 0)
