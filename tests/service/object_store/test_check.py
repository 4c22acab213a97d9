"""`bulk-export check` of an export in an object store."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command import FAST, run
from tests.support.store_proxy import error
from tests.support.store_scene import Lake

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

ENDPOINTS = ("participant-declarations", "npq-applications", "participants-npq")


def test_same_answers_as_from_a_directory(lake: Lake, tmp_path: Path) -> None:
    """The answers are those that the same export on this machine gives."""
    address = lake.new_address()
    export = ("export", *ENDPOINTS, "--environment", "local", *FAST, "--output")
    assert run(*export, str(tmp_path / "here"), cwd=tmp_path).returncode == 0
    stored = run(*export, address, cwd=tmp_path, **lake.environment)
    assert stored.returncode == 0, stored.stderr
    here = run("check", "here", "--json", cwd=tmp_path)
    there = run("check", address, "--json", cwd=tmp_path, **lake.environment)
    assert (there.returncode, there.stdout) == (here.returncode, here.stdout)
    assert run("check", address, "--sql", "undecided", cwd=tmp_path, **lake.environment).returncode == 2


def test_store_that_refuses(lake: Lake, tmp_path: Path) -> None:
    """A store that refuses a part is named, and no temporary directory is."""
    address = lake.new_address()
    export = ("export", "participant-declarations", "--environment", "local", *FAST, "--output", address)
    assert run(*export, cwd=tmp_path, **lake.environment).returncode == 0
    lake.proxy.reset(lambda _: error(403, "AccessDenied"))
    refused = run("check", address, cwd=tmp_path, **lake.environment)
    assert refused.returncode == 3
    assert "bulk-export-" not in refused.stderr
