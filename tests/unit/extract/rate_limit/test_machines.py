"""One budget file and several machines, containers and time namespaces: no limit is exceeded, nobody is stuck."""

from __future__ import annotations

import dataclasses
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulk_export.core.credentials import Token
from bulk_export.core.model import Limit
from bulk_export.extract.rate_limit import RateLimiter, RequestOutcome, read_usage
from bulk_export.extract.rate_limit.adapters import InlineAsyncLedger
from bulk_export.extract.rate_limit.boot_clock import BootClock, boot_clock
from bulk_export.extract.rate_limit.interface import Granted
from bulk_export.extract.rate_limit.retry_after import RetryAfter
from bulk_export.extract.rate_limit.sqlite.ledger import SqliteLedger
from bulk_export.extract.rate_limit.sqlite.timeline import TOLERANCE
from tests.support.planned_requests import (
    ANSWER_TIMEOUT,
    SERVICE,
    TOKEN,
    ManualClock,
    Planned,
    Process,
    assert_within,
    claim_all,
    identities,
    ledger_on_disk,
    limit_values,
    make_limits,
    process_lists,
    run_processes,
    virtual_clock,
)
from tests.support.sliding_log import most_in_any_window
from tests.support.virtual_time import run_virtually

FIVE = make_limits(Limit(5, 60), Limit(5, 60))
V1 = Path(__file__).parents[3] / "stored" / "budget-v1.sqlite"


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


@settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.too_slow])
@given(
    service=limit_values,
    address=limit_values,
    playing=several_machines,
    up=st.tuples(*[st.sampled_from([0.0, 3.0, 50.0, 100_000.0])] * 3),
    wrong=st.tuples(*[st.sampled_from([-2.0, 2.0]) | st.floats(-2, 2)] * 3),
)
def test_machines_whose_wall_clocks_agree_within_the_tolerance_exceed_no_limit_together(
    service: Limit, address: Limit, playing: list[Process], up: tuple[float, ...], wrong: tuple[float, ...]
) -> None:
    """They come at any time and are killed; each has been up for another time, and the wall clocks are 4 s apart."""
    machines = [
        virtual_clock(f"boot {number}", ahead=ahead, wall=wall)
        for number, (ahead, wall) in enumerate(zip(up, wrong, strict=True))
    ]
    assert_within(run_processes(playing, make_limits(service, address), machines), service, address)


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


def test_two_machines_that_take_turns_do_not_discard_what_the_other_spent(tmp_path: Path) -> None:
    """What one spent comes free for the other after a period and the tolerance, at most."""
    path, here = tmp_path / "budget.sqlite", ManualClock("here", now=100_000.0, started=1.8e9)
    there = ManualClock("there", now=500.0, started=1.8e9 + 99_500.0)
    first, second = take_turns(path, [here, there], 200)
    # The one sees its own requests come free after a period, the other the tolerance later.
    assert len(first) + len(second) == 20
    assert len(second) >= 3
    assert most_in_any_window(first + second, 60) == 5


@pytest.mark.parametrize("off", [-4.0, 0.0, 4.0])
def test_what_another_machine_spent_counts_for_a_period_though_the_wall_clocks_differ(
    tmp_path: Path, off: float
) -> None:
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
def test_after_a_restart_with_a_wrong_wall_clock_nothing_is_forgotten_and_nobody_is_stuck(
    tmp_path: Path, wall: float
) -> None:
    path, before = tmp_path / "budget.sqlite", ManualClock("before", now=50_000.0)
    assert spend_all(path, before.boot_clock()) == 5
    after = ManualClock("after", now=20.0, started=1.8e9 + 50_030.0 + wall)
    ((first, *_),) = take_turns(path, [after], 80)
    assert 60 <= 20 + first <= 80


@pytest.mark.parametrize("wrong", [3600.0, -3600.0])
def test_a_machine_whose_clock_is_an_hour_off_holds_nobody_up_for_longer_than_a_period(
    tmp_path: Path, wrong: float
) -> None:
    right = ManualClock("right", now=100_000.0, started=1.8e9)
    other = ManualClock("other", now=100_000.0, started=1.8e9 + wrong)
    first, second = take_turns(tmp_path / "budget.sqlite", [right, other], 200)
    # What the first exchange took for an hour, or for nothing, is exceeded at most once.
    assert 15 <= len(first) + len(second) <= 25


def test_a_refusal_seen_by_one_machine_holds_the_others(tmp_path: Path) -> None:
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


def test_a_power_cut_on_another_machine_does_not_hold_one_that_was_up_all_the_time(tmp_path: Path) -> None:
    path = tmp_path / "budget.sqlite"
    cut = ManualClock("cut", now=100_000.0, started=1.8e9)
    up = ManualClock("up", now=50_000.0, started=1.8e9 + 50_000.0)
    assert spend_all(path, cut.boot_clock(), close=False) == 5
    up.time += 60 + TOLERANCE
    assert spend_all(path, up.boot_clock()) == 5
    fresh = ManualClock("cut, after it", now=30.0, started=1.8e9 + 100_000.0 + 60 + 30)
    assert spend_all(path, fresh.boot_clock()) == 0


def test_the_clocks_of_starts_long_ago_are_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "budget.sqlite"
    for day in range(20):
        assert (
            spend_all(path, ManualClock(f"start {day}", now=3600.0, started=1.8e9 + 100_000.0 * day).boot_clock()) == 5
        )
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM clocks").fetchone()[0] <= 3


