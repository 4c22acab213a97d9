"""The HTML of a report: inert whatever a service calls things, small, and usable without seeing it."""

from __future__ import annotations

import dataclasses
import re
from functools import partial
from typing import Any

import pytest

from bulk_export.output.report.columns import Column, TableColumns
from bulk_export.output.report.model import Report
from bulk_export.output.report.of_copy import copy_report
from bulk_export.output.report.of_export import export_report
from bulk_export.output.report.page import fitting_text, html_text
from bulk_export.output.report.style import STYLE
from bulk_export.output.run_log import MOST_BUCKETS, Bucket, RunLog, Timeline
from bulk_export.output.side_files import is_report
from tests.support.html_page import Element, read_page
from tests.support.reports import BEGAN, HOSTILE, copy_facts, export_facts, manifest, poll

REPORTS = [export_report(export_facts()), copy_report(copy_facts())]


def hostile_report() -> Report:
    """A report in which everything that a service can name is HTML."""
    of_list = manifest()["endpoints"]["things"] | {
        "schema": [{"name": name, "type": name} for name in HOSTILE],
        "drift": {kind: dict.fromkeys(HOSTILE, 3) for kind in ("unknown", "misfits", "missing", "duplicate_keys")},
        "signs_of_change": dict.fromkeys(HOSTILE, 1),
    }
    columns = TableColumns(tuple(Column(name, name, 1) for name in HOSTILE), 3)
    timeline = Timeline(5, starts=(0,), buckets=(Bucket(0, 1),), endpoints=dict.fromkeys(HOSTILE, (0, 1)))
    found = {
        "service": HOSTILE[0],
        "api_version": HOSTILE[1],
        "base_url": HOSTILE[3],
        "parameters": {"page_size": HOSTILE[2], "filters": dict.fromkeys(HOSTILE, "x"), "drop_columns": HOSTILE},
        "finished_at": HOSTILE[4],
        "endpoints": dict.fromkeys(HOSTILE, of_list),
        "not_exported": {name: name for name in HOSTILE},
    }
    return export_report(
        export_facts(
            manifest=found,
            difference=HOSTILE[5],
            incomplete=HOSTILE,
            columns={HOSTILE[0]: columns},
            log=RunLog("", "", timeline),
            made=HOSTILE[2],
        )
    )


def test_hostile_names_are_text() -> None:
    """Whatever a service calls a list, a field or a reason, the page has the elements that it should, and no others."""
    text = html_text(hostile_report())
    page = read_page(text)
    names = {element.name for element in page.everything()}
    assert not names & {"script", "img", "iframe", "object", "embed", "link", "base", "form", "input"}
    for element in page.everything():
        assert not any(name.startswith("on") for name in element.attributes), element
    assert {element.attributes["href"][0] for element in page.all("a")} == {"#"}
    assert HOSTILE[0] in page.whole_text
    assert not re.search("[\x00-\x09\x0b-\x1f\u202a-\u202e\u2066-\u2069]", text)
    assert set(re.findall(r'style="([^"]*)"', text)) == {"--of:33.3%", "--from:0.0%;--of:100.0%"}


@pytest.mark.parametrize("report", REPORTS)
def test_nothing_comes_from_elsewhere(report: Report) -> None:
    """A policy forbids it, and nothing asks for it."""
    text = html_text(report)
    policies = [element.attributes for element in read_page(text).all("meta") if "http-equiv" in element.attributes]
    assert [policy["http-equiv"] for policy in policies] == ["Content-Security-Policy"]
    assert policies[0]["content"].startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:;")
    assert not re.search(r"url\(|@import|src=|https?:(?!//service\.example<)", text)
    assert is_report(text.encode()[:64])


