"""The data source in a real Spark, one session for all tests, against the bundled service over HTTP."""

from __future__ import annotations

import json
import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bulk_export.core.model import Limit
from bulk_export.core.units import parse_instant
from bulk_export.services.local import LocalService
from tests.support.exporting import TOKEN
from tests.support.notebook import check_copy, parameters, run_cells
from tests.support.restore import canonical, restore
from tests.support.sliding_log import most_in_any_window

pytest.importorskip("pyspark.sql", reason="PySpark is not installed")
if shutil.which("java") is None:
    pytest.skip("there is no Java on this machine", allow_module_level=True)

from pyspark.sql import DataFrame, SparkSession, functions
from pyspark.sql.types import StructType

from bulk_export.spark import newest_versions

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180), pytest.mark.filterwarnings("default")]

ENDPOINT = "npq-applications"
# A description that covers one attribute.
SHORT = """
name = "npq"
title = "Short"
default_version = "v3"
[limits]
service = "100000/1s"
ip = "100000/1s"
[versions.v3.npq-applications]
path = "/api/v3/npq-applications"
record_type = "npq_application"
fields.full_name = "string"
"""


def frame(spark: SparkSession, service: LocalService, directory: Path, /, **options: Any) -> DataFrame:
    """The endpoint as a DataFrame, without waits for limits."""
    reader = spark.read.format("bulk_export").option("endpoint", ENDPOINT).option("baseUrl", service.base_url)
    free = {"budget": f"sqlite:///{directory}/budget.sqlite", "serviceLimit": "100000/1s", "ipLimit": "100000/1s"}
    small = {"minInterval": "0", "pageSize": "50", "pagesPerPartition": "10"}
    for name, value in {**free, **small, **options}.items():
        reader = reader.option(name, value)
    return reader.load()


def test_records_and_columns(spark: SparkSession, service: LocalService, tmp_path: Path) -> None:
    """A query gives every record once, in the columns of Parquet with `_extra` last, and in page order."""
    df = frame(spark, service, tmp_path)
    assert df.columns[:2] == ["id", "type"]
    assert df.columns[-1] == "_extra"
    rows = df.toArrow().to_pylist()
    expected = list(service.truth(ENDPOINT))
    assert [canonical(restore(row)) for row in rows] == [canonical(record) for record in expected]


def test_redaction(spark: SparkSession, service: LocalService, tmp_path: Path) -> None:
    """Dropped columns are missing from the schema, and pseudonyms stand for values."""
    (tmp_path / "key").write_text("0123456789abcdef" * 4)
    (tmp_path / "key").chmod(0o600)
    changes = {"dropColumn": "email, full_name", "pseudonymise": "teacher_reference_number"}
    df = frame(spark, service, tmp_path, pseudonymKeyFile=str(tmp_path / "key"), **changes)
    assert not {"email", "full_name"} & set(df.columns)
    given = {row[0] for row in df.select("teacher_reference_number").collect()}
    plain = {record["attributes"]["teacher_reference_number"] for record in service.truth(ENDPOINT)}
    assert given - {None}
    assert not given & (plain - {None})


