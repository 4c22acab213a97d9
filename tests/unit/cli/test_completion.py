"""The completion scripts work in the shells themselves, as far as these are installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bulk_export.cli.completion import SHELLS, completion_script
from bulk_export.errors import UsageError

SHARED = Path(__file__).parents[3] / "share"
FILES = {
    "bash": SHARED / "bash-completion/completions/bulk-export",
    "zsh": SHARED / "zsh/site-functions/_bulk-export",
    "fish": SHARED / "fish/vendor_completions.d/bulk-export.fish",
}


def in_shell(shell: str, program: str, tmp_path: Path) -> list[list[str]]:
    """Run a program of a shell, with the command in its path. Returns the words of each line that it prints."""
    found = shutil.which(shell)
    if found is None:
        pytest.skip(f"{shell} is not installed.")
    command = tmp_path / "bin/bulk-export"
    command.parent.mkdir()
    command.write_text(f"#!{sys.executable}\nfrom bulk_export.cli import main\nmain()\n")
    command.chmod(0o755)
    environment = os.environ | {"PATH": f"{command.parent}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    done = subprocess.run(
        [found, "-c", program], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr == ""
    return [line.split() for line in done.stdout.splitlines()]


def test_bash(tmp_path: Path) -> None:
    """Words are completed where bash ends them at `=`, and where it does not."""
    program = f"""
    source {FILES["bash"]}
    try() {{
        COMP_LINE=$1 COMP_POINT=${{#1}} COMP_WORDS=("${{@:2}}") COMP_CWORD=$(($# - 2))
        _bulk_export_completion bulk-export
        echo "${{COMPREPLY[@]}}"
    }}
    try 'bulk-export pla' bulk-export pla
    try 'bulk-export export --environment=lo' bulk-export export --environment = lo
    try 'bulk-export plan --records stat' bulk-export plan --records stat
    try 'bulk-export head --filter cohort=' bulk-export head --filter cohort =
    complete -p bulk-export
    """
    *completed, registered = in_shell("bash", program, tmp_path)
    assert completed == [["plan"], ["local"], ["statements="], []]
    assert registered[-3:] == ["-F", "_bulk_export_completion", "bulk-export"]


def test_zsh(tmp_path: Path) -> None:
    """zsh is handed what fits, when the file is sourced."""
    program = f"""
    compdef() {{ :; }}
    _arguments() {{ print -r -- "$1"; }}
    source {FILES["zsh"]}
    words=(bulk-export export npq-appl) CURRENT=3
    _bulk_export_completion
    """
    assert in_shell("zsh", program, tmp_path) == [["*:", ':(("npq-applications"))']]


def test_fish(tmp_path: Path) -> None:
    """fish offers choices, with files where there are none."""
    program = f"""
    source {FILES["fish"]}
    complete --do-complete 'bulk-export sync --format '
    """
    assert in_shell("fish", program, tmp_path) == [["delta"], ["parquet"]]


@pytest.mark.parametrize("shell", FILES)
def test_shared_scripts_are_those_of_today(shell: str) -> None:
    """What a wheel installs is what the command prints; if not, run `make man`."""
    assert FILES[shell].read_text() == completion_script(shell)


def test_unknown_shell() -> None:
    """A shell without a script is refused with the names of those that have one."""
    assert "bulk-export" in completion_script("powershell")
    with pytest.raises(UsageError, match="csh") as refused:
        completion_script("csh")
    assert all(shell in refused.value.next_step for shell in SHELLS)
