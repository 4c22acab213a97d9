"""Names of files and directories of an export."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulk_export.errors import UsageError
from bulk_export.output.file_names import is_part, named_by_user, safe_name


@pytest.mark.parametrize("name", ["..", ".", "", "a/b", "a\\b", "/a", "a\0b", "-a", ".a", "a" * 200, "ü", "A", "a\n"])
def test_dangerous_name_is_refused(name: str) -> None:
    """A name that could lead to another directory is refused."""
    with pytest.raises(UsageError):
        safe_name(name)


def test_endpoint_name_is_safe() -> None:
    assert safe_name("participants-npq-outcomes") == "participants-npq-outcomes"


@pytest.mark.parametrize("name", ["con", "nul", "com1", "lpt9"])
def test_devices_of_windows_are_no_directories(name: str) -> None:
    """A name that is a device in Windows is refused there, and only there."""
    with pytest.raises(UsageError, match="device"):
        safe_name(name, system="nt")
    assert safe_name(name, system="posix") == name
    assert safe_name(f"{name}-x", system="nt") == f"{name}-x"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("part-00000.parquet", True),
        ("part-00012.ndjson.zst", True),
        ("part-00001.csv", True),
        ("part-00000.parquet.bak", False),
        ("part-1.parquet", False),
        ("part-00000.doc", False),
        ("thesis.parquet", False),
        ("part-00000.parquet\n", False),
        ("../part-00000.parquet", False),
    ],
)
def test_part_is_known_by_name(name: str, expected: bool) -> None:
    assert is_part(name) is expected


def test_user_knows_the_outer_directory() -> None:
    """An export in the working directory of another one is named by the directory that the user chose."""
    assert named_by_user(Path("copy/.bulk-export/full/0")) == Path("copy")
    assert named_by_user(Path("out")) == Path("out")
