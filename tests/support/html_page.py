"""Reads an HTML page: which elements it has, and whether each is closed."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

_VOID = {"meta", "wbr", "br", "link", "img", "input", "base", "hr"}


@dataclass
class Element:
    """An element with its attributes, its text and what is directly in it."""

    name: str
    attributes: dict[str, str]
    text: str = ""
    children: list[Element] = field(default_factory=list)

    def all(self, name: str) -> list[Element]:
        """All elements of a name in it, in order."""
        found = [self] if self.name == name else []
        return found + [element for child in self.children for element in child.all(name)]

    def everything(self) -> list[Element]:
        """It and all elements in it."""
        return [self, *(element for child in self.children for element in child.everything())]

    @property
    def whole_text(self) -> str:
        """The text in it and in its children, one after the other."""
        return self.text + "".join(child.whole_text for child in self.children)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open = [Element("", {})]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].children.append(element)
        if tag not in _VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open[-1].children.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().name == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        self.open[-1].text += data


def read_page(text: str) -> Element:
    """The page, with every element closed where it should be."""
    reader = _Reader()
    reader.feed(text)
    reader.close()
    (root,) = reader.open
    return root
