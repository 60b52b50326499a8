"""Whose word counts: about a trace, by `[telemetry] trust_parent` and each app's own; about a client, by
`trust_proxies`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TypeAlias

from bext_otel.apps import clean
from bext_otel.config import AppSettings

__all__ = ["ALL", "NONE", "trusted_parents", "trusted_proxies"]

ALL, NONE = "all", "none"
"""Words that stand for every caller, and for nobody."""

_Networks: TypeAlias = "tuple[IPv4Network | IPv6Network, ...] | None"


def trusted_parents(
    trusted: Sequence[str], apps: Mapping[str, AppSettings]
) -> Callable[[str, str], bool] | None:
    """Says whether a request's trace context and baggage count, by its app and the address that its
    connection comes from; None where all do.

    `trusted` are the words and networks of `[telemetry] trust_parent`, which hold for each of `apps` that has
    none of its own. A caller without an address (a unix socket's, or one that only a header tells) is in no
    network, so it is trusted by the word `all` alone.
    """
    of_all = _networks(trusted)
    of_apps = {clean(name): _networks(app.trust_parent) for name, app in apps.items() if app.trust_parent}
    if of_all is None and not any(networks is not None for networks in of_apps.values()):
        return None

    def trusts(app: str, address: str) -> bool:
        networks = of_apps.get(app, of_all)
        return networks is None or (bool(networks) and _within(address, networks))

    return trusts


def trusted_proxies(trusted: Sequence[str]) -> Callable[[str], bool] | None:
    """Says by an address whether it is a proxy's whose word about a client counts; None where nobody's does.

    `trusted` are the words and networks of `[telemetry] trust_proxies`. No address at all ("") is trusted by
    the word `all` alone.
    """
    networks = _networks(trusted)
    if networks is None:
        return lambda _: True
    return (lambda address: _within(address, networks)) if networks else None


def _networks(trusted: Sequence[str]) -> _Networks:
    """None: every one."""
    if ALL in trusted:
        return None
    return tuple(ip_network(word, strict=False) for word in trusted if word != NONE)


def _within(address: str, networks: tuple[IPv4Network | IPv6Network, ...]) -> bool:
    try:
        found = ip_address(address)
    except ValueError:  # none, or a path
        return False
    # A server that listens on both families tells an IPv4 address by its place among those of IPv6.
    mapped = getattr(found, "ipv4_mapped", None)
    return any(found in network or (mapped is not None and mapped in network) for network in networks)
