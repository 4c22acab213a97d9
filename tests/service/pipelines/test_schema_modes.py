"""`--schema`: what becomes of records that hold more than is described."""

from __future__ import annotations

import contextlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from bulk_export.core.model import Service
from bulk_export.errors import SchemaDrift, ServiceFailing, UsageError
from bulk_export.pipelines.export import export
from bulk_export.pipelines.replay import replay
from bulk_export.pipelines.replay_options import ReplayOptions
from bulk_export.pipelines.tuning import Tuning
from bulk_export.services.catalogue import read_description
from bulk_export.services.local import LocalService, serving
from tests.support.any_shape import FIELDS, OFFSET, ORDER, export_and_compare
from tests.support.exporting import QUICK, options, settings
from tests.support.outputs import read_parquet
from tests.support.restore import canonical, restore

KNOWN = {"name": "string", "size": "integer", "owner": {"email": "string"}, "created_at": "timestamp"}
FLAT = {"records": {"attributes": []}, "pages": OFFSET}


def things(fields: dict[str, Any], **top: Any) -> Service:
    boxes = {"path": "/v1/boxes", "fields": fields} | ORDER
    return read_description({"name": "things", "versions": {"v1": {"boxes": boxes}}} | top, None)


def served(count: int = 120, **top: Any) -> Any:
    return serving(settings(service=things(FIELDS, **top), records_by_endpoint={"boxes": count}))


def columns(manifest: dict[str, Any]) -> dict[str, str]:
    return {column["name"]: column["type"] for column in manifest["endpoints"]["boxes"]["schema"]}


async def run(service: LocalService, output: Path, schema: str, known: Service, **changes: Any) -> dict[str, Any]:
    chosen = options(service, output, service=known, schema=schema, page_size=25, **changes)
    await export(chosen, tuning=QUICK)
    manifest: dict[str, Any] = json.loads((output / "manifest.json").read_text())
    return manifest


@pytest.mark.parametrize("shape", [{}, FLAT], ids=["usual", "flat"])
async def test_strict_stops_and_lax_goes_on(tmp_path: Path, shape: dict[str, Any]) -> None:
    """--schema strict stops at the first undescribed thing, and lax goes on."""
    known = things(KNOWN, **shape)
    async with served(**shape) as service:
        with pytest.raises(SchemaDrift) as refused:
            await run(service, tmp_path, "strict", known)
        assert refused.value.exit_code == 3
        assert "day" in refused.value.what
        assert "page 1" in refused.value.what
        assert "--schema lax" in refused.value.next_step
        assert not (tmp_path / "manifest.json").exists()
        spent = len(service.log)
        manifest = await run(service, tmp_path, "lax", known)
        assert [record.query for record in service.log].count(service.log[0].query) == 1
        assert len(service.log) > spent - 1
    assert manifest["parameters"]["schema"] == "lax"
    assert manifest["endpoints"]["boxes"]["records"] == 120


async def test_strict_does_not_show_the_value(tmp_path: Path) -> None:
    async with served() as service:
        truth = list(service.truth("boxes"))
        with pytest.raises(SchemaDrift) as refused:
            await run(service, tmp_path, "strict", things({**FIELDS, "name": "integer"}))
        said = " ".join(refused.value.lines())
        assert "name" in said
        assert not any(record["attributes"]["name"] in said for record in truth if record["attributes"]["name"])


@pytest.mark.parametrize("form", ["parquet", "ndjson"])
async def test_strict_accepts_described_records(tmp_path: Path, form: str) -> None:
    """--schema strict accepts records that are as described."""
    async with served() as service:
        manifest = await run(service, tmp_path, "strict", service.settings.service, format=form)
    assert manifest["endpoints"]["boxes"]["records"] == 120


ANYTHING = {"free": "any", "bag": {}, "mixed": ["any"], "part": {"a": "string", "b": "any"}, "loose": {"c": "any"}}


@pytest.mark.parametrize("shape", [{}, FLAT], ids=["usual", "flat"])
async def test_strict_accepts_any_type(tmp_path: Path, shape: dict[str, Any]) -> None:
    """--schema strict accepts anything where `any` is described, and nothing of it is lost."""
    known = things(FIELDS | ANYTHING, **shape)
    async with serving(settings(service=known, records_by_endpoint={"boxes": 60})) as service:
        manifest = await export_and_compare(service, tmp_path / "out", schema="strict", page_size=25)
        assert {"part", *FIELDS} <= columns(manifest).keys()
        assert not {"free", "bag", "mixed", "loose"} & columns(manifest).keys()
        with pytest.raises(SchemaDrift, match="not described: bag"):
            await run(service, tmp_path / "other", "strict", things(FIELDS, **shape))


async def test_strict_accepts_undescribed_records(tmp_path: Path) -> None:
    """--schema strict accepts all records of an endpoint without described fields."""
    async with served() as service:
        manifest = await run(service, tmp_path / "out", "strict", things({}))
    assert (manifest["endpoints"]["boxes"]["records"], len(columns(manifest))) == (120, 3)


async def test_strict_notices_drift_in_raw_lines_too(tmp_path: Path) -> None:
    async with served() as service:
        with pytest.raises(SchemaDrift):
            await run(service, tmp_path, "strict", things(KNOWN), format="ndjson")


