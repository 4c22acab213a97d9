"""Standard streams that are closed, full or unread do not fail an export."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from bulk_export.output.verify import verify
from tests.support.command import start

EXPORT = ["export", "delivery-partners", "--environment", "local", "--budget", "memory://", "--min-interval", "0"]


def shell(redirections: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command line in a shell with redirections, its exit code being that of the command."""
    command = f'"$0" -m bulk_export "$@" {redirections}'
    return subprocess.run(
        ["sh", "-c", command, sys.executable, *arguments],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={name: value for name, value in os.environ.items() if not name.startswith("BULK_EXPORT_")},
        timeout=50,
        check=False,
    )


@pytest.mark.parametrize("redirections", ["<&-", "<&- >&- 2>&-", ">/dev/full 2>/dev/full"])
def test_closed_or_full_streams_do_not_fail_export(tmp_path: Path, redirections: str) -> None:
    """An export whose streams are closed or full is complete, and its exit code is 0."""
    done = shell(redirections, *EXPORT, "--output", "here", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert verify(tmp_path / "here").rows == 2_000


def test_unshown_directory_is_a_warning(tmp_path: Path) -> None:
    """An export whose directory cannot be printed ends with a warning."""
    done = shell(">/dev/full", *EXPORT, "--output", "here", cwd=tmp_path)
    assert (done.returncode, "No space left" in done.stderr) == (0, True)


def test_unshown_result_is_a_local_failure(tmp_path: Path) -> None:
    """A result that cannot be shown is a local failure, unless its reader has left."""
    full = shell(">/dev/full", "plan", "--records", "1", cwd=tmp_path)
    assert (full.returncode, "defect" in full.stderr, len(full.stderr.splitlines())) == (5, False, 2)
    left = shell("| :; exit ${PIPESTATUS:-0}", "--help", cwd=tmp_path)
    assert (left.returncode, left.stderr) == (0, "")


@pytest.mark.parametrize("command", ["endpoints", "plan --tenants tenants.toml"])
def test_a_list_whose_reader_has_left(tmp_path: Path, command: str) -> None:
    """A list of which a pipe took the beginning only is no failure."""
    tenant = '[[tenant]]\nname = "north"\nbase-url = "https://service.example"\ntoken-file = "token"\n'
    (tmp_path / "tenants.toml").write_text(tenant)
    reader, writer = os.pipe()
    os.close(reader)
    process = start(*command.split(), cwd=tmp_path, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    _, said = process.communicate(timeout=50)
    assert (process.returncode, said) == (0, b"")


def test_lost_terminal_stops_an_export(tmp_path: Path) -> None:
    """A terminal that goes away stops an export, which goes on later."""
    leader, follower = pty.openpty()
    slow = [*EXPORT, "--page-size", "50", "--min-interval", "200ms", "--output", "here"]
    # A session of its own with the terminal as the controlling one, so that its end is a hang-up.
    program = (
        "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
    )
    started = subprocess.Popen(
        [sys.executable, "-c", program, sys.executable, "-m", "bulk_export", *slow],
        cwd=tmp_path,
        stdin=follower,
        stdout=follower,
        stderr=follower,
        start_new_session=True,
    )
    os.close(follower)
    deadline = time.monotonic() + 30
    journal = tmp_path / "here/.bulk-export/journal.sqlite"
    while not journal.exists():
        assert time.monotonic() < deadline
        with suppress(OSError):
            os.read(leader, 65_536)
    os.close(leader)
    assert started.wait(30) == 130
    assert shell("", *EXPORT, "--page-size", "50", "--output", "here", cwd=tmp_path).returncode == 0
    assert verify(tmp_path / "here").rows == 2_000
