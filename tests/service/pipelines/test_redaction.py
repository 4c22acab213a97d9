"""Fields that may not be held are in nothing an export leaves."""

from __future__ import annotations

import hashlib
import hmac
import json
import sqlite3
from pathlib import Path
from typing import Any

import anyio
import pyarrow.parquet as pq
import pytest

from bulk_export.core.model import PageKey
from bulk_export.errors import UsageError
from bulk_export.extract.journal import open_archive
from bulk_export.pipelines.export import export
from bulk_export.pipelines.stream import stream_batches
from bulk_export.services.local import serving
from tests.support.exporting import options, settings
from tests.support.outputs import file_digests, read_ndjson, read_parquet

KEY = b"sixteen bytes or more"
NAME = "participants-npq"
# Names stand among the previous ones, too, and ids among the changes of ids.
RULES = {
    "drop_column": ["full_name", "previous_names", "npq_enrolments.email"],
    "pseudonymise": [
        "teacher_reference_number",
        "id",
        "participant_id_changes.from_participant_id",
        "participant_id_changes.to_participant_id",
    ],
}


def pseudonym(text: str, key: bytes = KEY) -> str:
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.touch(mode=0o600)
    path.write_bytes(KEY + b"\n")
    return path


def secrets_of(records: list[dict[str, Any]]) -> list[bytes]:
    """Every value that must not be left anywhere, and is long enough to be told from others."""
    found = set()
    for record in records:
        attributes = record["attributes"]
        found |= {record["id"], attributes["full_name"], attributes["teacher_reference_number"]}
        found |= {enrolment["email"] for enrolment in attributes["npq_enrolments"]}
    return [json.dumps(value)[1:-1].encode() for value in found if value and len(value) > 4]


async def test_redacted_fields_are_in_no_file(tmp_path: Path, key_file: Path) -> None:
    """Dropped and pseudonymised fields are in no file."""
    async with serving(settings(records_by_endpoint={NAME: 120})) as service:
        records = list(service.truth(NAME))
        await export(
            options(
                service,
                tmp_path / "out",
                NAME,
                page_size=50,
                format=("parquet", "ndjson", "csv"),
                compression=None,
                keep_pages=True,
                pseudonym_key_file=key_file,
                **RULES,
            )
        )
    folder = tmp_path / "out" / NAME
    lines, rows = read_ndjson(folder), read_parquet(folder)
    assert [line["id"] for line in lines] == [row["id"] for row in rows] == [pseudonym(one["id"]) for one in records]
    for record, line, row in zip(records, lines, rows, strict=True):
        number = record["attributes"]["teacher_reference_number"]
        expected = pseudonym(number) if number else None
        assert line["attributes"].get("teacher_reference_number") == row["teacher_reference_number"] == expected
        assert "full_name" not in line["attributes"]
    assert "full_name" not in pq.read_schema(next(folder.glob("*.parquet"))).names
    archive = open_archive(tmp_path / "out/pages.sqlite", cap=1 << 24)
    bodies = b"".join(archive.body(PageKey(NAME, 0, page)) for page in (1, 2, 3))
    archive.close()
    left = bodies + b"".join(
        path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.suffix in (".ndjson", ".csv", ".json")
    )
    left += b"".join(json.dumps(row, default=str).encode() for row in rows)
    assert [secret for secret in secrets_of(records) if secret in left] == []
    assert KEY not in left


async def test_manifest_states_redaction(tmp_path: Path, key_file: Path) -> None:
    """The manifest states the rules, and tells keys apart without showing them."""
    async with serving(settings(records_by_endpoint={NAME: 5})) as service:
        await export(options(service, tmp_path / "out", NAME, pseudonym_key_file=key_file, **RULES))
    stated = json.loads((tmp_path / "out/manifest.json").read_bytes())["parameters"]
    assert (stated["drop_columns"], stated["pseudonymise"]) == (RULES["drop_column"], RULES["pseudonymise"])
    assert len(stated["pseudonym_key"]) == 16


async def test_an_export_does_not_go_on_under_another_key(tmp_path: Path, key_file: Path) -> None:
    async with serving(settings(records_by_endpoint={NAME: 200}, token="other")) as service:
        chosen = {"page_size": 10, "pseudonymise": "full_name", "retries": 0}
        with pytest.raises(Exception, match="401"):
            await export(options(service, tmp_path / "out", NAME, pseudonym_key_file=key_file, **chosen))
        key_file.write_bytes(b"another key, as long")
        with pytest.raises(UsageError, match="--pseudonym-key-file holds another key"):
            await export(options(service, tmp_path / "out", NAME, pseudonym_key_file=key_file, **chosen))


async def test_streamed_batches_are_redacted_too(tmp_path: Path, key_file: Path) -> None:
    async with serving(settings(records_by_endpoint={NAME: 30})) as service:
        expected = [pseudonym(record["id"]) for record in service.truth(NAME)]
        chosen = options(service, tmp_path / "none", NAME, pseudonym_key_file=key_file, **RULES)
        batches = [batch async for batch in stream_batches(chosen)]
    assert [identity for batch in batches for identity in batch.column("id").to_pylist()] == expected
    assert all("full_name" not in batch.schema.names for batch in batches)


async def test_pseudonyms_join_across_endpoints_and_runs(tmp_path: Path, key_file: Path) -> None:
    async with serving(settings(records_by_endpoint={NAME: 40, "npq-applications": 80})) as service:
        rules = {"pseudonymise": ["participant_id", "id"], "pseudonym_key_file": key_file}
        await export(options(service, tmp_path / "one", NAME, "npq-applications", **rules))
        await export(options(service, tmp_path / "two", NAME, "npq-applications", **rules))
    assert file_digests(tmp_path / "one") == file_digests(tmp_path / "two")
    people = {row["id"] for row in read_parquet(tmp_path / "one" / NAME)}
    assert {row["participant_id"] for row in read_parquet(tmp_path / "one/npq-applications")} <= people


async def test_unknown_field_is_refused(tmp_path: Path) -> None:
    """A field that the description does not know is refused unless the user says that it is one."""
    async with serving(settings(records_by_endpoint={NAME: 3})) as service:
        with pytest.raises(UsageError, match="No endpoint here has full_nmae"):
            options(service, tmp_path / "out", NAME, drop_column="full_nmae")
        await export(options(service, tmp_path / "out", NAME, drop_column=["_extra.national_insurance_number"]))
    assert len(read_parquet(tmp_path / "out" / NAME)) == 3


def test_the_archive_is_a_database_without_leftovers(tmp_path: Path, key_file: Path) -> None:
    """Raw bodies in pages that a database has freed would still be there."""

    async def run() -> list[bytes]:
        async with serving(settings(records_by_endpoint={NAME: 59}, gzip=False)) as service:
            chosen = options(
                service, tmp_path / "out", NAME, keep_pages=True, pseudonym_key_file=key_file, page_size=20, **RULES
            )
            await export(chosen)
            return secrets_of(list(service.truth(NAME)))

    secrets = anyio.run(run)
    path = tmp_path / "out/pages.sqlite"
    content = path.read_bytes()
    assert [secret for secret in secrets if secret in content] == []
    with sqlite3.connect(path) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        counts = {name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in tables}
    connection.close()
    assert (counts["parts"], counts["prints"]) == (0, 0)
    assert counts["pages"] >= 3
