"""The cookies of the console: the refresh token and the device's name, out of reach of scripts and of other sites."""

from datetime import datetime

from fastapi import Response

from tollkeeper.core.config import Settings
from tollkeeper.domains.identity.client import DEVICE_SECONDS
from tollkeeper.domains.identity.grants import Grant
from tollkeeper.web.caller import cookie_name, is_https


def device_cookie_name(settings: Settings) -> str:
    return "__Host-tollkeeper_device" if is_https(settings) else "tollkeeper_device"


def write_cookie(response: Response, settings: Settings, token: str, seconds: int) -> None:
    _write(response, settings, cookie_name(settings), token, seconds)


def hand_over(response: Response, settings: Settings, grant: Grant, now: datetime) -> None:
    """The cookies of a sign-in or a refresh."""
    write_cookie(response, settings, grant.refresh_token, int((grant.expires_at - now).total_seconds()))
    if grant.device is not None:
        write_device(response, settings, grant.device)


def clear_cookie(response: Response, settings: Settings) -> None:
    write_cookie(response, settings, "", 0)


def write_device(response: Response, settings: Settings, device: str) -> None:
    _write(response, settings, device_cookie_name(settings), device, DEVICE_SECONDS)


def _write(response: Response, settings: Settings, name: str, value: str, seconds: int) -> None:
    response.set_cookie(
        name,
        value,
        max_age=max(0, seconds),
        path="/",
        secure=is_https(settings),
        httponly=True,
        samesite="strict",
    )
