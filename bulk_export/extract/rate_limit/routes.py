"""Which local addresses a request leaves from.

The service counts by the address that a request arrives from. So the address that the system chooses by itself and the
same address named with --source-address share one window. The kernel tells which address it would choose: connecting a
datagram socket sends nothing.

A route is a text of one or several addresses separated by blanks: a service that can be reached over IPv4 and IPv6 may
be reached from either of two. A route that is not known is empty, and counts for every address.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from bulk_export.extract.rate_limit.key import LOOPBACK, canonical_host

UNKNOWN = ""
# Returns the route from a source address, None being the system's choice.
RouteFinder = Callable[[str | None], str]
# A family and an address to connect to, as `socket` takes them.
Target = tuple[int, tuple[str, int]]

_LOOPBACK_TARGETS: tuple[Target, ...] = ((socket.AF_INET, ("127.0.0.1", 9)), (socket.AF_INET6, ("::1", 9)))
# Addresses reserved for documentation: they are routed as most of the internet is.
_ANYWHERE: tuple[Target, ...] = ((socket.AF_INET, ("192.0.2.1", 9)), (socket.AF_INET6, ("2001:db8::1", 9)))


def route_by_name(source: str | None) -> str:
    """Return the route from a source without asking the kernel."""
    if source is None:
        return UNKNOWN
    try:
        return str(ipaddress.ip_address(source))
    except ValueError:
        return source


def kernel_route_finder(base_url: str) -> RouteFinder:
    """Return a function that asks the kernel for the route to a service, each time, since networks change.

    1. Through a proxy all requests arrive from the proxy, so there is one route for all sources.
    2. A named source is its own route.
    3. Otherwise the kernel's choice for the addresses of the service counts, or, if its name cannot be looked up, the
       choice for most of the internet.

    Blocking: the name of the service is looked up, once.
    """
    proxy = _proxy(base_url)
    if proxy is not None:
        return lambda _: f"proxy:{proxy}"
    targets = _targets(base_url)

    def find_route(source: str | None) -> str:
        if source is not None:
            return route_by_name(source)
        return " ".join(_chosen_addresses(targets) or _chosen_addresses(_ANYWHERE))

    return find_route


def addresses(route: str) -> list[str]:
    """Return the addresses of a route; the unknown route is an address of its own."""
    return route.split() or [UNKNOWN]


def may_leave_from(route: str, address: str) -> bool:
    """Return whether a request on `route` may have left from `address`."""
    return UNKNOWN in (route, address) or address in route.split()


def requests_on(route: str, counts: Mapping[str, int]) -> int:
    """Return how many requests count for the most used address of a route, given the requests by route.

    >>> requests_on("10.0.0.1", {"10.0.0.1": 2, "10.0.0.1 fd00::1": 3, "10.0.0.2": 4})
    5
    """
    return max(
        sum(count for other, count in counts.items() if may_leave_from(other, address)) for address in addresses(route)
    )


def _proxy(base_url: str) -> str | None:
    """Return the host of the proxy that the environment names for the service, None if there is none."""
    parts = urlsplit(base_url.strip())
    host = parts.hostname or ""
    proxies = getproxies_environment()
    proxy = proxies.get("https") or proxies.get("all")
    if parts.scheme != "https" or canonical_host(host) == LOOPBACK or not proxy or proxy_bypass(host):
        return None
    try:
        return canonical_host(urlsplit(proxy if "//" in proxy else f"//{proxy}").hostname or "") or None
    except ValueError:
        return None


def _targets(base_url: str) -> Sequence[Target]:
    parts = urlsplit(base_url.strip())
    if canonical_host(parts.hostname or "") == LOOPBACK:
        return _LOOPBACK_TARGETS
    try:
        resolved = socket.getaddrinfo(parts.hostname, parts.port or 443, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        return _ANYWHERE
    return [(family, (str(address[0]), int(address[1]))) for family, *_, address in resolved]


def _chosen_addresses(targets: Iterable[Target]) -> list[str]:
    """Return the addresses that the kernel would send from, those of IPv4 first."""
    addresses_in_order: dict[str, None] = {}
    for family, target in sorted(targets, key=lambda target: target[0] != socket.AF_INET):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect(target)
                addresses_in_order[str(probe.getsockname()[0])] = None
        except OSError:
            continue
    return list(addresses_in_order)
