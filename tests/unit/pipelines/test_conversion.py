"""One endpoint from journal to parts, a step at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulk_export.core.model import PageKey
from bulk_export.extract.sweep import Sweep
from bulk_export.pipelines.conversion import EndpointConversion, restore_sweep
from bulk_export.transform.decode import Body
from tests.support.stored_pages import (
    PAGE_SIZE,
    PARTNERS,
    body,
    complete_sweep,
    conversion_settings,
    full_pages,
    ids_written,
    open_conversion,
    open_store,
    record,
    staging_of,
    store_pages,
)


def finish(conversion: EndpointConversion) -> int:
    """Run all steps. Return the number of rows that they report."""
    rows = 0
    while step := conversion.next_step():
        rows += conversion.run(step)
    return rows


def test_pages_become_rows_once(tmp_path: Path) -> None:
    """Without duplicates, every record is written once, in page order, and a finished conversion has no step."""
    store = open_store(tmp_path)
    store_pages(store, full_pages(25))
    conversion = open_conversion(store, tmp_path)
    assert finish(conversion) == 25
    assert conversion.finished
    assert conversion.corrections is None
    assert ids_written(conversion) == [f"{number:08}" for number in range(25)]
    store.close()


def test_an_empty_endpoint_has_a_part(tmp_path: Path) -> None:
    """An endpoint without records gets one part without rows."""
    store = open_store(tmp_path)
    store_pages(store, [[]])
    conversion = open_conversion(store, tmp_path)
    assert finish(conversion) == 0
    assert [part.rows for part in conversion.parts.parts] == [0]
    store.close()


def test_the_newer_of_two_rows_stays(tmp_path: Path) -> None:
    """Of a record on two pages the newer version is written where it stands, and rows are reported once only."""
    pages = full_pages(25)
    pages[2].append(record(3, updated_at="2025-04-01T00:00:00.000Z"))
    store = open_store(tmp_path)
    store_pages(store, pages)
    conversion = open_conversion(store, tmp_path)
    assert finish(conversion) == 26
    assert conversion.duplicates == 1
    assert ids_written(conversion) == [f"{number:08}" for number in (*range(3), *range(4, 25), 3)]
    store.close()


def test_cores_change_nothing(tmp_path: Path) -> None:
    """The pages of a list with a duplicate, and those of its second conversion, become the same files on any cores."""
    pages = full_pages(PAGE_SIZE * 320)
    pages[300][4] = record(3)
    files = []
    for cores in (1, 3):
        store = open_store(tmp_path / str(cores))
        store_pages(store, pages)
        conversion = open_conversion(store, tmp_path / str(cores), part_rows=1_500, cores=cores)
        assert finish(conversion) == PAGE_SIZE * 320
        assert conversion.duplicates == 1
        files.append([part.files for part in conversion.parts.parts])
        store.close()
    assert files[0] == files[1]


def test_corrections_hold_for_a_later_run(tmp_path: Path) -> None:
    """A run that ends after the corrections were decided goes on with the second conversion, and reports no rows."""
    pages = full_pages(25)
    pages[2].append(record(3))
    store = open_store(tmp_path)
    store_pages(store, pages)
    first = open_conversion(store, tmp_path)
    while first.corrections is None:
        step = first.next_step()
        assert step is not None
        first.run(step)
    first.abort()
    second = open_conversion(store, tmp_path)
    assert second.corrections == first.corrections
    assert finish(second) == 0
    assert ids_written(second) == [f"{number:08}" for number in range(25)]
    store.close()


def test_fields_are_inferred_before_writing(tmp_path: Path) -> None:
    """With `infer`, a field on the last page is a column of the first part."""
    pages = full_pages(25)
    pages[2][4]["attributes"]["height"] = 1.5
    store = open_store(tmp_path)
    store_pages(store, pages)
    conversion = open_conversion(store, tmp_path, formats={"parquet": "zstd"}, schema_mode="infer", part_rows=PAGE_SIZE)
    assert finish(conversion) == 25
    assert len(conversion.parts.parts) == 3
    assert "height" in conversion.parts.schema.names
    store.close()


def test_fresh_bodies_are_taken_once(tmp_path: Path) -> None:
    """Bodies still in memory are written without being read from the journal."""

    class Recent:
        def __init__(self, bodies: dict[PageKey, Body]) -> None:
            self.bodies = bodies

        def take_fresh(self, key: PageKey) -> Body | None:
            return self.bodies.pop(key, None)

    pages = full_pages(25)
    store = open_store(tmp_path)
    store_pages(store, pages)
    key = PageKey(PARTNERS.name, 0, 2)
    recent = Recent({key: body([record(number) for number in range(90, 100)])})
    conversion = open_conversion(store, tmp_path)
    while step := conversion.next_step(recent):
        conversion.run(step)
    assert recent.bodies == {}
    assert ids_written(conversion)[10] == "00000090"
    store.close()


def test_no_step_while_pages_are_missing(tmp_path: Path) -> None:
    """Before the end of a list is known there is no step for less than a block, and the conversion is not finished."""
    store = open_store(tmp_path)
    store_pages(store, full_pages(25))
    sweep = Sweep(PARTNERS, number=0, page_size=PAGE_SIZE, stride=1, filters=())
    restore_sweep(sweep, store)
    conversion = EndpointConversion(sweep, conversion_settings(), store, staging_of(tmp_path))
    assert conversion.next_step() is None
    assert not conversion.finished
    store.close()


def test_a_consistent_one_wants_a_further_sweep(tmp_path: Path) -> None:
    """After the first sweep is written, a consistent conversion names the next sweep once, and waits for its pages."""
    store = open_store(tmp_path)
    store_pages(store, full_pages(25))
    settings = conversion_settings(consistent=True)
    conversion = EndpointConversion(complete_sweep(store), settings, store, staging_of(tmp_path))
    while step := conversion.next_step():
        conversion.run(step)
    wanted = conversion.wanted_sweep()
    assert wanted is not None
    assert (wanted.number, wanted.page_size) == (1, PARTNERS.paging.largest)
    assert conversion.wanted_sweep() is None
    assert not conversion.finished
    store.close()


@pytest.mark.parametrize("part_rows", [1, 15, 20, 600_000])
def test_cuts_depend_on_the_pages(tmp_path: Path, part_rows: int) -> None:
    """A part ends with the page that brings its records to `part_rows`."""
    store = open_store(tmp_path)
    store_pages(store, full_pages(55))
    conversion = open_conversion(store, tmp_path, part_rows=part_rows)
    finish(conversion)
    pages_per_part = max(1, -(-part_rows // PAGE_SIZE))
    lasts = [part.last_page for part in conversion.parts.parts]
    assert lasts == [*range(pages_per_part, 6, pages_per_part), 6]
    store.close()
