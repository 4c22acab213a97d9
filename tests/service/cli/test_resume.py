"""`bulk-export resume`: an unfinished export goes on, by its directory and the token alone."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from bulk_export.output.run_arguments import RunArguments, write_arguments
from tests.support.command import FAST, TOKEN, run, service, start

SLOW = ["--min-interval", "50ms", "--service-limit", "100000/1s", "--ip-limit", "100000/1s"]


def stopped_export(cwd: Path, base_url: str, *more: str) -> str:
    """Begin an export, stop it in the middle, and return what it wrote to standard error."""
    command = ("export", "statements", "--base-url", base_url, "--page-size", "20", "-o", "out", *SLOW, *more)
    process = start(*command, cwd=cwd, stderr=-1)
    assert process.stderr is not None
    said = ""
    while "exporting" not in said:
        said += process.stderr.readline().decode()
    journal = cwd / "out/.bulk-export/arguments.json"
    while not journal.exists():
        pass
    process.send_signal(signal.SIGINT)
    said += process.stderr.read().decode()
    assert process.wait(30) == 130
    process.close()
    return said


def test_stopped_export_is_resumed(tmp_path: Path) -> None:
    """The message after Ctrl-C has the command that goes on, and that finishes the export with the same options."""
    with service(tmp_path, "--records", "2000") as base_url:
        said = stopped_export(tmp_path, base_url, "-f", "ndjson", "--filter", "cohort=2021,2022,2023,2024,2025")
        assert "bulk-export resume out" in said
        kept = (tmp_path / "out/.bulk-export/arguments.json").read_text()
        assert TOKEN not in kept
        # What it was begun with was written nowhere else, so a source of this run is not named for it.
        other = ("export", "statements", "--base-url", base_url, "-o", "out")
        assert "--page-size 20, now 30" in run(*other, cwd=tmp_path, BULK_EXPORT_PAGE_SIZE="30").stderr
        done = run("resume", "out", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["run"]["resumed"] == 1
    assert manifest["parameters"]["filters"] == {"cohort": "2021,2022,2023,2024,2025"}
    assert (tmp_path / "out/statements/part-00000.ndjson").exists()
    assert not (tmp_path / "out/.bulk-export").exists()


def test_nothing_to_resume(tmp_path: Path) -> None:
    """A finished export, a directory without one, and no directory are each told apart."""
    assert run("export", "statements", "--environment", "local", *FAST, "-o", "done", cwd=tmp_path).returncode == 0
    (tmp_path / "empty").mkdir()
    for name, reason in (("done", "a finished export"), ("empty", "no unfinished export"), ("none", "does not exist")):
        failed = run("resume", name, cwd=tmp_path)
        assert failed.returncode == 2
        assert reason in failed.stderr


def test_directory_of_tenants(tmp_path: Path) -> None:
    """The one that holds theirs has the command for one and for all in each message, and each of them is listed."""
    within = ["output/all/one", "output/all/two of them"]
    unfinished(tmp_path / within[1])
    (tmp_path / "output/all/done").mkdir()
    (tmp_path / "output/all/done/manifest.json").touch()
    failed = run("resume", "output/all", cwd=tmp_path)
    assert "bulk-export resume 'output/all/two of them' goes on with it." in failed.stderr
    unfinished(tmp_path / within[0])
    for command in ("resume", "verify", "report"):
        failed = run(command, "output/all", cwd=tmp_path)
        assert failed.returncode == 2
        assert len(failed.stderr.splitlines()) == 2
        assert f"Unfinished in it: {', '.join(within)}." in failed.stderr
        assert "bulk-export resume output/all/one goes on with the first;" in failed.stderr
        assert "--tenants that began them goes on with all" in failed.stderr
        assert ("like output/all/done" in failed.stderr) == (command != "resume")
    unfinished(tmp_path / "output/alone")
    assert run("resume", cwd=tmp_path).stdout.splitlines() == [*within, "output/alone"]


def unfinished(output: Path, **options: object) -> None:
    (output / ".bulk-export").mkdir(parents=True, mode=0o700)
    output.chmod(0o700)
    write_arguments(output, RunArguments(("statements",), options))


def test_list_of_what_is_unfinished(tmp_path: Path) -> None:
    """Without a directory, those below output/ are listed; that there is none is said on standard error."""
    nothing = run("resume", cwd=tmp_path)
    assert (nothing.returncode, nothing.stdout) == (0, "")
    assert nothing.stderr.startswith("no unfinished export below output/; ")
    assert run("resume", "-q", cwd=tmp_path).stderr == ""
    unfinished(tmp_path / "output/two")
    unfinished(tmp_path / "output/one")
    assert run("resume", cwd=tmp_path).stdout.splitlines() == ["output/one", "output/two"]


@pytest.mark.parametrize("damage", ["others", "content", "link"])
def test_arguments_that_somebody_else_may_have_written(tmp_path: Path, damage: str) -> None:
    """They decide where the token goes, so they are believed only if nobody else can have written them."""
    unfinished(tmp_path / "out", base_url="https://attacker.example")
    file = tmp_path / "out/.bulk-export/arguments.json"
    if damage == "others":
        file.chmod(0o666)
    elif damage == "content":
        file.write_text('{"format": 7}')
    else:
        file.rename(tmp_path / "elsewhere.json")
        file.symlink_to(tmp_path / "elsewhere.json")
    failed = run("resume", "out", cwd=tmp_path)
    assert failed.returncode == 5
    assert "attacker" not in failed.stdout
