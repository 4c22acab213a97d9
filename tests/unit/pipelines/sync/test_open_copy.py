"""Whether a copy is the one that is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulk_export.errors import UsageError
from bulk_export.pipelines.sync.open_copy import refuse_another


def test_a_copy_of_something_else_is_refused(tmp_path: Path) -> None:
    """The error names what differs, and nothing else."""
    refuse_another({"service": "npq"}, {"service": "npq"}, tmp_path)
    with pytest.raises(UsageError, match=r"--service npq, now ecf") as refused:
        refuse_another({"service": "npq", "filters": {}}, {"service": "ecf", "filters": {}}, tmp_path)
    assert "filters" not in refused.value.what
