"""The standard streams as Windows has them, and lines for terminals of some width."""

from __future__ import annotations

import errno
import fcntl
import io
import os
import pty
import struct
import sys
import termios
from pathlib import Path

import pytest

from bulk_export.cli import streams
from bulk_export.cli.streams import lost_output, open_closed_streams, show_lines


def test_redirected_output_of_windows_is_utf8(monkeypatch: pytest.MonkeyPatch) -> None:
    """A redirected stream says every name, whatever its code page."""
    output = io.BytesIO()
    monkeypatch.setattr(streams, "_IS_WINDOWS", True)
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(output, encoding="cp1252", write_through=True))
    open_closed_streams()
    sys.stdout.write("Łódź →")
    assert output.getvalue() == "Łódź →".encode()


@pytest.mark.parametrize(
    ("columns", "lines"), [(20, ["  filters: cohort,", "    updated_since"]), (0, None), (80, None)]
)
def test_lines_for_a_terminal(columns: int, lines: list[str] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines are broken between words where the terminal would cut one, unless its size is unknown."""
    text = "  filters: cohort, updated_since"
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("4H", 40, columns, 0, 0))
    with os.fdopen(follower, "w") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        show_lines(text)
        shown = os.read(leader, 4096).decode().splitlines()
    os.close(leader)
    assert shown == (lines or [text])


@pytest.mark.parametrize(("is_windows", "is_failure"), [(True, False), (False, True)])
def test_pipe_without_reader(
    *, is_windows: bool, is_failure: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows calls a pipe whose reader has left an invalid argument, which is no failure there."""
    monkeypatch.setattr(streams, "_IS_WINDOWS", is_windows)
    with (tmp_path / "output").open("w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        failure = lost_output(OSError(errno.EINVAL, os.strerror(errno.EINVAL)))
    assert (failure is not None) == is_failure
