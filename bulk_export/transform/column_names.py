"""Which names can stand for columns side by side, whoever reads the file.

Readers differ in what they take for one name: Spark and DuckDB do not tell letters' cases, databases and file systems
normalise Unicode. Names are therefore compared as the least careful of them would.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

# DuckDB ends a name at a NUL, and delta-rs cannot merge by a name with a backtick.
_BREAKS_READERS = frozenset("\0`")
_DOTTED_SMALL_I = "i\N{COMBINING DOT ABOVE}"


def comparable(name: str) -> str:
    """The same text for all names that some reader takes for one: whatever their case and Unicode normal form."""
    folded = _folded(name)
    while folded != name:
        name, folded = folded, _folded(folded)
    return folded


def can_name_a_column(name: str) -> bool:
    """Whether every reader and every table finds a column of that name again."""
    return bool(name) and not _BREAKS_READERS & set(name) and _is_unicode(name)


def distinct(names: Iterable[str], taken: Iterable[str] = ()) -> list[str]:
    """The names that no reader confuses with an earlier one, nor with one that is `taken`."""
    seen = set(map(comparable, taken))
    kept = []
    for name in names:
        compared = comparable(name)
        if compared not in seen:
            seen.add(compared)
            kept.append(name)
    return kept


def unlike(name: str, others: Iterable[str]) -> str:
    """A name that no reader confuses with one of the others: `name` itself, or a longer one."""
    taken = set(map(comparable, others))
    while comparable(name) in taken:
        name += "_"
    return name


def _folded(name: str) -> str:
    # Upper case first: comparisons that ignore the case through it, as Java's, take the dotless i for an i.
    upper = unicodedata.normalize("NFKC", name).upper().casefold()
    return unicodedata.normalize("NFKC", upper).replace(_DOTTED_SMALL_I, "i")


def _is_unicode(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
