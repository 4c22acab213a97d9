"""The working directory of an export."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bulk_export.errors import DamagedState
from bulk_export.output.work_directory import open_work_directory


@pytest.mark.parametrize("more", [{}, {"work_dir": "/tmp/elsewhere"}], ids=["unknown keys", "known keys"])
def test_a_newer_pointer_is_refused(tmp_path: Path, more: dict[str, str]) -> None:
    """A newer version may say in another way where the working state is: it is refused, and stays as it is."""
    pointer = tmp_path / "out/.bulk-export/elsewhere.json"
    pointer.parent.mkdir(parents=True, mode=0o700)
    pointer.write_text(json.dumps({"format": 2, **more}))
    with (
        pytest.raises(DamagedState, match="another version of this tool") as refused,
        open_work_directory(tmp_path / "out", None, ["things"], overwrite=False, keep_pages=False),
    ):
        pass
    assert "the version that wrote it" in refused.value.next_step
    assert json.loads(pointer.read_text())["format"] == 2
