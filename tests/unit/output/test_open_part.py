"""A part in several formats: all files together, or none."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from bulk_export.errors import LocalFailure
from bulk_export.output.open_part import OpenPart, OutputFormat
from bulk_export.transform.dedup.fingerprints import fingerprints
from tests.support.stored_pages import PARTNERS, page_blocks, page_bodies

FORMATS = (OutputFormat("ndjson", "gzip"), OutputFormat("parquet", "snappy"))


def open_part(folder: Path) -> OpenPart:
    return OpenPart(PARTNERS.name, folder, 7, FORMATS, page_blocks().schema)


def test_all_formats_hold_the_rows(tmp_path: Path) -> None:
    """A finished part names a file for each format, with its rows, size and hash, under its final name."""
    part = open_part(tmp_path)
    block = page_blocks().block(page_bodies(25))
    part.write(block, records=25)
    files = part.finish()
    assert [file.path for file in files] == [f"{PARTNERS.name}/part-00007.{kind}" for kind in ("ndjson.gz", "parquet")]
    for file in files:
        content = (tmp_path / Path(file.path).name).read_bytes()
        assert (file.rows, file.bytes, file.sha256) == (25, len(content), hashlib.sha256(content).hexdigest())
    assert len(list(tmp_path.iterdir())) == 2
    assert bytes(part.fingerprints) == fingerprints(block.ids)


def test_excluded_rows_count_towards_the_end(tmp_path: Path) -> None:
    """What decides where a part ends is the records of its pages, not the rows that were written."""
    part = open_part(tmp_path)
    part.write(page_blocks().block(page_bodies(5)), records=10)
    assert (part.rows, part.records) == (5, 10)
    part.abort()


def test_abort_leaves_no_file(tmp_path: Path) -> None:
    part = open_part(tmp_path)
    part.write(page_blocks().block(page_bodies(25)), records=25)
    assert all(path.name.endswith(".partial") for path in tmp_path.iterdir())
    part.abort()
    assert list(tmp_path.iterdir()) == []


def test_a_part_that_cannot_be_opened_leaves_no_file(tmp_path: Path) -> None:
    """If the file of one format cannot be created, the files of the others are removed."""
    (tmp_path / "part-00007.parquet.partial").touch()
    with pytest.raises(LocalFailure, match="Opening a part"):
        open_part(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["part-00007.parquet.partial"]
