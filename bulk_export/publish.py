"""The last step of an export: staged parts take their places, then the manifest, then the working state goes.

The manifest's text is in the journal before anything moves, and each step can be done again, so that a
kill at any point is healed by the next run. An earlier export that is being replaced stays whole until here.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from bulk_export.errors import DamagedState
from bulk_export.files import (
    MANIFEST,
    WORKING_DIRECTORY,
    local_failures,
    make_private_directory,
    remove_tree,
    safe_name,
    sync_directory,
    write_atomically,
)
from bulk_export.journal import ORIGIN, JournalStore, write_archive
from bulk_export.manifest import manifest_text, read_manifest

JOURNAL = "journal.sqlite"
STAGING = "parts"
ARCHIVE = "pages.sqlite"

_DECIDED = "manifest"
_REPLACED = "replaced"


def decide(
    store: JournalStore, output: Path, manifest: dict[str, Any], staged: dict[str, Path], *, keep_pages: bool
) -> None:
    """Fix the outcome: from here on this manifest is published, whatever happens.

    `staged` names, by path in the manifest, where each file lies now. With `keep_pages`, the pages stay in an
    archive beside the result.
    """
    if keep_pages:
        manifest["archive"] = ARCHIVE
    earlier = read_manifest(output) if (output / MANIFEST).exists() else None
    replaced = [] if earlier is None else _files_of(earlier)
    if earlier is not None and earlier.get("archive") == ARCHIVE and not keep_pages:
        replaced.append(ARCHIVE)
    store.put_fact(_REPLACED, json.dumps(replaced))
    places = {path: str(place.relative_to(output)) for path, place in staged.items()}
    store.put_fact(_DECIDED, json.dumps({"manifest": manifest, "staged": places}))


def decided(store: JournalStore) -> dict[str, Any] | None:
    """The manifest that is to be published, None while the outcome is open."""
    text = store.fact(_DECIDED)
    return None if text is None else json.loads(text)["manifest"]


def publish(store: JournalStore, output: Path, *, rewrite: Callable[[str, bytes], bytes] | None = None) -> None:
    """Carry out what was decided, from wherever an earlier attempt stopped, and close the journal.

    `rewrite` changes the bodies of pages that are kept.
    """
    decision = json.loads(store.fact(_DECIDED) or "{}")
    manifest, staged = decision["manifest"], decision["staged"]
    with local_failures(f"Publishing the export in {output}"):
        _remove_replaced(output, manifest, json.loads(store.fact(_REPLACED) or "[]"))
        folders = {output}
        for path, place in staged.items():
            final, source = output / _inside(path), output / place
            if source.exists():
                make_private_directory(final.parent)
                source.replace(final)
            elif not final.exists():
                raise DamagedState(
                    f"A finished part, {path}, is missing.",
                    kept="Nothing was deleted.",
                    next_step="Choose another --output, or remove this unfinished export to start afresh.",
                )
            folders.add(final.parent)
        for folder in sorted(folders):
            sync_directory(folder)
        if "archive" in manifest:
            _keep_pages(store, output, manifest, rewrite)
        write_atomically(output / MANIFEST, manifest_text(manifest).encode())
    store.close()
    clear_working_state(output)


def clear_working_state(output: Path) -> None:
    """Remove the working directory of a finished export, the journal last."""
    working = output / WORKING_DIRECTORY
    with local_failures(f"Removing {working}"):
        remove_tree(working / STAGING)
        remove_tree(working)
        sync_directory(output)


def _keep_pages(
    store: JournalStore, output: Path, manifest: dict[str, Any], rewrite: Callable[[str, bytes], bytes] | None
) -> None:
    facts = {name: text for name, text in store.facts().items() if name not in (_DECIDED, _REPLACED)}
    write_archive(
        store,
        output / ARCHIVE,
        scratch=output / WORKING_DIRECTORY,
        facts=facts | {ORIGIN: json.dumps(manifest)},
        rewrite=rewrite,
    )
    sync_directory(output)


def _remove_replaced(output: Path, manifest: dict[str, Any], replaced: list[str]) -> None:
    """Remove the files of the export that this one replaces. Its manifest goes first: it is no longer whole."""
    with contextlib.suppress(DamagedState):
        if read_manifest(output) != manifest:
            (output / MANIFEST).unlink()
            sync_directory(output)
    if not (output / MANIFEST).exists():
        ours = set(_files_of(manifest))
        for path in replaced:
            if path == ARCHIVE:
                (output / ARCHIVE).unlink(missing_ok=True)
            elif path not in ours:
                old = output / _inside(path)
                old.unlink(missing_ok=True)
                with contextlib.suppress(OSError):
                    old.parent.rmdir()


def _files_of(manifest: dict[str, Any]) -> list[str]:
    return [file["path"] for endpoint in manifest["endpoints"].values() for file in endpoint["files"]]


def _inside(path: str) -> PurePosixPath:
    """A path from a manifest, if it is an endpoint's directory and a file name and nothing more."""
    pure = PurePosixPath(path)
    if len(pure.parts) != 2 or pure.is_absolute() or ".." in pure.parts or str(pure) != path:
        raise DamagedState(f"The manifest names a file outside of the export: {path!r}.", kept="Nothing was deleted.")
    safe_name(pure.parts[0])
    return pure
