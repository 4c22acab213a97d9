"""The workflows for GitHub name targets, scripts and jobs that exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflow_names_what_exists(path: Path) -> None:
    """Each job waits for others of its file, and runs targets and scripts of the tree."""
    jobs: dict[str, Any] = yaml.safe_load(path.read_text())["jobs"]
    for name, job in jobs.items():
        needs = job.get("needs", [])
        assert set([needs] if isinstance(needs, str) else needs) <= jobs.keys() - {name}
        if "uses" in job:
            assert (ROOT / job["uses"]).is_file()
    text = path.read_text()
    assert set(re.findall(r"\bmake ([a-z-]+)", text)) <= TARGETS
    for script in re.findall(r"\bbash (\.ci/[\w-]+)", text):
        assert (ROOT / script).is_file(), script


def test_only_the_last_job_may_publish() -> None:
    """Nothing can be published before all else has passed, and no secret is stored for it."""
    release = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())
    jobs = release["jobs"]
    assert [name for name, job in jobs.items() if "id-token" in job.get("permissions", {})] == ["publish"]
    assert set(jobs["publish"]["needs"]) == jobs.keys() - {"publish"}
    assert release["permissions"] == {"contents": "read"}
    assert not any("secrets." in path.read_text() for path in WORKFLOWS)
