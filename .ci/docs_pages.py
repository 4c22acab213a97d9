"""Pages of the site that are not in `docs/`: those of the root, and those that the program itself describes.

A hook of mkdocs (`mkdocs.yml`). After the build it reads every page, and fails if one would load something from
elsewhere: a script, a style sheet, a font or a picture.
"""

from __future__ import annotations

import inspect
import os
import re
import textwrap
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
# The page of each file of the root.
MOVED = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
_LINK = re.compile(r"(\]\()([^)#:\s]+)(?=[)#])")
_SECTION = re.compile(r"^(Args|Returns|Yields|Raises|Warns|Example|Examples|Attributes):$", re.MULTILINE)
_ENTRY = re.compile(r"^    (\*{0,2}[\w.]+):\s", re.MULTILINE)
_ELSEWHERE = re.compile(r"\s*(?:https?:)?//", re.IGNORECASE)
_LOADED_BY_STYLE = re.compile(r"(?:url\(|@import)\s*['\"]?\s*(?:https?:)?//[^)'\";]*", re.IGNORECASE)
# The attribute by which each element loads what it names.
_LOADING = {
    **dict.fromkeys(("script", "img", "iframe", "audio", "video", "source", "embed", "track", "input"), "src"),
    "link": "href",
    "object": "data",
}


def pages() -> dict[str, str]:
    """The text of each page that is not in `docs/`, by its place in the site."""
    made = {page: moved_links((ROOT / name).read_text("utf-8"), "") for name, page in MOVED.items()}
    return made | {"reference/commands.md": commands_page(), "reference/python.md": python_page()}


def moved_links(text: str, folder: str) -> str:
    """A Markdown text whose links between files of the tree are links between pages.

    Args:
        text: The text.
        folder: The folder that it is in, "" or "docs/".
    """

    def moved(link: re.Match[str]) -> str:
        target = os.path.normpath(folder + link[2])
        return link[1] + MOVED.get(target, target.removeprefix("docs/"))

    return _LINK.sub(moved, text)


def linked_files() -> list[str]:
    """The files of the tree outside of `docs/` that a document links to, such as examples; the site has them, too."""
    targets = {
        os.path.normpath(f"docs/{link[2]}")
        for document in (ROOT / "docs").glob("*.md")
        for link in _LINK.finditer(document.read_text("utf-8"))
    }
    outside = {target for target in targets if not target.startswith("docs/") and target not in MOVED}
    return sorted(target for target in outside if (ROOT / target).is_file())


def commands_page() -> str:
    """Every command with its own help, as the program prints it."""
    import typer
    from typer.testing import CliRunner

    from bulk_export.cli import app

    names = list(typer.main.get_command(app).commands)  # type: ignore[attr-defined]  # it is a group
    lines = ["# Commands and options", "", "What the program says of itself (`bulk-export COMMAND --help`).", ""]
    for arguments in ([], *([name] for name in names)):
        done = CliRunner().invoke(app, [*arguments, "--help"], env={"COLUMNS": "100", "TERMINAL_WIDTH": "100"})
        if done.exit_code:
            raise RuntimeError(f"{arguments}: {done.output}")
        # Typer cannot tell how it was called.
        said = re.sub(r"^(Usage: )\S+", r"\1bulk-export", done.stdout.strip("\n"), flags=re.MULTILINE)
        lines += [f"## {' '.join(['bulk-export', *arguments])}", "", "```text", textwrap.dedent(said), "```", ""]
    return "\n".join(lines)


def python_page() -> str:
    """Every public name with its signature and docstring."""
    import bulk_export

    values = {name: getattr(bulk_export, name) for name in bulk_export.__all__ if name != "__version__"}
    groups = {
        "Functions": [name for name, value in values.items() if inspect.isfunction(value)],
        "Errors": [name for name, value in values.items() if inspect.isclass(value) and issubclass(value, Exception)],
    }
    grouped = {name for names in groups.values() for name in names}
    groups["Values"] = [name for name in values if name not in grouped]
    lines = ["# Functions for Python", "", _prose(inspect.getdoc(bulk_export) or ""), ""]
    for title, names in groups.items():
        lines += [f"## {title}", ""]
        for name in sorted(names, key=str.lower):
            lines += [f"### {name}", "", *_described(name, values[name]), ""]
    return "\n".join(lines)


