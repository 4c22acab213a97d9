"""Questions answered from exports and from Delta tables, and the command that asks them."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from bulk_export.errors import BulkExportError, DamagedState, UsageError
from bulk_export.pipelines.checks.queries import CHECKS, find_check
from bulk_export.pipelines.checks.runner import CheckResult, run_checks, sql_script
from bulk_export.pipelines.sync.options import SyncOptions
from bulk_export.pipelines.sync.poll import sync_once
from bulk_export.pipelines.sync.summary import Counts, PollSummary, TableSummary
from bulk_export.services.local import serving
from tests.support.check_tables import INSTANT, SCHEMAS, application, day, declaration, table, write_export
from tests.support.command import run
from tests.support.exporting import TOKEN, settings


def synced(directory: Path, endpoint: str, rows: list[dict[str, Any]], removed: tuple[str, ...] = ()) -> Path:
    write_deltalake(directory / endpoint, table(endpoint, rows, removed), mode="overwrite")
    return directory


def found(answers: list[CheckResult], name: str) -> list[Any]:
    (answer,) = (one for one in answers if one.check.name == name)
    assert answer.unanswered is None
    assert answer.found == len(answer.rows)
    return [row[0] for row in answer.rows]


def test_undecided_declarations(tmp_path: Path) -> None:
    """Undecided are declarations without a decision, unless they are voided or clawed back."""
    directory = write_export(
        tmp_path / "it's [a] *copy*",
        npq_applications=[application("none", None), application("yes", True), application("no", False)],
        participant_declarations=[
            declaration("d1", "none"),
            declaration("d2", "yes"),
            declaration("d3", "no"),
            declaration("d4", "none", "voided"),
            declaration("d5", "none", "awaiting-clawback"),
            declaration("d6", "none", "clawed_back"),
            declaration("d7", "none", "paid"),
        ],
    )
    answers = run_checks(directory)
    assert found(answers, "undecided") == ["d1", "d7"]
    assert found(answers, "unlinked") == []
    (changed,) = (one for one in answers if one.check.name == "changed")
    assert "no history" in (changed.unanswered or "")


def test_unlinked_declarations(tmp_path: Path) -> None:
    """Unlinked are declarations without their application or participant, voided or not."""
    directory = write_export(
        tmp_path / "out",
        {"filters": {"cohort": "2023"}},
        npq_applications=[application("a", True)],
        participant_declarations=[
            declaration("d1", "a"),
            declaration("d2", "elsewhere"),
            declaration("d3", "a", person="nobody"),
            declaration("d4", None, "voided"),
        ],
    )
    answers = run_checks(directory)
    assert found(answers, "unlinked") == ["d2", "d3", "d4"]
    assert "filtered" in answers[2].remarks[0]


def test_changes_are_read_from_history(tmp_path: Path) -> None:
    """Changes are read from the table's history, also across compaction."""
    declared = [declaration(f"d-{name}", name) for name in ("after", "before", "never", "touched")]
    declared.append(declaration("d-void", "void", "voided"))
    synced(tmp_path, "participant-declarations", declared)
    synced(tmp_path, "participants-npq", [{"id": "p"}])
    names = ("after", "before", "never", "touched", "void")
    synced(tmp_path, "npq-applications", [application(name, None) for name in names])
    second = {"after": (None, 1), "before": (True, 5), "never": (None, 1), "touched": (None, 12), "void": (True, 12)}
    synced(tmp_path, "npq-applications", [application(name, *value) for name, value in second.items()])
    third = second | {"after": (True, 20)}
    synced(tmp_path, "npq-applications", [application(name, *value) for name, value in third.items()])
    DeltaTable(tmp_path / "npq-applications").optimize.compact()
    answers = run_checks(tmp_path)
    assert found(answers, "changed") == ["after"]
    (changed,) = (one for one in answers if one.check.name == "changed")
    row = dict(zip(changed.columns, changed.rows[0], strict=True))
    assert (row["funded_place_before"], row["funded_place_after"]) == (None, True)
    assert (row["last_seen_before"], row["seen_at"]) == ("2025-01-01T00:00:00Z", "2025-01-20T00:00:00Z")
    assert found(answers, "undecided") == ["d-never", "d-touched"]


