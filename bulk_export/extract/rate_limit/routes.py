"""Which local addresses a request leaves from.

The limit on an address is counted where the request arrives, so what the system chooses by itself and the same address
when it is named are one. The kernel says what it would choose: connecting a datagram socket sends nothing.

A route is the text of one or several addresses, separated by blanks: a service with addresses of both kinds may be
reached from either of two. Where nothing is known the route is empty, and counts for every address.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from bulk_export.extract.rate_limit.key import LOOPBACK, host_name

UNKNOWN = ""
Route = Callable[[str | None], str]
# A family and an address to connect to, as `socket` takes them.
Target = tuple[int, tuple[str, int]]

_LOOPBACK_TARGETS: tuple[Target, ...] = ((socket.AF_INET, ("127.0.0.1", 9)), (socket.AF_INET6, ("::1", 9)))
# Addresses for documentation: nobody has them, and the way to them is the way to most of the world.
_ANYWHERE: tuple[Target, ...] = ((socket.AF_INET, ("192.0.2.1", 9)), (socket.AF_INET6, ("2001:db8::1", 9)))


def named_route(source: str | None) -> str:
    """The route from a source by its name alone."""
    if source is None:
        return UNKNOWN
    try:
        return str(ipaddress.ip_address(source))
    except ValueError:
        return source


def kernel_route(base_url: str) -> Route:
    """Tells routes to the service at `base_url`, anew at each call, since a machine may change its network.

    Through a proxy all requests arrive from one address, that of the proxy. Blocking: the name of the service is
    looked up, once. Where that fails, the way to most of the world is asked for.
    """
    proxy = _proxy(base_url)
    if proxy is not None:
        return lambda _: f"proxy:{proxy}"
    targets = _targets(base_url)

    def route(source: str | None) -> str:
        return named_route(source) if source is not None else " ".join(_chosen(targets) or _chosen(_ANYWHERE))

    return route


def addresses(route: str) -> list[str]:
    """The addresses of a route; the empty one stands for itself."""
    return route.split() or [UNKNOWN]


def leaves_from(route: str, address: str) -> bool:
    """Whether a request on `route` may have left from `address`."""
    return UNKNOWN in (route, address) or address in route.split()


def load(route: str, used: Mapping[str, int]) -> int:
    """How many slots are used of the fullest address of a route, when `used` counts them by route."""
    return max(sum(count for other, count in used.items() if leaves_from(other, one)) for one in addresses(route))


def _proxy(base_url: str) -> str | None:
    """The host of the proxy that the environment names for the service, None where there is none."""
    parts = urlsplit(base_url.strip())
    host = parts.hostname or ""
    proxies = getproxies_environment()
    named = proxies.get("https") or proxies.get("all")
    if parts.scheme != "https" or host_name(host) == LOOPBACK or not named or proxy_bypass(host):
        return None
    try:
        return host_name(urlsplit(named if "//" in named else f"//{named}").hostname or "") or None
    except ValueError:
        return None


def _targets(base_url: str) -> Sequence[Target]:
    parts = urlsplit(base_url.strip())
    if host_name(parts.hostname or "") == LOOPBACK:
        return _LOOPBACK_TARGETS
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port or 443, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        return _ANYWHERE
    return [(family, (str(address[0]), int(address[1]))) for family, *_, address in found]


def _chosen(targets: Iterable[Target]) -> list[str]:
    """The addresses that the kernel would send from, those of version 4 first."""
    found: dict[str, None] = {}
    for family, target in sorted(targets, key=lambda one: one[0] != socket.AF_INET):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect(target)
                found[str(probe.getsockname()[0])] = None
        except OSError:
            continue
    return list(found)
