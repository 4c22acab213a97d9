"""Exports and replays to CSV: the same rows as in Parquet, whatever else is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from bulk_export.errors import Interrupted, UsageError
from bulk_export.output.verify import verify
from bulk_export.pipelines.export import export
from bulk_export.pipelines.replay import replay
from bulk_export.pipelines.replay_options import ReplayOptions
from bulk_export.pipelines.tuning import Tuning
from bulk_export.services.local import serving
from tests.support.exporting import options, settings
from tests.support.outputs import file_digests

COUNTS = {"npq-applications": 500, "participants-npq": 90, "statements": 0}
ALL_THREE: dict[str, Any] = {"format": ("parquet", "csv", "ndjson"), "page_size": 60}
MANY_PARTS = Tuning(part_rows=200)


def csv_columns(folder: Path, schema: pa.Schema) -> dict[str, list[Any]]:
    """What the CSV parts of a directory hold, in the types of a schema; what is nested stays text."""
    types = {field.name: pa.string() if pa.types.is_nested(field.type) else field.type for field in schema}
    convert = pa_csv.ConvertOptions(
        column_types=types, strings_can_be_null=True, quoted_strings_can_be_null=False, null_values=[""]
    )
    parse = pa_csv.ParseOptions(newlines_in_values=True)
    parts = [
        pa_csv.read_csv(path, parse_options=parse, convert_options=convert) for path in sorted(folder.glob("*.csv"))
    ]
    columns: dict[str, list[Any]] = pa.concat_tables(parts).to_pydict()
    return columns


def as_json(value: Any) -> Any:
    return json.loads(json.dumps(value, default=lambda moment: moment.isoformat().replace("+00:00", "Z")))


async def test_three_formats_in_one_pass(tmp_path: Path) -> None:
    """Each format is as it is alone, CSV holds the values of Parquet, and the manifest names all files."""
    async with serving(settings(records_by_endpoint=COUNTS)) as service:
        await export(options(service, tmp_path / "all", *COUNTS, **ALL_THREE), tuning=MANY_PARTS)
        for form in ALL_THREE["format"]:
            alone = options(service, tmp_path / form, *COUNTS, format=form, page_size=60)
            await export(alone, tuning=MANY_PARTS)
    alone_digests = [file_digests(tmp_path / form) for form in ALL_THREE["format"]]
    assert file_digests(tmp_path / "all") == alone_digests[0] | alone_digests[1] | alone_digests[2]
    for name, records in COUNTS.items():
        table = pq.ParquetDataset(sorted((tmp_path / "all" / name).glob("*.parquet"))).read()
        read = csv_columns(tmp_path / "all" / name, table.schema)
        assert list(read) == table.column_names
        assert len(read["id"]) == records
        for field in table.schema:
            written = table[field.name].to_pylist()
            if pa.types.is_nested(field.type):
                assert [text and json.loads(text) for text in read[field.name]] == as_json(written)
            else:
                assert read[field.name] == written
    described = json.loads((tmp_path / "all/manifest.json").read_bytes())
    files = described["endpoints"]["npq-applications"]["files"]
    parts = [(file["path"], file["rows"]) for file in files if file["path"].endswith(".csv")]
    assert parts == [(f"npq-applications/part-{part:05}.csv", rows) for part, rows in enumerate([240, 240, 20])]
    assert described["parameters"]["formats"]["csv"] == "none"
    assert verify(tmp_path / "all").rows == 3 * sum(COUNTS.values())


async def test_csv_replaces_parquet(tmp_path: Path) -> None:
    """`--overwrite` leaves nothing of the other format."""
    async with serving(settings(records_by_endpoint=COUNTS)) as service:
        await export(options(service, tmp_path / "out", "statements"))
        csv = {"format": "csv", "compression": "gzip", "overwrite": True}
        await export(options(service, tmp_path / "out", "statements", **csv))
    assert list(file_digests(tmp_path / "out")) == ["statements/part-00000.csv.gz"]
    verify(tmp_path / "out")


async def test_options_of_csv_belong_to_an_export(tmp_path: Path) -> None:
    """They are stated where there is CSV, an export goes on with the same ones only, and other formats know none."""
    stop = anyio.Event()
    stop.set()
    async with serving(settings(records_by_endpoint=COUNTS)) as service:
        chosen = {"format": "csv", "keep_pages": True}
        with pytest.raises(Interrupted):
            await export(options(service, tmp_path / "out", "statements", csv_safe=True, **chosen), stop=stop)
        with pytest.raises(UsageError, match="--csv-safe, now without it"):
            await export(options(service, tmp_path / "out", "statements", **chosen))
        await export(options(service, tmp_path / "out", "statements", csv_safe=True, **chosen))
    await replay(ReplayOptions.of(tmp_path / "out", output=tmp_path / "lines", format="ndjson"))
    await replay(ReplayOptions.of(tmp_path / "out", output=tmp_path / "again", format="csv", csv_bom=True))
    stated = {
        name: json.loads((tmp_path / name / "manifest.json").read_bytes())["parameters"]
        for name in ("out", "lines", "again")
    }
    of_csv = {name: (given.get("csv_bom"), given.get("csv_safe")) for name, given in stated.items()}
    assert of_csv == {"out": (False, True), "lines": (None, None), "again": (True, False)}
    assert (tmp_path / "again/statements/part-00000.csv").read_bytes().startswith(b'\xef\xbb\xbf"id",')
