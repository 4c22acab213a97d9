"""Column names that every reader of a file tells apart.

Readers differ in which names they take for the same: Spark and DuckDB ignore case, databases and file systems normalise
Unicode. Names are therefore compared as the least careful reader would.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

# DuckDB ends a name at a NUL, and delta-rs cannot merge by a name with a backtick.
_BREAKS_READERS = frozenset("\0`")
_DOTTED_SMALL_I = "i\N{COMBINING DOT ABOVE}"


def comparison_key(name: str) -> str:
    """A text that is equal for all names that some reader takes for the same.

    >>> comparison_key("Straße") == comparison_key("STRASSE")
    True
    """
    # Folding once is not enough: the result of a normalisation may have another case folding.
    folded = _folded(name)
    while folded != name:
        name, folded = folded, _folded(folded)
    return folded


def can_name_a_column(name: str) -> bool:
    """Whether every reader and every table format finds a column of that name."""
    return bool(name) and not _BREAKS_READERS & set(name) and _is_unicode(name)


def distinct_names(names: Iterable[str], reserved: Iterable[str] = ()) -> list[str]:
    """The names that no reader confuses with an earlier one, nor with one that is `reserved`.

    >>> distinct_names(["name", "Name", "ID"], reserved=["id"])
    ['name']
    """
    seen = set(map(comparison_key, reserved))
    kept = []
    for name in names:
        key = comparison_key(name)
        if key not in seen:
            seen.add(key)
            kept.append(name)
    return kept


def unused_name(name: str, used: Iterable[str]) -> str:
    """`name`, with as many underscores behind it as tell it from every name that is `used`."""
    keys = set(map(comparison_key, used))
    while comparison_key(name) in keys:
        name += "_"
    return name


def _folded(name: str) -> str:
    # Upper case first: comparisons that ignore case through it, such as Java's, take the dotless i for an i.
    upper = unicodedata.normalize("NFKC", name).upper().casefold()
    return unicodedata.normalize("NFKC", upper).replace(_DOTTED_SMALL_I, "i")


def _is_unicode(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
