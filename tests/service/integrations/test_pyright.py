"""Pyright finds the mistakes in Python calls that mypy finds, too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("pyright", reason="pyright is not installed")

ROOT = Path(__file__).parents[3]

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


def test_wrong_calls() -> None:
    """Each wrong call is an error, which the file ignores, and no other is: pyright reports what is ignored in vain."""
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "tests/typing/calls.py"]
    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if "errors" not in checked.stdout:
        pytest.skip(f"pyright fetches its program on first use, and could not: {checked.stderr[-200:]}")
    assert checked.returncode == 0, checked.stdout
