"""The site of the documents, built as `make docs` builds it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.build, pytest.mark.timeout(120)]

ROOT = Path(__file__).parents[2]
# The command of the target, without its Python.
(COMMAND,) = re.findall(r"^docs:.*\n\t\S+ (-m mkdocs .*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("docs", "examples", ".ci"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in ("mkdocs.yml", "README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("added", "complaint"),
    [
        ("", None),
        ("[x](sync.md#nowhere)", "nowhere"),
        ("[x](missing.md)", "missing.md"),
        ("![x](https://example.org/x.png)", "load from elsewhere"),
    ],
)
def test_site_is_whole_and_loads_nothing(added: str, complaint: str | None, tree: Path) -> None:
    """The site can be built, and a broken link or anchor, or a picture of another place, is an error."""
    with (tree / "docs/guide.md").open("a") as guide:
        guide.write(f"\n{added}\n")
    done = subprocess.run(
        [sys.executable, *COMMAND.split()], cwd=tree, capture_output=True, text=True, timeout=100, check=False
    )
    assert (done.returncode == 0) == (complaint is None), done.stderr
    assert (complaint or "") in done.stderr
