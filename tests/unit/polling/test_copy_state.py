"""The state of a copy: read back as it was written, or refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bulk_export.errors import DamagedState, UsageError
from bulk_export.polling.copy_state import CopyState, OpenPoll, read_state, refuse_another, write_state
from bulk_export.polling.watermark import Watermark

NOON = datetime(2025, 6, 2, 12, 0, 0, 123_456, tzinfo=UTC)
STATE = CopyState(
    {"service": "npq", "filters": {}},
    {"a": Watermark((NOON, NOON), NOON), "b": Watermark()},
    {"full": OpenPoll(3, NOON, ((None, ("a",)), (NOON, ("b", "c"))))},
    4,
    -0.5,
    {"poll": 4},
)


def place(directory: Path) -> Path:
    (directory / ".bulk-export").mkdir(exist_ok=True)
    return directory


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    assert read_state(tmp_path) is None
    write_state(place(tmp_path), STATE)
    assert read_state(tmp_path) == STATE
    assert STATE.closed("full").open == {}


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"tool": "another"},
        {"endpoints": []},
        {"endpoints": {"a": {"polls": ["yesterday"], "full": None}}},
        {"open": {"full": {}}},
        {"polls": None},
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused_without_touching_it(tmp_path: Path, change: dict[str, Any]) -> None:
    write_state(place(tmp_path), STATE)
    path = tmp_path / "sync.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    before = path.read_bytes()
    with pytest.raises(DamagedState, match="cannot be used"):
        read_state(tmp_path)
    assert path.read_bytes() == before


def test_a_copy_of_something_else_is_refused_with_what_differs(tmp_path: Path) -> None:
    refuse_another({"service": "npq"}, {"service": "npq"}, tmp_path)
    with pytest.raises(UsageError, match=r"service: 'npq', now 'ecf'") as refused:
        refuse_another({"service": "npq", "filters": {}}, {"service": "ecf", "filters": {}}, tmp_path)
    assert "filters" not in refused.value.what