def test_vacuumed_history_is_stated(tmp_path: Path) -> None:
    """The check says which history a vacuum removed."""
    synced(tmp_path, "participant-declarations", [declaration("d", "a")])
    synced(tmp_path, "npq-applications", [application("a", None)])
    synced(tmp_path, "npq-applications", [application("a", True, 20)])
    assert found(run_checks(tmp_path), "changed") == ["a"]
    DeltaTable(tmp_path / "npq-applications").vacuum(0, dry_run=False, enforce_retention_duration=False)
    answers = run_checks(tmp_path)
    assert found(answers, "changed") == []
    assert re.search(r"before \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ was cleaned away", answers[1].remarks[0])
    assert answers[2].unanswered == "There is no table participants-npq."


def test_removed_records_are_not_in_the_copy(tmp_path: Path) -> None:
    """Records that the service removed do not count as part of the copy."""
    synced(tmp_path, "participant-declarations", [declaration("d1", "a"), declaration("d2", "b")], removed=("d2",))
    synced(tmp_path, "npq-applications", [application("a", True), application("b", None)], removed=("a",))
    synced(tmp_path, "participants-npq", [{"id": "p"}])
    answers = run_checks(tmp_path)
    assert found(answers, "unlinked") == ["d1"]
    assert found(answers, "undecided") == []


@pytest.mark.parametrize("name", [one.name for one in CHECKS])
def test_printed_sql_gives_the_same_rows(tmp_path: Path, name: str) -> None:
    """The SQL that is printed gives the same rows when a person runs it."""
    synced(
        tmp_path, "participant-declarations", [declaration("d1", "a"), declaration("d2", "b"), declaration("d3", "c")]
    )
    synced(tmp_path, "npq-applications", [application("a", None), application("b", False)])
    synced(tmp_path, "npq-applications", [application("a", None), application("b", True, 20)])
    synced(tmp_path, "participants-npq", [{"id": "p"}])
    with duckdb.connect() as by_hand:
        rows = pa.table(by_hand.execute(sql_script(tmp_path, find_check(name))).to_arrow_table()).column(0).to_pylist()
    assert rows == found(run_checks(tmp_path), name) != []


def test_unreadable_input_is_refused(tmp_path: Path) -> None:
    """Tables that cannot be checked are refused with the reason."""

    def refused(directory: Path) -> BulkExportError:
        with pytest.raises(BulkExportError) as error:
            run_checks(directory)
        return error.value

    assert "does not exist" in refused(tmp_path / "none").what
    (tmp_path / "empty").mkdir()
    assert "no tables" in refused(tmp_path / "empty").what
    (tmp_path / "unfinished" / ".bulk-export").mkdir(parents=True)
    assert "unfinished" in refused(tmp_path / "unfinished").what
    alone = write_export(tmp_path / "alone", npq_applications=[])
    assert isinstance(refused(alone), UsageError)
    assert "participant-declarations" in refused(alone).what
    torn = write_export(tmp_path / "torn", npq_applications=[], participant_declarations=[])
    (torn / "npq-applications" / "part-00000.parquet").write_bytes(b"PAR1 secret PAR1")
    assert isinstance(refused(torn), DamagedState)
    assert "part-00000.parquet cannot be read" in refused(torn).what
    assert "secret" not in str(refused(torn))
    (torn / "npq-applications" / "part-00000.parquet").unlink()
    assert "missing" in refused(torn).what
    with pytest.raises(UsageError, match="no check"):
        find_check("everything")


def test_exit_code_6_if_something_is_found(tmp_path: Path) -> None:
    """The command exits with 6 if something is found, and with 0 if not."""
    clean = write_export(
        tmp_path / "clean", npq_applications=[application("a", True)], participant_declarations=[declaration("d", "a")]
    )
    assert run("check", str(clean), cwd=tmp_path).returncode == 0
    wrong = write_export(
        tmp_path / "wrong",
        npq_applications=[application("a", None)],
        participant_declarations=[declaration(f"d{number:02}", "a") for number in range(25)],
    )
    shown = run("check", str(wrong), cwd=tmp_path)
    assert shown.returncode == 6
    assert "no funded-place decision: 25" in shown.stdout
    assert "and 5 more" in shown.stdout
    checked = run("check", str(wrong), "--json", cwd=tmp_path)
    assert checked.returncode == 6
    answers = json.loads(checked.stdout)
    assert len(answers["undecided"]["rows"]) == answers["undecided"]["found"] == 25
    assert run("check", str(wrong), "--sql", "nothing", cwd=tmp_path).returncode == 2
    assert "SELECT" in run("check", str(wrong), "--sql", "undecided", cwd=tmp_path).stdout
    assert run("check", str(tmp_path / "none"), cwd=tmp_path).returncode == 2


