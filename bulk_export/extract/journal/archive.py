"""The pages of a finished export in a file of their own, from which any other output can be made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from bulk_export.errors import DamagedState
from bulk_export.extract.journal import layout
from bulk_export.extract.journal.entries import StoredPage
from bulk_export.extract.journal.store import JournalStore

# Name of the fact that holds the manifest of the export: only an archive has it.
ORIGIN = "origin"
_BATCH_BYTES = 16 * 1024 * 1024
_PARTIAL = ".partial"


def write_archive(
    store: JournalStore,
    path: Path,
    *,
    scratch: Path,
    facts: Mapping[str, str],
    rewrite: Callable[[str, bytes], bytes] | None,
) -> None:
    """Write all pages of a journal into an archive with mode 0600, in place of an earlier one.

    The pages are written anew rather than the journal changed in place, since a database keeps what was in freed pages.

    Args:
        store: The journal.
        path: The archive, which appears complete or not at all.
        scratch: Directory of the same file system to write it in.
        facts: Facts to put into the archive.
        rewrite: Changes bodies on the way, given the name of their endpoint.

    Raises:
        LocalFailure: It could not be written.
        DamagedState: A page of the journal is not as it was stored.
    """
    partial = scratch / (path.name + _PARTIAL)
    for leftover in scratch.glob(partial.name + "*"):
        leftover.unlink()
    archive = JournalStore(partial, cap=store.cap, version=layout.ARCHIVE_VERSION)
    try:
        for batch in _batches(store, rewrite):
            archive.add_pages(batch, {}, {})
        archive.add_pages([], store.requests(), facts)
    except BaseException:
        archive.close()
        raise
    archive.seal()
    partial.rename(path)


def open_archive(path: Path, *, cap: int) -> JournalStore:
    """Open an archive for reading.

    Args:
        path: The archive.
        cap: Most bytes of a decompressed body.

    Raises:
        DamagedState: It is no archive, is damaged, or has a format that is not known here.
        LocalFailure: It cannot be read.
    """
    archive = JournalStore(path, cap=cap, read_only=True)
    if not archive.holds_bodies or archive.fact(ORIGIN) is None:
        archive.close()
        raise DamagedState(
            f"{path} is not an archive of a finished export.",
            kept="Nothing was changed.",
            next_step="Name the pages.sqlite that `bulk-export export --keep-pages` left.",
        )
    return archive


def _batches(store: JournalStore, rewrite: Callable[[str, bytes], bytes] | None) -> Iterator[list[StoredPage]]:
    batch: list[StoredPage] = []
    size = 0
    for page in store.pages():
        archived = page
        if rewrite is not None:
            body = rewrite(page.key.endpoint, store.body(page.key))
            archived = replace(page, encoding="identity", size=len(body), stored=body)
        batch.append(archived)
        size += len(archived.stored)
        if size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
