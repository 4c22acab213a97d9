"""Files: private from the first moment, whole or absent, and nobody else's touched."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bulk_export.core.files import (
    MANIFEST,
    WORKING_DIRECTORY,
    inspect_output,
    local_failures,
    locked_directory,
    make_private_directory,
    prepare_output,
    safe_name,
    sha256_of,
    write_atomically,
)
from bulk_export.errors import LocalFailure, UsageError


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


@pytest.mark.parametrize("name", ["..", ".", "", "a/b", "a\\b", "/a", "a\0b", "-a", ".a", "a" * 200, "ü", "A", "a\n"])
def test_a_name_that_could_lead_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        safe_name(name)


def test_endpoint_names_are_safe() -> None:
    assert safe_name("participants-npq-outcomes") == "participants-npq-outcomes"


def test_held_directory_refuses_second_process(tmp_path: Path) -> None:
    """A second process is refused while the directory is held, and not afterwards."""
    program = (
        "import pathlib, sys\n"
        "from bulk_export.core.files import locked_directory\n"
        "from bulk_export.errors import UsageError\n"
        "try:\n"
        "    with locked_directory(pathlib.Path(sys.argv[1])): print('held')\n"
        "except UsageError as error: print(error)\n"
    )

    def second() -> str:
        return subprocess.run(
            [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True
        ).stdout

    with locked_directory(tmp_path):
        assert "Another process is exporting" in second()
    assert second() == "held\n"
    assert list(tmp_path.iterdir()) == []


def test_usable_outputs(tmp_path: Path) -> None:
    """New, empty, unfinished and finished directories can be used."""
    assert inspect_output(tmp_path / "new") is False
    assert not (tmp_path / "new").exists()
    assert inspect_output(tmp_path) is False
    prepare_output(tmp_path)
    assert inspect_output(tmp_path) is False
    (tmp_path / MANIFEST).write_text("{}")
    assert inspect_output(tmp_path) is True


def occupy_with_file(path: Path) -> None:
    path.write_text("mine")


def occupy_with_link(path: Path) -> None:
    (path.parent / "elsewhere").mkdir()
    path.symlink_to(path.parent / "elsewhere")


def occupy_with_foreign_files(path: Path) -> None:
    path.mkdir()
    (path / "thesis.doc").write_text("mine")


def occupy_with_linked_state(path: Path) -> None:
    path.mkdir()
    (path.parent / "elsewhere").mkdir()
    (path / WORKING_DIRECTORY).symlink_to(path.parent / "elsewhere")


@pytest.mark.parametrize(
    "occupy", [occupy_with_file, occupy_with_link, occupy_with_foreign_files, occupy_with_linked_state]
)
def test_foreign_output_is_untouched(tmp_path: Path, occupy: Callable[[Path], None]) -> None:
    """An output that is not ours is refused and not changed."""
    target = tmp_path / "out"
    occupy(target)
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    with pytest.raises(UsageError):
        inspect_output(target)
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before


def test_impossible_directory_is_wrong_usage(tmp_path: Path) -> None:
    """A directory that cannot be made is wrong usage."""
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        prepare_output(tmp_path / "file" / "out")


def test_the_hash_is_that_of_the_content(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    assert sha256_of(tmp_path / "f") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize(("owner", "mode", "said"), [(12345, 0o700, "another user"), (0, 0o777, "by everybody")])
def test_replaceable_directory_is_refused(tmp_path: Path, owner: int, mode: int, said: str) -> None:
    """A directory in which others could replace things is refused."""
    if os.geteuid() != 0:
        pytest.skip("directories of others can be made by root only")
    output = tmp_path / "out"
    output.mkdir()
    output.chmod(mode)
    os.chown(output, owner, -1)
    with pytest.raises(UsageError, match=said):
        prepare_output(output)
    assert list(output.iterdir()) == []
