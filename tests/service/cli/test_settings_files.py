"""A settings file from its first line on: written, filled in, trusted, used with profiles."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from tests.support.command import FAST, run

LOCAL = ("statements", *FAST)


def test_init_writes_a_file_that_changes_nothing(tmp_path: Path) -> None:
    """The file is private, and says nothing until somebody takes away a comment sign."""
    done = run("init", cwd=tmp_path)
    file = tmp_path / "bulk-export.toml"
    assert (done.returncode, done.stdout) == (0, "bulk-export.toml\n")
    assert file.stat().st_mode & 0o777 == 0o600
    assert tomllib.loads(file.read_text()) == {}
    assert run("init", cwd=tmp_path).returncode == 2


def test_each_line_of_the_file_can_be_used(tmp_path: Path) -> None:
    """Without its comment sign, each setting is TOML, and the names are those of options."""
    run("init", "all.toml", cwd=tmp_path)
    text = (tmp_path / "all.toml").read_text()
    settings = re.findall(r"^# ([a-z][a-z-]+ = .+)$", text.partition("# A table per command")[0], re.MULTILINE)
    assert len(settings) > 40
    (tmp_path / "all.toml").write_text("\n".join(settings))
    assert "unknown key" not in run("plan", "--config", "all.toml", cwd=tmp_path).stderr
    tomllib.loads("\n".join(settings))


def test_profile(tmp_path: Path) -> None:
    """A profile wins over the rest of the file, and the command line over both."""
    (tmp_path / "mine.toml").write_text(
        "format = 'csv'\n[export]\nformat = 'parquet'\n[profile.lines]\nformat = 'ndjson'\nenvironment = 'local'\n"
    )
    profile = ("--config", "mine.toml", "--profile", "lines")
    assert run("export", *LOCAL, *profile, "-o", "one", cwd=tmp_path).returncode == 0
    assert (tmp_path / "one/statements/part-00000.ndjson").exists()
    assert run("export", *LOCAL, *profile, "-o", "two", "-f", "csv", cwd=tmp_path).returncode == 0
    assert (tmp_path / "two/statements/part-00000.csv").exists()


def test_profile_that_is_not_there(tmp_path: Path) -> None:
    """A profile that no file has is an error that names those there are."""
    (tmp_path / "mine.toml").write_text("[profile]\ntwo = 1\n[profile.one]\nformat = 'csv'\n")
    done = run("export", "--config", "mine.toml", "--profile", "two", cwd=tmp_path)
    assert done.returncode == 2
    assert "It has: one." in done.stderr
    assert "init" in run("export", "--profile", "two", cwd=tmp_path).stderr


def test_profile_of_a_file_that_was_found(tmp_path: Path) -> None:
    """A profile that decides where the token goes needs to be confirmed, like any such setting."""
    (tmp_path / "bulk-export.toml").write_text("[profile.one]\nenvironment = 'local'\n")
    command = ("export", *LOCAL, "--profile", "one", "-o", "out")
    done = run(*command, cwd=tmp_path, HOME=str(tmp_path), XDG_STATE_HOME=str(tmp_path / "state"))
    assert done.returncode == 2
    assert "trust" in done.stderr
    run("trust", cwd=tmp_path, HOME=str(tmp_path), XDG_STATE_HOME=str(tmp_path / "state"))
    done = run(*command, cwd=tmp_path, HOME=str(tmp_path), XDG_STATE_HOME=str(tmp_path / "state"))
    assert done.returncode == 0, done.stderr
