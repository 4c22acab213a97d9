"""The configuration file of the command line, written and confirmed from Python."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

import bulk_export
from bulk_export.cli import app
from bulk_export.cli.runner import run


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory to work in, with the state of a user beside it."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    directory = tmp_path / "work"
    directory.mkdir()
    monkeypatch.chdir(directory)
    return directory


def test_init(place: Path) -> None:
    """It is the file of the command line, and nothing is replaced by it."""
    assert bulk_export.init() == Path("bulk-export.toml")
    assert run(app, ["init", "other.toml"]) == 0
    assert (place / "bulk-export.toml").read_bytes() == (place / "other.toml").read_bytes()
    with pytest.raises(bulk_export.UsageError, match=r"other\.toml is there already\. Name another file"):
        bulk_export.init(place / "other.toml")
    with pytest.raises(bulk_export.LocalFailure, match="cannot be written: No such file"):
        bulk_export.init("none/bulk-export.toml")


def test_init_on_a_full_disk(place: Path) -> None:
    """Nothing of the file stays, so that the next attempt finds its place free."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(bulk_export.LocalFailure, match="cannot be written: File too large"):
            bulk_export.init()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [*place.iterdir()] == []
    bulk_export.init()


def test_trust(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command line takes what was confirmed, by whatever path to the directory; what changed, it does not."""
    file = place / "bulk-export.toml"
    file.write_text("page-size = 3000\nservice = 'ecf'\n[profile.two]\nenvironment = 'local'\n")
    command = ["plan", "statements", "--records", "100"]
    assert run(app, command) == 2
    (tmp_path / "link").symlink_to(place)
    assert bulk_export.trust(tmp_path / "link") == ["profile", "service"]
    assert run(app, command) == 0
    assert bulk_export.trust() == ["profile", "service"]
    capsys.readouterr()
    assert run(app, ["trust"]) == 0
    assert "trusted to set profile, service\n" in capsys.readouterr().out
    file.write_text("service = 'ect'\n")
    assert run(app, command) == 2


def test_nothing_to_trust(place: Path) -> None:
    """There has to be a file, and one that nobody else can change."""
    with pytest.raises(bulk_export.UsageError, match=r"There is no bulk-export\.toml in .*work\. Name the directory"):
        bulk_export.trust()
    (place / "bulk-export.toml").touch()
    (place / "bulk-export.toml").chmod(0o666)
    with pytest.raises(bulk_export.UsageError, match="other users can write to it"):
        bulk_export.trust(place)
