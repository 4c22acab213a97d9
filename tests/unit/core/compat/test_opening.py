"""Files opened by name, and positions in them, with the calls of Unix and without."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from types import SimpleNamespace

import pytest

from bulk_export.core.compat.opening import open_file, read_at, refuse_link, sync_contents, write_at


@pytest.mark.parametrize("missing", [(), ("pread", "pwrite", "fdatasync")])
def test_bytes_at_positions(missing: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes are written to a position and read from it, whatever calls there are."""
    for name in missing:
        monkeypatch.delattr(os, name)
    descriptor = open_file(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    assert write_at(descriptor, memoryview(b"a\nb"), 2) == 3
    sync_contents(descriptor)
    assert (read_at(descriptor, 9, 0), read_at(descriptor, 9, 9)) == (b"\0\0a\nb", b"")
    os.close(descriptor)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600


def test_mount_points_are_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Windows calls a reparse point is refused like a link, and a file and nothing are not."""
    refuse_link(tmp_path)
    refuse_link(tmp_path / "missing")
    status = SimpleNamespace(st_mode=stat.S_IFDIR, st_file_attributes=0x410)
    monkeypatch.setattr(os, "lstat", lambda _: status)
    with pytest.raises(OSError, match="symbolic links"):
        refuse_link(tmp_path)
