"""The pages of a finished export in a file of their own, from which any other output can be made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from bulk_export.errors import DamagedState
from bulk_export.extract.journal.entries import StoredPage
from bulk_export.extract.journal.store import JournalStore

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
    """Put all pages of a journal, and `facts`, into a file at `path` with mode 0600, in place of an earlier one.

    It is written in the directory `scratch` of the same file system, and appears whole. `rewrite` changes bodies,
    given the name of their endpoint, on the way. Raises LocalFailure and DamagedState.
    """
    partial = scratch / (path.name + _PARTIAL)
    for leftover in scratch.glob(partial.name + "*"):
        leftover.unlink()
    archive = JournalStore(partial, cap=store.cap)
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
    """An archive to read from. Raises DamagedState for a file that is none."""
    archive = JournalStore(path, cap=cap, read_only=True)
    if archive.fact(ORIGIN) is None:
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
        kept = page
        if rewrite is not None:
            body = rewrite(page.key.endpoint, store.body(page.key))
            kept = replace(page, encoding="identity", size=len(body), stored=body)
        batch.append(kept)
        size += len(kept.stored)
        if size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
