"""Checked access to one TOML table of a description. Errors name the path of the key."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from bulk_export.errors import UsageError

_Value = TypeVar("_Value")


class Table:
    """A table of a description, at `path` in it.

    Every method that returns a value raises UsageError if the value has the wrong type. `done` raises it for keys that
    were never read.
    """

    def __init__(self, entries: object, path: str = "") -> None:
        self.path = path
        if not isinstance(entries, Mapping):
            raise description_error(path, "must be a table")
        self._entries: Mapping[str, Any] = entries
        self._read: set[str] = set()

    def __contains__(self, key: str) -> bool:
        return key in self._entries

    def at(self, key: str) -> str:
        """Return the path of a key in the description."""
        return f"{self.path}.{key}" if self.path else key

    def table(self, key: str) -> Table:
        """Return a table in this one; an empty one if there is none."""
        return Table(self.value(key, {}), self.at(key))

    def tables(self) -> Iterator[tuple[str, Table]]:
        """Yield every key with its value, a table."""
        for name in self._entries:
            yield name, self.table(name)

    def value_items(self) -> Iterator[tuple[str, Any]]:
        """Yield every key with its value, of any type."""
        for name in self._entries:
            yield name, self.value(name, None)

    def value(self, key: str, default: Any) -> Any:
        """Return the value of a key, of any type."""
        self._read.add(key)
        return self._entries.get(key, default)

    def string(self, key: str, default: str | None = None) -> str:
        """Return a string. Without a default the key is required."""
        value = self.value(key, default)
        if value is None:
            raise description_error(self.at(key), "is missing")
        if not isinstance(value, str):
            raise description_error(self.at(key), "must be a string")
        return value

    def optional_string(self, key: str) -> str | None:
        """Return a string, or None if there is none."""
        return self.string(key) if key in self else self.value(key, None)

    def boolean(self, key: str, *, default: bool) -> bool:
        """Return a boolean."""
        value = self.value(key, default)
        if not isinstance(value, bool):
            raise description_error(self.at(key), "must be true or false")
        return value

    def integer(self, key: str, default: int | None, *, minimum: int) -> int | None:
        """Return an integer of at least `minimum`, or None if there is none."""
        value = self.value(key, default)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < minimum):
            raise description_error(self.at(key), f"must be a whole number of at least {minimum}")
        return value

    def strings(self, key: str, default: Sequence[str] = ()) -> tuple[str, ...]:
        """Return a list of strings that are not empty."""
        value = self.value(key, default)
        if not isinstance(value, list | tuple) or not all(isinstance(item, str) and item for item in value):
            raise description_error(self.at(key), "must be a list of strings")
        return tuple(value)

    def choice(self, key: str, choices: Sequence[str], default: str) -> str:
        """Return a string, one of `choices`."""
        value = self.string(key, default)
        if value not in choices:
            raise description_error(self.at(key), f"must be one of: {', '.join(choices)}", suggestion(value, choices))
        return value

    def parsed(self, key: str, parse: Callable[[str], _Value]) -> _Value | None:
        """Return a string as `parse` reads it, or None if there is none. The path is added to errors of `parse`."""
        if key not in self:
            return self.value(key, None)  # type: ignore[no-any-return]  # the value is None
        try:
            return parse(self.string(key))
        except UsageError as error:
            raise UsageError(f"{self.at(key)}: {error.what}", next_step=error.next_step) from None

    def done(self) -> None:
        """Raise UsageError for a key that was never read."""
        for key in self._entries:
            if key not in self._read:
                raise description_error(self.at(key), "is not known", suggestion(key, self._read))


def description_error(path: str, problem: str, hint: str = "") -> UsageError:
    """Return a UsageError about the key at a path: `problem` continues the sentence that the path begins."""
    where = path or "it"
    return UsageError(
        f"The description of the service cannot be used: {where} {problem}.",
        next_step=hint or "docs/descriptions.md lists the keys of a description.",
    )


def suggestion(given: str, known: Sequence[str] | set[str]) -> str:
    """Return "Did you mean …?" with the most similar known word; empty if none is similar."""
    nearest = difflib.get_close_matches(given, sorted(known), n=1, cutoff=0.5)
    return f"Did you mean {nearest[0]}?" if nearest else ""