def test_filters_are_sent(spark: SparkSession, service: LocalService, tmp_path: Path) -> None:
    """Filters that the service has are sent to it, and Spark applies them all."""
    truth = [record["attributes"] | {"id": record["id"]} for record in service.truth(ENDPOINT)]
    for record in truth:
        record["updated_at"] = datetime.fromisoformat(record["updated_at"])
    middle = sorted(record["updated_at"] for record in truth)[len(truth) // 2]
    cohort = truth[0]["cohort"]
    df = frame(spark, service, tmp_path, pushFilters="true").where(
        (functions.col("cohort") == cohort)
        & (functions.col("updated_at") > functions.lit(middle))
        & (functions.length("id") > 0)
    )
    found = sorted(row.id for row in df.select("id").collect())
    assert found == sorted(
        record["id"] for record in truth if record["cohort"] == cohort and record["updated_at"] > middle
    )
    queries = {request.query for request in service.log}
    assert all(f"filter[cohort]={cohort}" in query for query in queries), queries
    assert all("filter[updated_since]=" in query for query in queries)


def test_other_filters_stay_with_spark(spark: SparkSession, service: LocalService, tmp_path: Path) -> None:
    """A value that the service would refuse is not sent, and finds nothing."""
    assert frame(spark, service, tmp_path, pushFilters="true").where("cohort = 'never' and id = 'x'").count() == 0
    assert all("filter" not in request.query for request in service.log)


def test_token_stays_out_of_plans(
    spark: SparkSession, service: LocalService, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither a plan nor an error shows the token, and it cannot be an option."""
    df = frame(spark, service, tmp_path)
    df.explain(mode="formatted")
    with pytest.raises(Exception, match="cannot be an option"):
        frame(spark, service, tmp_path, token=TOKEN).count()
    (tmp_path / "wrong").write_text("another-token")
    (tmp_path / "wrong").chmod(0o600)
    with pytest.raises(Exception, match="401") as refused:
        frame(spark, service, tmp_path, tokenFile=str(tmp_path / "wrong")).count()
    shown = "".join(capfd.readouterr()) + str(refused.value)
    assert TOKEN not in shown
    assert "another-token" not in shown


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"budget": "memory://"}, "cannot be shared"),
        ({"budget": "redis://user:word@localhost:1/0"}, "with a password"),
        ({"pagesize": "many"}, "page-size"),
        ({"pagesPerPartition": "0"}, "pagesPerPartition"),
        ({"colour": "red"}, "no option 'colour'"),
        ({"schemaMode": "infer"}, "cannot be infer"),
    ],
)
def test_refused_options(
    changes: dict[str, str], sentence: str, spark: SparkSession, service: LocalService, tmp_path: Path
) -> None:
    """An option that cannot be used is refused with a sentence, before any request."""
    with pytest.raises(Exception, match=sentence):
        frame(spark, service, tmp_path, **changes).count()
    assert not list(service.log)


@pytest.mark.parametrize("service", [{"churn": 0.7, "churn_kinds": ("append", "touch")}], indirect=True)
def test_changing_data(spark: SparkSession, service: LocalService, tmp_path: Path) -> None:
    """Each record that existed throughout appears; `newest_versions` and `dedupe` give each id once."""
    before = {record["id"] for record in service.truth(ENDPOINT)}
    df = frame(spark, service, tmp_path)
    ids = [row.id for row in newest_versions(df).select("id").collect()]
    assert len(ids) == len(set(ids))
    assert before <= set(ids)
    once = [row.id for row in frame(spark, service, tmp_path, dedupe="true").select("id").collect()]
    assert len(once) == len(set(once))
    assert before <= set(once)


def test_first_rows(spark: SparkSession, service: LocalService, tmp_path: Path) -> None:
    """A query that needs a few rows does not read the whole list."""
    assert len(frame(spark, service, tmp_path, pageSize="10", pagesPerPartition="40", workers="1").take(3)) == 3
    assert len(list(service.log)) < 150


def test_strict_schema(spark: SparkSession, service: LocalService, tmp_path: Path) -> None:
    """Records that the description covers pass, and others are refused by `strict`."""
    (tmp_path / "short.toml").write_text(SHORT)
    assert frame(spark, service, tmp_path, schemaMode="strict").count() == service.count(ENDPOINT)
    short = {"service": str(tmp_path / "short.toml")}
    assert frame(spark, service, tmp_path, **short).columns == ["id", "type", "full_name", "_extra"]
    with pytest.raises(Exception, match="lax"):
        frame(spark, service, tmp_path, schemaMode="strict", **short).count()


def test_usual_configuration(spark: SparkSession, service: LocalService, tmp_path: Path) -> None:
    """Where Spark is not configured to push filters, which is usual, it applies them itself."""
    spark.conf.set("spark.sql.python.filterPushdown.enabled", "false")
    try:
        expected = sum(record["attributes"]["cohort"] == "2021" for record in service.truth(ENDPOINT))
        assert frame(spark, service, tmp_path).where("cohort = '2021'").count() == expected
    finally:
        spark.conf.set("spark.sql.python.filterPushdown.enabled", "true")


def test_newest_versions(spark: SparkSession) -> None:
    """Of several rows with one id the newest is kept, and rows without an id are all kept."""
    rows = [("a", "2024-01-01"), ("a", "2024-02-01"), ("b", None), (None, "x"), (None, "y")]
    df = spark.createDataFrame(rows, "id string, updated_at string")
    kept = sorted((tuple(row) for row in newest_versions(df).collect()), key=str)
    assert kept == sorted([("a", "2024-02-01"), ("b", None), (None, "x"), (None, "y")], key=str)


def test_schema_is_that_of_description(spark: SparkSession, service: LocalService, tmp_path: Path) -> None:
    """The schema is known without a request, and can be stored as JSON."""
    df = frame(spark, service, tmp_path)
    assert StructType.fromJson(json.loads(df.schema.json())) == df.schema
    assert not list(service.log)


@pytest.mark.parametrize("service", [{"records_by_endpoint": {ENDPOINT: 600}, "largest_page": 20}], indirect=True)
def test_notebook(spark: SparkSession, service: LocalService, tmp_path: Path) -> None:
    """The first run fetches everything, the next one what changed since two intervals ago, late commits included."""
    given = parameters(service, tmp_path)
    run_cells(given)
    (started,) = set(check_copy(service, given))
    assert abs(started - datetime.now(UTC)) < timedelta(minutes=5)
    first = len(service.log)
    assert all("updated_since" not in request.query for request in service.log)
    service.append(ENDPOINT, 3)
    service.touch(ENDPOINT, 5)
    # Committed by a transaction that began long before the first poll.
    late = service.touch(ENDPOINT, 6, time.time() - 50 * 60)
    run_cells(given)
    synced = check_copy(service, given)
    queries = {request.query for request in list(service.log)[first:]}
    since = [parse_instant(query.split("filter[updated_since]=")[1].split("&")[0]) for query in queries]
    # Two intervals before the second poll, which is earlier than one before the first.
    assert max(since) - min(since) <= timedelta(seconds=2)
    assert timedelta(0) <= started - timedelta(hours=1) - max(since) < timedelta(hours=1)
    assert 5 <= sum(moment > started for moment in synced) < 600
    assert late in {record["id"] for record in service.truth(ENDPOINT)}


def tenants(directory: Path, **tokens: str) -> str:
    """A file of tenants with a token each."""
    text = ""
    for name, token in tokens.items():
        (directory / f"{name}.token").write_text(token)
        (directory / f"{name}.token").chmod(0o600)
        text += f'[[tenant]]\nname = "{name}"\ntoken-file = "{name}.token"\n'
    (directory / "tenants.toml").write_text(text)
    (directory / "tenants.toml").chmod(0o600)
    return str(directory / "tenants.toml")


@pytest.mark.parametrize("service", [{"other_tokens": ("token-of-b",)}], indirect=True)
def test_tenants(spark: SparkSession, service: LocalService, tmp_path: Path) -> None:
    """Each tenant's records stand under its name, read with its token; a query for one requests only its list."""
    file = tenants(tmp_path, a=TOKEN, b="token-of-b")
    df = frame(spark, service, tmp_path, tenants=file, pushFilters="true")
    assert df.columns[:2] == ["tenant", "id"]
    ids = sorted(record["id"] for record in service.truth(ENDPOINT))
    found = newest_versions(df).select("tenant", "id").collect()
    assert sorted(tuple(row) for row in found) == [("a", id_) for id_ in ids] + [("b", id_) for id_ in ids]
    requests = len(service.log)
    assert df.where("tenant = 'b'").count() == len(ids)
    assert len(service.log) - requests < 0.7 * requests


def test_revoked_token(spark: SparkSession, service: LocalService, tmp_path: Path) -> None:
    """The token of one tenant is refused: so is the query, with the name of the tenant, since a part would mislead."""
    file = tenants(tmp_path, a=TOKEN, gone="revoked")
    with pytest.raises(Exception, match=r"Tenant gone: .*401") as refused:
        frame(spark, service, tmp_path, tenants=file).count()
    assert "revoked" not in str(refused.value)
    file = tenants(tmp_path, a=TOKEN, twin=TOKEN)
    for dedupe in ("false", "true"):
        with pytest.raises(Exception, match="have the same token"):
            frame(spark, service, tmp_path, tenants=file, dedupe=dedupe).count()


LIMITS = {"service_limit": Limit(100, 2), "ip_limit": Limit(20, 2), "windows": "rolling"}


@pytest.mark.parametrize(
    "service",
    [{**LIMITS, "records_by_endpoint": {ENDPOINT: 500}, "other_tokens": ("token-of-b",)}],
    indirect=True,
)
def test_tenants_share_address(spark: SparkSession, service: LocalService, tmp_path: Path) -> None:
    """Two tenants have a limit each, and one for the address that they share, which the server never sees exceeded."""
    file = tenants(tmp_path, a=TOKEN, b="token-of-b")
    limits = {"serviceLimit": "100/2s", "ipLimit": "20/2s", "pagesPerPartition": "5", "pageSize": "25"}
    assert frame(spark, service, tmp_path, tenants=file, **limits).count() == 1_000
    assert 429 not in service.statuses
    assert len(service.log) > 40
    assert most_in_any_window([request.at for request in service.log], 2) <= 20
