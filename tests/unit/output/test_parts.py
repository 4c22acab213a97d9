"""The parts of an endpoint: resumed where an earlier run left them, and nothing unfinished beside them."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulk_export.core.model import PageKey
from bulk_export.errors import DamagedState, SchemaDrift
from bulk_export.extract.journal import JournalStore
from bulk_export.output.open_part import OutputFormat
from bulk_export.output.page_blocks import PageBlocks, PageBody
from bulk_export.output.parts import PartSequence, PartTarget
from bulk_export.transform.decode import Decoder
from tests.support.stored_pages import PARTNERS, body, full_pages, open_store, record, staging_of

FORMATS = (OutputFormat("ndjson", "none"), OutputFormat("parquet", "zstd"))


def blocks(*, excluded: dict[PageKey, frozenset[int]] | None = None, is_strict: bool = False) -> PageBlocks:
    decoder = Decoder(PARTNERS, columns=True, lines="raw")
    return PageBlocks(PARTNERS, decoder, excluded=excluded or {}, is_strict=is_strict)


def open_parts(store: JournalStore, directory: Path, *, revision: int = 0, part_rows: int = 20) -> PartSequence:
    target = PartTarget(store, staging_of(directory), FORMATS, part_rows)
    return PartSequence(PARTNERS.name, revision, blocks(), target)


def pages(records: int) -> list[PageBody]:
    return [
        PageBody(PageKey(PARTNERS.name, 0, number), number, len(page), body(page))
        for number, page in enumerate(full_pages(records), start=1)
    ]


def names(parts: PartSequence) -> list[str]:
    return sorted(path.name for path in parts.folder.iterdir())


def test_a_later_run_goes_on_behind_the_last_part(tmp_path: Path) -> None:
    """What is written after an interruption is byte for byte what would have been written without one."""
    store, undisturbed = open_store(tmp_path / "a"), open_store(tmp_path / "b")
    whole = open_parts(undisturbed, tmp_path / "b")
    whole.write(pages(55))
    whole.finish()

    first = open_parts(store, tmp_path / "a")
    first.write(pages(55)[:5])
    first.abort()
    (first.folder / "part-00002.ndjson.partial").write_text("as a crash leaves it")
    second = open_parts(store, tmp_path / "a")
    assert (second.converted, second.rows) == (4, 40)
    second.write(pages(55)[4:])
    second.finish()
    assert [part.files for part in second.parts] == [part.files for part in whole.parts]
    assert names(second) == [f"part-{number:05}.{kind}" for number in range(3) for kind in ("ndjson", "parquet")]
    store.close()
    undisturbed.close()


def test_abort_removes_the_open_part(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    parts = open_parts(store, tmp_path)
    parts.write(pages(35))
    assert parts.rows == 35
    parts.abort()
    assert names(parts) == ["part-00000.ndjson", "part-00000.parquet"]
    assert parts.rows == 20
    store.close()


def test_another_revision_replaces_the_first(tmp_path: Path) -> None:
    """Opening the second conversion removes the files of the first, and nothing that is not ours."""
    store = open_store(tmp_path)
    first = open_parts(store, tmp_path)
    first.write(pages(25))
    first.finish()
    (first.folder.parent / "mine.txt").touch()
    second = open_parts(store, tmp_path, revision=1)
    assert sorted(path.name for path in second.folder.parent.iterdir()) == ["mine.txt", "revision-1"]
    store.close()


@pytest.mark.parametrize("damage", ["missing", "shorter"])
def test_a_damaged_part_is_refused(tmp_path: Path, damage: str) -> None:
    store = open_store(tmp_path)
    parts = open_parts(store, tmp_path)
    parts.write(pages(20))
    path = parts.folder / "part-00000.parquet"
    path.unlink()
    if damage == "shorter":
        path.touch()
    with pytest.raises(DamagedState, match=r"part-00000\.parquet, is missing or was changed"):
        open_parts(store, tmp_path)
    store.close()


def test_excluded_rows_are_not_in_a_block() -> None:
    """Rows are excluded by page; the identities of the others keep their order."""
    second = pages(20)[1].key
    block = blocks(excluded={second: frozenset({0, 9})}).block(pages(20))
    assert block.ids == [f"{number:08}" for number in (*range(10), *range(11, 19))]


def test_an_excluded_row_must_exist() -> None:
    (page,) = pages(5)
    with pytest.raises(DamagedState, match="that page 1 does not hold"):
        blocks(excluded={page.key: frozenset({5})}).block([page])


def test_counts_must_be_those_of_the_journal() -> None:
    """A page of the first sweep with another number of records than the journal says is refused."""
    (page,) = pages(5)
    with pytest.raises(DamagedState, match="holds 5 records, and the journal says 6"):
        blocks().block([PageBody(page.key, 1, 6, page.body)])
    further = PageKey(PARTNERS.name, 1, 1)
    assert len(blocks().block([PageBody(further, 1, 6, page.body)]).ids) == 5


def test_strict_names_the_page_with_drift() -> None:
    """A strict conversion names the page of the first record that holds an attribute beyond the description."""
    first, second = pages(15)
    drifted = PageBody(second.key, 2, 1, body([record(1, height=2)]))
    with pytest.raises(SchemaDrift, match=r"height.*page 2"):
        blocks(is_strict=True).block([first, drifted])
    assert len(blocks().block([first, drifted]).ids) == 11