def _described(name: str, value: Any) -> Iterator[str]:
    is_error = inspect.isclass(value) and issubclass(value, Exception)
    if callable(value) and not is_error:
        signature = str(_with_plain_annotations(inspect.signature(value)))
        prefix = "async def " if inspect.iscoroutinefunction(value) else "class " if inspect.isclass(value) else "def "
        if len(signature) > 80:
            signature = re.sub(r", (?=\*{0,2}\w+(?::|,|\)|=))", ",\n    ", signature.replace("(", "(\n    ", 1))
        yield from ("```python", f"{prefix}{name}{signature}", "```", "")
    text = inspect.getdoc(value) or ""
    parts = _SECTION.split(text)
    yield _prose(parts[0])
    for title, body in zip(parts[1::2], parts[2::2], strict=True):
        yield from ("", f"**{title}**", "")
        if title.startswith("Example"):
            yield from ("```python", textwrap.dedent(body).strip("\n"), "```")
        elif _ENTRY.search(body):
            entries = _ENTRY.split(body)
            for entry, said in zip(entries[1::2], entries[2::2], strict=True):
                yield f"- `{entry}`: {_escaped(' '.join(said.split()))}"
        else:
            yield _prose(textwrap.dedent(body))


class _Plain:
    """An annotation that is shown without quotes."""

    def __init__(self, text: object) -> None:
        self._text = text

    def __repr__(self) -> str:
        return str(self._text)


def _with_plain_annotations(signature: inspect.Signature) -> inspect.Signature:
    """A signature whose annotations are shown as they are written; they are strings."""

    def plain(annotation: object) -> object:
        return _Plain(annotation) if isinstance(annotation, str) else annotation

    parameters = [each.replace(annotation=plain(each.annotation)) for each in signature.parameters.values()]
    return signature.replace(parameters=parameters, return_annotation=plain(signature.return_annotation))


def _prose(text: str) -> str:
    """A docstring's text, in which `<` would begin an element."""
    return _escaped(text.strip("\n"))


def _escaped(text: str) -> str:
    parts = text.split("`")
    return "`".join(part if number % 2 else part.replace("<", "&lt;") for number, part in enumerate(parts))


class _Loads(HTMLParser):
    """Collects what a page would load from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Look at the attribute by which an element loads, and at its style."""
        values = dict(attrs)
        target = values.get(_LOADING.get(tag, "")) or ""
        # A link of the page itself is followed by the reader, and loads nothing.
        if _ELSEWHERE.match(target) and not (tag == "link" and values.get("rel") == "canonical"):
            self.found.append(f"<{tag}> {target}")
        self.found += _LOADED_BY_STYLE.findall(values.get("style") or "")


def loaded_from_elsewhere(site: Path) -> list[str]:
    """What the pages and style sheets of a built site would load from elsewhere, each after the name of its file."""
    found: list[str] = []
    for file in sorted(site.rglob("*")):
        if file.suffix == ".html":
            page = _Loads()
            page.feed(file.read_text("utf-8"))
            found += [f"{file.relative_to(site)}: {load}" for load in page.found]
        if file.suffix in (".html", ".css"):
            loads = _LOADED_BY_STYLE.findall(file.read_text("utf-8")) if file.suffix == ".css" else []
            found += [f"{file.relative_to(site)}: {load}" for load in loads]
    return found


def on_files(files: Any, *, config: Any) -> Any:
    """Add the pages that are not in `docs/`."""
    from mkdocs.structure.files import File

    for place, text in pages().items():
        files.append(File.generated(config, place, content=text))
    for place in linked_files():
        files.append(File.generated(config, place, abs_src_path=str(ROOT / place)))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Move the links of a page of `docs/`."""
    is_ours = page.file.src_uri in MOVED.values() or page.file.src_uri.startswith("reference/")
    return markdown if is_ours else moved_links(markdown, "docs/")


def on_post_build(*, config: Any) -> None:
    """Fail if the site loads something from elsewhere."""
    from mkdocs.exceptions import PluginError

    found = loaded_from_elsewhere(Path(config["site_dir"]))
    if found:
        raise PluginError("The site would load from elsewhere:\n  " + "\n  ".join(found))
