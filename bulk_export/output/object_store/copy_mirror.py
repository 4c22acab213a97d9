"""Keeps the copy in a store as a local one is: data files first, then the log of each table in order, then the state.

Commits are created only if they are not there, and `sync.json` replaces only the version that was read, so whoever
comes second fails, and nothing is mixed. What is written twice after a crash has the same content. What left the copy
here is removed there at the end.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bulk_export.core.files import local_failures, make_private_directory, sha256_of, write_atomically
from bulk_export.errors import DamagedState, LocalFailure, StoreAccessDenied, UsageError
from bulk_export.output.file_names import MANIFEST, SYNC_LOG, SYNC_STATE, WORKING_DIRECTORY, is_endpoint
from bulk_export.output.object_store.copy_keys import Kind, kind_of_key, local_files, needed_keys, next_commit
from bulk_export.output.object_store.copy_record import CopyRecord, read_record, write_record
from bulk_export.output.object_store.failures import ObjectChanged, ObjectExists, ObjectMissing
from bulk_export.output.object_store.reading import download
from bulk_export.output.object_store.store import ObjectStore
from bulk_export.output.object_store.upload import upload_file

logger = logging.getLogger(__name__)

_LARGEST_STATE = 16 * 1024 * 1024
# A run that is killed uploads at most so many files again.
_KEYS_A_RECORD = 64


class CopyMirror:
    """The copy in a store and the one in a directory, which the caller has locked. All methods block.

    Args:
        store: The objects at the address.
        directory: The copy here.
        require_lease: Raises unless this run may still write.
    """

    def __init__(self, store: ObjectStore, directory: Path, require_lease: Callable[[], None]) -> None:
        self._store = store
        self._directory = directory
        self._require_lease = require_lease
        self._record = read_record(directory)

    def open(self) -> bool:
        """Bring the copy here to where the store is, unless they agree or the one here is ahead.

        Returns:
            Whether the copy here was replaced by that in the store.

        Raises:
            UsageError: An export, or something else, is at the address.
            DamagedState: The copy in the store is gone, or changed while it was read.
            BulkExportError: The store rejects it or keeps failing, or the disk is full.
        """
        found = self._store.read(SYNC_STATE, most=_LARGEST_STATE)
        if found is None:
            self._refuse_other()
            return False
        content, version = found
        if not self._record.is_stale and self._is_whole() and not self._is_overtaken():
            if version == self._record.version:
                return False
            if content == self._local_state():
                # The run before was killed after it wrote the state, and before it noted that.
                self._write(replace(self._record, version=version, hashes=self._with_hash(SYNC_STATE, content)))
                return False
        self._take_up(content, version)
        return True

    def push(self) -> list[str]:
        """Write what is new here to the store, and remove there what left the copy.

        Returns:
            Remarks on what could not be removed.

        Raises:
            LocalFailure: Another sync wrote to the copy in the store. The next run takes up what is there.
            DamagedState: A table here lost files that it needs.
            BulkExportError: The store rejects it or keeps failing, or a file cannot be read.
        """
        state = self._local_state()
        if state is None:
            return []
        files = local_files(self._directory)
        new = [key for key, size in files.items() if self._record.objects.get(key) != size or self._is_changed(key)]
        gone = {*self._record.objects, *self._record.pending} - files.keys()
        self._check_needed(gone)
        self._write(replace(self._record, pending=(*sorted(gone), *new)))
        if not self._record.version:
            # From now on a lost machine leaves a copy that another one can take up. Reconciliation finds what its
            # tables lack.
            self._put_state(state)
        done = dict(self._record.objects)
        for number, key in enumerate(new, 1):
            self._put(key)
            done[key] = files[key]
            if number % _KEYS_A_RECORD == 0:
                self._write(replace(self._record, objects=dict(done)))
        if self._is_changed(SYNC_LOG):
            self._put(SYNC_LOG)
        if self._record.hashes.get(SYNC_STATE) != hashlib.sha256(state).hexdigest():
            self._put_state(state)
        self._write(replace(self._record, objects=files, pending=tuple(sorted(gone))))
        return self._remove(gone)

    def _is_whole(self) -> bool:
        """Whether the state and every table that was here still are."""
        tables = {key.partition("/")[0] for key in self._record.objects}
        found = {key.partition("/")[0] for key in local_files(self._directory)}
        return self._local_state() is not None and tables <= found

    def _is_overtaken(self) -> bool:
        """Whether another machine wrote a commit after those that are known here, and was lost before the state."""
        for table in {key.partition("/")[0] for key in local_files(self._directory)}:
            key = next_commit(table, self._record.objects)
            path = self._directory / key
            with local_failures(f"Reading {path}"):
                here = path.read_bytes() if path.exists() else None
            found = self._store.read(key, most=len(here or b""))
            if found is not None and found[0] != here:
                return True
        return False

    def _check_needed(self, gone: set[str]) -> None:
        """Raise DamagedState if a table here lost files, which must not be removed in the store as well."""
        tables = {key.partition("/")[0] for key in gone if kind_of_key(key) is not None}
        needed = {key for table in sorted(tables) for key in needed_keys(self._directory, table)}
        if lost := sorted(gone & needed):
            raise DamagedState(
                f"{self._directory / lost[0]} is missing.",
                kept=f"The copy in {self._store.url} is as the last poll left it.",
                next_step=f"Remove {self._directory}: the next sync takes up the copy that is in the store.",
            )

    def _put(self, key: str) -> None:
        """Write one file to the store."""
        self._require_lease()
        path = self._directory / key
        if kind_of_key(key) is Kind.COMMIT:
            with local_failures(f"Reading {path}"):
                self._create(key, path.read_bytes())
        else:
            with local_failures(f"Reading {path}"):
                hashed = upload_file(self._store, key, path).sha256
            if key == SYNC_LOG or kind_of_key(key) is Kind.POINTER:
                self._record = replace(self._record, hashes={**self._record.hashes, key: hashed})

    def _create(self, key: str, content: bytes) -> None:
        try:
            self._store.create(key, content)
        except ObjectExists:
            found = self._store.read(key, most=len(content))
            if found is None or found[0] != content:
                raise self._overtaken(key) from None

    def _put_state(self, content: bytes) -> None:
        self._require_lease()
        try:
            if self._record.version:
                version = self._store.replace(SYNC_STATE, content, self._record.version).version
            else:
                version = self._store.create(SYNC_STATE, content).version
        except (ObjectExists, ObjectChanged, ObjectMissing):
            # A request that was repeated, because its answer was lost, fails on what it wrote itself.
            found = self._store.read(SYNC_STATE, most=len(content))
            if found is None or found[0] != content:
                raise self._overtaken(SYNC_STATE) from None
            version = found[1]
        self._write(replace(self._record, version=version, hashes=self._with_hash(SYNC_STATE, content)))

    def _remove(self, keys: set[str]) -> list[str]:
        """Remove what no version needs any more."""
        kept: list[str] = []
        for key in sorted(keys):
            self._require_lease()
            try:
                self._store.remove(key)
            except StoreAccessDenied:
                kept.append(key)
        if keys:
            self._write(replace(self._record, pending=tuple(kept)))
        if not kept:
            return []
        return [f"{len(kept)} objects in {self._store.url} are not needed any more, and may not be removed."]

    def _take_up(self, state: bytes, version: str) -> None:
        """Replace the copy here by the one in the store. A run that is killed here starts with this again."""
        logger.info("taking up the copy in %s", self._store.url)
        listed = [found for found in self._store.list() if kind_of_key(found.key) is not None or found.key == SYNC_LOG]
        self._write(CopyRecord(self._record.holder, is_stale=True))
        with local_failures(f"Clearing {self._directory}"):
            for name in (SYNC_STATE, SYNC_LOG):
                (self._directory / name).unlink(missing_ok=True)
            for entry in list(os.scandir(self._directory)):
                if is_endpoint(entry.name) and entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path)
        objects, hashes = {}, {SYNC_STATE: hashlib.sha256(state).hexdigest()}
        for found in listed:
            kind = kind_of_key(found.key)
            hashed = self._fetch(found.key, found.bytes)
            if kind is not None:
                objects[found.key] = found.bytes
            if kind is None or kind is Kind.POINTER:
                hashes[found.key] = hashed
        with local_failures(f"Writing {SYNC_STATE}"):
            write_atomically(self._directory / SYNC_STATE, state, scratch=self._directory / WORKING_DIRECTORY)
        self._write(CopyRecord(self._record.holder, version, objects, hashes))

    def _fetch(self, key: str, size: int) -> str:
        path = self._directory / key
        with local_failures(f"Writing {path}"):
            make_private_directory(path.parent)
        with contextlib.suppress(ObjectMissing):
            hashed = download(self._store, key, path, most=size)
            with local_failures(f"Writing {path}"), path.open("rb") as file:
                is_whole = path.stat().st_size == size
                os.fsync(file.fileno())
            if is_whole:
                return hashed
        raise DamagedState(
            f"{key} in {self._store.url} changed while it was read.",
            kept="Nothing was changed there.",
            next_step="Run the same command again.",
        )

    def _refuse_other(self) -> None:
        """Raise an error unless nothing is at the address, where no copy is."""
        url = self._store.url
        if self._record.version:
            raise DamagedState(
                f"The copy in {url} has no {SYNC_STATE} any more.",
                kept=f"The copy in {self._directory} is as the last poll left it.",
                next_step="Restore that object; or remove what is at the address and this directory, to copy afresh.",
            )
        if self._store.status(MANIFEST) is not None:
            raise UsageError(f"{url} holds a finished export.", next_step="Choose another --output for the copy.")
        with contextlib.suppress(StoreAccessDenied):
            for found in self._store.list():
                if not found.key.startswith(f"{WORKING_DIRECTORY}/"):
                    raise UsageError(
                        f"{url} holds objects that are no copy.",
                        kept="Nothing was changed.",
                        next_step="Choose another --output for the copy.",
                    )

    def _overtaken(self, key: str) -> LocalFailure:
        self._write(CopyRecord(self._record.holder, is_stale=True))
        return LocalFailure(
            f"Another sync wrote {key} in {self._store.url} at the same time.",
            kept="The copy there is as that one left it.",
            next_step="Run the same command again: it takes up what is there, and asks for what it lacks.",
        )

    def _local_state(self) -> bytes | None:
        path = self._directory / SYNC_STATE
        with local_failures(f"Reading {path}"):
            return path.read_bytes() if path.exists() else None

    def _is_changed(self, key: str) -> bool:
        """Whether a file that changes differs from the one in the store."""
        if key != SYNC_LOG and kind_of_key(key) is not Kind.POINTER:
            return False
        path = self._directory / key
        with local_failures(f"Reading {path}"):
            return path.exists() and sha256_of(path) != self._record.hashes.get(key)

    def _with_hash(self, key: str, content: bytes) -> dict[str, str]:
        return {**self._record.hashes, key: hashlib.sha256(content).hexdigest()}

    def _write(self, record: CopyRecord) -> None:
        write_record(self._directory, record)
        self._record = record
