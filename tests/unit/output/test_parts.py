"""The parts of an endpoint: resumed where an earlier run left them, and nothing unfinished beside them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bulk_export.errors import DamagedState
from bulk_export.extract.journal import JournalStore
from bulk_export.output.open_part import OutputFormat
from bulk_export.output.parts import PartSequence, PartTarget
from tests.support.stored_pages import PAGE_SIZE, PARTNERS, open_store, page_blocks, page_bodies, staging_of

FORMATS = (OutputFormat("ndjson", "none"), OutputFormat("parquet", "zstd"))


def open_parts(
    store: JournalStore, directory: Path, *, revision: int = 0, part_rows: int = 20, cores: int = 1
) -> PartSequence:
    target = PartTarget(store, staging_of(directory), FORMATS, part_rows, cores)
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


@pytest.mark.parametrize(("cores", "block"), [(1, 4), (2, 1), (2, 3), (4, 5)])
def test_cores_and_blocks_change_nothing(tmp_path: Path, cores: int, block: int) -> None:
    """With blocks that are decoded ahead, of any size, the files are byte for byte those of one block on one core.

    So they are when a run ends with blocks that were decoded and not written, and the next one uses other cores.
    """
    store, undisturbed = open_store(tmp_path / "a"), open_store(tmp_path / "b")
    whole = open_parts(undisturbed, tmp_path / "b")
    whole.write(page_bodies(195))
    whole.finish()

    pages = [
        replace(page, body=None) if page.ordinal % 3 and page.records == PAGE_SIZE else page
        for page in page_bodies(195)
    ]
    first = open_parts(store, tmp_path / "a", cores=cores)
    for start in range(0, 12, block):
        first.write(pages[start : start + block], is_followed=True)
    first.abort()
    second = open_parts(store, tmp_path / "a", cores=3 - cores % 3)
    for start in range(second.converted, len(pages), block):
        second.write(pages[start : start + block], is_followed=start + block < len(pages))
    assert second.rows == 195
    second.finish()
    assert [(part.files, part.last_page, part.fingerprints) for part in second.parts] == [
        (part.files, part.last_page, part.fingerprints) for part in whole.parts
    ]
    store.close()
    undisturbed.close()


def test_an_error_comes_behind_the_pages_before_it(tmp_path: Path) -> None:
    """Pages before one that cannot be decoded become parts, whatever was decoded ahead."""
    store = open_store(tmp_path)
    parts = open_parts(store, tmp_path, cores=2)
    pages = page_bodies(100)
    pages[4] = replace(pages[4], records=7)
    for page in pages[:4]:
        parts.write([page], is_followed=True)
    with pytest.raises(DamagedState, match="Page 5"):
        parts.write(pages[4:])
    parts.abort()
    assert [part.last_page for part in parts.parts] == [2, 4]
    store.close()


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
