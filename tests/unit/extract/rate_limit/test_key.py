"""Which addresses are one service, and from which local address a request leaves."""

from __future__ import annotations

import socket
from contextlib import closing
from pathlib import Path

import pytest

from bulk_export.core.credentials import Token
from bulk_export.core.model import Limit
from bulk_export.extract.rate_limit.interface import Granted, Limits, Wait
from bulk_export.extract.rate_limit.key import RateLimitKey, service_origin
from bulk_export.extract.rate_limit.memory import MemoryLedger
from bulk_export.extract.rate_limit.routes import kernel_route_finder, requests_on, route_by_name
from bulk_export.extract.rate_limit.sqlite.ledger import SqliteLedger
from tests.support.planned_requests import SERVICE, TOKEN, ManualClock, claim_all


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(
            [
                "http://127.0.0.1:8080",
                "http://localhost:8080/",
                "http://LocalHost.:8080",
                "http://[::1]:8080/api",
                "http://[0:0:0:0:0:0:0:1]:8080",
                "http://[::ffff:127.0.0.1]:8080",
                "http://127.1:8080",
                "http://2130706433:8080",
                "http://0x7f.0.0.1:8080",
                "http://service.localhost:8080",
                "http://0.0.0.0:8080",
            ],
            id="loopback",
        ),
        pytest.param(
            [
                "https://npq-registration-sandbox-web.teacherservices.cloud",
                "https://sandbox.register-npq.education.gov.uk",
                "https://Sandbox.Register-NPQ.education.gov.uk.:443/api/v3?x=1",
            ],
            id="sandbox",
        ),
        pytest.param(
            ["https://b\u00fccher.example", "https://B\u00dcCHER.example", "https://xn--bcher-kva.example"], id="IDNA"
        ),
        pytest.param(["https://[2001:DB8::1]", "https://[2001:db8:0:0::1]:443"], id="version 6"),
    ],
)
def test_the_names_of_one_service_are_one_account(names: list[str]) -> None:
    accounts = {RateLimitKey.of(b"k" * 32, name, Token("t")) for name in names}
    assert len(accounts) == 1


def test_services_that_differ_are_accounts_that_differ() -> None:
    names = [
        "https://service.example",
        "http://service.example",
        "https://service.example:8443",
        "https://other.example",
        "https://127.0.0.1",
        "https://127.0.0.2",
        "https://10.0.0.1",
        "https://localhost.example",
    ]
    assert len({service_origin(name) for name in names}) == len(names)


def test_tokens_differ_and_share_the_service() -> None:
    one, two, none = (
        RateLimitKey.of(b"k" * 32, "https://s.example", token) for token in (Token("1"), Token("2"), None)
    )
    assert len({one.number, two.number, none.number}) == 3
    assert one.service_number == two.service_number == none.service_number


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_the_way_to_this_machine_leaves_from_either_loopback_address(host: str) -> None:
    route = kernel_route_finder(f"http://{host}:8080")(None).split()
    assert "127.0.0.1" in route
    assert set(route) <= {"127.0.0.1", "::1"}


def test_the_default_route_is_the_address_that_the_kernel_chooses() -> None:
    with socket.create_server(("127.0.0.2", 0)) as server, socket.create_connection(server.getsockname()) as client:
        chosen = client.getsockname()[0]
    assert kernel_route_finder("http://127.0.0.2:8080")(None) == chosen
    assert kernel_route_finder("http://127.0.0.2:8080")("127.0.0.5") == "127.0.0.5"


def test_a_service_whose_name_cannot_be_looked_up_is_reached_as_most_of_the_world_is() -> None:
    usual = kernel_route_finder("https://192.0.2.1")(None).split()
    assert set(usual) <= set(kernel_route_finder("https://no-such-service.invalid")(None).split())


def test_a_route_is_as_full_as_its_fullest_address() -> None:
    used = {"10.0.0.1": 2, "10.0.0.1 fd00::1": 3, "fd00::1": 1, "10.0.0.2": 4}
    assert requests_on("10.0.0.1", used) == 5
    assert requests_on("fd00::1", used) == 4
    assert requests_on("10.0.0.1 fd00::1", used) == 5
    assert requests_on("10.0.0.3", used) == 0
    assert requests_on("10.0.0.3", {**used, "": 1}) == 1
    assert requests_on("", used) == 10


def test_addresses_are_told_by_their_value() -> None:
    assert route_by_name("FD00:0::1") == route_by_name("fd00::1")


def test_the_default_route_and_the_same_address_share_one_window_within_a_run() -> None:
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


def test_through_a_proxy_all_addresses_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://user:secret@Proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "direct.example")
    route = kernel_route_finder("https://service.example")
    assert {route(None), route("10.0.0.1"), route("10.0.0.2")} == {"proxy:proxy.example"}
    for direct in ("https://direct.example", "http://service.example", "https://127.0.0.1:8443"):
        assert kernel_route_finder(direct)("10.0.0.1") == "10.0.0.1"


def test_after_a_change_of_the_network_the_new_address_has_a_window_of_its_own(tmp_path: Path) -> None:
    """What the old one spent stays on record: the machine may come back to it."""
    clock, here = ManualClock(), ["10.0.0.1"]
    five = Limits(Limit(20, 60), Limit(5, 60), (None,), 20.0)
    path = tmp_path / "budget.sqlite"
    with closing(SqliteLedger(path, SERVICE, TOKEN, five, clock.boot_clock(), lambda _: here[0])) as ledger:
        assert claim_all(ledger) == 5
        here[0] = "10.9.9.9"
        assert claim_all(ledger) == 5
        here[0] = "10.0.0.1"
        assert claim_all(ledger) == 0
