"""Several processes on one budget file, on virtual time: they come and go, are killed, and clocks are what they are."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulk_export.core.credentials import Token
from bulk_export.core.model import Limit
from bulk_export.extract.rate_limit import RequestOutcome, read_usage
from bulk_export.extract.rate_limit.boot_clock import boot_clock
from bulk_export.extract.rate_limit.interface import Granted, Wait
from bulk_export.extract.rate_limit.retry_after import read_429
from bulk_export.extract.rate_limit.sqlite.ledger import SqliteLedger
from tests.support.planned_requests import (
    ANSWER_TIMEOUT,
    SERVICE,
    TOKEN,
    ManualClock,
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


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(
    service=limit_values,
    address=limit_values,
    sources=st.integers(1, 3),
    playing=process_lists,
    offset=st.floats(0, 10),
)
def test_whoever_comes_and_is_killed_no_window_of_the_services_holds_more_than_the_limit(
    service: Limit, address: Limit, sources: int, playing: list[Process], offset: float
) -> None:
    assert_within(
        run_processes(playing, make_limits(service, address, sources), [virtual_clock()]), service, address, offset
    )


@settings(deadline=None, max_examples=12)
@given(
    count=st.integers(1, 40),
    service=limit_values,
    address=limit_values,
    sources=st.integers(1, 3),
    workers=st.integers(1, 5),
    how_many=st.integers(1, 4),
)
def test_together_they_waste_no_time(
    count: int, service: Limit, address: Limit, sources: int, workers: int, how_many: int
) -> None:
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


def test_slots_are_shared_fairly_and_nobody_starves() -> None:
    """One started first and has taken everything; from the next period on each gets the same."""
    shares: dict[int, list[float]] = {number: [] for number in range(8)}

    async def live(number: int, path: Path) -> None:
        limiter = limiter_on_disk(path, make_limits(Limit(16, 10), Limit(16, 10)))
        while True:
            await limiter.release(await limiter.acquire(), RequestOutcome.ANSWERED)
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


def test_a_waiting_process_that_died_holds_nobody_up_for_long(tmp_path: Path) -> None:
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


def test_what_was_spent_is_remembered_by_the_next_process(tmp_path: Path) -> None:
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


def test_requests_of_a_process_that_died_are_reckoned_with_at_their_latest(tmp_path: Path) -> None:
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
def test_one_window_is_that_of_a_service_and_a_token_the_other_of_a_service_and_an_address(
    tmp_path: Path, service: str, token: str, left: int
) -> None:
    """Two of two are spent with one token, so two of three from the address, whatever the token."""
    agreed = make_limits(Limit(2, 60), Limit(3, 60))
    first = ledger_on_disk(tmp_path / "budget.sqlite", agreed, ManualClock().boot_clock())
    assert claim_all(first) == 2
    second = SqliteLedger(tmp_path / "budget.sqlite", service, Token(token), agreed, ManualClock().boot_clock())
    assert claim_all(second) == left
    first.close()
    second.close()


def test_each_process_keeps_its_own_limit_against_the_common_record(tmp_path: Path) -> None:
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


def test_a_process_that_was_stopped_for_long_counts_what_it_has_in_flight(tmp_path: Path) -> None:
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


def test_after_a_restart_of_the_machine_what_was_left_of_a_period_is_left_at_most(tmp_path: Path) -> None:
    clock, path = ManualClock(now=50_000.0), tmp_path / "budget.sqlite"
    spend_some(path, clock, 5)
    clock = ManualClock("the next boot", now=20.0, started=1.8e9 + 50_000.0 + 60.0)
    again = ledger_on_disk(path, make_limits(Limit(5, 60), Limit(5, 60)), clock.boot_clock())
    assert claim_all(again) == 0
    clock.time = 60.0
    assert claim_all(again) == 5
    again.close()


def test_after_a_power_cut_everything_counts_as_spent_until_it_cannot_matter(tmp_path: Path) -> None:
    clock, path = ManualClock(now=50_000.0), tmp_path / "budget.sqlite"
    spend_some(path, clock, 1, close=False)
    clock = ManualClock("the next boot", now=20.0, started=1.8e9 + 50_000.0 + 60.0)
    again = ledger_on_disk(path, make_limits(Limit(5, 60), Limit(5, 60)), clock.boot_clock())
    assert claim_all(again) == 0
    clock.time = 60.0 + ANSWER_TIMEOUT
    assert claim_all(again) == 5
    again.close()


def test_a_clock_that_goes_back_without_a_restart_loses_nothing_and_is_stuck_for_a_period_at_most(
    tmp_path: Path,
) -> None:
    clock, path = ManualClock("", now=50_000.0), tmp_path / "budget.sqlite"
    spend_some(path, clock, 5)
    clock.time = 7.0
    again = ledger_on_disk(path, make_limits(Limit(5, 60), Limit(5, 60)), clock.boot_clock())
    assert claim_all(again) == 0
    clock.time += 59.9
    assert claim_all(again) == 0
    clock.time += 0.2
    assert claim_all(again) == 5
    again.close()


def test_the_wall_clock_plays_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, clock = tmp_path / "budget.sqlite", ManualClock()
    for wall in (1.9e9, 1.0, 4e9):
        monkeypatch.setattr("time.time", lambda wall=wall: wall)
        ledger = ledger_on_disk(path, make_limits(Limit(3, 60), Limit(3, 60)), clock.boot_clock())
        claim_all(ledger)
        ledger._connection.close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM spent").fetchone() == (3,)
    connection.close()


def test_the_file_does_not_grow_beyond_what_the_windows_need(tmp_path: Path) -> None:
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


def test_the_token_is_not_in_the_file(tmp_path: Path) -> None:
    spend_some(tmp_path / "budget.sqlite", ManualClock(), 2, close=False)
    for file in tmp_path.iterdir():
        assert TOKEN.reveal().encode() not in file.read_bytes()


def test_what_is_spent_can_be_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "budget.sqlite"
    assert read_usage(f"sqlite:///{path}") == []
    assert not path.exists()
    ledger = SqliteLedger(path, SERVICE, TOKEN, make_limits(Limit(5, 60), Limit(3, 30), sources=2), boot_clock())
    for number in range(3):
        ledger.claim(number)
        ledger.release(number, RequestOutcome.ANSWERED)
    common, first, second = read_usage(f"sqlite:///{path}")
    assert (common.service, common.address, common.limit, common.used) == (SERVICE, None, Limit(5, 60), 3)
    assert (first.address, first.limit, first.used) == ("127.0.0.1", Limit(3, 30), 2)
    assert (second.address, second.used) == ("127.0.0.2", 1)
    assert all(55 < moment <= 60 for moment in common.free_in)
    assert all(25 < moment <= 30 for moment in first.free_in)
    assert common.held_for == 0
    assert common.token == first.token != TOKEN.reveal()
    ledger.claim(10)
    assert ledger.report_throttled(10, read_429(retry_after="20", date=None, wall=0.0, period=60.0, uniform=0.0)) == 20
    assert 15 < read_usage(f"sqlite:///{path}")[0].held_for <= 20
    ledger.close()
