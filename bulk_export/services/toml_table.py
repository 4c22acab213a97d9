"""One table of a description, read key by key; what is wrong is said with the path of the key."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from bulk_export.errors import UsageError

_Value = TypeVar("_Value")


class Table:
    """The keys of a table that stands at `path` in a description; `done` refuses those nobody asked for."""

    def __init__(self, entries: object, path: str = "") -> None:
        self.path = path
        if not isinstance(entries, Mapping):
            raise description_error(path, "must be a table")
        self._entries: Mapping[str, Any] = entries
        self._known: set[str] = set()

    def __contains__(self, key: str) -> bool:
        return key in self._entries

    def at(self, key: str) -> str:
        """The path of a key."""
        return f"{self.path}.{key}" if self.path else key

    def table(self, key: str) -> Table:
        """A table inside of this one, empty where there is none."""
        return Table(self.value(key, {}), self.at(key))

    def tables(self) -> Iterator[tuple[str, Table]]:
        """All members as tables by name."""
        for name in self._entries:
            yield name, self.table(name)

    def value_items(self) -> Iterator[tuple[str, Any]]:
        """All members by name, whatever they are."""
        for name in self._entries:
            yield name, self.value(name, None)

    def value(self, key: str, default: Any) -> Any:
        """Whatever stands under a key."""
        self._known.add(key)
        return self._entries.get(key, default)

    def text(self, key: str, default: str | None = None) -> str:
        """A string, which must be there where no default is given."""
        given = self.value(key, default)
        if given is None:
            raise description_error(self.at(key), "is missing")
        if not isinstance(given, str):
            raise description_error(self.at(key), "must be a string")
        return given

    def optional_text(self, key: str) -> str | None:
        """A string, or None where there is none."""
        return self.text(key) if key in self else self.value(key, None)

    def flag(self, key: str, *, default: bool) -> bool:
        """True or false."""
        given = self.value(key, default)
        if not isinstance(given, bool):
            raise description_error(self.at(key), "must be true or false")
        return given

    def whole(self, key: str, default: int | None, *, least: int) -> int | None:
        """A whole number of at least `least`."""
        given = self.value(key, default)
        if given is not None and (isinstance(given, bool) or not isinstance(given, int) or given < least):
            raise description_error(self.at(key), f"must be a whole number of at least {least}")
        return given

    def texts(self, key: str, default: Sequence[str] = ()) -> tuple[str, ...]:
        """A list of strings."""
        given = self.value(key, default)
        if not isinstance(given, list | tuple) or not all(isinstance(one, str) and one for one in given):
            raise description_error(self.at(key), "must be a list of strings")
        return tuple(given)

    def choice(self, key: str, choices: Sequence[str], default: str) -> str:
        """One of some words."""
        given = self.text(key, default)
        if given not in choices:
            raise description_error(self.at(key), f"must be one of: {', '.join(choices)}", suggestion(given, choices))
        return given

    def parsed(self, key: str, parse: Callable[[str], _Value]) -> _Value | None:
        """What `parse` makes of a string, None where there is none; its UsageError names the key."""
        if key not in self:
            return self.value(key, None)  # type: ignore[no-any-return]  # it is None
        try:
            return parse(self.text(key))
        except UsageError as error:
            raise UsageError(f"{self.at(key)}: {error.what}", next_step=error.next_step) from None

    def done(self) -> None:
        """Raise UsageError for a key that means nothing here."""
        for key in self._entries:
            if key not in self._known:
                raise description_error(self.at(key), "is not known", suggestion(key, self._known))


def description_error(path: str, what: str, hint: str = "") -> UsageError:
    """A UsageError about the key at a path of the description."""
    where = path or "it"
    return UsageError(
        f"The description of the service cannot be used: {where} {what}.",
        next_step=hint or "docs/descriptions.md lists what a description may hold.",
    )


def suggestion(given: str, known: Sequence[str] | set[str]) -> str:
    """A hint at the nearest of some words, empty where none is near."""
    nearest = difflib.get_close_matches(given, sorted(known), n=1, cutoff=0.5)
    return f"Did you mean {nearest[0]}?" if nearest else ""
