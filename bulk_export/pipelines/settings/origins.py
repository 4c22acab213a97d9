"""Which settings file or variable gave an option, for messages about its value.

Whoever checks a value knows the option alone, and names it as the command line has it: `--page-size`. Here, the place
where the value was written takes its place: `page-size in ./bulk-export.toml`, or `BULK_EXPORT_PAGE_SIZE`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from bulk_export.errors import UsageError
from bulk_export.pipelines.settings.sources import given_on, variable_of

# A file of tenants may have these in place of the settings, and says so itself.
_OF_TENANTS = frozenset({"base_url", "environment", "token_file", "schema", "table_prefix"})


@dataclass(frozen=True, slots=True)
class Origins:
    """Where the options of a command were given.

    Attributes:
        places: The place of each option that the command line did not give, by name with underscores.
        values: The values of all options that were given.
    """

    places: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls, given: Mapping[str, Any], line: Mapping[str, Any], environ: Mapping[str, str], file_name: str
    ) -> Origins:
        """Find where options were given.

        Args:
            given: The options, merged from all sources.
            line: Those from the command line, as `resolve` takes them.
            environ: The environment variables.
            file_name: The settings file, as its user knows it.
        """
        places = {}
        on_line = given_on(line)
        for name in given:
            if name in on_line:
                continue
            variable = variable_of(name)
            is_variable = bool(environ.get(variable, "").strip())
            places[name] = variable if is_variable else f"{name.replace('_', '-')} in {file_name}"
        return cls(places, given)

    def name_in(self, error: UsageError) -> None:
        """Say in an error about an option where its value was written.

        1. The message names the option: the place takes the place of that name, or stands behind the value if that
           follows, as in `--page-size auto`.
        2. It only quotes the value: the place is added, if no other option has that value.

        Args:
            error: The error, which is changed.
        """
        places = {name: place for name, place in self.places.items() if not self._is_of_tenants(name)}
        what = error.what
        for name, place in places.items():
            flag, value = rf"(?<![\w-])--{name.replace('_', '-')}(?![\w-])", self.values[name]
            if isinstance(value, str) and value:
                what = f"{value} ({place})".join(re.split(rf"{flag} {re.escape(value)}(?!\w)", what))
            what = place.join(re.split(flag, what))
        if what == error.what and "--" not in what:
            quoted = [name for name, value in self.values.items() if any(text in what for text in _quotations(value))]
            if len(quoted) == 1 and quoted[0] in places:
                what = f"{what.removesuffix('.')} ({places[quoted[0]]})."
        error.what = what

    def _is_of_tenants(self, name: str) -> bool:
        return name in _OF_TENANTS and self.values.get("tenants") is not None


def _quotations(value: Any) -> Iterator[str]:
    """How messages quote a value, or one of several, or the key of one."""
    for text in value if isinstance(value, list | tuple) else [value]:
        if isinstance(text, str) and text:
            yield repr(text)
            yield repr(text.partition("=")[0])
