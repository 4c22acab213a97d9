"""Part files: private, deterministic, whole or gone, and read to their end."""

from __future__ import annotations

import contextlib
import errno
import functools
import gzip
import json
import os
import resource
import signal
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from bulk_export.output.formats import PartWriter, UnreadablePart, extension, open_part
from bulk_export.output.formats import parquet as parquet_module
from bulk_export.output.formats.reading import count_rows
from bulk_export.services.catalogue import load_service
from bulk_export.transform.decode import Block, Decoder

PARTNERS = load_service("npq").endpoints[-1]
DECODER = Decoder(PARTNERS, columns=True, lines="raw")
KINDS = [
    ("parquet", "zstd"),
    ("parquet", "snappy"),
    ("parquet", "none"),
    ("ndjson", "none"),
    ("ndjson", "gzip"),
    ("ndjson", "zstd"),
    ("csv", "none"),
    ("csv", "gzip"),
    ("csv", "zstd"),
]


def record(number: int) -> dict[str, Any]:
    moment = "2025-03-25T02:21:32.000Z"
    attributes = {"name": f"Söhne {number}", "cohort": [2021, 2022], "created_at": moment, "updated_at": moment}
    return {"id": f"{number:08}", "type": "delivery-partner", "attributes": attributes}


def blocks(rows: int, size: int) -> Iterator[Block]:
    return iter(decoded(rows, size))


@functools.cache
def decoded(rows: int, size: int) -> list[Block]:
    numbers = (range(first, min(first + size, rows)) for first in range(0, rows, size))
    return [DECODER.decode([json.dumps({"data": list(map(record, some))}).encode()]) for some in numbers]


