"""Two windows are two scheduled ones, and no clock that is wrong hides a change or a full sync."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from bulk_export.errors import ServiceFailing
from bulk_export.pipelines.sync.state_file import read_state, write_state
from bulk_export.pipelines.sync.watermark import Watermark
from tests.support.copy_scene import BEGAN, HOUR, NAME, PARTNERS, WEEK, Scene, person, scene

MINUTE, DAY, YEAR = timedelta(minutes=1), timedelta(days=1), timedelta(days=365)
CHEAP: dict[str, Any] = {"format": "parquet"}


def text(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


async def asked_from(it: Scene, **changes: Any) -> datetime:
    """From when on the last request of a poll asks."""
    await it.sync(**CHEAP, **changes)
    return datetime.fromisoformat(it.since()[-1])


async def hourly(it: Scene, polls: int, **changes: Any) -> None:
    """So many polls an hour apart; the next is due now."""
    for _ in range(polls):
        await it.sync(**CHEAP, **changes)
        it.now += HOUR


async def test_polls_by_hand_do_not_use_up_overlap(tmp_path: Path) -> None:
    """Polls by hand do not use up the overlap of scheduled polls."""
    async with scene(tmp_path, people=3) as it:
        await hourly(it, 3)
        for _ in range(4):
            it.now += MINUTE
            await it.sync(**CHEAP)
        it.now += 56 * MINUTE
        assert await asked_from(it) <= it.now - 2 * HOUR


async def test_endpoints_have_their_own_intervals(tmp_path: Path) -> None:
    """Endpoints that are polled at different intervals each have their own overlap.

    One daily and another one every six hours, in one copy; a poll by hand uses up no window of either.
    """
    async with scene(tmp_path, people=3, partners=3) as it:
        for hour in range(0, 49, 6):
            await it.sync(*((NAME,) if hour % 24 == 0 else (PARTNERS,)), **CHEAP)
            it.now += 6 * HOUR
        await it.sync(NAME, **CHEAP)
        it.now += 18 * HOUR
        it.asked.clear()
        assert await asked_from(it) <= it.now - 2 * DAY


async def test_failed_poll_does_not_use_up_overlap(tmp_path: Path) -> None:
    """A poll that failed, and its retry, do not use up the overlap."""
    async with scene(tmp_path, people=3) as it:
        await hourly(it, 2)

        def fails(*_: object) -> list[Any]:
            raise web.HTTPInternalServerError

        it.doctor = fails
        with pytest.raises(ServiceFailing):
            await it.sync(**CHEAP)
        it.doctor = lambda _name, _query, shown: shown
        it.now += 10 * MINUTE
        await it.sync(**CHEAP)
        it.now += 50 * MINUTE
        assert await asked_from(it) <= it.now - 2 * HOUR


@pytest.mark.torture
@pytest.mark.parametrize("every", [timedelta(hours=6), None])
async def test_interval_is_given_or_observed(tmp_path: Path, every: timedelta | None) -> None:
    """The poll interval is the one that was given, or the one that was observed."""
    async with scene(tmp_path, people=3) as it:
        for _ in range(2 if every else 4):
            await it.sync(**CHEAP, every=every)
            it.now += timedelta(hours=6)
        it.now -= timedelta(hours=5, minutes=59)
        assert await asked_from(it) <= it.now - timedelta(hours=12)


@pytest.mark.torture
async def test_late_commit_is_seen(tmp_path: Path) -> None:
    """A change that was committed late is seen after any extra poll."""
    async with scene(tmp_path, people=3) as it:
        await hourly(it, 3)
        begun = text(it.now - 50 * MINUTE)
        await it.sync(**CHEAP)
        it.now += MINUTE
        await it.sync(**CHEAP)
        it.now += MINUTE
        it.records[NAME][1] = person(1, full_name="Late", updated_at=begun)
        it.now += 58 * MINUTE
        await it.sync(**CHEAP)
        assert it.rows()["p00001"]["full_name"] == "Late"


def shows(by: timedelta, *, times: int) -> Callable[[Scene], Callable[[], str]]:
    """A `Date` that is off by so much in so many answers."""

    def made(it: Scene) -> Callable[[], str]:
        left = [times]

        def date() -> str:
            left[0] -= 1
            return format_datetime(it.now + (by if left[0] >= 0 else timedelta(0)), usegmt=True)

        return date

    return made


FAR = timedelta(days=365 * 7_900)


def lies(by: timedelta, times: int, *marks: pytest.MarkDecorator) -> object:
    return pytest.param(by, times, marks=marks, id=f"{by // HOUR} h, {times}")


MORE = pytest.mark.torture


@pytest.mark.parametrize(
    ("by", "times"),
    [
        lies(HOUR, 99),
        lies(FAR, 1),
        lies(-YEAR, 99),
        *(lies(by, 1, MORE) for by in (HOUR, YEAR, -HOUR, -YEAR)),
        *(lies(by, 99, MORE) for by in (YEAR, FAR, -HOUR)),
    ],
)
async def test_false_date_hides_nothing(tmp_path: Path, by: timedelta, times: int) -> None:
    """A false Date header hides no change and no full sync."""
    async with scene(tmp_path, people=3) as it:
        await hourly(it, 1)
        it.date = shows(by, times=times)(it)
        summary = await it.sync(**CHEAP)
        assert any("clock is" in remark for remark in summary.remarks)
        it.now += HOUR
        it.records[NAME][0] = person(0, full_name="Changed", updated_at=text(it.now - HOUR))
        assert await asked_from(it) <= it.now - 2 * HOUR
        assert it.rows()["p00000"]["full_name"] == "Changed"
        it.now += WEEK
        assert (await it.sync(**CHEAP)).polls[0].kind == "full"


async def test_clock_a_year_ahead_once(tmp_path: Path) -> None:
    """Our own clock a year ahead once does not delay full syncs."""
    async with scene(tmp_path, people=3) as it:
        await hourly(it, 2)
        it.ours = it.now + YEAR
        it.date = lambda: "nonsense"
        await it.sync(**CHEAP)
        it.records[NAME][0] = person(0, full_name="Changed", updated_at=text(it.now))
        it.now, it.ours = it.now + HOUR, None
        summary = await it.sync(**CHEAP)
        assert any("lie in the future" in remark for remark in summary.remarks)
        assert it.rows()["p00000"]["full_name"] == "Changed"
        it.now += WEEK
        assert (await it.sync(**CHEAP)).polls[0].kind == "full"


async def test_clock_a_year_ahead_for_good(tmp_path: Path) -> None:
    """Our own clock a year ahead for good is found out by polls of one response."""
    async with scene(tmp_path, people=3) as it:
        for number in range(5):
            it.ours = it.now + YEAR
            it.records[NAME][0] = person(0, full_name=str(number), updated_at=text(it.now - 10 * MINUTE))
            summary = await it.sync(**CHEAP)
            assert any("clock is" in remark for remark in summary.remarks)
            it.now += HOUR
        assert it.rows()["p00000"]["full_name"] == "4"
        assert datetime.fromisoformat(it.since()[-1]) > it.now - 4 * HOUR


async def test_future_watermarks_are_not_trusted(tmp_path: Path) -> None:
    """Watermarks that an earlier version set into the future are not trusted."""
    async with scene(tmp_path, people=3) as it:
        await hourly(it, 2)
        state = read_state(it.directory)
        assert state is not None
        ahead = BEGAN + YEAR
        write_state_of(it, state, Watermark((ahead, ahead), ahead))
        it.records[NAME][0] = person(0, full_name="Changed", updated_at=text(it.now - HOUR))
        summary = await it.sync(**CHEAP)
        assert summary.polls[0].kind == "full"
        assert it.rows()["p00000"]["full_name"] == "Changed"
        it.now += HOUR
        assert [poll.kind for poll in (await it.sync(**CHEAP)).polls] == ["changes"]


def write_state_of(it: Scene, state: Any, mark: Watermark) -> None:
    from dataclasses import replace

    (it.directory / ".bulk-export").mkdir()
    write_state(it.directory, replace(state, watermarks={NAME: mark}, clock_ahead=YEAR.total_seconds()))
    (it.directory / ".bulk-export").rmdir()


async def test_a_poll_never_ends_before_it_starts(tmp_path: Path) -> None:
    async with scene(tmp_path, people=3) as it:
        it.date = lambda: format_datetime(it.now + 4 * MINUTE, usegmt=True)
        (poll,) = (await it.sync(**CHEAP)).polls
        assert poll.started_at == it.now + 4 * MINUTE <= poll.finished_at
