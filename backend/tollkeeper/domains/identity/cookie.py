"""The cookies of the console: the refresh token, and the name of the device."""

from datetime import datetime

from fastapi import Response

from tollkeeper.core.config import Settings
from tollkeeper.domains.identity.client import DEVICE_SECONDS
from tollkeeper.domains.identity.grants import Grant
from tollkeeper.web.caller import cookie_name
from tollkeeper.web.cookies import host_cookie_name, write_host_cookie


def device_cookie_name(settings: Settings) -> str:
    return host_cookie_name(settings, "tollkeeper_device")


def hand_over(response: Response, settings: Settings, grant: Grant, now: datetime) -> None:
    """The cookies of a sign-in or a refresh."""
    seconds = int((grant.expires_at - now).total_seconds())
    write_host_cookie(response, settings, cookie_name(settings), grant.refresh_token, seconds)
    if grant.device is not None:
        write_host_cookie(response, settings, device_cookie_name(settings), grant.device, DEVICE_SECONDS)


def clear_cookie(response: Response, settings: Settings) -> None:
    write_host_cookie(response, settings, cookie_name(settings), "", 0)