async def test_strict_after_an_earlier_lax_run(tmp_path: Path) -> None:
    """--schema strict notices drift in pages that an earlier lax run stored."""
    known = things({**FIELDS, "name": "integer"})

    def stop_after(service: LocalService, record: Any) -> None:
        if len(service.log) > 4:
            service.settings = replace(service.settings, error_rate=1.0)

    async with served() as service:
        service.before_request = stop_after
        tuning = replace(QUICK, part_rows=25)
        chosen = options(service, tmp_path, service=known, page_size=25, retries=0)
        with pytest.raises(ServiceFailing):
            await export(chosen, tuning=tuning)
        service.before_request = None
        service.settings = replace(service.settings, error_rate=0.0)
        with pytest.raises(SchemaDrift):
            await export(replace(chosen, schema="strict"), tuning=tuning)


@pytest.mark.parametrize("shape", [{}, FLAT], ids=["usual", "flat"])
async def test_infer_adds_columns(tmp_path: Path, shape: dict[str, Any]) -> None:
    """--schema infer gives new attributes columns without another request."""
    known, full = things(KNOWN, **shape), things(FIELDS, **shape)
    async with served(**shape) as service:
        # The first export finds out how the service pages, which costs requests once.
        await run(service, tmp_path / "first", "lax", known, workers=1)
        before = len(service.log)
        lax = await run(service, tmp_path / "lax", "lax", known, workers=1)
        spent = len(service.log) - before
        inferred = await run(service, tmp_path / "inferred", "infer", known, workers=1)
        assert len(service.log) == before + 2 * spent
        described = await run(service, tmp_path / "described", "lax", full)
        truth = list(service.truth("boxes"))
    found, wanted = columns(inferred), columns(described)
    for name in FIELDS.keys() - KNOWN.keys():
        assert found[name] == wanted[name]
    assert "struct<email: string, left: struct<at: timestamp[us, tz=UTC]>>" in found["owner"]
    assert lax["endpoints"]["boxes"]["drift"]["unknown"]
    assert not inferred["endpoints"]["boxes"]["drift"]["unknown"]
    taken = read_parquet(tmp_path / "inferred" / "boxes")
    assert all(row["_extra"] is None for row in taken)
    if not shape:
        assert [canonical(restore(row)) for row in taken] == list(map(canonical, truth))


async def test_infer_resumes(tmp_path: Path) -> None:
    """An inferred export that was interrupted is the same in the end."""
    known = things(KNOWN)
    tuning: Tuning = replace(QUICK, part_rows=30)

    def files(output: Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (output / "boxes").iterdir()}

    async with served(count=300) as service:
        await export(options(service, tmp_path / "whole", service=known, schema="infer", page_size=25), tuning=tuning)
        service.settings = replace(service.settings, error_rate=0.4)
        chosen = options(service, tmp_path / "cut", service=known, schema="infer", page_size=25, retries=1)
        runs = 0
        while not (tmp_path / "cut" / "manifest.json").exists():
            runs += 1
            with contextlib.suppress(ServiceFailing):
                await export(chosen, tuning=tuning)
    assert 1 < runs < 100
    assert files(tmp_path / "whole") == files(tmp_path / "cut")
    assert len(files(tmp_path / "whole")) > 3


async def test_infer_does_not_resume_lax_parts(tmp_path: Path) -> None:
    """Parts of a lax run are not used by a run with --schema infer."""
    async with served() as service:
        with pytest.raises(SchemaDrift):
            await run(service, tmp_path, "strict", things(KNOWN))
        with pytest.raises(UsageError, match="--schema lax, now infer"):
            await run(service, tmp_path, "infer", things(KNOWN))


async def test_changed_description_is_noticed(tmp_path: Path) -> None:
    """A description that was changed meanwhile is noticed."""
    async with served() as service:
        with pytest.raises(SchemaDrift):
            await run(service, tmp_path, "strict", things(KNOWN))
        with pytest.raises(UsageError, match="description"):
            await run(service, tmp_path, "lax", things({**KNOWN, "day": "string"}))


async def test_dropped_attributes_are_not_inferred(tmp_path: Path) -> None:
    """Dropped attributes do not come back by inference."""
    async with served() as service:
        await run(service, tmp_path, "infer", things({**KNOWN, "day": "date"}), drop_column=["day", "owner.email"])
    names = pq.read_schema(next((tmp_path / "boxes").glob("*.parquet"))).names
    assert "day" not in names
    assert "weight" in names


async def test_replay_under_other_rules(tmp_path: Path) -> None:
    """Kept pages can be replayed under other schema rules without a request."""
    known, kept = things(KNOWN), tmp_path / "kept"
    async with served() as service:
        await run(service, kept, "lax", known, keep_pages=True)
        inferred = await run(service, tmp_path / "inferred", "infer", known)
        truth = [canonical(record) for record in service.truth("boxes")]

    async def again(schema: str) -> dict[str, Any]:
        chosen = ReplayOptions.of(kept / "pages.sqlite", service=known, output=tmp_path / "again", schema=schema)
        await replay(chosen)
        manifest: dict[str, Any] = json.loads((tmp_path / "again" / "manifest.json").read_text())
        return manifest

    with pytest.raises(SchemaDrift, match="day"):
        await again("strict")
    assert not (tmp_path / "again" / "manifest.json").exists()
    with pytest.raises(UsageError, match="schema"):
        await again("infer")  # what is there was begun under the other rule
    shutil.rmtree(tmp_path / "again")
    manifest = await again("infer")
    assert columns(manifest) == columns(inferred) != columns(json.loads((kept / "manifest.json").read_text()))
    assert manifest["run"]["requests"] == 0
    assert [canonical(restore(row)) for row in read_parquet(tmp_path / "again" / "boxes")] == truth
