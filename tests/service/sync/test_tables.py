"""A table that is not as the state of the copy says: the older of both is believed, and nothing is passed over."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from deltalake import DeltaTable

from bulk_export.errors import DamagedState, Interrupted
from bulk_export.pipelines.options import ExportOptions
from bulk_export.pipelines.sync.fetch import Extract, run_export
from bulk_export.pipelines.sync.tables.delta_table import DeltaCopyTable
from bulk_export.progress.observer import Observer
from tests.support.copy_scene import HOUR, NAME, WEEK, Scene, person, scene


def assert_current(it: Scene) -> None:
    shown = {identity: row["full_name"] for identity, row in it.rows().items() if row["_removed_at"] is None}
    assert shown == {one["id"]: one["attributes"]["full_name"] for one in it.records[NAME]}


def change(it: Scene, number: int, name: str) -> None:
    it.records[NAME][number] = person(number, full_name=name, updated_at=f"{it.now:%Y-%m-%dT%H:%M:%SZ}")


@pytest.mark.parametrize("format_", ["delta", pytest.param("parquet", marks=pytest.mark.torture)])
async def test_restored_state_asks_further_back(tmp_path: Path, format_: str) -> None:
    """A state that was restored from a backup asks from as far back as it says."""
    async with scene(tmp_path, people=5) as it:
        for number in range(4):
            if number == 1:
                backup = (it.directory / "sync.json").read_bytes()
            change(it, number, f"{number} at first")
            await it.sync(format=format_)
            it.now += HOUR
        (it.directory / "sync.json").write_bytes(backup)
        change(it, 4, "Later")
        summary = await it.sync(format=format_)
        assert any("older than the table" in remark for remark in summary.remarks)
        assert summary.polls[0].total("updated") == 1
        assert_current(it)
        numbers = [json.loads(line)["poll"] for line in (it.directory / "sync-log.jsonl").read_text().splitlines()]
        assert numbers == sorted(set(numbers))
        it.now += HOUR
        assert not (await it.sync(format=format_)).remarks


async def test_restored_file_is_not_newer(tmp_path: Path) -> None:
    """A file from before a backup was restored is not taken for a newer one.

    Its poll has a higher number than the last one that was noted, and it lacks what that one brought.
    """
    async with scene(tmp_path, people=6) as it:

        async def poll(number: int) -> None:
            it.now += HOUR
            change(it, number, f"Changed at {it.now}")
            await it.sync(format="parquet")

        await it.sync(format="parquet")
        for _ in range(4):
            await poll(0)
        shutil.copytree(it.directory, tmp_path / "backup")
        for _ in range(5):
            await poll(0)
        (it.directory / NAME).rename(tmp_path / "table")
        shutil.rmtree(it.directory)
        (tmp_path / "backup").rename(it.directory)
        for number in range(1, 5):
            await poll(number)
        shutil.rmtree(it.directory / NAME)
        (tmp_path / "table").rename(it.directory / NAME)
        it.now += HOUR
        assert (await it.sync(format="parquet")).remarks
        assert_current(it)


def removed(it: Scene) -> None:
    shutil.rmtree(it.directory / NAME)


def deleted(it: Scene) -> None:
    DeltaTable(it.directory / NAME).delete("id <> 'p00001'")


def restored(it: Scene) -> None:
    DeltaTable(it.directory / NAME).restore(0)


def rolled_back(it: Scene) -> None:
    shutil.rmtree(it.directory / NAME)
    shutil.copytree(it.directory.parent / "backup", it.directory / NAME)


def log_lost(it: Scene) -> None:
    shutil.rmtree(it.directory / NAME / "_delta_log")


@pytest.mark.parametrize(
    "what",
    [
        deleted,
        log_lost,
        *(pytest.param(one, marks=pytest.mark.torture) for one in (removed, restored, rolled_back)),
    ],
)
async def test_missing_rows_need_a_full_sync(tmp_path: Path, what: Callable[[Scene], None]) -> None:
    """A table that lacks rows is completed by a full sync."""
    async with scene(tmp_path, people=6) as it:
        await it.sync()
        shutil.copytree(it.directory / NAME, tmp_path / "backup")
        it.now += HOUR
        change(it, 0, "Changed")
        await it.sync()
        it.now += 3 * HOUR
        what(it)
        summary = await it.sync()
        assert summary.polls[0].kind == "full"
        assert any(NAME in remark for remark in summary.remarks)
        assert_current(it)
        if what is log_lost:
            assert set((it.directory / NAME).glob("*.parquet")) == set(DeltaCopyTable(it.directory / NAME).files)
        it.now += HOUR
        summary = await it.sync()
        assert [poll.kind for poll in summary.polls] == ["changes"]
        assert not summary.remarks


@pytest.mark.torture
async def test_older_parquet_files_need_a_full_sync(tmp_path: Path) -> None:
    """Parquet files of another time are completed, too."""
    async with scene(tmp_path, people=6) as it:
        await it.sync(format="parquet")
        file = it.directory / NAME / "part-00000.parquet"
        old = file.read_bytes()
        it.now += HOUR
        change(it, 0, "Changed")
        await it.sync(format="parquet")
        it.now += 5 * HOUR
        for content in (old, None):
            file.unlink()
            if content is not None:
                file.write_bytes(content)
            it.now += 5 * HOUR
            summary = await it.sync(format="parquet")
            assert summary.polls[0].kind == "full"
            assert_current(it)
        file.write_bytes(old[:-9])
        with pytest.raises(DamagedState, match="not a file that a poll wrote"):
            await it.sync(format="parquet")


def missing(it: Scene) -> None:
    next(iter(DeltaCopyTable(it.directory / NAME).files)).unlink()


def cut(it: Scene) -> None:
    file = next(iter(DeltaCopyTable(it.directory / NAME).files))
    file.write_bytes(file.read_bytes()[:-40])


def torn(it: Scene) -> None:
    (it.directory / NAME / "_delta_log" / f"{0:020}.json").write_text('{"add": ')


@pytest.mark.parametrize("what", [missing, cut, pytest.param(torn, marks=pytest.mark.torture)])
async def test_damaged_table_is_refused(tmp_path: Path, what: Callable[[Scene], None]) -> None:
    """A damaged table is reported before a request, and made anew once a person has removed it."""
    async with scene(tmp_path, people=6) as it:
        await it.sync()
        what(it)
        it.now += HOUR
        asked = len(it.asked)
        with pytest.raises(DamagedState) as damaged:
            await it.sync()
        assert (len(it.asked), damaged.value.exit_code) == (asked, 5)
        assert "the next sync fetches all of it" in damaged.value.next_step
        shutil.rmtree(it.directory / NAME)
        await it.sync()
        assert_current(it)


def holds(directory: Path, canary: str) -> Iterator[Path]:
    """The files in which a text stands, in the values of Parquet files, too."""
    import pyarrow.parquet as pq

    for path in directory.rglob("*"):
        if path.is_file() and (
            canary.encode() in path.read_bytes()
            or (path.suffix == ".parquet" and canary in str(pq.read_table(path).to_pylist()))
        ):
            yield path


async def test_deleted_person_is_in_no_file(tmp_path: Path) -> None:
    """A person who was deleted for good is in no file, not even one of a killed merge."""
    async with scene(tmp_path, people=4) as it:
        canary = "canary-7f3a@example.org"
        it.records[NAME].append(person(9, full_name=canary))
        await it.sync()
        (file,) = DeltaCopyTable(it.directory / NAME).files
        # What a merge leaves that dies before its commit, and what it notes while it is under way.
        shutil.copy(file, file.with_name("part-00000-00000000-0000-4000-8000-000000000000-c000.zstd.parquet"))
        (it.directory / ".bulk-export" / "merge").mkdir(parents=True)
        (it.directory / ".bulk-export" / "merge" / "changes.parquet").write_bytes(file.read_bytes())
        it.records[NAME].pop()
        it.now += WEEK
        await it.sync(removed="mark")
        it.now += HOUR
        await it.sync(removed="delete")
        assert set(it.rows()) == {one["id"] for one in it.records[NAME]}
        DeltaCopyTable(it.directory / NAME).vacuum(WEEK * 0)
        assert list(holds(it.directory, canary)) == []
        assert_current(it)


async def test_earlier_versions_of_the_table_stay(tmp_path: Path) -> None:
    """Files of earlier versions of the table are not mistaken for those of a killed merge."""
    async with scene(tmp_path, people=4) as it:
        for number in range(3):
            change(it, number, "Changed")
            await it.sync()
            it.now += HOUR
        (it.directory / ".bulk-export" / "merge").mkdir(parents=True)
        await it.sync()
        for version in range(3):
            assert DeltaTable(it.directory / NAME, version=version).to_pyarrow_table().num_rows == 4


def cut_off(it: Scene) -> Extract:
    """An export that is finished when its process ends, before anything of it is taken in."""

    async def extract(wanted: ExportOptions, observer: Observer, stop: anyio.Event) -> None:
        await run_export(wanted, observer, stop, clock=lambda: it.now)
        raise Interrupted("Cut off.")

    return extract


@pytest.mark.parametrize(
    ("format_", "seen", "meanwhile"),
    [("delta", {"x": 1.5}, {"x": 1}), ("parquet", {"foo": "a"}, {"Foo": "b"})],
    ids=["another type", "another case"],
)
async def test_clashing_full_sync_is_fetched_again(
    tmp_path: Path, format_: str, seen: dict[str, Any], meanwhile: dict[str, Any]
) -> None:
    """A full sync whose columns clash with those of a poll that overtook it is fetched again."""
    async with scene(tmp_path, people=3) as it:
        chosen: dict[str, Any] = {"format": format_, "between": "12:00-13:00", "timezone": "UTC"}
        await it.sync(**chosen)
        it.now += WEEK

        it.records[NAME][0] = person(0, **seen)
        with pytest.raises(Interrupted):
            await it.sync(extract=cut_off(it), **chosen)
        it.now += HOUR
        it.records[NAME][0] = person(0, **meanwhile, updated_at=f"{it.now:%Y-%m-%dT%H:%M:%SZ}")
        assert [poll.kind for poll in (await it.sync(**chosen)).polls] == ["changes"]
        it.now += 23 * HOUR
        it.records[NAME].append(person(7))
        summary = await it.sync(**chosen)
        assert summary.polls[0].kind == "full"
        assert any("fetched again" in remark for remark in summary.remarks)
        assert_current(it)
        ((name, value),) = meanwhile.items()
        assert it.rows()["p00000"][name] == value
        it.now += HOUR
        assert not (await it.sync(**chosen)).remarks


async def test_load_that_lost_a_file_is_fetched_again(tmp_path: Path) -> None:
    """A load that lost a file before it was merged is fetched again."""
    async with scene(tmp_path, people=3) as it:
        with pytest.raises(Interrupted):
            await it.sync(extract=cut_off(it))
        (file,) = it.directory.glob(".bulk-export/full/*/0/*/*.parquet")
        file.unlink()
        summary = await it.sync()
        assert any("fetched again" in remark for remark in summary.remarks)
        assert_current(it)
