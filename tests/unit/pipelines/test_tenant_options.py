"""The options of each tenant: what the file says in place of options for all, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bulk_export.core.credentials import ReadableByOthers
from bulk_export.errors import UsageError
from bulk_export.pipelines.tenant_options import export_options, load_options, sync_options
from bulk_export.pipelines.tenants_file import Tenant

URL = "https://service.example"


def tenant(tmp_path: Path, name: str, token: str | None = None, **more: Any) -> Tenant:
    """A tenant with a token file of its own."""
    path = tmp_path / f"{name}.token"
    path.write_text(token or f"token-of-{name}")
    path.chmod(0o600)
    return Tenant(name, path, **more)


def test_each_has_its_token_address_and_directory(tmp_path: Path) -> None:
    """What the file says wins over the options; all else is common."""
    tenants = [tenant(tmp_path, "a"), tenant(tmp_path, "b", base_url="https://other.example")]
    options = {"base_url": URL, "output": tmp_path / "out", "work_dir": tmp_path / "work", "workers": 3}
    a, b = export_options(tenants, ["statements"], options).options.values()
    assert (a.base_url, b.base_url) == (URL, "https://other.example")
    assert (a.output, b.output) == (tmp_path / "out/a", tmp_path / "out/b")
    assert (a.work_dir, b.work_dir) == (tmp_path / "work/a", tmp_path / "work/b")
    assert a.token is not None
    assert a.token.reveal() == "token-of-a"
    assert (a.workers, b.workers) == (3, 3)
    assert a.rank is not None
    assert b.rank is not None
    assert a.rank.precedence is b.rank.precedence
    assert (a.rank.number, b.rank.number) == (0, 1)


def test_one_directory_for_all_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --output all are in one directory named after the service and the time."""
    monkeypatch.chdir(tmp_path)
    runs = export_options([tenant(tmp_path, "a"), tenant(tmp_path, "b")], [], {"base_url": URL})
    assert {one.output.parent for one in runs.options.values()} == {runs.output}


def test_same_token_is_refused(tmp_path: Path) -> None:
    """One of two with the same token would get the records of the other. The message shows no token."""
    tenants = [tenant(tmp_path, "a", "canary-token"), tenant(tmp_path, "b", "canary-token")]
    with pytest.raises(UsageError, match="tenants a and b have the same token") as refused:
        export_options(tenants, [], {"base_url": URL})
    assert "canary" not in " ".join(refused.value.lines())
    elsewhere = [tenants[0], tenant(tmp_path, "c", "canary-token", base_url="https://other.example")]
    assert len(export_options(elsewhere, [], {"base_url": URL}).options) == 2


def test_errors_name_the_tenant(tmp_path: Path) -> None:
    """A missing token file, an unusable address, and no address at all."""
    with pytest.raises(UsageError, match=r"Tenant b: The token file .* cannot be read"):
        export_options([tenant(tmp_path, "a"), Tenant("b", tmp_path / "none")], [], {"base_url": URL})
    with pytest.raises(UsageError, match="Tenant a: "):
        export_options([tenant(tmp_path, "a", base_url="ftp://x")], [], {})
    with pytest.raises(UsageError, match="Tenant a: --environment and --base-url are both missing"):
        export_options([tenant(tmp_path, "a")], [], {})
    with pytest.raises(UsageError, match="Tenant a: there is no token"):
        export_options([Tenant("a")], [], {"base_url": URL})


def test_token_of_the_environment_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token for all would fetch the records of one under the names of others."""
    monkeypatch.setenv("BULK_EXPORT_TOKEN", "another")
    with pytest.raises(UsageError, match="Tenant a: there is no token"):
        export_options([Tenant("a")], [], {"base_url": URL})
    with pytest.raises(UsageError, match="A token is given for all tenants"):
        export_options([tenant(tmp_path, "a")], [], {"base_url": URL, "token_file": tmp_path / "a.token"})


def test_readable_token_file_is_warned_of(tmp_path: Path) -> None:
    """As with --token-file."""
    one = tenant(tmp_path, "a")
    assert one.token_file is not None
    one.token_file.chmod(0o644)
    with pytest.warns(ReadableByOthers, match=r"a\.token can be read by other users"):
        export_options([one], [], {"base_url": URL})


@pytest.mark.parametrize("name", ["manifest.json", ".bulk-export"])
def test_directory_of_another_export_is_refused(tmp_path: Path, name: str) -> None:
    """The directories of tenants are not put into an export."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).touch()
    with pytest.raises(UsageError, match="holds an export or a copy of its own"):
        export_options([tenant(tmp_path, "a")], [], {"base_url": URL, "output": tmp_path / "out"})


def test_loads_have_tables_of_their_own(tmp_path: Path) -> None:
    """By placeholders in options, or by the file; otherwise the load is refused."""
    tenants = [Tenant("a"), Tenant("b", schema="x", table_prefix="y_")]
    options = {"to": "postgresql://host/{tenant}", "schema": "s_{tenant}", "table_prefix": "{tenant}_"}
    a, b = load_options(tenants, tmp_path, [], options).options.values()
    assert (a.source, a.address.path, a.address.schema, a.table_prefix) == (tmp_path / "a", "a", "s_a", "a_")
    assert (b.address.path, b.address.schema, b.table_prefix) == ("b", "x", "y_")
    with pytest.raises(UsageError, match="The tables of the tenants a and b would be the same"):
        load_options([Tenant("a"), Tenant("b")], tmp_path, [], {"to": "postgresql://host/db"})


def test_copies_are_loaded_into_tables_of_their_own(tmp_path: Path) -> None:
    """`sync --load` takes the placeholder, and what the file says."""
    tenants = [tenant(tmp_path, "a", table_prefix="a_"), tenant(tmp_path, "b")]
    options = {"base_url": URL, "output": tmp_path / "copies", "load": "duckdb:///data/{tenant}.duckdb"}
    a, b = sync_options(tenants, [], options).options.values()
    assert a.load is not None
    assert b.load is not None
    assert (a.load.address.path, a.load.table_prefix, a.load.source) == (
        "data/a.duckdb",
        "a_",
        tmp_path / "copies/a",
    )
    assert b.load.address.path == "data/b.duckdb"
    assert a.full.rank == a.changes.rank
    with pytest.raises(UsageError, match=r"would be the same.* as in --load duckdb:///data/\{tenant\}.duckdb;"):
        sync_options([*tenants[1:], tenant(tmp_path, "c")], [], {**options, "load": "duckdb:///data/all.duckdb"})
    with pytest.raises(UsageError, match="no directory for the copies"):
        sync_options(tenants, [], {"base_url": URL})


@pytest.mark.parametrize("option", [{"output": "s3://bucket/x"}, {"publish": "s3://bucket/x"}, {"metrics": "x.prom"}])
def test_one_place_for_all_is_refused(tmp_path: Path, option: dict[str, str]) -> None:
    """What tenants would write over each other, or what no tenant could go on with, is refused before anything else."""
    with pytest.raises(UsageError, match=r"a run of one tenant|into a directory"):
        export_options([tenant(tmp_path, "a")], [], {"base_url": URL, "output": tmp_path / "out", **option})
