"""Delta tables as directories of files: which paths the library takes, and where the files of a version are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bulk_export.errors import UsageError

if TYPE_CHECKING:
    from deltalake import DeltaTable

LOG = "_delta_log"
# It panics at brackets, and takes what follows a percent sign for an escape.
_UNFIT = set("[]%")


def check_path(path: Path) -> str:
    """The place of a table as the library wants it. Raises UsageError for a path that it would not take as it is."""
    absolute = str(path.absolute())
    try:
        absolute.encode()
    except UnicodeEncodeError:
        raise UsageError(
            f"{path} is not UTF-8, and Delta tables take no other names.",
            next_step="Choose another name for the directory, or --format parquet.",
        ) from None
    if found := sorted(_UNFIT & set(absolute)):
        raise UsageError(
            f"{path} has {' and '.join(found)} in its name, which Delta tables cannot have.",
            next_step="Choose a directory without them.",
        )
    return absolute


def files_of(table: DeltaTable, path: Path) -> tuple[Path, ...]:
    """The data files of a table that is not partitioned: they lie in its directory, whatever escapes stand in URIs."""
    return tuple(path / Path(uri).name for uri in table.file_uris())
