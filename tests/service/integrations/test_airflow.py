"""The recipe for Airflow, run by a real one: `airflow dags test` with a database of its own. Takes a minute a run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal

from bulk_export.output.verify import verify
from bulk_export.services.local import LocalService, serving
from tests.support.exporting import COUNTS, TOKEN, settings

pytest.importorskip("airflow.sdk", reason="Airflow is not installed")

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900), pytest.mark.filterwarnings("default")]
RECIPE = (Path(__file__).parents[3] / "docs/scheduling.md").read_text().partition("## Airflow")[2].partition("\n## ")[0]


@pytest.fixture
def service() -> Iterator[LocalService]:
    """A service in a thread."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(serving(settings())) as started:
        yield started


def test_second_run_of_a_finished_date(service: LocalService, tmp_path: Path) -> None:
    """The first run of a date exports it; the second one succeeds, sends nothing and changes nothing."""
    (tmp_path / "home/dags").mkdir(parents=True)
    for number, program in enumerate(re.findall(r"```python\n(.*?)```", RECIPE, re.DOTALL)):
        changed = program.replace("/data", str(tmp_path)).replace(
            'environment="sandbox"', f'base_url="{service.base_url}", budget="memory://", min_interval=0'
        )
        (tmp_path / f"home/dags/recipe_{number}.py").write_text(changed)
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path / "home"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "BULK_EXPORT_TOKEN": TOKEN,
    }

    def airflow(*arguments: str) -> None:
        command = [sys.executable, "-m", "airflow", *arguments]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stdout + ended.stderr

    airflow("db", "migrate")
    airflow("dags", "test", "lead_provider_export", "2026-01-04")
    (output,) = (tmp_path / "copies").iterdir()
    assert output.name == "2026-01-04"
    assert verify(output).rows == sum(COUNTS.values())
    sent, written = len(service.log), (output / "manifest.json").read_bytes()
    airflow("dags", "test", "lead_provider_export", "2026-01-04")
    assert len(service.log) == sent
    assert (output / "manifest.json").read_bytes() == written
    airflow("dags", "test", "lead_provider_copy", "2026-01-04")
    assert (tmp_path / "copy/statements/_delta_log").is_dir()
