"""The state of a copy: read back as it was written, or refused."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bulk_export.errors import DamagedState
from bulk_export.pipelines.sync.state import CopyState, OpenPoll
from bulk_export.pipelines.sync.state_file import read_state, write_state
from bulk_export.pipelines.sync.tables.copy_table import TableMark
from bulk_export.pipelines.sync.watermark import PollSchedule, Watermark

NOON = datetime(2025, 6, 2, 12, 0, 0, 123_456, tzinfo=UTC)
STATE = CopyState(
    {"service": "npq", "filters": {}},
    {"a": Watermark((NOON, NOON), NOON), "b": Watermark()},
    {"full": OpenPoll(3, NOON, ((None, ("a",)), (NOON, ("b", "c"))), "f" * 32, "token address")},
    4,
    -0.5,
    {"poll": 4},
    {"a": TableMark(7, "0" * 32, 4, "mark"), "b": TableMark()},
    PollSchedule((NOON,), timedelta(hours=1)),
    (-0.5, 12.0),
)


def prepared(directory: Path) -> Path:
    (directory / ".bulk-export").mkdir(exist_ok=True)
    return directory


def test_a_state_is_read_back(tmp_path: Path) -> None:
    assert read_state(tmp_path) is None
    write_state(prepared(tmp_path), STATE)
    assert read_state(tmp_path) == STATE
    assert STATE.without_open("full").open_polls == {}


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"tool": "another"},
        {"endpoints": []},
        {"endpoints": {"a": {"polls": ["yesterday"], "full": None}}},
        {"open": {"full": {}}},
        {"polls": None},
        {"polls": -1},
        {"polls": 1e300},
        {"polls": True},
        {"copy": {"key": "no hexadecimal"}},
        {"copy": {"token": 7}},
        {"endpoints": {"../../home": {"polls": [], "full": None}}},
        {"endpoints": {"a": {"polls": ["2025-06-02T12:00:00Z"] * 3, "full": None}}},
        {"open": {"weekly": {"number": 1, "started_at": "2025-06-02T12:00:00Z", "groups": []}}},
        {"open": {"full": {"number": 1, "id": "../x", "started_at": "2025-06-02T12:00:00Z", "groups": []}}},
        {
            "open": {
                "full": {
                    "number": 1,
                    "started_at": "2025-06-02T12:00:00Z",
                    "groups": [{"since": None, "endpoints": ["/etc"]}],
                }
            }
        },
        {"last": {"poll": "x"}},
        {"tables": {"a": {"version": -1, "poll": None, "number": None}}},
        {"tables": {"a": {"version": 1, "poll": "../x", "number": None}}},
        {"rhythm": {"starts": [], "every": 1e300}},
        {"rhythm": {"starts": ["never"]}},
    ],
    ids=str,
)
def test_impossible_values_are_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    """The file is left as it is."""
    write_state(prepared(tmp_path), STATE)
    path = tmp_path / "sync.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    before = path.read_bytes()
    with pytest.raises(DamagedState, match="cannot be used"):
        read_state(tmp_path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("ahead", [float("inf"), 250_000_000_000.0, 3_600.0])
def test_an_impossible_clock_is_ignored(tmp_path: Path, ahead: float) -> None:
    write_state(prepared(tmp_path), replace(STATE, clock_ahead=ahead))
    state = read_state(tmp_path)
    assert state is not None
    assert state.clock_ahead == 0.0


def test_a_state_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    """It has no marks of tables; the versions in its last log entry take their place."""
    last = {"poll": 4, "endpoints": {"a": {"version": 7}}}
    write_state(prepared(tmp_path), replace(STATE, last_entry=last))
    path = tmp_path / "sync.json"
    document = json.loads(path.read_text())
    for new in ("tables", "rhythm", "clock_told"):
        del document[new]
    for new in ("id", "source"):
        del document["open"]["full"][new]
    path.write_text(json.dumps(document))
    state = read_state(tmp_path)
    assert state is not None
    assert (state.mark_of("a"), state.mark_of("b"), state.default_schedule) == (
        TableMark(7),
        TableMark(),
        PollSchedule(),
    )
    assert (state.open_polls["full"].id, state.open_polls["full"].source) == ("", "")


def test_a_newer_format_is_refused_with_a_sentence(tmp_path: Path) -> None:
    """The error names both formats and asks for the newer version; the file is left as it is."""
    write_state(prepared(tmp_path), STATE)
    path = tmp_path / "sync.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 2, "endpoints": None}))
    before = path.read_bytes()
    with pytest.raises(DamagedState, match="a newer version of this program wrote it, in format 2") as refused:
        read_state(tmp_path)
    assert "Use the version that wrote it" in refused.value.next_step
    assert path.read_bytes() == before


def test_the_stored_keys_stay(tmp_path: Path) -> None:
    """Names of fields may change; the keys of the file are its format."""
    write_state(prepared(tmp_path), STATE)
    document = json.loads((tmp_path / "sync.json").read_text())
    assert set(document) == {
        *("tool", "format", "copy", "polls", "clock_ahead", "clock_told"),
        *("endpoints", "open", "last", "tables", "rhythm", "rhythms"),
    }
    assert document["tables"]["a"] == {"version": 7, "poll": "0" * 32, "number": 4, "removed": "mark"}
    assert set(document["open"]["full"]) == {"number", "id", "source", "started_at", "groups"}
