"""What the status of a file tells of its owner, and what it does not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bulk_export.core.compat.owners import has_owners, is_foreign, rights_of_others


def test_owners_and_modes_where_there_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Unix, owner and mode decide; in Windows, every file looks alike, so nothing is concluded from it."""
    status = tmp_path.stat()
    monkeypatch.setattr(os, "geteuid", lambda: status.st_uid + 1)
    assert has_owners()
    assert is_foreign(status)
    assert rights_of_others(0o100644, 0o077) == 0o044
    monkeypatch.delattr(os, "geteuid")
    assert not has_owners()
    assert not is_foreign(status)
    assert rights_of_others(0o100666, 0o077) == 0
