"""Results in order, whoever computes them, and no more in memory than is said."""

from __future__ import annotations

import threading
from functools import partial

import pytest

from bulk_export.core.ahead import Ahead, in_order, usable_cores


def fail(number: int) -> int:
    raise OSError(number)


@pytest.mark.parametrize("cores", [1, 2, 5])
def test_results_come_in_order(cores: int) -> None:
    assert list(in_order(lambda number: number * number, range(50), cores)) == [n * n for n in range(50)]


def test_two_threads_work_at_once() -> None:
    """Two calls that wait for each other end, because the thread that takes the results makes one of them."""
    both = threading.Barrier(2, timeout=30)
    assert len({*in_order(lambda _: both.wait(), range(2), 2)}) == 2


@pytest.mark.parametrize("cores", [1, 3])
def test_an_error_comes_in_its_turn(cores: int) -> None:
    """Results before an error are given, and those behind it are forgotten when the rest is closed."""
    ahead = Ahead[int](cores)
    for call in (partial(int, "7"), partial(fail, 1), partial(int, "8")):
        ahead.add(call)
    assert ahead.take() == 7
    with pytest.raises(OSError, match="1"):
        ahead.take()
    ahead.close()
    assert not ahead
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("bulk-export-ahead")]


@pytest.mark.parametrize("cores", [1, 2])
def test_what_waits_is_bounded(cores: int) -> None:
    """Items are taken as results are, so the number of results in memory does not depend on that of items."""
    taken = []
    results = in_order(str, (taken.append(number) or number for number in range(1_000)), cores)
    assert next(results) == "0"
    assert len(taken) <= 3 * cores
    results.close()  # type: ignore[attr-defined]


def test_a_single_call_needs_no_thread() -> None:
    """Where nothing follows soon, no thread is started, and who takes the result makes the call."""
    ahead = Ahead[int](4)
    ahead.add(threading.get_ident, is_last=True)
    assert ahead.take() == threading.get_ident()
    assert ahead._threads is None


def test_cores_are_those_of_the_process() -> None:
    assert usable_cores() >= 1
