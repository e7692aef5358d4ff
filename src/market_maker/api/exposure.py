"""Whether the service may listen where it is told to: on addresses that others reach, only with API keys."""

from __future__ import annotations

import ipaddress

from market_maker.api.guard import ApiKeys
from market_maker.domain.errors import InvalidRequest
from market_maker.settings import Settings


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches the address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_exposure(settings: Settings) -> None:
    """Refuse an address that others can reach unless API keys are set, and keys that are none."""
    keys = ApiKeys(settings.api_keys)
    if not is_loopback(settings.host) and not keys:
        raise InvalidRequest.of(
            "host", settings.host, "127.0.0.1, or another address once api_keys are set (`market-maker keys`)"
        )
