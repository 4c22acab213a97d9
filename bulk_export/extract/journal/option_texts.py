"""The parameters of a run as options that a user would type, for messages that say how two runs differ.

Parameters come from files, too, so they may be of any type. Nothing here is a secret but passwords in addresses, which
are masked, and keys, of which only is said that they differ.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from bulk_export.core.masking import without_passwords
from bulk_export.core.text import printable

_LONGEST_SHOWN = 100
_NO_VALUE: tuple[object, ...] = (None, False, [], {}, "")
# Options with one value, by the parameter that stands for them.
_SINGLE = {
    "service": "--service",
    "api_version": "--api-version",
    "base_url": "--base-url",
    "page_size": "--page-size",
    "sort": "--sort",
    "updated_since": "--updated-since",
    "gone": "--gone",
    "schema": "--schema",
    "sample": "--limit",
    "format": "--format",
}
_SWITCHES = {"flatten": "--flatten", "consistent": "--consistent", "csv_bom": "--csv-bom", "csv_safe": "--csv-safe"}
_REPEATED = {"filters": "--filter", "drop_columns": "--drop-column", "pseudonymise": "--pseudonymise"}
# What is no option, or is not to be shown: what is said if it differs.
_SENTENCES = {
    "description": "the service is described in another way",
    "pseudonym_key": "--pseudonym-key-file holds another key",
    "replay_of": "it was made from other pages",
    "key": "it has another key",
    "token": "it was made with another token",
}
_OF_DESCRIPTION = frozenset({"service", "api_version", "endpoints"})
_KNOWN = {"endpoints", "formats", *_SINGLE, *_SWITCHES, *_REPEATED, *_SENTENCES}


def is_known(name: str) -> bool:
    """Whether there are words for a parameter."""
    return name in _KNOWN


def differing_parameters(stored: Mapping[str, Any], current: Mapping[str, Any]) -> list[str]:
    """Return the names of parameters that differ, in alphabetical order. One that is missing counts as not given.

    What the description says differs with what it is of, so it is named only if that is the same.
    """
    differing = [name for name in sorted({*stored, *current}) if stored.get(name) != current.get(name)]
    return [name for name in differing if name != "description" or _OF_DESCRIPTION.isdisjoint(differing)]


def change_text(name: str, stored: Any, current: Any) -> str:
    """Return how a parameter differs, as a clause such as `--page-size 300, now 3000`.

    Args:
        name: Its name in the identity of a run.
        stored: Its value in the earlier run; None if it was not given.
        current: Its value now.
    """
    if name in _SENTENCES:
        return _SENTENCES[name]
    if name == "endpoints":
        return f"the endpoints {_joined(stored)}, now {_joined(current)}"
    before, now = _typed(name, stored), _typed(name, current)
    if not before and not now:
        return f"{name} is known to one of the two versions of this tool only"
    if name not in _KNOWN:
        return f"{name} {shortened(stored)}, now {shortened(current)}"
    if before and now:
        option = f"{_SINGLE.get(name)} "
        return f"{before}, now {now.removeprefix(option) if before.startswith(option) else now}"
    return f"{before}, now without it" if before else f"without {now}, now with it"


def shortened(value: Any) -> str:
    """Return the repr of a value from a file, cut to a length that fits into a message."""
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "…"


def _typed(name: str, value: Any) -> str:
    """The options that stand for a parameter; empty if it was not given."""
    if value in _NO_VALUE:
        return ""
    if name in _SWITCHES:
        return _SWITCHES[name]
    if name == "base_url" and value == "local":
        return "--environment local"
    if name == "formats" and isinstance(value, Mapping):
        return " ".join(f"--format {_word(form)} --compression {_word(how)}" for form, how in value.items())
    if name in _REPEATED:
        pairs = isinstance(value, Mapping)
        texts = [f"{key}={text}" for key, text in value.items()] if pairs else _listed(value)
        return _cut(" ".join(f"{_REPEATED[name]} {_word(text)}" for text in texts))
    return f"{_SINGLE.get(name, name)} {_word(value)}"


def _word(value: Any) -> str:
    """A value as a word for a shell."""
    return shlex.quote(printable(_cut(without_passwords(str(value)))))


def _joined(value: Any) -> str:
    return _cut(", ".join(map(printable, _listed(value)))) or "none"


def _listed(value: Any) -> Iterable[str]:
    return map(str, value) if isinstance(value, list | tuple) else [str(value)]


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "…"
