"""Whether an export may take the place of what an output holds: only what an earlier export wrote is ever replaced."""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bulk_export.core.directories import look_at, names_in, opened_directory
from bulk_export.core.files import MANIFEST, local_failures
from bulk_export.core.working_state import ARCHIVE, is_part
from bulk_export.errors import DamagedState
from bulk_export.output.manifest import InvalidManifest, files_of, read_manifest


def check_replaceable(output: Path, names: Sequence[str], *, finished: bool, keep_pages: bool) -> None:
    """Raise DamagedState where an export of the endpoints `names` would have to remove what it may not.

    That is a manifest that is not ours, where the output holds a `finished` export, and anything that has the place of
    a part, or of the archive, without being in the manifest.
    """
    if not output.exists():
        return
    earlier = read_manifest(output) if finished else None
    named = set() if earlier is None else set(files_named(output, earlier))
    with local_failures(f"Looking at {output}"), opened_directory(output) as root:
        for name in dict.fromkeys([*names, *(path.partition("/")[0] for path in named)]):
            _check_folder(root, name, output, named, is_exported=name in names)
        has_archive = earlier is not None and earlier.get("archive") == ARCHIVE
        if keep_pages and not has_archive and look_at(ARCHIVE, within=root) is not None:
            raise in_the_way(output / ARCHIVE)


def files_named(output: Path, earlier: Mapping[str, Any]) -> list[str]:
    """The files of the export that is to be replaced. Raises DamagedState for those that no export can have."""
    try:
        return [path for path, _ in files_of(earlier)]
    except InvalidManifest as error:
        raise DamagedState(
            f"The manifest {output / MANIFEST} cannot be used: {error}.",
            kept="Nothing was removed.",
            next_step="Choose another --output, or move this manifest away if it is not of an export.",
        ) from None


def in_the_way(path: Path) -> DamagedState:
    """The refusal to remove what is not of an export."""
    return DamagedState(
        f"{path} is in the way, and is not of an export that may be replaced.",
        kept="Nothing was removed or changed there.",
        next_step="Move it away, or choose another --output.",
    )


def _check_folder(root: int, name: str, output: Path, named: set[str], *, is_exported: bool) -> None:
    found = look_at(name, within=root)
    if found is None:
        return
    if not stat.S_ISDIR(found.st_mode):
        raise in_the_way(output / name)
    with opened_directory(name, within=root) as folder:
        for entry in names_in(folder):
            is_named = f"{name}/{entry}" in named
            there = look_at(entry, within=folder)
            if there is None or not (is_named or (is_exported and is_part(entry))):
                continue
            if not (is_named and stat.S_ISREG(there.st_mode)):
                raise in_the_way(output / name / entry)
