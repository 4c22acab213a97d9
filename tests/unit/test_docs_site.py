"""The site of the documents: its generated pages, and that it loads nothing from elsewhere."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
import yaml

import bulk_export
from bulk_export.cli.command_group import NAMES

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site() -> ModuleType:
    found = importlib.util.spec_from_file_location("docs_pages", ROOT / ".ci/docs_pages.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_every_command_and_function_has_its_place(site: ModuleType) -> None:
    """The reference has a section for each command, with all its options, and for each public name."""
    pages = site.pages()
    commands = pages["reference/commands.md"]
    assert re.findall(r"^## bulk-export (\S+)$", commands, re.MULTILINE) == list(NAMES)
    assert {"--output DIR|URL", "--every", "Usage: bulk-export export"} <= {
        part for part in ("--output DIR|URL", "--every", "Usage: bulk-export export") if part in commands
    }
    python = pages["reference/python.md"]
    assert set(re.findall(r"^### (\S+)$", python, re.MULTILINE)) == set(bulk_export.__all__) - {"__version__"}
    assert "async def export(" in python
    assert "page_size: int | str | None" in python


def test_links_lead_to_pages(site: ModuleType) -> None:
    """Links between files become links between pages, and others stay."""
    text = "[a](../README.md) [b](schema.md#x) [c](https://x.org/README.md) [d](#here)"
    assert site.moved_links(text, "docs/") == "[a](index.md) [b](schema.md#x) [c](https://x.org/README.md) [d](#here)"
    assert site.moved_links("[a](docs/guide.md) [b](CONTRIBUTING.md)", "") == "[a](guide.md) [b](contributing.md)"


def test_linked_files_are_in_the_site(site: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a document links to outside of its folder is put into the site, and pages of the root are not twice."""
    monkeypatch.setattr(site, "ROOT", tmp_path)
    for name in ("docs", "examples"):
        (tmp_path / name).mkdir()
    (tmp_path / "examples/one.ipynb").touch()
    (tmp_path / "docs/a.md").write_text(
        "[x](../examples/one.ipynb) [y](../README.md) [z](b.md) [w](../examples/two.ipynb)"
    )
    assert site.linked_files() == ["examples/one.ipynb"]


@pytest.mark.parametrize(
    ("page", "loads"),
    [
        ('<script src="https://x.org/a.js"></script>', True),
        ('<link rel="stylesheet" href="//x.org/a.css">', True),
        ('<p style="background: url(http://x.org/a.png)">', True),
        ('<a href="https://x.org/">x</a> <img src="a.svg"> <link rel="canonical" href="https://x.org/">', False),
    ],
)
def test_what_is_loaded_from_elsewhere_is_found(page: str, *, loads: bool, site: ModuleType, tmp_path: Path) -> None:
    """Scripts, styles and pictures of other places are found; links that a reader follows are none."""
    (tmp_path / "page.html").write_text(page)
    (tmp_path / "style.css").write_text("a { background: url(image.png) }")
    assert bool(site.loaded_from_elsewhere(tmp_path)) == loads


def test_navigation_names_what_exists(site: ModuleType) -> None:
    """All pages that are made have a place in the navigation, and no other page is named than documents."""

    def pages_of(entries: object) -> set[str]:
        if isinstance(entries, str):
            return {entries}
        children = entries.values() if isinstance(entries, dict) else entries
        return set().union(*map(pages_of, children))  # type: ignore[call-overload]  # it is a list or its values

    named = pages_of(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    generated = {*site.MOVED.values(), "reference/commands.md", "reference/python.md"}
    assert named >= generated
    assert {f"docs/{page}" for page in named - generated} <= {
        f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")
    }
