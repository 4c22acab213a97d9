"""Which entries of a working directory are ours."""

from __future__ import annotations

import contextlib
import errno
import itertools
import re
from pathlib import Path

import pytest

from bulk_export.core.directories import opened_directory
from bulk_export.errors import DamagedState
from bulk_export.output.working_state import check_working_state, remove_tree
from tests.support.disk_calls import counted, fail_at

THEIRS = ["notes.txt", "parts/readme", "parts/things/sketch.png", "full/0/things/notes.txt", "full/manifest.json.old"]
OURS = [
    "journal.sqlite",
    "journal.pages",
    "parts/things/revision-0/part-00000.parquet",
    f"full/{'a' * 32}/again-things/manifest.json",
    "merge/anything",
    "merge/spilled/more",
    "full/0/things/part-00000.parquet",
    ".sync.json.0123456789abcdef",
]


def test_only_our_files_are_checked_and_removed(tmp_path: Path) -> None:
    """Files that are not ours by name are neither checked for their modes nor removed."""
    working = tmp_path / ".bulk-export"
    for name in (*THEIRS, *OURS):
        (working / name).parent.mkdir(parents=True, exist_ok=True)
        (working / name).touch(0o644 if name in THEIRS else 0o600)
    with opened_directory(working) as directory:
        check_working_state(directory, working)
    kept = remove_tree(working)
    assert sorted(kept) == sorted(working / name for name in THEIRS)
    assert sorted(path for path in working.rglob("*") if path.is_file()) == sorted(kept)


@pytest.mark.parametrize("name", ["journal.sqlite", "journal.pages"])
def test_open_journal_is_refused(tmp_path: Path, name: str) -> None:
    """A journal that others may read is not ours, and the message names it."""
    (tmp_path / name).touch()
    (tmp_path / name).chmod(0o644)
    with opened_directory(tmp_path) as directory, pytest.raises(DamagedState, match=re.escape(name)):
        check_working_state(directory, tmp_path)


def test_link_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "link").symlink_to("home")
    with pytest.raises(OSError):  # noqa: PT011  # the number differs between systems
        remove_tree(tmp_path / "link")
    assert (tmp_path / "home").is_dir()


def test_missing_directory_is_removed_already(tmp_path: Path) -> None:
    assert remove_tree(tmp_path / "nothing") == []


def test_bodies_are_removed_after_their_journal(tmp_path: Path) -> None:
    """Wherever a removal stops, there is no journal whose bodies are gone, and the next removal finishes it."""
    names = ["journal.pages", "journal.sqlite", "journal.sqlite-wal", "manifest.json", "pages.sqlite"]
    seen = set()
    for number in itertools.count(1):
        working = tmp_path / str(number)
        working.mkdir()
        for name in names:
            (working / name).touch(0o600)
        with counted(fail_at(number, errno.EIO, lasting=False)), contextlib.suppress(OSError):
            remove_tree(working)
        if not working.exists():
            break
        left = {entry.name for entry in working.iterdir()}
        assert "journal.pages" in left or not left
        seen.add(frozenset(left))
        remove_tree(working)
        assert not working.exists()
    assert {"journal.pages"} in seen
    assert {"journal.pages", "journal.sqlite", "journal.sqlite-wal"} in seen