@pytest.mark.parametrize("format_", ["delta", "parquet"])
async def test_a_synced_copy_in_any_directory_can_be_checked(tmp_path: Path, format_: str) -> None:
    """The library that keeps Delta tables puts escapes into the names of their files."""
    directory = tmp_path / "a copy, ünd more?"
    async with serving(settings(records_by_endpoint=dict.fromkeys(SCHEMAS, 40))) as service:
        chosen = SyncOptions.of(
            list(SCHEMAS), base_url=service.base_url, token=TOKEN, output=directory, format=format_, budget="memory://"
        )
        await sync_once(chosen)
        truth = list(service.truth("participant-declarations"))
        decided = {one["id"]: one["attributes"]["funded_place"] for one in service.truth("npq-applications")}
    answers = run_checks(directory)
    undecided = {
        one["id"]
        for one in truth
        if decided[one["attributes"]["application_id"]] is None
        and one["attributes"]["state"]
        not in ("voided", "awaiting-clawback", "clawed-back", "awaiting_clawback", "clawed_back")
    }
    assert set(found(answers, "undecided")) == undecided
    (changed,) = (one for one in answers if one.check.name == "changed")
    assert (changed.unanswered is None) == (format_ == "delta")


State = tuple[bool | str | None, datetime]
# How long a poll takes that was interrupted.
LASTING = timedelta(hours=12)


def polled(directory: Path, polls: dict[datetime, dict[str, State]], removed: tuple[str, ...] = ()) -> Path:
    """A copy that polls keep: what each one wrote of applications, by its start, as a version of the table."""
    rows: dict[str, dict[str, Any]] = {}
    log = []
    for start, states in polls.items():
        for name, (place, updated) in states.items():
            fits = place is None or isinstance(place, bool)
            rows[name] = {
                "id": name,
                "funded_place": place if fits else None,
                "updated_at": updated,
                "_extra": None if fits else json.dumps({"funded_place": place}),
                "_synced_at": start,
                "_removed_at": start if name in removed else None,
            }
        kinds = [("_extra", pa.string()), ("_synced_at", INSTANT), ("_removed_at", INSTANT)]
        schema = pa.schema([*SCHEMAS["npq-applications"], *kinds])
        if states:
            made = pa.Table.from_pylist(list(rows.values()), schema)
            write_deltalake(directory / "npq-applications", made, mode="overwrite")
        table = TableSummary(Counts(), requests=1, since=None, consistent=True, version=None)
        poll = PollSummary(len(log) + 1, "changes", start, start + LASTING, 1, 0, 0, {"npq-applications": table})
        log.append(json.dumps(poll.to_json()))
    (directory / "sync-log.jsonl").write_text("\n".join([*log, "{torn"]))
    synced(directory, "participant-declarations", [declaration(f"d-{name}", name) for name in sorted(rows)])
    return synced(directory, "participants-npq", [{"id": "p"}])


def changed(directory: Path) -> CheckResult:
    return run_checks(directory)[1]


@pytest.mark.parametrize(
    ("polls", "found_in"),
    [
        # The declaration is of the tenth, midnight: polls in the days around it.
        ({day(8): (None, day(1)), day(11): (True, day(11))}, True),
        ({day(8): (None, day(1)), day(9): (True, day(9)), day(11): None}, False),
        # Committed late, or shown under an older time: a poll after the declaration still saw the earlier decision.
        ({day(8): (None, day(1)), day(11): None, day(12): (True, day(9))}, True),
        ({day(8): (True, day(7)), day(11): None, day(12): (False, day(5))}, True),
        # Back and forth around it, under the same times.
        ({day(7): (False, day(1)), day(8): (True, day(2)), day(11): None, day(12): (False, day(1))}, True),
        # Decided just before the declaration, and seen by the poll after it: it cannot be told, and is not reported.
        ({day(9): (None, day(1)), day(11): (True, day(9))}, False),
        # A value of another type is a decision all the same.
        ({day(8): (True, day(1)), day(11): None, day(12): ("yes", day(12))}, False),
        ({day(8): (True, day(1)), day(11): None, day(12): ("no", day(12))}, True),
    ],
)
def test_change_after_declaration(tmp_path: Path, polls: dict[datetime, State | None], found_in: bool) -> None:
    """Whether a change came after a declaration follows from what each poll saw."""
    directory = polled(tmp_path, {start: {} if state is None else {"a": state} for start, state in polls.items()})
    assert (found([changed(directory)], "changed") == ["a"]) == found_in


