"""The time of a budget file across machines, restarts and wrong clocks: no limit is exceeded, nobody is stuck."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulk_export.core.model import Limit
from bulk_export.extract.rate_limit import RequestOutcome
from bulk_export.extract.rate_limit.boot_clock import BootClock
from bulk_export.extract.rate_limit.interface import Granted
from bulk_export.extract.rate_limit.retry_after import RetryAfter
from bulk_export.extract.rate_limit.sqlite.ledger import SqliteLedger
from bulk_export.extract.rate_limit.sqlite.timeline import TOLERANCE
from tests.support.planned_requests import (
    ANSWER_TIMEOUT,
    ManualClock,
    Process,
    assert_within,
    claim_all,
    identities,
    ledger_on_disk,
    limit_values,
    make_limits,
    process_lists,
    run_processes,
    spend_some,
    virtual_clock,
)
from tests.support.sliding_log import most_in_any_window

FIVE = make_limits(Limit(5, 60), Limit(5, 60))


def spend(ledger: SqliteLedger) -> int:
    granted = 0
    while isinstance(ledger.claim(identity := next(identities)), Granted):
        ledger.release(identity, RequestOutcome.ANSWERED)
        granted += 1
    return granted


def spend_all(path: Path, clock: BootClock, *, close: bool = True) -> int:
    """Spend what is free from a machine; how many requests that were."""
    ledger = ledger_on_disk(path, FIVE, clock)
    granted = spend(ledger)
    if close:
        ledger.close()
    else:
        ledger._connection.close()
    return granted


several_machines = process_lists.flatmap(
    lambda found: st.lists(st.integers(0, 2), min_size=len(found), max_size=len(found)).map(
        lambda numbers: [dataclasses.replace(one, machine=number) for one, number in zip(found, numbers, strict=True)]
    )
)


def take_turns(path: Path, clocks: Sequence[ManualClock], seconds: int) -> list[list[int]]:
    """Let machines spend what is free, one after the other, each second; in which seconds each did."""
    ledgers = [ledger_on_disk(path, FIVE, clock.boot_clock()) for clock in clocks]
    moments: list[list[int]] = [[] for _ in clocks]
    for second in range(seconds):
        for number, ledger in enumerate(ledgers):
            moments[number] += [second] * spend(ledger)
        for clock in clocks:
            clock.time += 1.0
    for ledger in ledgers:
        ledger.close()
    return moments


def test_restart_keeps_remaining_period(tmp_path: Path) -> None:
    """After a restart of the machine at most the rest of a period is waited for."""
    clock, path = ManualClock(now=50_000.0), tmp_path / "budget.sqlite"
    spend_some(path, clock, 5)
    clock = ManualClock("the next boot", now=20.0, started=1.8e9 + 50_000.0 + 60.0)
    again = ledger_on_disk(path, make_limits(Limit(5, 60), Limit(5, 60)), clock.boot_clock())
    assert claim_all(again) == 0
    clock.time = 60.0
    assert claim_all(again) == 5
    again.close()


def test_power_cut_counts_as_full(tmp_path: Path) -> None:
    """After a power cut everything counts as spent until it cannot matter."""
    clock, path = ManualClock(now=50_000.0), tmp_path / "budget.sqlite"
    spend_some(path, clock, 1, close=False)
    clock = ManualClock("the next boot", now=20.0, started=1.8e9 + 50_000.0 + 60.0)
    again = ledger_on_disk(path, make_limits(Limit(5, 60), Limit(5, 60)), clock.boot_clock())
    assert claim_all(again) == 0
    clock.time = 60.0 + ANSWER_TIMEOUT
    assert claim_all(again) == 5
    again.close()


def test_clock_that_goes_back(
    tmp_path: Path,
) -> None:
    """A clock that goes back without a restart loses nothing, and holds for a period at most."""
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


def test_wall_clock_is_irrelevant_on_one_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On one machine the wall clock plays no part."""
    path, clock = tmp_path / "budget.sqlite", ManualClock()
    for wall in (1.9e9, 1.0, 4e9):
        monkeypatch.setattr("time.time", lambda wall=wall: wall)
        ledger = ledger_on_disk(path, make_limits(Limit(3, 60), Limit(3, 60)), clock.boot_clock())
        claim_all(ledger)
        ledger._connection.close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM spent").fetchone() == (3,)
    connection.close()


@settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.too_slow])
@given(
    service=limit_values,
    address=limit_values,
    started=several_machines,
    up=st.tuples(*[st.sampled_from([0.0, 3.0, 50.0, 100_000.0])] * 3),
    wrong=st.tuples(*[st.sampled_from([-2.0, 2.0]) | st.floats(-2, 2)] * 3),
)
def test_limits_hold_across_machines(
    service: Limit, address: Limit, started: list[Process], up: tuple[float, ...], wrong: tuple[float, ...]
) -> None:
    """Machines whose wall clocks agree within the tolerance exceed no limit together.

    They come at any time and are killed; each has been up for another time, and the wall clocks are 4 s apart.
    """
    machines = [
        virtual_clock(f"boot {number}", ahead=ahead, wall=wall)
        for number, (ahead, wall) in enumerate(zip(up, wrong, strict=True))
    ]
    assert_within(run_processes(started, make_limits(service, address), machines), service, address)


