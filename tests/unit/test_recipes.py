"""The recipes for schedulers, as far as they can be tried without the schedulers."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

RECIPES = (Path(__file__).parents[2] / "docs" / "scheduling.md").read_text()


def blocks(language: str) -> list[str]:
    found = re.findall(rf"^```{language}\n(.*?)^```", RECIPES, re.MULTILINE | re.DOTALL)
    assert found
    return found


@pytest.mark.parametrize("line", blocks("sh"))
def test_cron_lines_are_shell(line: str) -> None:
    """Cron lines are shell once cron has taken its fields and percent signs."""
    *fields, command = line.split(maxsplit=5)
    assert all(re.fullmatch(r"[\d*,/-]+", field) for field in fields)
    assert fields[0] != "0", "never on the hour"
    assert not re.search(r"(?<!\\)%", command), "cron ends the command at a bare percent sign"
    subprocess.run(["sh", "-n"], input=command.replace("\\%", "%"), text=True, check=True)


@pytest.mark.parametrize("program", blocks("python"))
def test_python_recipes_compile(program: str) -> None:
    """Python recipes compile, and use names that the package has. They are run in tests/service/integrations."""
    import bulk_export

    compile(program, "recipe", "exec")
    used = set(re.findall(r"bulk_export\.(\w+)", program))
    assert used
    assert used <= {*bulk_export.__all__, "dagster"}


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not on this machine")
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    paths = []
    for unit in blocks("ini"):
        path = tmp_path / unit.splitlines()[0].removeprefix("# ")
        path.write_text(unit)
        paths.append(str(path))
    verified = subprocess.run(["systemd-analyze", "verify", *paths], capture_output=True, text=True, check=False)
    own = [line for line in verified.stderr.splitlines() if str(tmp_path) in line or "bulk-export" in line]
    assert (verified.returncode, own) == (0, []), verified.stderr
