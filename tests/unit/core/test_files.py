"""Files: private from the first moment, whole or absent, and nobody else's touched."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from bulk_export.core.files import local_failures, make_private_directory, sha256_of, write_atomically
from bulk_export.errors import LocalFailure


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.usefixtures("open_umask")
def test_new_files_are_private(tmp_path: Path) -> None:
    """Directories and files are private, whatever the umask."""
    make_private_directory(tmp_path / "a" / "b")
    write_atomically(tmp_path / "a" / "b" / "file", b"content")
    assert [mode(tmp_path / "a"), mode(tmp_path / "a/b"), mode(tmp_path / "a/b/file")] == [0o700, 0o700, 0o600]


def test_file_is_replaced_completely(tmp_path: Path) -> None:
    """A file is replaced completely, and nothing else is left."""
    target = tmp_path / "file"
    write_atomically(target, b"before")
    write_atomically(target, b"after")
    assert target.read_bytes() == b"after"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_failed_replacement_keeps_earlier_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed replacement leaves the earlier file, and no temporary one."""
    target = tmp_path / "file"
    write_atomically(target, b"before")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(LocalFailure, match="No space left"), local_failures("Writing"):
        write_atomically(target, b"after")
    assert target.read_bytes() == b"before"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_the_hash_is_that_of_the_content(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    assert sha256_of(tmp_path / "f") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