def test_a_file_of_the_version_before_is_taken_over_with_all_that_was_spent(tmp_path: Path) -> None:
    """Three requests with one token, one with another, and two to a service under another of its names."""
    path = tmp_path / "budget.sqlite"
    shutil.copy(V1, path)
    clock, generous = ManualClock("this boot", now=1059.0), make_limits(Limit(5, 60), Limit(9, 60))

    def free(base_url: str, token: str) -> int:
        with closing(SqliteLedger(path, base_url, Token(token), generous, clock.boot_clock())) as ledger:
            granted = []
            while isinstance(ledger.claim(identity := next(identities)), Granted):
                granted.append(identity)
            for identity in granted:
                ledger.release(identity, RequestOutcome.UNSENT)
        return len(granted)

    assert free(SERVICE, TOKEN.reveal()) == 2
    assert free(SERVICE, "another-token") == 4
    assert free(SERVICE, "a-third-token") == 5
    assert free("http://[::1]:8080", TOKEN.reveal()) == 3
    assert {use.service for use in read_usage(f"sqlite:///{path}")} == {SERVICE, "http://127.0.0.1:8080"}
    clock.time = 1060.0
    assert free(SERVICE, TOKEN.reveal()) == 5


def test_a_file_of_the_version_before_counts_after_a_restart_of_the_machine(tmp_path: Path) -> None:
    path = tmp_path / "budget.sqlite"
    shutil.copy(V1, path)
    os.utime(path, (1.8e9, 1.8e9))
    with closing(
        ledger_on_disk(path, FIVE, ManualClock("the next boot", now=20.0, started=1.8e9 + 30.0).boot_clock())
    ) as ledger:
        # Three with this token, and one from the same address.
        assert claim_all(ledger) == 1


def test_a_time_namespace_does_not_change_the_clock_of_the_machine(tmp_path: Path) -> None:
    """Its own clock is ten days ahead, and the budget file counts the same seconds all the same."""
    module = "bulk_export.extract.rate_limit.boot_clock"
    code = f"from {module} import boot_clock; clock = boot_clock(); print(clock.boot, clock.now())"
    command = ["unshare", "--time", "--boottime", "864000", "--fork", sys.executable, "-c", code]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    if found.returncode != 0:
        pytest.skip("time namespaces cannot be made here")
    boot, now = found.stdout.split()
    assert boot == boot_clock().boot
    assert 0 <= boot_clock().now() - float(now) < 60


def test_a_time_namespace_that_does_not_tell_its_offset_counts_as_another_machine(tmp_path: Path) -> None:
    (tmp_path / "ns").mkdir()
    (tmp_path / "ns/time").symlink_to("time:[1]")
    (tmp_path / "ns/time_for_children").symlink_to("time:[2]")
    assert boot_clock(tmp_path).boot == f"{boot_clock().boot} time:[1]"
    (tmp_path / "ns/time_for_children").unlink()
    (tmp_path / "ns/time_for_children").symlink_to("time:[1]")
    (tmp_path / "timens_offsets").write_text("monotonic           5         0\nboottime       864000 500000000\n")
    inside = boot_clock(tmp_path)
    assert inside.boot == boot_clock().boot
    assert inside.now() + 864_000.5 == pytest.approx(boot_clock().now(), abs=60)


@settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.too_slow])
@given(service=limit_values, address=limit_values, playing=process_lists)
def test_the_names_of_a_service_and_its_tokens_share_the_limit_of_an_address(
    service: Limit, address: Limit, playing: list[Process]
) -> None:
    """Two tokens, each under two names of the sandbox: from one address never more than its limit."""
    names = (
        "https://npq-registration-sandbox-web.teacherservices.cloud",
        "https://Sandbox.Register-NPQ.education.gov.uk.:443/api",
    )
    places = [(name, Token(token)) for token in ("one", "two") for name in names]
    sent = run_processes(playing, make_limits(service, address), [virtual_clock()], places)
    assert_within(sent, Limit(2 * service.requests, service.period), address)


def test_tokens_that_compete_for_an_address_all_get_their_part(tmp_path: Path) -> None:
    limits, counts = make_limits(Limit(100, 10), Limit(8, 10)), [0] * 4

    async def live(number: int) -> None:
        ledger = SqliteLedger(tmp_path / "budget.sqlite", SERVICE, Token(f"t{number}"), limits, virtual_clock())
        limiter = RateLimiter(InlineAsyncLedger(ledger), limits)
        while True:
            await limiter.release(await limiter.acquire(), RequestOutcome.ANSWERED)
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


@settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.too_slow])
@given(service=limit_values, address=limit_values, requests=late_requests, workers=st.integers(1, 6))
def test_requests_that_were_given_up_and_count_later_exceed_no_limit(
    service: Limit, address: Limit, requests: list[Planned], workers: int
) -> None:
    process = Process(0.0, 10_000.0, workers, requests)
    limits = make_limits(service, address, late=ANSWER_TIMEOUT)
    assert_within(run_processes([process], limits, [virtual_clock()]), service, address)


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


@settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.too_slow])
@given(
    service=limit_values, address=limit_values, stopping=st.lists(stopped, min_size=1, max_size=2), others=process_lists
)
def test_a_process_that_is_stopped_between_slot_and_sending_exceeds_no_limit(
    service: Limit, address: Limit, stopping: list[Process], others: list[Process]
) -> None:
    limits = make_limits(service, address, longest=5.0 + ANSWER_TIMEOUT)
    sent = run_processes([*stopping, *others], limits, [virtual_clock()], permit_lifetime=5.0)
    assert_within(sent, service, address)
