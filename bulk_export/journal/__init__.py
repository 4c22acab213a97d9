"""Every page is durable here before anything depends on it."""

from bulk_export.journal.group_commit import GroupCommit
from bulk_export.journal.store import JournalStore, Part, PartFile, StoredPage

__all__ = ["GroupCommit", "JournalStore", "Part", "PartFile", "StoredPage"]