def write(path: Path, kind: tuple[str, str], rows: int, size: int = 100) -> Path:
    path = path.with_name(f"{path.name}.{extension(*kind)}")
    part = open_part(path, *kind, DECODER.schema)
    for block in blocks(rows, size):
        part.write(block)
    part.close()
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_written_and_counted(tmp_path: Path, kind: tuple[str, str]) -> None:
    assert count_rows(write(tmp_path / "part", kind, 1_234)) == 1_234
    assert count_rows(write(tmp_path / "empty", kind, 0)) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_depend_on_rows_alone(tmp_path: Path, kind: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytes of a part depend on its rows, and not on where blocks end."""
    monkeypatch.setattr(parquet_module, "ROW_GROUP_ROWS", 500)
    contents = {write(tmp_path / f"p{size}", kind, 2_345, size).read_bytes() for size in (7, 500, 2_000)}
    assert len(contents) == 1


def test_row_groups_have_their_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_module, "ROW_GROUP_ROWS", 500)
    metadata = pq.read_metadata(write(tmp_path / "part", ("parquet", "zstd"), 1_200, 7))
    assert [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)] == [500, 500, 200]
    assert metadata.row_group(0).column(0).is_stats_set


@pytest.mark.parametrize("kind", KINDS)
def test_part_is_private_and_new(tmp_path: Path, kind: tuple[str, str]) -> None:
    """A part has mode 0600, and never replaces a file."""
    before = os.umask(0)
    try:
        path = write(tmp_path / "part", kind, 3)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(FileExistsError):
        open_part(path, *kind, DECODER.schema)
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        open_part(link, *kind, DECODER.schema)


@pytest.mark.parametrize("kind", KINDS)
def test_aborted_part_leaves_nothing(tmp_path: Path, kind: tuple[str, str]) -> None:
    part = open_part(tmp_path / "part", *kind, DECODER.schema)
    for block in blocks(1_000, 100):
        part.write(block)
    part.abort()
    part.abort()
    assert list(tmp_path.iterdir()) == []


@contextlib.contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """Writing beyond `size` bytes fails, as on a full disk."""
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)


@pytest.mark.parametrize("kind", KINDS)
def test_full_disk_at_any_point(tmp_path: Path, kind: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full at any point is an error, and nothing stays."""
    monkeypatch.setattr(parquet_module, "ROW_GROUP_ROWS", 500)
    written = list(blocks(3_000, 300))
    whole = write(tmp_path / "whole", kind, 3_000, 300)
    size = whole.stat().st_size
    for step in range(24):
        part = open_part(tmp_path / "part", *kind, DECODER.schema)

        def fill(part: PartWriter = part) -> None:
            for block in written:
                part.write(block)
            part.close()

        with files_up_to(size * step // 24), pytest.raises(OSError, match="too large"):
            fill()
        part.abort()
        assert list(tmp_path.iterdir()) == [whole]


@pytest.mark.parametrize("kind", KINDS)
def test_failing_sync_leaves_nothing(tmp_path: Path, kind: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    part = open_part(tmp_path / "part", *kind, DECODER.schema)
    part.write(next(blocks(10, 10)))
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        part.close()
    part.abort()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_counted_while_writing(tmp_path: Path, kind: tuple[str, str]) -> None:
    part = open_part(tmp_path / "part", *kind, DECODER.schema)
    for block in blocks(250, 100):
        part.write(block.without({0}))
    assert part.rows == 247
    part.abort()


def test_dictionary_for_repeated_values(tmp_path: Path) -> None:
    """Only columns whose values repeat get a dictionary."""
    metadata = pq.read_metadata(write(tmp_path / "part", ("parquet", "zstd"), 1_000))
    columns = [metadata.row_group(0).column(number) for number in range(metadata.num_columns)]
    with_dictionary = {column.path_in_schema for column in columns if column.has_dictionary_page}
    assert with_dictionary == {"type", "cohort.list.element", "created_at", "updated_at", "_extra"}


def test_other_readers_read_a_part(tmp_path: Path) -> None:
    parquet, lines = (write(tmp_path / "part", kind, 1_234) for kind in (("parquet", "zstd"), ("ndjson", "zstd")))
    counted = "select count(*), count(distinct id), min(len(cohort)), max(epoch(created_at)) from read_parquet(?)"
    with duckdb.connect() as connection:
        assert connection.execute(counted, [str(parquet)]).fetchone() == (1_234, 1_234, 2, 1_742_869_292.0)
        assert connection.execute("select count(id) from read_json(?)", [str(lines)]).fetchone() == (1_234,)


@pytest.mark.parametrize("kind", KINDS)
def test_cut_part_is_unreadable(tmp_path: Path, kind: tuple[str, str]) -> None:
    path = write(tmp_path / "part", kind, 2_000)
    os.truncate(path, path.stat().st_size - 5)
    with pytest.raises((UnreadablePart, OSError)):
        count_rows(path)


@pytest.mark.parametrize("kind", [("parquet", "none"), ("parquet", "zstd"), ("ndjson", "gzip")])
def test_flipped_bit_is_noticed(tmp_path: Path, kind: tuple[str, str]) -> None:
    path = write(tmp_path / "part", kind, 2_000)
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 4
    path.write_bytes(content)
    with pytest.raises((UnreadablePart, OSError)):
        count_rows(path)


@pytest.mark.parametrize("line", [b"[1]\n", b'{"a":\n', b'{"a":1} {"b":2}\n', b"\n"])
def test_line_that_is_no_record_is_noticed(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "part.ndjson"
    path.write_bytes(b'{"a":"\\ud800"}\n' + line)
    with pytest.raises(UnreadablePart, match="line 2"):
        count_rows(path)


def test_line_may_exceed_a_read(tmp_path: Path) -> None:
    path = tmp_path / "part.ndjson"
    path.write_bytes(b'{"a":"' + b"x" * 3_000_000 + b'"}\n{"b":1}\n')
    assert count_rows(path) == 2


def test_gzip_has_no_timestamp(tmp_path: Path) -> None:
    path = write(tmp_path / "part", ("ndjson", "gzip"), 10)
    assert path.read_bytes()[4:8] == bytes(4)
    assert len(gzip.decompress(path.read_bytes()).splitlines()) == 10
