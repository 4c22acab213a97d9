"""What a report says of an export: whether it is whole, what is worth knowing, and no value of a filter."""

from __future__ import annotations

from typing import Any

from bulk_export.output.report.model import Level, Number, Report, Share, Table
from bulk_export.output.report.of_export import export_report, moment_text
from bulk_export.output.report.page import html_text
from tests.support.reports import export_facts, manifest


def tables_of(report: Report, anchor: str) -> list[Table]:
    return [table for section in report.sections if section.anchor == anchor for table in section.tables]


def changed(**changes: Any) -> dict[str, Any]:
    """The manifest of an export whose first list is different."""
    endpoints = manifest()["endpoints"]
    return {"endpoints": {**endpoints, "things": endpoints["things"] | changes}}


def test_export_that_is_whole() -> None:
    """Its verdict says how that was found out, and there is nothing else to know."""
    report = export_report(export_facts())
    assert report.verdict.level is Level.FINE
    assert report.verdict.text == "Whole: its file is there with the size that the manifest says."
    assert "was read" in export_report(export_facts(is_read=True)).verdict.text
    assert [finding.text for finding in report.findings] == ["Nothing was sent for 1 s after a 429."]
    assert report.title == "Export of npq v3"
    assert report.subtitle == "2,400 records in 2 lists, finished 1 January 2026, 00:10:00 UTC"
    facts = {fact.name: (fact.value, fact.note) for fact in report.facts}
    assert facts["Time"] == ("10 min", "4 records a second")
    assert facts["Resumed"] == ("never", "")


def test_verdicts() -> None:
    """A difference is a problem, a record that may be missing and a sample are worth a look."""
    bad = export_report(export_facts(difference="things/part-00000.parquet: missing."))
    assert (bad.verdict.level, bad.verdict.text) == (Level.BAD, "Not whole. things/part-00000.parquet: missing.")
    unsure = export_report(export_facts(incomplete=["things: it may go on"]))
    assert unsure.verdict.level is Level.LOOK
    assert unsure.findings[0].text == "things: it may go on"
    sample = export_report(export_facts(manifest={"parameters": {"sample": 10}}))
    assert sample.verdict.text.startswith("A sample of the first records")


def test_drift_and_signs_of_change() -> None:
    """Each field that was not as described is listed with its count, the most frequent first; so is each sign."""
    drift = {"unknown": {"a": 3}, "misfits": {"b.c": 40}, "missing": {"d": 7}, "duplicate_keys": {}}
    report = export_report(
        export_facts(manifest=changed(drift=drift, signs_of_change={"gone": 2, "invented_later": 1}), log=None)
    )
    (table,) = tables_of(report, "drift")
    assert [row[-1] for row in table.rows] == [Number(40), Number(7), Number(3)]
    (signs,) = tables_of(report, "signs")
    assert [row[1] for row in signs.rows] == ["Records that vanished while they were read", "invented_later"]
    assert [finding.text for finding in report.findings] == [
        "Records had 1 field that the description does not have; every value is kept in _extra.",
        "Records had 1 field with values of another type than described; every value is kept in _extra.",
    ]
    assert "no run.jsonl" in report.sections[0].lead


def test_columns() -> None:
    """Columns have their types and what part is empty; without Parquet files they are those of the manifest."""
    first, second = tables_of(export_report(export_facts()), "columns")
    assert first.rows[0][1:] == ("string", Share(0.0, "none"))
    assert first.rows[1][1:] == ("list of string", "not counted")
    assert second.rows[1][1:] == ("list<…>", "not counted")


def test_filters_are_named_only() -> None:
    """The value of a filter may be that of a person, so it stays in the manifest."""
    text = html_text(export_report(export_facts()))
    assert "cohort" in text
    assert "2021" not in text


def test_requests_of_runs_that_were_killed() -> None:
    """What the timeline lacks of all requests is said."""
    report = export_report(export_facts(manifest={"run": {"requests": 15, "retries": 0, "throttled": 2, "resumed": 1}}))
    assert report.sections[0].lead == "3 requests of runs that ended suddenly are not shown."
    assert any("answered 429 twice" in finding.text for finding in report.findings)


def test_times_of_a_document() -> None:
    assert moment_text("2026-01-01T01:00:00+01:00") == "1 January 2026, 00:00:00 UTC"
    assert moment_text("<b>") == "<b>"
