"""Paths and addresses of each command: `~`, and texts that look like URLs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command import FAST, TOKEN, run, service

EXPORT = ["export", "statements", "--environment", "local"]


@pytest.mark.parametrize(
    "arguments",
    [
        [*EXPORT, "--output", "s4://bucket/x"],
        [*EXPORT, "--output", "s3:/bucket/x"],
        [*EXPORT, "--output", "ftp://host/x"],
        [*EXPORT, "--output", "here", "--publish", "file:///x"],
        [*EXPORT, "--output", "here", "--publish", "there"],
        [*EXPORT, "--output", "here", "--work-dir", "s3://bucket/x"],
        [*EXPORT, "--output", "here", "--store-option", "sse=AES256"],
        [*EXPORT, "--output", "s3://bucket/x", "--publish", "s3://bucket/y"],
        [*EXPORT, "--output", "~nobody-of-that-name/x"],
        [*EXPORT, "--token-file", "s3://bucket/token", "--output", "here"],
        [*EXPORT, "--ca-file", "s3://bucket/ca", "--output", "here"],
        ["sync", "statements", "--environment", "local", "--output", "s4://bucket/x"],
        ["verify", "s4://bucket/x"],
        ["verify", "s3://bucket/x?sig=canary"],
        ["check", "s3://bucket/x"],
        ["replay", "s4://bucket/x"],
        ["plan", "statements", "--environment", "local", "--like", "s4://bucket/x"],
    ],
    ids=lambda arguments: " ".join(arguments[-2:]),
)
def test_what_looks_like_a_url_is_no_directory(arguments: list[str], tmp_path: Path) -> None:
    """Each is refused with 2, and no directory of that name is made."""
    ended = run(*arguments, cwd=tmp_path)
    assert ended.returncode == 2, ended.stderr
    assert len(ended.stderr.splitlines()) <= 2
    assert "canary" not in ended.stderr
    assert list(tmp_path.iterdir()) == [] or [path.name for path in tmp_path.iterdir()] == ["state"]


def test_tilde_in_settings(tmp_path: Path) -> None:
    """A settings file and variables may name the home directory, too, which no shell replaces there."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "token").write_text(TOKEN)
    (home / "token").chmod(0o600)
    (home / "settings.toml").write_text('token-file = "~/token"\noutput = "~/out"\nwork-dir = "~/work"\n')
    with service(tmp_path) as address:
        shared = ["statements", "--base-url", address, *FAST, "--config", "~/settings.toml"]
        ended = run("export", *shared, cwd=tmp_path, HOME=str(home), BULK_EXPORT_TOKEN="")
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout == f"{home / 'out'}\n"
        checked = run("verify", "~/out", cwd=tmp_path, HOME=str(home))
        assert checked.returncode == 0, checked.stderr
        assert not (tmp_path / "~").exists()
