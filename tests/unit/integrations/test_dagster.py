"""The assets for Dagster where there is no Dagster."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("line", ["import bulk_export.dagster", "import bulk_export; bulk_export.dagster"])
def test_import_without_dagster(line: str) -> None:
    """The import fails with one sentence that says what to install."""
    program = f"import sys; sys.modules['dagster'] = None; {line}"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.stderr.splitlines()[-1] == (
        "ImportError: bulk_export.dagster needs Dagster 1.10 or newer: pip install 'bulk-export[dagster]'."
    )
