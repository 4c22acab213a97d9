"""A copy and its service on virtual time, with whatever goes wrong in between (faults, F40).

Records are created, changed and moved away at any moment, between two requests too; a change may be committed late,
with an `updated_at` up to one window earlier; clocks differ; polls fail at any request or are cut off. After a poll
during which nothing changed, the copy equals the service but for what moved away, and after a full sync wholly.
"""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
import polars
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulk_export.errors import Interrupted, ServiceFailing
from bulk_export.pipelines.sync.options import SyncOptions
from bulk_export.pipelines.sync.poll import sync_once
from bulk_export.pipelines.sync.state_file import read_state
from bulk_export.pipelines.sync.summary import SyncSummary
from bulk_export.services.local import LocalService, serving
from tests.support import exporting
from tests.support.exporting import FREE, SEVEN_PER_PAGE, TOKEN
from tests.support.restore import canonical, restore

NAME = "participants-npq"
BEGAN = datetime(2025, 6, 1, 23, 10, tzinfo=UTC)
FAULTS = ("error_rate", "reset_rate", "truncate_rate", "garbage_rate")


class World:
    """The service, its copy, and a clock for each."""

    def __init__(self, service: LocalService, directory: Path, clock: list[datetime], rng: random.Random, **more: Any):
        self.service = service
        self.clock = clock
        self.rng = rng
        self.failed = 0
        self.polling = False
        self.directory = directory
        self._options = SyncOptions.of(
            [NAME],
            service=SEVEN_PER_PAGE,
            base_url=service.base_url,
            token=TOKEN,
            output=directory,
            retries=0,
            page_size=5,
            workers=3,
            full_every="2d",
            **FREE,
            **more,
        )

    def change(self) -> None:
        """One change, perhaps committed late."""
        service, rng = self.service, self.rng
        what = rng.choice(("append", "touch", "touch", "late", "remove"))
        count = service.count(NAME)
        if what == "append" or count < 3:
            service.append(NAME, rng.randint(1, 3))
        elif what == "remove":
            service.remove(NAME, rng.randrange(count))
        else:
            moment = service.settings.clock()
            if what == "late":
                moment -= rng.uniform(0, self._window())
            service.touch(NAME, rng.randrange(count), moment)

    def _window(self) -> float:
        """How late a change may be: the time between the last two polls, in whole seconds of both ends, or between
        the last one and the one that is under way."""
        state = read_state(self.directory)
        polls = state.watermarks[NAME].polls if state is not None and NAME in state.watermarks else ()
        if len(polls) < 2:
            return 0.0
        windows = [polls[1] - polls[0]]
        if self.polling:
            windows.append(datetime.fromtimestamp(self.service.settings.clock(), UTC) - polls[1])
        return max(0.0, min(windows).total_seconds() - 2)

    async def poll(self, *, disturbed: bool) -> SyncSummary | None:
        """A poll that may fail; None where it did."""
        stop = anyio.Event()
        rng, service = self.rng, self.service
        calm = service.settings
        if disturbed and rng.random() < 0.4:
            service.settings = replace(calm, **{rng.choice(FAULTS): rng.choice((0.1, 0.5))})

        def before(_: LocalService, __: object) -> None:
            if disturbed and rng.random() < 0.15:
                self.change()
            if disturbed and rng.random() < 0.03:
                stop.set()

        service.before_request = before
        self.polling = True
        try:
            return await sync_once(self._options, stop=stop, clock=lambda: self.clock[0])
        except (ServiceFailing, Interrupted):
            self.failed += 1
            return None
        finally:
            service.before_request = None
            service.settings = calm
            self.polling = False

    def assert_copied(self, *, but_for_removals: bool) -> None:
        """Compare the copy with the service, value by value."""
        rows = self._rows()
        shown = {row["id"]: row for row in rows if row["_removed_at"] is None}
        assert len({row["id"] for row in rows}) == len(rows)
        truth = {record["id"]: record for record in self.service.truth(NAME)}
        assert truth.keys() <= shown.keys()
        assert but_for_removals or truth.keys() == shown.keys()
        for identity, record in truth.items():
            row = {name: value for name, value in shown[identity].items() if name not in ("_synced_at", "_removed_at")}
            assert canonical(restore(row)) == canonical(record), identity

    def _rows(self) -> list[dict[str, Any]]:
        if (self.directory / NAME / "_delta_log").exists():
            return polars.read_delta(str(self.directory / NAME)).to_arrow().to_pylist()
        return pq.read_table(self.directory / NAME).to_pylist()


async def live(directory: Path, seed: int, polls: int, **more: Any) -> World:
    """So many polls, an hour apart or so; each that nothing disturbed is compared."""
    rng = random.Random(seed)
    clock = [BEGAN]
    skew = timedelta(seconds=rng.choice((0, 0, -400, 90_000)))
    chosen = exporting.settings(
        service=SEVEN_PER_PAGE, records_by_endpoint={NAME: 23}, seed=seed, clock=lambda: (clock[0] + skew).timestamp()
    )
    async with serving(chosen) as service:
        world = World(service, directory, clock, rng, **more)
        for number in range(polls):
            clock[0] += timedelta(minutes=rng.randint(20, 100) if rng.random() < 0.9 else 60 * rng.randint(2, 30))
            for _ in range(rng.randint(0, 3)):
                world.change()
                clock[0] += timedelta(seconds=rng.randint(0, 600))
            disturbed = number % 3 != 2
            summary = await world.poll(disturbed=disturbed)
            if not disturbed:
                assert summary is not None
                world.assert_copied(but_for_removals=summary.polls[-1].kind != "full")
        # A full sync that was cut off goes on first, and sees what moved away only up to then.
        kinds: list[str] = []
        while kinds != ["full"]:
            clock[0] += timedelta(days=2)
            summary = await world.poll(disturbed=False)
            assert summary is not None
            kinds = [poll.kind for poll in summary.polls]
            assert "full" in kinds
        world.assert_copied(but_for_removals=False)
        return world


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "format_"), [(1, "delta"), pytest.param(3, "parquet", marks=pytest.mark.torture)])
async def test_after_each_quiet_poll_the_copy_is_the_service(tmp_path: Path, seed: int, format_: str) -> None:
    world = await live(tmp_path / "copy", seed, 12, format=format_)
    assert world.failed > 1


@pytest.mark.torture
@pytest.mark.parametrize("seed", range(100, 140))
async def test_a_week_of_polls(tmp_path: Path, seed: int) -> None:
    await live(tmp_path / "copy", seed, 168, format="delta" if seed % 2 else "parquet")


@pytest.mark.slow
@settings(max_examples=2, deadline=None)
@given(seed=st.integers(0, 1 << 32), polls=st.integers(1, 8))
def test_any_history(seed: int, polls: int) -> None:
    """Whatever happens in between, the copy equals the service after quiet polls."""

    async def go(directory: Path) -> None:
        await live(directory, seed, polls, format="parquet")

    with TemporaryDirectory() as directory:
        anyio.run(go, Path(directory) / "copy")