@pytest.mark.parametrize("report", REPORTS)
def test_it_can_be_used_without_seeing_it(report: Report) -> None:
    """Headings in order, a caption for each table, scopes, names of drawings, and unique ids that links lead to."""
    page = read_page(html_text(report))
    elements = page.everything()
    levels = [int(element.name[1]) for element in elements if re.fullmatch("h[1-6]", element.name)]
    assert (levels[0], levels.count(1)) == (1, 1)
    assert set(levels) == {1, 2}
    assert page.all("html")[0].attributes["lang"] == "en"
    assert len(page.all("main")) == 1
    ids = [element.attributes["id"] for element in elements if "id" in element.attributes]
    assert len(ids) == len(set(ids))
    assert {link.attributes["href"][1:] for link in page.all("a")} <= set(ids)
    assert page.all("table")
    for table in page.all("table"):
        assert table.all("caption")[0].whole_text
        assert {head.attributes["scope"] for head in table.all("th")} == {"col", "row"}
        width = len(table.all("thead")[0].all("th"))
        assert {len(row.children) for row in table.all("tr")} == {width}
    drawings = [drawing for drawing in page.all("svg") if "aria-hidden" not in drawing.attributes]
    assert drawings
    for drawing in drawings:
        assert drawing.attributes["role"] == "img"
        assert set(drawing.attributes["aria-labelledby"].split()) <= set(ids)
        assert len(drawing.all("title")[0].whole_text) > 5
        assert len(drawing.all("desc")[0].whole_text) > 20
    assert all(region.attributes["aria-label"] for region in elements if region.attributes.get("role") == "region")


def test_it_stays_small_whatever_there_is() -> None:
    """Hundreds of lists with long names, full timelines and thousands of drifting fields: well under 200 kB."""
    names = [f"{'list-' * 12}{number}" for number in range(70)]
    of_list = manifest()["endpoints"]["things"] | {
        "drift": {"unknown": {"field_" * 30 + str(number): number for number in range(20)}},
        "signs_of_change": {"duplicates": 2},
    }
    row = Bucket(0, *[10**9] * 5, used=(10**9,) * 8)
    rows = tuple(dataclasses.replace(row, at=at, requests=at) for at in range(MOST_BUCKETS))
    timeline = Timeline(
        5, 1, tuple(range(0, 60_000, 1_000)), ((10**9, 300.0),) * 8, rows, (), dict.fromkeys(names, (0, 1))
    )
    columns = TableColumns(tuple(Column("column_" * 20, "timestamp[us, tz=UTC]", 7) for _ in range(50)), 30)
    changes: dict[str, Any] = {
        "manifest": {"endpoints": dict.fromkeys(names, of_list), "not_exported": dict.fromkeys(names, "a reason")},
        "columns": dict.fromkeys(names, columns),
        "log": RunLog("", "", timeline),
    }
    assert 100_000 < len(fitting_text(partial(export_report, export_facts(**changes))).encode()) < 200_000
    polls = [poll(number, BEGAN) for number in range(240)]
    many = copy_facts(
        polls=240, columns=dict.fromkeys(names, columns), lists=dict.fromkeys(names, copy_facts().lists["things"])
    )
    assert len(fitting_text(partial(copy_report, dataclasses.replace(many, polls=polls))).encode()) < 200_000


def luminance(color: str) -> float:
    digits = color.lstrip("#")
    digits = "".join(2 * digit for digit in digits) if len(digits) == 3 else digits
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_colours_can_be_told_apart(scheme: int) -> None:
    """Text has a contrast of 4.5 to 1 on what is behind it, and drawings have 3 to 1."""
    palettes = re.findall(r"(?:light dark;|dark\)\{:root\{)(--page[^}]*)", STYLE)
    colors = dict(re.findall(r"--([a-z-]+):(#[0-9a-f]+)", palettes[scheme]))
    for text in ("ink", "soft", "link", "bad", "look", "fine"):
        for behind in ("page", "card"):
            assert contrast(colors[text], colors[behind]) >= 4.5, (text, behind)
    for level in ("bad", "look", "fine"):
        assert contrast(colors[level], colors[f"{level}-back"]) >= 4.5, level
    for tone in ("one", "two", "three", "four"):
        assert contrast(colors[tone], colors["card"]) >= 3, tone


def find(page: Element, name: str, text: str) -> Element:
    return next(element for element in page.all(name) if text in element.whole_text)


def test_verdict_is_first_and_in_words() -> None:
    """The first thing said is whether it is whole, in words and not by colour alone."""
    page = read_page(html_text(export_report(export_facts(difference="things/part-00000.parquet: missing"))))
    verdict = find(page, "section", "Not whole")
    assert verdict.whole_text.startswith("✕Problem: Not whole.")
    assert page.all("main")[0].all("section")[0] is verdict
