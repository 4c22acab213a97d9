"""The files of earlier versions in `tests/stored`, unpacked and made to belong to a service that a test runs."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import tarfile
from pathlib import Path

from bulk_export.extract.journal import layout

STORED = Path(__file__).parents[1] / "stored"


def unpack(archive: str, directory: Path) -> None:
    """Unpack an archive of `tests/stored` into a directory."""
    with tarfile.open(STORED / archive) as file:
        file.extractall(directory, filter="data")


def set_identity(journal: Path, **changes: str) -> None:
    """Change what a journal says of the export that its pages belong to, with the sums that go with it."""
    with contextlib.closing(sqlite3.connect(journal)) as connection:
        (text,) = connection.execute("SELECT value FROM facts WHERE name = 'identity'").fetchone()
        identity = json.dumps(json.loads(text) | changes, sort_keys=True)
        connection.execute("UPDATE facts SET value = ? WHERE name = 'identity'", (identity,))
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if layout.has_sums(version):
            row_sum = layout.row_sum("facts", ("identity", identity))
            connection.execute("UPDATE facts SET sum = ? WHERE name = 'identity'", (row_sum,))
        connection.commit()
