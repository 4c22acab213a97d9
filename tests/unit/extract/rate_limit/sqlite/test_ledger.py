"""Several processes on one budget file, on virtual time: they come and go, wait, and are killed."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulk_export.core.credentials import Token
from bulk_export.core.model import Limit
from bulk_export.extract.rate_limit import RateLimiter, RequestOutcome
from bulk_export.extract.rate_limit.adapters import InlineAsyncLedger
from bulk_export.extract.rate_limit.interface import Granted, Wait
from bulk_export.extract.rate_limit.sqlite.ledger import SqliteLedger
from tests.support.planned_requests import (
    ANSWER_TIMEOUT,
    SERVICE,
    TOKEN,
    ManualClock,
    Planned,
    Process,
    Sent,
    assert_within,
    at_once,
    claim_all,
    least_time,
    ledger_on_disk,
    limit_values,
    limiter_on_disk,
    make_limits,
    process_lists,
    run_processes,
    send_all,
    spend_some,
    temporary_path,
    virtual_clock,
)
from tests.support.virtual_time import run_virtually

late_requests = st.lists(
    st.builds(
        Planned,
        st.floats(0, 7),
        st.floats(0, 1),
        st.sampled_from(
            [RequestOutcome.ANSWERED, RequestOutcome.GIVEN_UP, RequestOutcome.GIVEN_UP, RequestOutcome.FAILED]
        ),
        st.floats(0, ANSWER_TIMEOUT),
    ),
    max_size=40,
)


stopped = st.builds(
    Process,
    starts=st.floats(0, 5),
    lives=st.just(10_000.0),
    workers=st.just(1),
    requests=st.lists(
        st.builds(
            Planned,
            st.floats(0, 2),
            st.floats(0, 1),
            st.just(RequestOutcome.ANSWERED),
            stop=st.sampled_from([0.0, 0.0, 4.9, 5.1, 40.0]),
        ),
        max_size=6,
    ),
)


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(
    service=limit_values,
    address=limit_values,
    sources=st.integers(1, 3),
    started=process_lists,
    offset=st.floats(0, 10),
)
def test_limits_hold_with_killed_processes(
    service: Limit, address: Limit, sources: int, started: list[Process], offset: float
) -> None:
    """Whichever processes come and are killed, no window of the service holds more than the limit."""
    assert_within(
        run_processes(started, make_limits(service, address, sources), [virtual_clock()]), service, address, offset
    )


def assert_no_waste(count: int, service: Limit, address: Limit, sources: int, workers: int, how_many: int) -> None:
    """Together, `how_many` processes take the least time that is possible."""
    log: list[Sent] = []

    async def live(path: Path) -> None:
        limiter = limiter_on_disk(path, make_limits(service, address, sources))
        await send_all(limiter, at_once(count), workers, log)
        await limiter.aclose()

    async def main(path: Path) -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(how_many):
                tasks.start_soon(live, path)

    with temporary_path() as path:
        run_virtually(lambda: main(path))
    least = least_time(count * how_many, service, address, sources)
    # One that is not first in the queue looks again a few milliseconds later.
    assert max(one.sent for one in log) == pytest.approx(least, abs=0.01 * (1 + least))


together = given(
    count=st.integers(1, 40),
    service=limit_values,
    address=limit_values,
    sources=st.integers(1, 3),
    workers=st.integers(1, 5),
    how_many=st.integers(1, 4),
)


@settings(deadline=None, max_examples=2)
@together
def test_processes_waste_no_time(**drawn: Any) -> None:
    """Together, processes take the least time that is possible."""
    assert_no_waste(**drawn)


@pytest.mark.torture
@settings(deadline=None, max_examples=100)
@together
def test_processes_never_waste_time(**drawn: Any) -> None:
    """Together, processes take the least time that is possible, in many more cases."""
    assert_no_waste(**drawn)


def test_permits_are_shared_fairly() -> None:
    """Permits are shared fairly, and no process starves.

    One started first and has taken everything; from the next period on each gets the same.
    """
    shares: dict[int, list[float]] = {number: [] for number in range(8)}

    async def live(number: int, path: Path) -> None:
        limiter = limiter_on_disk(path, make_limits(Limit(16, 10), Limit(16, 10)))
        while True:
            permit = await limiter.acquire()
            # Others ask while its request is on its way.
            await anyio.lowlevel.checkpoint()
            await limiter.release(permit, RequestOutcome.ANSWERED)
            shares[number].append(anyio.current_time())

    async def main(path: Path) -> None:
        with anyio.move_on_after(99):
            async with anyio.create_task_group() as tasks:
                for number in range(8):
                    tasks.start_soon(live, number, path)
                    await anyio.sleep(0.01)

    with temporary_path() as path:
        run_virtually(lambda: main(path))
    later = [sum(1 for moment in moments if moment > 5) for moments in shares.values()]
    assert sum(later) == 9 * 16
    assert max(later) - min(later) <= 3


def test_dead_waiter_holds_nobody_up(tmp_path: Path) -> None:
    """A waiting process that died holds nobody up for long."""

    async def main() -> float:
        path = tmp_path / "budget.sqlite"
        alive, dead = (
            limiter_on_disk(path, make_limits(Limit(1, 10), Limit(1, 10))),
            ledger_on_disk(path, make_limits(Limit(1, 10), Limit(1, 10))),
        )
        await alive.release(await alive.acquire(), RequestOutcome.ANSWERED)
        assert isinstance(dead.claim(1), Wait)
        await alive.acquire()
        return anyio.current_time()

    assert 10 <= run_virtually(main) < 12


def test_next_process_remembers(tmp_path: Path) -> None:
    """The next process knows what was spent."""
    clock, path = ManualClock(), tmp_path / "budget.sqlite"
    first = ledger_on_disk(path, make_limits(Limit(5, 60), Limit(5, 60)), clock.boot_clock())
    for number in range(4):
        first.claim(number)
        first.release(number, RequestOutcome.ANSWERED)
    first.close()
    clock.time += 59
    second = ledger_on_disk(path, make_limits(Limit(5, 60), Limit(5, 60)), clock.boot_clock())
    assert isinstance(second.claim(10), Granted)
    assert isinstance(second.claim(11), Wait)
    second.release(10, RequestOutcome.UNSENT)
    clock.time += 1
    assert claim_all(second) == 5
    second.close()


def test_requests_of_dead_process_count(tmp_path: Path) -> None:
    """Requests of a process that died count as late as they could end."""
    clock, path, agreed = ManualClock(), tmp_path / "budget.sqlite", make_limits(Limit(2, 60), Limit(2, 60))
    first = ledger_on_disk(path, agreed, clock.boot_clock())
    assert claim_all(first) == 2
    first._connection.close()
    second = ledger_on_disk(path, agreed, clock.boot_clock())
    clock.time += 60 + ANSWER_TIMEOUT - 0.001
    assert claim_all(second) == 0
    clock.time += 0.001
    assert claim_all(second) == 2
    second.close()


@pytest.mark.parametrize(
    ("service", "token", "left"),
    [
        ("https://service.example", "token-of-the-tests", 0),
        ("https://SERVICE.example:443/path", "token-of-the-tests", 0),
        ("https://service.example.", "token-of-the-tests", 0),
        ("https://service.example", "another", 1),
        ("http://service.example", "token-of-the-tests", 2),
        ("https://service.example:8443", "token-of-the-tests", 2),
    ],
)
def test_windows_by_token_and_by_address(tmp_path: Path, service: str, token: str, left: int) -> None:
    """One window belongs to a service and a token, the other to a service and an address.

    Two of two are spent with one token, so two of three from the address, whatever the token.
    """
    agreed = make_limits(Limit(2, 60), Limit(3, 60))
    first = ledger_on_disk(tmp_path / "budget.sqlite", agreed, ManualClock().boot_clock())
    assert claim_all(first) == 2
    second = SqliteLedger(tmp_path / "budget.sqlite", service, Token(token), agreed, ManualClock().boot_clock())
    assert claim_all(second) == left
    first.close()
    second.close()


def test_processes_with_different_limits(tmp_path: Path) -> None:
    """Each process keeps to its own limit against the common record."""
    path, clock = tmp_path / "budget.sqlite", ManualClock()
    half = ledger_on_disk(path, make_limits(Limit(5, 60), Limit(5, 60)), clock.boot_clock())
    whole = ledger_on_disk(path, make_limits(Limit(10, 60), Limit(10, 60)), clock.boot_clock())
    for number in range(5):
        assert isinstance(half.claim(number), Granted)
    assert isinstance(half.claim(5), Wait)
    for number in range(100, 105):
        assert isinstance(whole.claim(number), Granted)
    assert isinstance(whole.claim(105), Wait)
    longer = ledger_on_disk(path, make_limits(Limit(10, 600), Limit(10, 600)), clock.boot_clock())
    for number in (*range(5), *range(100, 105)):
        half.release(number, RequestOutcome.ANSWERED)
        whole.release(number, RequestOutcome.ANSWERED)
    clock.time += 60
    assert isinstance(half.claim(200), Granted)
    assert isinstance(longer.claim(300), Wait)
    for ledger in (half, whole, longer):
        ledger.close()


def test_stopped_process_renews_requests(tmp_path: Path) -> None:
    """A process that was stopped for long counts what it has in flight."""
    path, clock, agreed = tmp_path / "budget.sqlite", ManualClock(), make_limits(Limit(2, 60), Limit(2, 60))
    stopped, other = (ledger_on_disk(path, agreed, clock.boot_clock()) for _ in range(2))
    stopped.claim(1)
    stopped.claim(2)
    clock.time += 1000
    assert isinstance(stopped.claim(3), Wait)
    assert isinstance(other.claim(4), Wait)
    stopped.release(1, RequestOutcome.ANSWERED)
    stopped.release(2, RequestOutcome.ANSWERED)
    clock.time += 60
    assert claim_all(other) == 2
    stopped.close()
    other.close()


def test_file_stays_small(tmp_path: Path) -> None:
    """The file does not grow beyond what the windows need."""
    path, clock = tmp_path / "budget.sqlite", ManualClock()
    for round_ in range(20):
        token = Token(f"token-{round_}")
        ledger = SqliteLedger(
            path, SERVICE, token, make_limits(Limit(50, 60), Limit(50, 60), sources=2), clock.boot_clock()
        )
        for number in range(50):
            assert isinstance(ledger.claim(number), Granted)
            ledger.release(number, RequestOutcome.ANSWERED)
            clock.time += 1.3
        ledger.close()
        clock.time += 100
    with sqlite3.connect(path) as connection:
        rows = {
            table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("spent", "accounts", "waiting")
        }
    connection.close()
    assert rows["spent"] <= 50
    assert rows["accounts"] <= 2
    assert rows["waiting"] == 0
    assert path.stat().st_size < 100_000


def test_token_is_not_stored(tmp_path: Path) -> None:
    """The token is in none of the files."""
    spend_some(tmp_path / "budget.sqlite", ManualClock(), 2, close=False)
    for file in tmp_path.iterdir():
        assert TOKEN.reveal().encode() not in file.read_bytes()


@settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.too_slow])
@given(service=limit_values, address=limit_values, started=process_lists)
def test_tokens_and_names_share_address_limit(service: Limit, address: Limit, started: list[Process]) -> None:
    """The names of a service and its tokens share the limit of an address.

    Two tokens, each under two names of the sandbox: from one address never more than its limit.
    """
    names = (
        "https://npq-registration-sandbox-web.teacherservices.cloud",
        "https://Sandbox.Register-NPQ.education.gov.uk.:443/api",
    )
    services = [(name, Token(token)) for token in ("one", "two") for name in names]
    sent = run_processes(started, make_limits(service, address), [virtual_clock()], services)
    assert_within(sent, Limit(2 * service.requests, service.period), address)


def test_competing_tokens_all_get_permits(tmp_path: Path) -> None:
    """Tokens that compete for an address all get their part."""
    limits, counts = make_limits(Limit(100, 10), Limit(8, 10)), [0] * 4

    async def live(number: int) -> None:
        ledger = SqliteLedger(tmp_path / "budget.sqlite", SERVICE, Token(f"t{number}"), limits, virtual_clock())
        limiter = RateLimiter(InlineAsyncLedger(ledger), limits)
        while True:
            permit = await limiter.acquire()
            # Others ask while its request is on its way.
            await anyio.lowlevel.checkpoint()
            await limiter.release(permit, RequestOutcome.ANSWERED)
            counts[number] += 1

    async def main() -> None:
        with anyio.move_on_after(59):
            async with anyio.create_task_group() as tasks:
                for number in range(4):
                    tasks.start_soon(live, number)
                    await anyio.sleep(0.01)

    run_virtually(main)
    assert sum(counts) == 6 * 8
    assert min(counts) >= 6


@settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.too_slow])
@given(service=limit_values, address=limit_values, requests=late_requests, workers=st.integers(1, 6))
def test_late_counted_requests_stay_within_limits(
    service: Limit, address: Limit, requests: list[Planned], workers: int
) -> None:
    """Requests that were given up and are counted later exceed no limit."""
    process = Process(0.0, 10_000.0, workers, requests)
    limits = make_limits(service, address, late=ANSWER_TIMEOUT)
    assert_within(run_processes([process], limits, [virtual_clock()]), service, address)


@settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.too_slow])
@given(
    service=limit_values, address=limit_values, stopping=st.lists(stopped, min_size=1, max_size=2), others=process_lists
)
def test_stop_before_sending_stays_within_limits(
    service: Limit, address: Limit, stopping: list[Process], others: list[Process]
) -> None:
    """A process that is stopped between permit and sending exceeds no limit."""
    limits = make_limits(service, address, longest=5.0 + ANSWER_TIMEOUT)
    sent = run_processes([*stopping, *others], limits, [virtual_clock()], permit_lifetime=5.0)
    assert_within(sent, service, address)
