"""The last step of an export: staged parts take their places, then the manifest, then the working state goes.

The manifest's text is in the journal before anything moves, and each step can be done again, so that a
kill at any point is healed by the next run. An earlier export that is being replaced stays whole until here.

What is moved and removed is named by the journal and by the manifest of the earlier export. Neither is believed
beyond what an export can have written: parts in the directories of endpoints, and the archive.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bulk_export.core.directories import look_at, made_directory, opened_directory, sync_descriptor
from bulk_export.core.files import (
    MANIFEST,
    WORKING_DIRECTORY,
    local_failures,
    move_file,
    refuse_swapped,
    sha256_within,
    write_within,
)
from bulk_export.core.working_state import ARCHIVE, JOURNAL, is_endpoint, is_part
from bulk_export.errors import DamagedState
from bulk_export.extract.journal import ORIGIN, JournalStore, write_archive
from bulk_export.output.directory import STAGING, WorkDirectory
from bulk_export.output.manifest import check_outcome, files_of, manifest_text, read_manifest
from bulk_export.output.replaceable import files_named, in_the_way

__all__ = ["ARCHIVE", "JOURNAL", "decide", "decided", "publish"]

_DECIDED = "manifest"
_REPLACED = "replaced"
_REPLACED_MANIFEST = "replaced_manifest"
_STAGED = re.compile(r"([a-z0-9_-]{1,128})/(revision-[0-9]{1,9})/([^/]+)", re.ASCII)


def decide(
    store: JournalStore, place: WorkDirectory, manifest: dict[str, Any], staged: Mapping[str, Path], *, keep_pages: bool
) -> None:
    """Fix the outcome: from here on this manifest is published, whatever happens.

    `staged` names, by path in the manifest, where each file lies now. With `keep_pages`, the pages stay in an
    archive beside the result.
    """
    if keep_pages:
        manifest["archive"] = ARCHIVE
    earlier = read_manifest(place.output) if (place.output / MANIFEST).exists() else None
    replaced = [] if earlier is None else files_named(place.output, earlier)
    if earlier is not None and earlier.get("archive") == ARCHIVE and not keep_pages:
        replaced.append(ARCHIVE)
    store.put_fact(_REPLACED, json.dumps(replaced))
    store.put_fact(_REPLACED_MANIFEST, "" if earlier is None else _digest(earlier))
    # Relative to the working state, which `.bulk-export` stands for wherever it lies.
    places = {
        path: f"{WORKING_DIRECTORY}/{at.relative_to(place.staging.parent).as_posix()}" for path, at in staged.items()
    }
    store.put_fact(_DECIDED, json.dumps({"manifest": manifest, "staged": places}))


def decided(store: JournalStore) -> dict[str, Any] | None:
    """The manifest that is to be published, None while the outcome is open. Raises DamagedState."""
    decision = store.parsed_fact(_DECIDED, _decision)
    return None if decision is None else decision[0]


def publish(
    store: JournalStore, place: WorkDirectory, *, rewrite: Callable[[str, bytes], bytes] | None = None
) -> list[Path]:
    """Carry out what was decided, from wherever an earlier attempt stopped, and close the journal.

    `rewrite` changes the bodies of pages that are kept. Returns what lies in the working state and is not ours: it
    stays. Raises DamagedState and LocalFailure.
    """
    decision = store.parsed_fact(_DECIDED, _decision)
    if decision is None:
        raise ValueError("nothing was decided")
    manifest, staged = decision
    replaced = store.parsed_fact(_REPLACED, _replaced) or []
    output, root = place.output, place.root
    refuse_swapped(output, root)
    with (
        local_failures(f"Publishing the export in {output}"),
        opened_directory(WORKING_DIRECTORY, within=root) as scratch,
    ):
        _remove_replaced(root, output, manifest, replaced, store.fact(_REPLACED_MANIFEST))
        parts = _Parts(place, scratch, dict(files_of(manifest)), set(replaced))
        for folder in dict.fromkeys(path.split("/")[0] for path in staged):
            parts.publish(folder, [part for part in staged.values() if part.endpoint == folder])
        sync_descriptor(root)
        if "archive" in manifest:
            _keep_pages(store, place, scratch, manifest, rewrite)
        write_within(MANIFEST, manifest_text(manifest).encode(), root, scratch=scratch)
    store.close()
    return place.clear()


@dataclass(frozen=True, slots=True)
class _Staged:
    """A finished part below the working state."""

    endpoint: str
    revision: str
    name: str

    @property
    def path(self) -> str:
        """Its path in the manifest."""
        return f"{self.endpoint}/{self.name}"


@dataclass(frozen=True, slots=True)
class _Parts:
    """Puts parts into their places; `scratch` is an open directory on the file system of the output."""

    place: WorkDirectory
    scratch: int
    described: Mapping[str, Mapping[str, Any]]
    replaced: set[str]

    def publish(self, folder: str, staged: Sequence[_Staged]) -> None:
        """Put the parts of an endpoint into its directory."""
        with made_directory(folder, within=self.place.root) as target:
            for revision in dict.fromkeys(part.revision for part in staged):
                with _staging(self.place.working, folder, revision) as source:
                    copied = [
                        part.name
                        for part in staged
                        if part.revision == revision and self._publish(part, source, target)
                    ]
                    sync_descriptor(target)
                    for name in copied:
                        os.unlink(name, dir_fd=source)

    def _publish(self, part: _Staged, source: int | None, target: int) -> bool:
        """Put one part into its directory; whether a copy of it stays behind."""
        final = look_at(part.name, within=target)
        if source is None or look_at(part.name, within=source) is None:
            if final is None:
                raise DamagedState(
                    f"A finished part, {part.path}, is missing.",
                    kept="Nothing was deleted.",
                    next_step="Choose another --output, or remove this unfinished export to start afresh.",
                )
            return False
        if final is not None and part.path not in self.replaced and not self._is_in_place(part, final, target):
            raise in_the_way(self.place.output / part.path)
        return move_file(part.name, source, target, self.scratch)

    def _is_in_place(self, part: _Staged, final: os.stat_result, target: int) -> bool:
        """Whether an earlier run copied the part to its place already."""
        file = self.described[part.path]
        is_like = stat.S_ISREG(final.st_mode) and final.st_size == file["bytes"]
        return is_like and sha256_within(part.name, target) == file["sha256"]


@contextlib.contextmanager
def _staging(working: int, endpoint: str, revision: str) -> Iterator[int | None]:
    """The directory that parts of an endpoint are staged in, None where it is not there."""
    with contextlib.ExitStack() as stack:
        directory: int | None = working
        try:
            for name in (STAGING, endpoint, revision):
                directory = stack.enter_context(opened_directory(name, within=directory))
        except FileNotFoundError:
            directory = None
        yield directory


def _keep_pages(
    store: JournalStore,
    place: WorkDirectory,
    scratch: int,
    manifest: dict[str, Any],
    rewrite: Callable[[str, bytes], bytes] | None,
) -> None:
    passing = (_DECIDED, _REPLACED, _REPLACED_MANIFEST)
    facts = {name: text for name, text in store.facts().items() if name not in passing}
    facts[ORIGIN] = json.dumps(manifest)
    write_archive(store, place.state / ARCHIVE, scratch=place.state, facts=facts, rewrite=rewrite)
    is_copy = move_file(ARCHIVE, place.working, place.root, scratch)
    sync_descriptor(place.root)
    if is_copy:
        os.unlink(ARCHIVE, dir_fd=place.working)


def _remove_replaced(
    root: int, output: Path, manifest: dict[str, Any], replaced: Sequence[str], earlier: str | None
) -> None:
    """Remove the files of the export that this one replaces. Its manifest goes first: it is no longer whole."""
    if look_at(MANIFEST, within=root) is not None:
        found = read_manifest(output)
        if found == manifest:
            return
        # Journals of an earlier version do not say which manifest they replace.
        if earlier is not None and _digest(found) != earlier:
            raise in_the_way(output / MANIFEST)
        os.unlink(MANIFEST, dir_fd=root)
        sync_descriptor(root)
    ours = {path for path, _ in files_of(manifest)}
    for path in replaced:
        if path == ARCHIVE:
            _remove_file(root, ARCHIVE, output)
        elif path not in ours:
            folder, name = path.split("/")
            with contextlib.suppress(FileNotFoundError), opened_directory(folder, within=root) as directory:
                _remove_file(directory, name, output / folder)
            with contextlib.suppress(OSError):
                os.rmdir(folder, dir_fd=root)


def _remove_file(directory: int, name: str, path: Path) -> None:
    found = look_at(name, within=directory)
    if found is not None:
        if not stat.S_ISREG(found.st_mode):
            raise in_the_way(path / name)
        os.unlink(name, dir_fd=directory)


def _decision(text: str) -> tuple[dict[str, Any], dict[str, _Staged]]:
    """What was decided, if it is what `decide` can have written; ValueError otherwise."""
    decision = json.loads(text)
    manifest, staged = decision["manifest"], decision["staged"]
    check_outcome(manifest)
    places = {}
    for path, at in staged.items():
        found = _STAGED.fullmatch(str(at).removeprefix(f"{WORKING_DIRECTORY}/{STAGING}/"))
        if found is None or path != (part := _Staged(*found.groups())).path:
            raise ValueError("a part in no place for parts")
        places[path] = part
    if places.keys() != {path for path, _ in files_of(manifest)}:
        raise ValueError("other parts than the manifest names")
    return manifest, places


def _replaced(text: str) -> list[str]:
    paths = json.loads(text)
    for path in paths:
        folder, _, name = path.partition("/")
        if path != ARCHIVE and not (is_part(name) and is_endpoint(folder)):
            raise ValueError("a file that no export wrote")
    return list(paths)


def _digest(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