def test_machines_count_each_other(tmp_path: Path) -> None:
    """Two machines that alternate do not discard what the other one spent.

    What one spent comes free for the other after a period and the tolerance, at most.
    """
    path, here = tmp_path / "budget.sqlite", ManualClock("here", now=100_000.0, started=1.8e9)
    there = ManualClock("there", now=500.0, started=1.8e9 + 99_500.0)
    first, second = take_turns(path, [here, there], 200)
    # The one sees its own requests come free after a period, the other the tolerance later.
    assert len(first) + len(second) == 20
    assert len(second) >= 3
    assert most_in_any_window(first + second, 60) == 5


@pytest.mark.parametrize("off", [-4.0, 0.0, 4.0])
def test_other_machine_counts_a_period(tmp_path: Path, off: float) -> None:
    """What another machine spent counts for a period though the wall clocks differ."""
    path, here = tmp_path / "budget.sqlite", ManualClock("here", now=100_000.0, started=1.8e9)
    there = ManualClock("there", now=7_000.0, started=1.8e9 + 93_000.0 + off)
    with (
        closing(ledger_on_disk(path, FIVE, here.boot_clock())) as first,
        closing(ledger_on_disk(path, FIVE, there.boot_clock())) as second,
    ):
        for clock in (here, there):
            clock.time += 100.0
        assert spend(first) == 5
        waited = next(later for later in range(1, 100) if setattr(there, "time", there.time + 1) or spend(second))
        assert 60 <= waited <= 60 + 2 * TOLERANCE
        here.time += 60.0
        assert spend(first) == 0


@pytest.mark.parametrize("wall", [-3600.0, 3600.0, 365 * 86_400.0, -56 * 365 * 86_400.0])
def test_restart_with_wrong_wall_clock(tmp_path: Path, wall: float) -> None:
    """After a restart with a wrong wall clock nothing is forgotten, and nobody is stuck."""
    path, before = tmp_path / "budget.sqlite", ManualClock("before", now=50_000.0)
    assert spend_all(path, before.boot_clock()) == 5
    after = ManualClock("after", now=20.0, started=1.8e9 + 50_030.0 + wall)
    ((first, *_),) = take_turns(path, [after], 80)
    assert 60 <= 20 + first <= 80


@pytest.mark.parametrize("wrong", [3600.0, -3600.0])
def test_wrong_wall_clock_holds_a_period_at_most(tmp_path: Path, wrong: float) -> None:
    """A machine whose wall clock is an hour wrong holds nobody up for longer than a period."""
    right = ManualClock("right", now=100_000.0, started=1.8e9)
    other = ManualClock("other", now=100_000.0, started=1.8e9 + wrong)
    first, second = take_turns(tmp_path / "budget.sqlite", [right, other], 200)
    # What the first exchange took for an hour, or for nothing, is exceeded at most once.
    assert 15 <= len(first) + len(second) <= 25


def test_429_holds_other_machines(tmp_path: Path) -> None:
    """A 429 to one machine holds the others."""
    path, here = tmp_path / "budget.sqlite", ManualClock("here", now=100_000.0, started=1.8e9)
    there = ManualClock("there", now=500.0, started=1.8e9 + 99_500.0)
    with closing(ledger_on_disk(path, FIVE, here.boot_clock())) as first:
        first.claim(1)
        assert (
            first.report_throttled(1, RetryAfter(retry_after=30.0, window_boundary=None, period=60.0, uniform=0.0))
            == 30
        )
        with closing(ledger_on_disk(path, FIVE, there.boot_clock())) as second:
            assert claim_all(second) == 0
            there.time += 29
            assert claim_all(second) == 0
            there.time += 1 + TOLERANCE
            assert claim_all(second) == 1


def test_power_cut_of_other_machine(tmp_path: Path) -> None:
    """A power cut of one machine does not hold another that was up all the time."""
    path = tmp_path / "budget.sqlite"
    cut = ManualClock("cut", now=100_000.0, started=1.8e9)
    up = ManualClock("up", now=50_000.0, started=1.8e9 + 50_000.0)
    assert spend_all(path, cut.boot_clock(), close=False) == 5
    up.time += 60 + TOLERANCE
    assert spend_all(path, up.boot_clock()) == 5
    fresh = ManualClock("cut, after it", now=30.0, started=1.8e9 + 100_000.0 + 60 + 30)
    assert spend_all(path, fresh.boot_clock()) == 0


def test_old_clocks_are_forgotten(tmp_path: Path) -> None:
    """The clocks of starts long ago are forgotten."""
    path = tmp_path / "budget.sqlite"
    for day in range(20):
        assert (
            spend_all(path, ManualClock(f"start {day}", now=3600.0, started=1.8e9 + 100_000.0 * day).boot_clock()) == 5
        )
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM clocks").fetchone()[0] <= 3
