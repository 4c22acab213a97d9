"""From which local addresses a request leaves, and what they share."""

from __future__ import annotations

import socket
from contextlib import closing
from pathlib import Path

import pytest

from bulk_export.core.model import Limit
from bulk_export.extract.rate_limit.interface import Granted, Limits, Wait
from bulk_export.extract.rate_limit.memory import MemoryLedger
from bulk_export.extract.rate_limit.routes import kernel_route_finder, requests_on, route_by_name
from bulk_export.extract.rate_limit.sqlite.ledger import SqliteLedger
from tests.support.planned_requests import SERVICE, TOKEN, ManualClock, claim_all


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_loopback_route(host: str) -> None:
    """A service on this machine is reached from its loopback addresses, however it is named."""
    route = kernel_route_finder(f"http://{host}:8080")(None).split()
    assert "127.0.0.1" in route
    assert set(route) <= {"127.0.0.1", "::1"}


def test_default_route_is_kernels_choice() -> None:
    """Without a source address the kernel is asked; a named one is its own route."""
    with socket.create_server(("127.0.0.2", 0)) as server, socket.create_connection(server.getsockname()) as client:
        chosen = client.getsockname()[0]
    assert kernel_route_finder("http://127.0.0.2:8080")(None) == chosen
    assert kernel_route_finder("http://127.0.0.2:8080")("127.0.0.5") == "127.0.0.5"


def test_unresolvable_name_uses_common_route() -> None:
    """A service whose name cannot be looked up is reached as most of the internet is."""
    usual = kernel_route_finder("https://192.0.2.1")(None).split()
    assert set(usual) <= set(kernel_route_finder("https://no-such-service.invalid")(None).split())


def test_requests_on_route() -> None:
    """A route is as used as its most used address; an unknown route counts for every address."""
    used = {"10.0.0.1": 2, "10.0.0.1 fd00::1": 3, "fd00::1": 1, "10.0.0.2": 4}
    assert requests_on("10.0.0.1", used) == 5
    assert requests_on("fd00::1", used) == 4
    assert requests_on("10.0.0.1 fd00::1", used) == 5
    assert requests_on("10.0.0.3", used) == 0
    assert requests_on("10.0.0.3", {**used, "": 1}) == 1
    assert requests_on("", used) == 10


def test_address_spelling_does_not_matter() -> None:
    """Two spellings of an IP address are one route."""
    assert route_by_name("FD00:0::1") == route_by_name("fd00::1")


def test_default_route_shares_window() -> None:
    """The default route and the same address by name share one window within a run."""
    ledger = MemoryLedger(
        Limits(Limit(9, 60), Limit(3, 60), (None, "10.0.0.1", "10.0.0.2"), 20.0),
        lambda: 0.0,
        lambda source: source or "10.0.0.1",
    )
    sources = []
    while isinstance(reply := ledger.claim(len(sources)), Granted):
        sources.append(reply.source)
    assert isinstance(reply, Wait)
    assert sorted(map(str, sources)) == ["10.0.0.2"] * 3 + ["None"] * 3


def test_proxy_is_one_route(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through a proxy all source addresses share one route; services exempt from it do not."""
    monkeypatch.setenv("HTTPS_PROXY", "http://user:secret@Proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "direct.example")
    route = kernel_route_finder("https://service.example")
    assert {route(None), route("10.0.0.1"), route("10.0.0.2")} == {"proxy:proxy.example"}
    for direct in ("https://direct.example", "http://service.example", "https://127.0.0.1:8443"):
        assert kernel_route_finder(direct)("10.0.0.1") == "10.0.0.1"


def test_network_change_opens_new_window(tmp_path: Path) -> None:
    """After a change of the network the new address has a window of its own.

    What the old one spent stays on record: the machine may come back to it.
    """
    clock, here = ManualClock(), ["10.0.0.1"]
    five = Limits(Limit(20, 60), Limit(5, 60), (None,), 20.0)
    path = tmp_path / "budget.sqlite"
    with closing(SqliteLedger(path, SERVICE, TOKEN, five, clock.boot_clock(), lambda _: here[0])) as ledger:
        assert claim_all(ledger) == 5
        here[0] = "10.9.9.9"
        assert claim_all(ledger) == 5
        here[0] = "10.0.0.1"
        assert claim_all(ledger) == 0