def test_times_of_a_change_are_those_of_polls(tmp_path: Path) -> None:
    """The times of a change are those of the polls around it."""
    answer = changed(polled(tmp_path, {day(8): {"a": (None, day(1))}, day(11): {}, day(12): {"a": (True, day(9))}}))
    row = dict(zip(answer.columns, answer.rows[0], strict=True))
    assert (row["last_seen_before"], row["seen_at"]) == ("2025-01-11T00:00:00Z", "2025-01-12T00:00:00Z")
    assert (row["funded_place_before"], row["funded_place_after"]) == (None, True)


def test_changes_between_polls_are_counted(tmp_path: Path) -> None:
    """A remark counts the changes that fell between two polls together with a declaration."""
    directory = polled(tmp_path, {day(9): {"a": (None, day(1))}, day(11): {"a": (True, day(9))}})
    answer = changed(directory)
    assert answer.found == 0
    assert "1 more changes" in answer.remarks[0]
    with duckdb.connect() as by_hand:
        found_by_hand = pa.table(by_hand.execute(sql_script(directory, find_check("unclear"))).to_arrow_table())
    assert found_by_hand.column("application_id").to_pylist() == ["a"]


def test_change_during_a_poll_is_counted(tmp_path: Path) -> None:
    """A change that was seen by a poll during which a declaration came is counted in the remark.

    A poll that is gone on with shows the service as it was later than its start.
    """
    began = day(10) - LASTING / 2
    answer = changed(polled(tmp_path, {day(8): {"a": (None, day(1))}, began: {"a": (True, day(9))}}))
    assert answer.found == 0
    assert "1 more changes" in answer.remarks[0]


def test_removed_application_is_not_reported(tmp_path: Path) -> None:
    """An application that was removed is not reported."""
    polls = {day(8): {"a": (None, day(1))}, day(11): {}, day(12): {"a": (True, day(11))}}
    assert found([changed(polled(tmp_path, polls, removed=("a",)))], "changed") == []


def test_a_decision_that_is_no_boolean_is_not_missing(tmp_path: Path) -> None:
    directory = polled(tmp_path, {day(8): {"a": ("yes", day(1)), "b": (None, day(1))}})
    assert found(run_checks(directory), "undecided") == ["d-b"]


def test_empty_tables_find_nothing(tmp_path: Path) -> None:
    """A copy whose tables are empty finds nothing wrong."""
    for endpoint in SCHEMAS:
        synced(tmp_path, endpoint, [])
        DeltaTable(tmp_path / endpoint).delete()
    answers = run_checks(tmp_path)
    assert [answer.found for answer in answers] == [0, 0, 0]
    assert [answer.unanswered for answer in answers] == [None, None, None]


def test_cleaned_up_log_is_stated(tmp_path: Path) -> None:
    """The check says that history before a checkpoint whose log was cleaned up is gone."""
    polled(tmp_path, {day(5): {"a": (None, day(1))}, day(6): {"a": (True, day(6))}, day(8): {"a": (False, day(7))}})
    table = DeltaTable(tmp_path / "npq-applications")
    table.create_checkpoint()
    log = tmp_path / "npq-applications/_delta_log"
    for number in range(3):
        (log / f"{number:020}.json").unlink()
    answer = changed(tmp_path)
    assert answer.found == 0
    assert answer.unanswered is None
    assert any("cleaned away" in remark for remark in answer.remarks)


@pytest.mark.parametrize("path", ["../elsewhere.parquet", "/etc/passwd", "%2e%2e/x.parquet"])
def test_log_naming_outside_file_is_refused(tmp_path: Path, path: str) -> None:
    """A log that names a file outside of its table is refused."""
    polled(tmp_path, {day(5): {"a": (None, day(1))}})
    log = tmp_path / "npq-applications/_delta_log/00000000000000000000.json"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    for action in lines:
        if "add" in action:
            action["add"]["path"] = path
    log.write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(DamagedState):
        run_checks(tmp_path)
