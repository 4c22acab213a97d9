"""Questions answered from exports and from Delta tables, and the command that asks them."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from bulk_export.errors import BulkExportError, DamagedState, UsageError
from bulk_export.pipelines.checks.queries import CHECKS, find_check
from bulk_export.pipelines.checks.runner import CheckResult, run_checks, sql_script
from bulk_export.pipelines.sync.options import SyncOptions
from bulk_export.pipelines.sync.poll import sync_once
from bulk_export.pipelines.sync.summary import Counts, PollSummary, TableSummary
from bulk_export.services.local import serving
from tests.service.test_cli import run
from tests.support.exporting import TOKEN, settings

INSTANT = pa.timestamp("us", "UTC")
SCHEMAS = {
    "npq-applications": pa.schema([("id", pa.string()), ("funded_place", pa.bool_()), ("updated_at", INSTANT)]),
    "participants-npq": pa.schema([("id", pa.string())]),
    "participant-declarations": pa.schema(
        [
            *((name, pa.string()) for name in ("id", "declaration_type", "state", "application_id", "participant_id")),
            ("created_at", INSTANT),
        ]
    ),
}


def day(number: int) -> datetime:
    return datetime(2025, 1, number, tzinfo=UTC)


def application(name: str, funded_place: bool | None, updated: int = 1) -> dict[str, Any]:
    return {"id": name, "funded_place": funded_place, "updated_at": day(updated)}


def declaration(name: str, of: str | None, state: str = "submitted", person: str = "p") -> dict[str, Any]:
    row = {"id": name, "declaration_type": "started", "state": state, "application_id": of, "participant_id": person}
    return {**row, "created_at": day(10)}


def table(endpoint: str, rows: list[dict[str, Any]], removed: tuple[str, ...] | None = None) -> pa.Table:
    made = pa.Table.from_pylist(rows, schema=SCHEMAS[endpoint])
    if removed is None:
        return made
    return made.append_column("_removed_at", pa.array([day(9) if r["id"] in removed else None for r in rows], INSTANT))


def exported(directory: Path, parameters: dict[str, Any] | None = None, **rows: list[dict[str, Any]]) -> Path:
    directory.mkdir(exist_ok=True)
    endpoints = {}
    for key, of in ({"participants_npq": [{"id": "p"}]} | rows).items():
        endpoint = key.replace("_", "-")
        (directory / endpoint).mkdir()
        pq.write_table(table(endpoint, of), directory / endpoint / "part-00000.parquet")
        endpoints[endpoint] = {"files": [{"path": f"{endpoint}/part-00000.parquet"}]}
    manifest = {"tool": {"name": "bulk-export"}, "parameters": parameters or {}, "endpoints": endpoints}
    (directory / "manifest.json").write_text(json.dumps(manifest))
    return directory


def synced(directory: Path, endpoint: str, rows: list[dict[str, Any]], removed: tuple[str, ...] = ()) -> Path:
    write_deltalake(directory / endpoint, table(endpoint, rows, removed), mode="overwrite")
    return directory


def found(answers: list[CheckResult], name: str) -> list[Any]:
    (answer,) = (one for one in answers if one.check.name == name)
    assert answer.unanswered is None
    assert answer.found == len(answer.rows)
    return [row[0] for row in answer.rows]


def test_undecided_are_declarations_without_a_decision_unless_voided_or_clawed_back(tmp_path: Path) -> None:
    directory = exported(
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


def test_unlinked_are_declarations_without_their_application_or_participant_voided_or_not(tmp_path: Path) -> None:
    directory = exported(
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


def test_changed_is_told_from_the_history_also_across_compaction(tmp_path: Path) -> None:
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


def test_history_that_a_vacuum_removed_is_said_to_be_gone(tmp_path: Path) -> None:
    synced(tmp_path, "participant-declarations", [declaration("d", "a")])
    synced(tmp_path, "npq-applications", [application("a", None)])
    synced(tmp_path, "npq-applications", [application("a", True, 20)])
    assert found(run_checks(tmp_path), "changed") == ["a"]
    DeltaTable(tmp_path / "npq-applications").vacuum(0, dry_run=False, enforce_retention_duration=False)
    answers = run_checks(tmp_path)
    assert found(answers, "changed") == []
    assert re.search(r"before \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ was cleaned away", answers[1].remarks[0])
    assert answers[2].unanswered == "There is no table participants-npq."


def test_records_that_the_service_removed_are_not_in_the_copy(tmp_path: Path) -> None:
    synced(tmp_path, "participant-declarations", [declaration("d1", "a"), declaration("d2", "b")], removed=("d2",))
    synced(tmp_path, "npq-applications", [application("a", True), application("b", None)], removed=("a",))
    synced(tmp_path, "participants-npq", [{"id": "p"}])
    answers = run_checks(tmp_path)
    assert found(answers, "unlinked") == ["d1"]
    assert found(answers, "undecided") == []


@pytest.mark.parametrize("name", [one.name for one in CHECKS])
def test_the_sql_that_is_printed_gives_the_same_rows_by_hand(tmp_path: Path, name: str) -> None:
    synced(
        tmp_path, "participant-declarations", [declaration("d1", "a"), declaration("d2", "b"), declaration("d3", "c")]
    )
    synced(tmp_path, "npq-applications", [application("a", None), application("b", False)])
    synced(tmp_path, "npq-applications", [application("a", None), application("b", True, 20)])
    synced(tmp_path, "participants-npq", [{"id": "p"}])
    with duckdb.connect() as by_hand:
        rows = pa.table(by_hand.execute(sql_script(tmp_path, find_check(name))).to_arrow_table()).column(0).to_pylist()
    assert rows == found(run_checks(tmp_path), name) != []


def test_what_cannot_be_checked_is_refused_with_the_reason(tmp_path: Path) -> None:
    def refused(directory: Path) -> BulkExportError:
        with pytest.raises(BulkExportError) as error:
            run_checks(directory)
        return error.value

    assert "not a directory" in refused(tmp_path / "none").what
    (tmp_path / "empty").mkdir()
    assert "no tables" in refused(tmp_path / "empty").what
    (tmp_path / "unfinished" / ".bulk-export").mkdir(parents=True)
    assert "unfinished" in refused(tmp_path / "unfinished").what
    alone = exported(tmp_path / "alone", npq_applications=[])
    assert isinstance(refused(alone), UsageError)
    assert "participant-declarations" in refused(alone).what
    torn = exported(tmp_path / "torn", npq_applications=[], participant_declarations=[])
    (torn / "npq-applications" / "part-00000.parquet").write_bytes(b"PAR1 secret PAR1")
    assert isinstance(refused(torn), DamagedState)
    assert "secret" not in str(refused(torn))
    (torn / "npq-applications" / "part-00000.parquet").unlink()
    assert "missing" in refused(torn).what
    with pytest.raises(UsageError, match="no check"):
        find_check("everything")


def test_the_command_leaves_with_6_where_something_is_found_and_0_where_not(tmp_path: Path) -> None:
    clean = exported(
        tmp_path / "clean", npq_applications=[application("a", True)], participant_declarations=[declaration("d", "a")]
    )
    assert run("check", str(clean), cwd=tmp_path).returncode == 0
    wrong = exported(
        tmp_path / "wrong",
        npq_applications=[application("a", None)],
        participant_declarations=[declaration(f"d{number:02}", "a") for number in range(25)],
    )
    shown = run("check", str(wrong), cwd=tmp_path)
    assert shown.returncode == 6
    assert "no funded-place decision: 25" in shown.stdout
    assert "and 5 more" in shown.stdout
    told = run("check", str(wrong), "--json", cwd=tmp_path)
    assert told.returncode == 6
    answers = json.loads(told.stdout)
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
        told = TableSummary(Counts(), requests=1, since=None, consistent=True, version=None)
        poll = PollSummary(len(log) + 1, "changes", start, start + LASTING, 1, 0, 0, {"npq-applications": told})
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
def test_a_change_after_a_declaration_is_told_by_what_each_poll_saw(
    tmp_path: Path, polls: dict[datetime, State | None], found_in: bool
) -> None:
    directory = polled(tmp_path, {start: {} if state is None else {"a": state} for start, state in polls.items()})
    assert (found([changed(directory)], "changed") == ["a"]) == found_in


def test_the_times_of_a_change_are_those_of_the_polls_around_it(tmp_path: Path) -> None:
    answer = changed(polled(tmp_path, {day(8): {"a": (None, day(1))}, day(11): {}, day(12): {"a": (True, day(9))}}))
    row = dict(zip(answer.columns, answer.rows[0], strict=True))
    assert (row["last_seen_before"], row["seen_at"]) == ("2025-01-11T00:00:00Z", "2025-01-12T00:00:00Z")
    assert (row["funded_place_before"], row["funded_place_after"]) == (None, True)


def test_changes_that_fell_between_two_polls_with_a_declaration_are_counted_in_a_remark(tmp_path: Path) -> None:
    directory = polled(tmp_path, {day(9): {"a": (None, day(1))}, day(11): {"a": (True, day(9))}})
    answer = changed(directory)
    assert answer.found == 0
    assert "1 more changes" in answer.remarks[0]
    with duckdb.connect() as by_hand:
        found_by_hand = pa.table(by_hand.execute(sql_script(directory, find_check("unclear"))).to_arrow_table())
    assert found_by_hand.column("application_id").to_pylist() == ["a"]


def test_a_change_seen_by_a_poll_that_a_declaration_came_during_is_counted_in_the_remark(tmp_path: Path) -> None:
    """A poll that is gone on with shows the service as it was later than its start."""
    began = day(10) - LASTING / 2
    answer = changed(polled(tmp_path, {day(8): {"a": (None, day(1))}, began: {"a": (True, day(9))}}))
    assert answer.found == 0
    assert "1 more changes" in answer.remarks[0]


def test_an_application_that_was_removed_is_not_reported(tmp_path: Path) -> None:
    polls = {day(8): {"a": (None, day(1))}, day(11): {}, day(12): {"a": (True, day(11))}}
    assert found([changed(polled(tmp_path, polls, removed=("a",)))], "changed") == []


def test_a_decision_that_is_no_boolean_is_not_missing(tmp_path: Path) -> None:
    directory = polled(tmp_path, {day(8): {"a": ("yes", day(1)), "b": (None, day(1))}})
    assert found(run_checks(directory), "undecided") == ["d-b"]


def test_a_copy_whose_tables_are_empty_answers_that_nothing_is_wrong(tmp_path: Path) -> None:
    for endpoint in SCHEMAS:
        synced(tmp_path, endpoint, [])
        DeltaTable(tmp_path / endpoint).delete()
    answers = run_checks(tmp_path)
    assert [answer.found for answer in answers] == [0, 0, 0]
    assert [answer.unanswered for answer in answers] == [None, None, None]


def test_history_before_a_checkpoint_whose_log_was_cleaned_up_is_said_to_be_gone(tmp_path: Path) -> None:
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
def test_a_log_that_names_a_file_outside_of_its_table_is_refused(tmp_path: Path, path: str) -> None:
    polled(tmp_path, {day(5): {"a": (None, day(1))}})
    log = tmp_path / "npq-applications/_delta_log/00000000000000000000.json"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    for action in lines:
        if "add" in action:
            action["add"]["path"] = path
    log.write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(DamagedState):
        run_checks(tmp_path)
