"""The parts of an endpoint: resumed where an earlier run left them, and nothing unfinished beside them."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulk_export.errors import DamagedState
from bulk_export.extract.journal import JournalStore
from bulk_export.output.open_part import OutputFormat
from bulk_export.output.parts import PartSequence, PartTarget
from tests.support.stored_pages import PARTNERS, open_store, page_blocks, page_bodies, staging_of

FORMATS = (OutputFormat("ndjson", "none"), OutputFormat("parquet", "zstd"))


def open_parts(store: JournalStore, directory: Path, *, revision: int = 0, part_rows: int = 20) -> PartSequence:
    target = PartTarget(store, staging_of(directory), FORMATS, part_rows)
    return PartSequence(PARTNERS.name, revision, page_blocks(), target)


def names(parts: PartSequence) -> list[str]:
    return sorted(path.name for path in parts.folder.iterdir())


def test_a_later_run_goes_on_behind_the_last_part(tmp_path: Path) -> None:
    """What is written after an interruption is byte for byte what would have been written without one."""
    store, undisturbed = open_store(tmp_path / "a"), open_store(tmp_path / "b")
    whole = open_parts(undisturbed, tmp_path / "b")
    whole.write(page_bodies(55))
    whole.finish()

    first = open_parts(store, tmp_path / "a")
    first.write(page_bodies(55)[:5])
    first.abort()
    (first.folder / "part-00002.ndjson.partial").write_text("as a crash leaves it")
    second = open_parts(store, tmp_path / "a")
    assert (second.converted, second.rows) == (4, 40)
    second.write(page_bodies(55)[4:])
    second.finish()
    assert [part.files for part in second.parts] == [part.files for part in whole.parts]
    assert names(second) == [f"part-{number:05}.{kind}" for number in range(3) for kind in ("ndjson", "parquet")]
    store.close()
    undisturbed.close()


def test_abort_removes_the_open_part(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    parts = open_parts(store, tmp_path)
    parts.write(page_bodies(35))
    assert parts.rows == 35
    parts.abort()
    assert names(parts) == ["part-00000.ndjson", "part-00000.parquet"]
    assert parts.rows == 20
    store.close()


def test_another_revision_replaces_the_first(tmp_path: Path) -> None:
    """Opening the second conversion removes the files of the first, and nothing that is not ours."""
    store = open_store(tmp_path)
    first = open_parts(store, tmp_path)
    first.write(page_bodies(25))
    first.finish()
    (first.folder.parent / "mine.txt").touch()
    second = open_parts(store, tmp_path, revision=1)
    assert sorted(path.name for path in second.folder.parent.iterdir()) == ["mine.txt", "revision-1"]
    store.close()


@pytest.mark.parametrize("damage", ["missing", "shorter"])
def test_a_damaged_part_is_refused(tmp_path: Path, damage: str) -> None:
    store = open_store(tmp_path)
    parts = open_parts(store, tmp_path)
    parts.write(page_bodies(20))
    path = parts.folder / "part-00000.parquet"
    path.unlink()
    if damage == "shorter":
        path.touch()
    with pytest.raises(DamagedState, match=r"part-00000\.parquet, is missing or was changed"):
        open_parts(store, tmp_path)
    store.close()
