"""The clock of the machine, in time namespaces too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bulk_export.extract.rate_limit.boot_clock import boot_clock


def test_time_namespace_is_same_clock(tmp_path: Path) -> None:
    """A time namespace does not change the clock of the machine.

    Its own clock is ten days ahead, and the budget file counts the same seconds all the same.
    """
    module = "bulk_export.extract.rate_limit.boot_clock"
    code = f"from {module} import boot_clock; clock = boot_clock(); print(clock.boot, clock.now())"
    command = ["unshare", "--time", "--boottime", "864000", "--fork", sys.executable, "-c", code]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    if found.returncode != 0:
        pytest.skip("time namespaces cannot be made here")
    boot, now = found.stdout.split()
    assert boot == boot_clock().boot
    assert 0 <= boot_clock().now() - float(now) < 60


def test_unknown_namespace_is_another_machine(tmp_path: Path) -> None:
    """A time namespace whose offset is not known counts as another machine."""
    (tmp_path / "ns").mkdir()
    (tmp_path / "ns/time").symlink_to("time:[1]")
    (tmp_path / "ns/time_for_children").symlink_to("time:[2]")
    assert boot_clock(tmp_path).boot == f"{boot_clock().boot} time:[1]"
    (tmp_path / "ns/time_for_children").unlink()
    (tmp_path / "ns/time_for_children").symlink_to("time:[1]")
    (tmp_path / "timens_offsets").write_text("monotonic           5         0\nboottime       864000 500000000\n")
    inside = boot_clock(tmp_path)
    assert inside.boot == boot_clock().boot
    assert inside.now() + 864_000.5 == pytest.approx(boot_clock().now(), abs=60)
