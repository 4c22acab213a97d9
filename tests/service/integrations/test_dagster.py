"""Assets that a real Dagster materialises from the bundled service."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import start_blocking_portal

from bulk_export.errors import InvalidArgument, UsageError
from bulk_export.output.verify import verify
from bulk_export.services.local import LocalService, serving
from tests.support.exporting import COUNTS, FREE, NPQ, TOKEN, settings

dagster = pytest.importorskip("dagster", reason="Dagster is not installed")

from bulk_export.dagster import export_assets, sync_assets  # noqa: E402  # needs Dagster

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180), pytest.mark.filterwarnings("default")]


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalService]:
    """A service in a thread of its own: a materialisation has a loop of its own."""
    monkeypatch.setenv("BULK_EXPORT_TOKEN", TOKEN)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(serving(settings())) as started:
        yield started


def metadata_of(result: Any) -> dict[str, dict[str, Any]]:
    """What was recorded of each asset."""
    return {
        event.asset_key.to_user_string(): {name: value.value for name, value in event.metadata.items()}
        for event in result.asset_materializations_for_node(result.job_def.all_node_defs[0].name)
    }


def test_export(service: LocalService, tmp_path: Path) -> None:
    """Each endpoint is an asset with its numbers; materialising again replaces the files."""
    assets = export_assets(
        "statements", "npq-applications", base_url=service.base_url, output=tmp_path / "out", key_prefix=["npq"], **FREE
    )
    for _ in range(2):
        result = dagster.materialize([assets])
        assert result.success
        found = metadata_of(result)
        assert {name: one["dagster/row_count"] for name, one in found.items()} == {
            "npq/statements": 37,
            "npq/npq_applications": COUNTS["npq-applications"],
        }
        size = sum(path.stat().st_size for path in (tmp_path / "out/statements").iterdir())
        assert (found["npq/statements"]["bytes"], found["npq/statements"]["files"]) == (size, 1)
        assert found["npq/statements"]["drifted_fields"] == 0
        assert found["npq/statements"]["path"] == str(tmp_path / "out/statements")
        assert verify(tmp_path / "out").rows == 37 + COUNTS["npq-applications"]


def test_drift(service: LocalService, tmp_path: Path) -> None:
    """A field that the description lacks is counted."""
    less = replace(
        NPQ,
        endpoints=tuple(
            replace(endpoint, fields=tuple(field for field in endpoint.fields if field.name != "cohort"))
            for endpoint in NPQ
        ),
    )
    assets = export_assets("statements", service=less, base_url=service.base_url, output=tmp_path / "out", **FREE)
    (found,) = metadata_of(dagster.materialize([assets])).values()
    assert found["drifted_fields"] == 1
    assert found["drift"]["unknown"] == {"cohort": 37}


def test_everything_and_partitions(service: LocalService, tmp_path: Path) -> None:
    """Without names all endpoints are assets; each partition has an export of its own."""
    days = dagster.StaticPartitionsDefinition(["2025-01-01", "2025-01-02"])
    assets = export_assets(
        base_url=service.base_url, output=str(tmp_path / "{partition}"), partitions_def=days, page_size=3000, **FREE
    )
    assert {key.to_user_string() for key in assets.keys} == {name.replace("-", "_") for name in COUNTS}
    assert dagster.materialize([assets], partition_key="2025-01-02").success
    assert [path.name for path in tmp_path.iterdir()] == ["2025-01-02"]


def test_pool_and_retries() -> None:
    """One pool for all of a token; what fails for a while is tried again."""
    assets = export_assets("statements", environment="local", output="out")
    copy = sync_assets("statements", environment="local", output="copy")
    for made in (assets, copy):
        assert made.op.pool == "bulk_export"
        assert made.op.retry_policy.max_retries == 5


@pytest.mark.parametrize("retries", [False, True], ids=["refused", "away"])
def test_failure(service: LocalService, tmp_path: Path, retries: bool) -> None:
    """A rejected token is not tried again, a service that is away is; the message says what to do."""
    token, url = (TOKEN, "http://127.0.0.1:9") if retries else ("wrong", service.base_url)
    assets = export_assets(
        "statements",
        base_url=url,
        token=token,
        output=tmp_path,
        retries=0,
        max_wait=0,
        retry_policy=dagster.RetryPolicy(max_retries=1),
        **FREE,
    )
    result = dagster.materialize([assets], raise_on_error=False)
    kinds = [event.event_type_value for event in result.all_events]
    assert kinds.count("STEP_UP_FOR_RETRY") == int(retries)
    (failed,) = [event for event in result.all_events if event.event_type_value == "STEP_FAILURE"]
    description = failed.step_failure_data.user_failure_data.description
    assert TOKEN not in description
    assert ("no page was stored yet" if retries else "401") in description.casefold()


def test_sync(service: LocalService, tmp_path: Path) -> None:
    """A copy says what each poll changed."""
    assets = sync_assets("statements", base_url=service.base_url, output=tmp_path / "copy", **FREE)
    (first,) = metadata_of(dagster.materialize([assets])).values()
    assert (first["inserted"], first["polls"], first["version"]) == (37, "full", 0)
    (second,) = metadata_of(dagster.materialize([assets])).values()
    assert second["inserted"] == 0


def test_refused_definitions(tmp_path: Path) -> None:
    """What cannot work is refused when the definitions are loaded, where neither token nor disk is needed."""
    with pytest.raises(UsageError, match="no endpoint 'statement'"):
        export_assets("statement", environment="local", output="out")
    with pytest.raises(InvalidArgument, match="Did you mean 'page_size'"):
        export_assets(pagesize=3, environment="local", output="out")  # type: ignore[call-arg]
    with pytest.raises(UsageError, match="need an output"):
        export_assets(environment="local")
    with pytest.raises(UsageError, match="belong together"):
        export_assets(environment="local", output="out/{partition}")
    with pytest.raises(UsageError, match="takes no `every`"):
        sync_assets(environment="local", output="out", every="1h")
    with pytest.raises(UsageError, match="cannot be fetched for them"):
        export_assets(environment="local", output="out", service="https://service.example/openapi.yaml")
    export_assets(environment="sandbox", output="out", token_file=tmp_path / "elsewhere", retry_policy=None)


def test_recipe(service: LocalService, tmp_path: Path) -> None:
    """The recipe of the documents defines what Dagster can load, and its assets can be made."""
    text = (Path(__file__).parents[3] / "docs/scheduling.md").read_text().partition("## Dagster")[2]
    (program,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names: dict[str, Any] = {}
    program = program.replace('environment="sandbox"', f'base_url="{service.base_url}", budget="memory://"')
    exec(compile(program.replace("/data", str(tmp_path)), "scheduling.md", "exec"), names)
    loaded = names["definitions"]
    assert {job.name for job in loaded.get_repository_def().get_all_jobs()} >= {"npq_weekly", "npq_hourly"}
    assert dagster.materialize([names["copied"]]).success
    assert dagster.materialize([names["exported"]], partition_key="2025-01-05").success
    assert (tmp_path / "npq/2025-01-05/manifest.json").exists()
