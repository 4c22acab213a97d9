"""What is said of a directory without a finished export."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import bulk_export
from bulk_export.errors import BulkExportError, DamagedState, UsageError
from bulk_export.output.run_arguments import RunArguments, write_arguments
from bulk_export.pipelines.checks.runner import run_checks
from bulk_export.pipelines.plan import PlanOptions


def _load(directory: Path) -> object:
    return bulk_export.load(directory, to="sqlite:///copy.db")


def _like(directory: Path) -> object:
    return PlanOptions.of(like=directory)


USERS = [bulk_export.verify, bulk_export.report, _load, run_checks, _like]


def refusal(use: Callable[[Path], object], directory: Path) -> BulkExportError:
    with pytest.raises(BulkExportError) as refused:
        use(directory)
    return refused.value


@pytest.mark.parametrize("use", USERS)
def test_what_is_no_export(use: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That there is no such directory, or no export in it, is a wrong argument, and nothing is promised."""
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("file").touch()
    for name, said in (("none", "does not exist"), ("file", "is not a directory"), ("empty", "empty holds no ")):
        error = refusal(use, Path(name))
        assert isinstance(error, UsageError)
        assert said in error.what
        assert error.next_step.startswith("Name the directory of a finished export")


@pytest.mark.parametrize("use", USERS)
def test_unfinished_exports_name_the_command(
    use: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is `resume`, or the command that began it if the directory does not say how it was begun."""
    monkeypatch.chdir(tmp_path)
    Path("out/.bulk-export").mkdir(parents=True)
    assert "Run the command that began it again" in refusal(use, Path("out")).next_step
    write_arguments(Path("out"), RunArguments(("statements",), {}))
    error = refusal(use, Path("out"))
    assert "bulk-export resume out finishes it." in error.next_step
    # The exit codes are those of earlier versions.
    assert isinstance(error, UsageError if use in (_load, run_checks) else DamagedState)


def test_parent_of_exports_names_one(tmp_path: Path) -> None:
    for name in ("two", "one"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").touch()
    assert refusal(bulk_export.verify, tmp_path).next_step == f"Name one of those in it, like {tmp_path / 'one'}."
