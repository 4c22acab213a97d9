"""What a process gets from its system: its limit on open files, and the user's state directory."""

from __future__ import annotations

import ctypes
import errno
import gc
import resource
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bulk_export.core.process import (
    cannot_open_files,
    configure_allocator,
    forbid_core_dumps,
    importing,
    is_shortage,
    require_descriptors,
    state_directory,
    trim_heap,
)
from bulk_export.errors import LocalFailure


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], list[tuple[int, int]]]:
    """Sets the soft and the hard limit that a process finds; gives a list of those that it sets itself."""

    def find(soft: int, hard: int) -> list[tuple[int, int]]:
        raised: list[tuple[int, int]] = []
        monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
        monkeypatch.setattr(resource, "setrlimit", lambda _, both: raised.append(both))
        return raised

    return find


@pytest.mark.parametrize(
    ("soft", "hard", "raised"),
    [
        (20, 4096, [(84, 4096)]),
        (20, 50, [(50, 50)]),
        (20, resource.RLIM_INFINITY, [(84, resource.RLIM_INFINITY)]),
        (84, 4096, []),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, []),
    ],
)
def test_low_limit_is_raised(
    limits: Callable[[int, int], list[tuple[int, int]]], soft: int, hard: int, raised: list[tuple[int, int]]
) -> None:
    """A low soft limit is raised for ten connections, as far as the hard limit allows."""
    found = limits(soft, hard)
    require_descriptors(10)
    assert found == raised


def test_too_low_limit_is_a_local_failure(limits: Callable[[int, int], list[tuple[int, int]]]) -> None:
    limits(20, 20)
    with pytest.raises(LocalFailure, match=r"\(20 at most\)") as failed:
        require_descriptors(10)
    assert "ulimit -n" in failed.value.next_step


def test_shortage_is_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors of the process's limit and of the machine's are shortages, and others are not."""
    assert is_shortage(OSError(errno.EMFILE, ""))
    assert is_shortage(OSError(errno.ENFILE, ""))
    assert not is_shortage(OSError(errno.ENOSPC, ""))
    assert not cannot_open_files()

    def refuse(*_: object) -> int:
        raise OSError(errno.EMFILE, "")

    monkeypatch.setattr("os.open", refuse)
    assert cannot_open_files()


def test_state_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state directory is below XDG_STATE_HOME; there is none for a user without a home directory."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert state_directory() == tmp_path / "bulk-export"

    def unknown(_: str) -> str:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("platformdirs.user_state_dir", unknown)
    assert state_directory() is None


@pytest.mark.parametrize("is_enabled", [True, False])
def test_no_garbage_is_collected_while_importing(is_enabled: bool) -> None:
    """Afterwards it is as before, also if an import fails."""
    (gc.enable if is_enabled else gc.disable)()
    try:
        with importing():
            assert not gc.isenabled()
        with pytest.raises(ImportError), importing():
            raise ImportError
        assert gc.isenabled() == is_enabled
    finally:
        gc.enable()


def test_system_without_limits_and_c_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a process has no limits, and its C library no name, as in Windows, nothing is set."""

    def library(name: str | None) -> object:
        raise TypeError("bad argument type for built-in operation")

    monkeypatch.setitem(sys.modules, "resource", None)
    monkeypatch.setattr(ctypes, "CDLL", library)
    monkeypatch.setattr(gc, "set_threshold", lambda *_: None)
    configure_allocator()
    trim_heap()
    require_descriptors(1_000)
    forbid_core_dumps()
