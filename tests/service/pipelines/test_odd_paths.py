"""Directories whose names are no UTF-8: whatever works elsewhere works in them."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from bulk_export.errors import UsageError
from bulk_export.output import duckdb_sql as database
from bulk_export.output.duckdb_sql import path_text
from bulk_export.output.formats.reading import schema_of
from bulk_export.output.verify import verify
from bulk_export.pipelines.checks.runner import run_checks
from bulk_export.pipelines.export import export
from bulk_export.pipelines.replay import replay
from bulk_export.pipelines.replay_options import ReplayOptions
from bulk_export.pipelines.sync.options import SyncOptions
from tests.support.check_tables import application, declaration, write_export
from tests.support.copy_scene import HOUR, WEEK, person, scene
from tests.support.copy_scene import NAME as PEOPLE
from tests.support.disturbed_run import TUNING, small_options
from tests.support.exporting import FREE
from tests.support.small_service import content_of, small_service

pytestmark = pytest.mark.skipif(os.name != "posix", reason="names are bytes on POSIX only")
NAME = os.fsdecode(b"caf\xe9 \xff\xfe [x] %41 'q\"")


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    path = tmp_path / NAME
    try:
        path.mkdir()
    except OSError:
        pytest.skip("the file system takes UTF-8 only")
    return path


async def test_export_under_odd_path(odd: Path) -> None:
    """An export is made, resumed, verified, replaced and replayed."""
    async with small_service() as service:
        await export(small_options(service.base_url, odd.parent / "plain"), tuning=TUNING)
        whole = content_of(odd.parent / "plain")
        changes = {"format": ("parquet", "ndjson")}
        for step, more in enumerate(({}, {"overwrite": True}, {"overwrite": True, "work_dir": odd / "work"})):
            await export(small_options(service.base_url, odd / "out", **changes, **more), tuning=TUNING)
            assert content_of(odd / "out") == whole, step
            assert verify(odd / "out").files == 8
        assert not (odd / "out/.bulk-export").exists()
        assert list((odd / "work").iterdir()) == []
        with pytest.raises(UsageError, match="finished export"):
            await export(small_options(service.base_url, odd / "out"), tuning=TUNING)
    await replay(ReplayOptions.of(odd / "out", output=odd / "again", format="ndjson", compression="zstd"))
    assert verify(odd / "again").rows == verify(odd / "out").rows // 2
    part = odd / "out/delivery-partners/part-00000.parquet"
    with part.open("rb") as content:
        assert schema_of(part) == pq.read_schema(content)


def test_checks_under_odd_path(odd: Path) -> None:
    """Checks work on an export and a copy."""
    rows = {"npq_applications": [application("a", None)], "participant_declarations": [declaration("d", "b")]}
    plain = write_export(odd.parent / "plain", **rows)
    answers = run_checks(plain)
    assert any(answer.found for answer in answers)
    plain.rename(odd / "export")
    assert run_checks(odd / "export") == answers
    # The descriptor that a name was replaced by is of this directory, and not of one that was there before.
    (odd / "export").rename(odd / "elsewhere")
    write_export(odd.parent / "empty").rename(odd / "export")
    with pytest.raises(UsageError, match="no tables that these checks can use"):
        run_checks(odd / "export")


def test_delta_copy_under_odd_path_is_refused(odd: Path) -> None:
    """A copy in Delta tables is refused, and the message says what to do."""
    with pytest.raises(UsageError, match="is not UTF-8") as refused:
        SyncOptions.of(["statements"], base_url="https://service.example", token="t", output=odd / "copy", **FREE)
    assert "--format parquet" in refused.value.next_step


async def test_a_copy_in_parquet_files_is_kept_current(odd: Path) -> None:
    async with scene(odd, people=3) as it:
        for removed in ("mark", "delete"):
            await it.sync(format="parquet", removed=removed)
            it.now += HOUR
            it.records[PEOPLE][0] = person(0, full_name=removed, updated_at=f"{it.now:%Y-%m-%dT%H:%M:%SZ}")
            (poll,) = (await it.sync(format="parquet", removed=removed)).polls
            assert poll.total("updated") == 1
            it.now += WEEK
            del it.records[PEOPLE][-1]
        with (it.directory / PEOPLE / "part-00000.parquet").open("rb") as content:
            rows = pq.read_table(content).to_pylist()
        assert {row["id"]: row["full_name"] for row in rows} == {"p00000": "delete", "p00001": "Person 1"}
    # Each poll works in directories of its own, and lets go of those of the one before.
    path_text(odd / "copy")
    assert not [held for held in database._DESCRIPTORS if ".bulk-export" in held.parts]
