"""A second signal ends the process at once, and its message has the command that goes on."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import FAST, run, service, start

HERE = ["--output", "here"]


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service that answers after a minute."""
    with service(tmp_path_factory.mktemp("service"), "--no-limits", "--latency", "60s", "--records", "300") as url:
        yield url


def stopped_twice(cwd: Path, *command: str) -> str:
    """Start a command, send it two signals once it says what it does, and return what it says after that."""
    process = start(*command, cwd=cwd, stderr=subprocess.PIPE)
    assert process.stderr is not None
    with process.stderr as stream:
        line = ""
        while "exporting" not in line and "syncing" not in line:
            line = stream.readline().decode()
            assert line
        # Two different ones, since the second of two equal ones may be taken for the first.
        for number in (signal.SIGINT, signal.SIGTERM):
            process.send_signal(number)
        said = stream.read().decode()
    assert process.wait(30) == 130
    process.close()
    return said


def test_export_and_resume_name_resume(tmp_path: Path, slow: str) -> None:
    said = stopped_twice(tmp_path, "export", "statements", "--base-url", slow, *FAST, *HERE)
    assert "kept in here. The same command with this --output goes on from here. bulk-export resume here is" in said
    said = stopped_twice(tmp_path, "resume", "here", "--progress", "plain")
    assert said.endswith("kept in here. bulk-export resume here goes on from here.\n")


def test_sync_names_the_same_command(tmp_path: Path, slow: str) -> None:
    """`resume` is not for copies."""
    said = stopped_twice(tmp_path, "sync", "statements", "--base-url", slow, *FAST, *HERE)
    assert said.endswith("kept in here. The same command goes on from here.\n")


def test_tenants_name_the_same_command(tmp_path: Path, slow: str) -> None:
    """It goes on with all of them."""
    (tmp_path / "token").write_text("of-a-tenant\n")
    (tmp_path / "token").chmod(0o600)
    (tmp_path / "tenants.toml").write_text('[[tenant]]\nname = "one"\ntoken-file = "token"\n')
    asked = ["--base-url", slow, "--tenants", "tenants.toml", *FAST, *HERE]
    said = stopped_twice(tmp_path, "export", "statements", *asked)
    assert said.endswith("kept in here. The same command with this --output goes on with all tenants.\n")


def test_options_that_differ_and_what_resume_would_do(tmp_path: Path, slow: str) -> None:
    asked = ["export", "statements", "--base-url", slow, *FAST, *HERE]
    stopped_twice(tmp_path, *asked)
    refused = run(*asked, "--page-size", "20", cwd=tmp_path)
    assert refused.returncode == 2
    assert refused.stderr.endswith(
        "bulk-export resume here goes on with it as it was begun. For another export, choose another --output.\n"
    )
