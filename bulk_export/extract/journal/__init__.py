"""The journal of an export: every page is durable here before anything depends on it."""

from bulk_export.extract.journal.archive import ORIGIN, open_archive, write_archive
from bulk_export.extract.journal.bodies import Compression
from bulk_export.extract.journal.entries import PageFingerprints, Part, PartFile, StoredPage
from bulk_export.extract.journal.group_commit import GroupCommit
from bulk_export.extract.journal.store import JournalStore

__all__ = [
    "ORIGIN",
    "Compression",
    "GroupCommit",
    "JournalStore",
    "PageFingerprints",
    "Part",
    "PartFile",
    "StoredPage",
    "open_archive",
    "write_archive",
]
