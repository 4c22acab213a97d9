"""The options of the Spark data source, without Spark."""

from __future__ import annotations

import pickle
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bulk_export.errors import UsageError
from bulk_export.integrations.spark_options import SourceOptions, is_shared_by_machines

GIVEN = {"endpoint": "npq-applications", "baseUrl": "https://api.example", "budget": "redis://host:6379/0"}


def test_names_and_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names count without regard to case; lists are separated by commas, and filters have a name each."""
    monkeypatch.setenv("BULK_EXPORT_TOKEN", "secret")
    more = {"DROPCOLUMN": "email, full_name", "filter.cohort": "2021", "pageSize": "100", "dedupe": "TRUE"}
    options = SourceOptions.of(GIVEN | more)
    resolved = options.resolved({})
    assert resolved.drop_columns == ("email", "full_name")
    assert resolved.filters == (("cohort", "2021"),)
    assert (resolved.page_size, options.dedupe, options.pages_per_partition) == (100, True, 50)


def test_own_filter_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """A filter of the options stays as it is when the query has another value."""
    monkeypatch.setenv("BULK_EXPORT_TOKEN", "secret")
    options = SourceOptions.of(GIVEN | {"filter.cohort": "2021"})
    assert options.resolved({"filter": {"cohort": "2022"}}).filters == (("cohort", "2021"),)


def test_mounted_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The token is read from the mounted secret by each process, and is not pickled."""
    (tmp_path / "scope").mkdir()
    (tmp_path / "scope/key").write_text("the-token\n")
    (tmp_path / "scope/key").chmod(0o600)
    options = pickle.loads(pickle.dumps(SourceOptions.of(GIVEN | {"tokenSecret": "scope/key"})))
    with pytest.raises(UsageError, match="does not know where"):
        options.resolved({})
    monkeypatch.setenv("BULK_EXPORT_SECRETS", str(tmp_path))
    token = options.resolved({}).token
    assert token is not None
    assert token.reveal() == "the-token"
    assert b"the-token" not in pickle.dumps(options)


def test_secret_outside_of_its_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BULK_EXPORT_SECRETS", str(tmp_path))
    with pytest.raises(UsageError, match="scope/key"):
        SourceOptions.of(GIVEN | {"tokenSecret": "../key"}).resolved({})


def test_budget_and_address_of_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A budget with a password, and the address of a machine, come from the environment."""
    monkeypatch.setenv("BULK_EXPORT_TOKEN", "secret")
    monkeypatch.setenv("BULK_EXPORT_BUDGET", "redis://:word@host:6379/0")
    monkeypatch.setenv("BULK_EXPORT_SOURCE_ADDRESS", "127.0.0.2")
    resolved = SourceOptions.of({name: GIVEN[name] for name in ("endpoint", "baseUrl")}).resolved({})
    assert (resolved.budget, resolved.sources) == ("redis://:word@host:6379/0", ("127.0.0.2",))


@pytest.mark.parametrize(
    ("budget", "is_shared"),
    [("redis://h/0", True), ("rediss://h/0", True), ("sqlite://", False), ("sqlite:///redis", False)],
)
def test_shared_budget(budget: str, is_shared: bool) -> None:
    assert is_shared_by_machines(budget) is is_shared


@pytest.mark.parametrize(
    "more",
    [
        {"token": "secret"},
        {"budget": "redis://:word@host/0"},
        {"format": "parquet"},
        {"environment": "local"},
        {"dedupe": "perhaps"},
        {"pagesPerPartition": "-1"},
        {"tokenFile": "a", "tokenSecret": "b/c"},
        {"tokenFile": "a", "tenants": "b"},
        {"every": "0"},
        {"fullEvery": "1d"},
        {"every": "1h", "updatedSince": "2026-01-01"},
        {"every": "1h", "sort": "-created_at"},
        {"every": "1h", "pushFilters": "true"},
    ],
)
def test_refused(more: dict[str, str]) -> None:
    """What cannot be used is refused, and no value is repeated."""
    with pytest.raises(UsageError) as refused:
        SourceOptions.of(GIVEN | more)
    assert "secret" not in " ".join(refused.value.lines())
    assert "word@" not in " ".join(refused.value.lines())


@pytest.mark.parametrize(
    "statement",
    [
        "import bulk_export.spark",
        "from bulk_export.spark import BulkExportDataSource",
        "import bulk_export; bulk_export.spark.BulkExportDataSource",
    ],
)
def test_import_without_spark(statement: str) -> None:
    """Without PySpark, importing the data source fails with one sentence that says what to install."""
    program = f"import sys; sys.modules['pyspark'] = None; {statement}"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.stderr.splitlines()[-1] == (
        "ImportError: bulk_export.spark needs PySpark 4.1 or newer: pip install 'bulk-export[spark]'."
    )


def tenants_file(directory: Path, text: str) -> dict[str, str]:
    """Options that name a file of tenants."""
    (directory / "tenants.toml").write_text(text)
    (directory / "tenants.toml").chmod(0o600)
    return {"endpoint": "npq-applications", "tenants": str(directory / "tenants.toml"), "budget": "redis://host:1/0"}


def test_tenants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each tenant has the token of its file and its address; the environment gives none."""
    monkeypatch.setenv("BULK_EXPORT_TOKEN", "for-nobody")
    for name in "ab":
        (tmp_path / name).write_text(f"token-{name}")
        (tmp_path / name).chmod(0o600)
    text = """
[[tenant]]
name = "a"
token-file = "a"
base-url = "https://a.example"
[[tenant]]
name = "b"
token-file = "b"
"""
    options = SourceOptions.of({**tenants_file(tmp_path, text), "baseUrl": "https://all.example"})
    options.refuse_twins()
    assert b"token-a" not in pickle.dumps(options)
    resolved = [options.resolved({}, tenant) for tenant in options.tenants]
    assert [one.token.reveal() for one in resolved if one.token] == ["token-a", "token-b"]
    assert [one.base_url for one in resolved] == ["https://a.example", "https://all.example"]
    (tmp_path / "a").write_text("token-b")
    options = SourceOptions.of(
        {**tenants_file(tmp_path, text.replace("a.example", "all.example")), "baseUrl": "https://all.example"}
    )
    with pytest.raises(UsageError, match="same token"):
        options.refuse_twins()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('[[tenant]]\nname = "a"\nbase-url = "https://a.example"', "no token"),
        ('[[tenant]]\nname = "a"\nenvironment = "local"\ntoken-file = "a"', "running service"),
    ],
)
def test_unusable_tenants(text: str, sentence: str, tmp_path: Path) -> None:
    """A tenant has a token file, and the address of a running service."""
    options = SourceOptions.of(tenants_file(tmp_path, text))
    with pytest.raises(UsageError, match=sentence):
        options.resolved({}, options.tenants[0])


def test_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """Changes are requested in smaller pages than everything, unless a size is given."""
    monkeypatch.setenv("BULK_EXPORT_TOKEN", "secret")
    since = datetime(2026, 1, 1, tzinfo=UTC)
    options = SourceOptions.of(GIVEN | {"every": "30m"})
    assert (options.every, options.full_every) == (timedelta(minutes=30), timedelta(days=7))
    assert options.changes_since(None, None).page_size == 300
    changes = options.changes_since(since, None)
    assert (changes.page_size, changes.updated_since) == (100, since)
    assert SourceOptions.of(GIVEN | {"every": "1h", "pageSize": "250"}).changes_since(since, None).page_size == 250
