"""How often the values of enumerations occur (`report --values`), so that nobody can be recognised by them.

No description says which columns are enumerations, so a column is taken for one only if all of this is true:

1. it holds texts or booleans, and neither its name nor that of its list makes it an identity;
2. it has at most 20 different values;
3. each of them is a word as programs write it, like `npq-senior-leadership` or `eligible`: names of people have capital
   letters or spaces, addresses have an @, numbers and ids consist of digits.

Of these, values of fewer than 10 records are not shown, only how many records they have together.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bulk_export.output.report.part_files import Opener

LEAST_RECORDS = 10
MOST_VALUES = 20
_BATCH_ROWS = 32_768
_WORD = re.compile(r"(?=.{1,48}\Z)[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*", re.ASCII)
# A word with so many digits in a row, or in all, is a number of something.
_LONG_NUMBER = re.compile(r"[0-9]{4}|(?:[^0-9]*[0-9]){6}", re.ASCII)
_IDENTITY = re.compile(r"(?:.*_)?(?:id|ids|email|name|trn|urn|number)|_extra|type", re.ASCII)


@dataclass(frozen=True, slots=True)
class ColumnValues:
    """The values of a column, the most frequent first.

    Attributes:
        name: The column.
        counts: Each value that at least 10 records have, with their number.
        others: How many records have another value.
    """

    name: str
    counts: tuple[tuple[str, int], ...]
    others: int


def value_counts(files: Iterable[Opener], left_out: Collection[str] = ()) -> tuple[ColumnValues, ...]:
    """Count the values of the enumerations of a table.

    Args:
        files: What opens its Parquet files. Those that cannot be read are passed over.
        left_out: Columns that are not looked at, such as pseudonyms.

    Returns:
        The columns that are enumerations, in their order.
    """
    counted: dict[str, Counter[str] | None] = {}
    for opened in files:
        try:
            with opened() as file:
                _count(pq.ParquetFile(file), counted, left_out)
        except (pa.ArrowException, OSError):
            continue
    return tuple(
        values
        for name, counts in counted.items()
        if counts is not None and (values := _shown(name, counts)) is not None
    )


def _count(file: pq.ParquetFile, counted: dict[str, Counter[str] | None], left_out: Collection[str]) -> None:
    """Add what a file holds. A column that turns out to be no enumeration becomes None, and is read no further."""
    for field in file.schema_arrow:
        is_candidate = _may_be_counted(field) and field.name not in left_out
        counted[field.name] = counted.get(field.name, Counter()) if is_candidate else None
    names = [field.name for field in file.schema_arrow if counted[field.name] is not None]
    for group in range(file.metadata.num_row_groups):
        names = [name for name in names if counted[name] is not None]
        if not names:
            return
        for batch in file.iter_batches(_BATCH_ROWS, row_groups=[group], columns=names):
            for name in names:
                counts = counted[name]
                if counts is not None:
                    counted[name] = _with(counts, batch.column(name))


def _with(counts: Counter[str], column: pa.Array) -> Counter[str] | None:
    """The counts with those of more values, None if the column is no enumeration."""
    for found in pc.value_counts(column.drop_null()):
        value, number = found["values"].as_py(), found["counts"].as_py()
        word = {True: "true", False: "false"}[value] if isinstance(value, bool) else value
        if word not in counts and (len(counts) == MOST_VALUES or not _is_word(word)):
            return None
        counts[word] += number
    return counts


def _may_be_counted(field: pa.Field) -> bool:
    return (pa.types.is_string(field.type) or pa.types.is_boolean(field.type)) and not _IDENTITY.fullmatch(field.name)


def _is_word(text: str) -> bool:
    return _WORD.fullmatch(text) is not None and _LONG_NUMBER.search(text) is None


def _shown(name: str, counts: Mapping[str, int]) -> ColumnValues | None:
    """What is shown of a column; None if no value is frequent enough."""
    frequent = [(value, count) for value, count in counts.items() if count >= LEAST_RECORDS]
    frequent.sort(key=lambda entry: (-entry[1], entry[0]))
    others = sum(counts.values()) - sum(count for _, count in frequent)
    return ColumnValues(name, tuple(frequent), others) if frequent else None


def rows_of(columns: Sequence[ColumnValues]) -> list[tuple[str, str, int]]:
    """Column, value and number of records, line by line."""
    rows = []
    for column in columns:
        rows += [(column.name, value, count) for value, count in column.counts]
        if column.others:
            rows.append((column.name, f"others, of fewer than {LEAST_RECORDS} records each", column.others))
    return rows
