"""What the journal knows of a run at an object store: its claim, and the version of the manifest that it replaces."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from bulk_export.core.clock import now_text
from bulk_export.errors import BulkExportError, StoreAccessDenied, UsageError
from bulk_export.extract.journal import JournalStore
from bulk_export.extract.journal.fact_names import OBJECT_STORE
from bulk_export.output.file_names import MANIFEST
from bulk_export.output.object_store.claim import Claim, claim_generation
from bulk_export.output.object_store.layout import claim_key, object_key, parse_key
from bulk_export.output.object_store.store import ObjectStore
from bulk_export.output.object_store.stored_manifest import StoredManifest, read_stored_manifest
from bulk_export.output.uploaded_parts import uploaded_paths

# Objects that are looked at before a first export, to find those that are not of an export.
_MOST_LISTED = 100_000


@dataclass(frozen=True, slots=True)
class RemoteRun:
    """A run at an object store.

    Attributes:
        url: The address.
        run: Identifies the run, across interruptions.
        started_at: When it began, in UTC.
        generation: The generation that it claimed; 0 until then.
        replaced_version: The version of the manifest that it replaces; empty for a first export.
        replaces: The keys of the parts and the archive of that export.
    """

    url: str
    run: str
    started_at: str
    generation: int = 0
    replaced_version: str = ""
    replaces: Sequence[str] = field(default=(), repr=False)

    def key(self, path: str) -> str:
        """The key of a file, given its path in the manifest."""
        return object_key(self.generation, path)

    def store_in(self, journal: JournalStore) -> None:
        """Record the run in its journal."""
        values = [self.url, self.run, self.started_at, self.generation, self.replaced_version, list(self.replaces)]
        journal.put_fact(OBJECT_STORE, json.dumps(values))


@dataclass(frozen=True, slots=True)
class RemoteStart:
    """A run that may upload, and what a user should know of the address."""

    run: RemoteRun
    warnings: Sequence[str] = ()


def stored_run(journal: JournalStore) -> RemoteRun | None:
    """The run that a journal knows of. Raises DamagedState if its entry cannot be read."""
    return journal.parsed_fact(OBJECT_STORE, _parse_run)


def begin_remote_run(
    store: ObjectStore, journal: JournalStore, endpoints: Sequence[str], *, overwrite: bool
) -> RemoteStart:
    """Claim a generation for a run, or take up the one that it has.

    The claim is written before anything is fetched, so an address that cannot be used is found out at once. So is that
    another run has finished in the meantime.

    Args:
        store: The store.
        journal: The journal of the run.
        endpoints: The endpoints that it exports.
        overwrite: Whether a finished export may be replaced.

    Raises:
        UsageError: A finished export is there, or objects that are not of an export; or the run is for another address.
        DamagedState: What is there cannot be trusted.
        StoreRefused: Reading or writing is not allowed.
        StoreFailing: The store keeps failing.
    """
    run = stored_run(journal)
    if run is not None and run.url != str(store.url):
        raise UsageError(
            f"The unfinished export goes to {run.url}, too.",
            kept="Nothing was changed.",
            next_step="Give that address again to go on with it.",
        )
    present, is_certain = _present_manifest(store)
    if run is not None and run.generation:
        is_ours = present is not None and present.generation == run.generation
        is_lost = is_certain and ("" if present is None else present.version) != run.replaced_version
        if is_ours or not is_lost:
            return RemoteStart(run)
        discard_run(store, journal, run)
        if not overwrite:
            raise lost_to_another(store)
        run = None
    if present is not None and not overwrite:
        raise finished_in_store(store)
    if present is None:
        _refuse_other_objects(store)
    run = run or RemoteRun(str(store.url), secrets.token_hex(16), now_text())
    run = replace(
        run,
        replaced_version="" if present is None else present.version,
        replaces=() if present is None else tuple(present.keys),
    )
    # Recorded first: the claim of a run that was killed here is known to be its own.
    run.store_in(journal)
    claim, others = claim_generation(
        store,
        0 if present is None else present.generation,
        run=run.run,
        started_at=run.started_at,
        endpoints=endpoints,
        replaces=run.replaces,
    )
    if not is_certain:
        # Who may not list is denied what is not there. But if not even this can be read, a manifest may be there.
        try:
            store.read(claim_key(claim.generation), most=len(claim.content))
        except StoreAccessDenied:
            with contextlib.suppress(BulkExportError):
                store.remove(claim_key(claim.generation))
            raise
    run = replace(run, generation=claim.generation)
    run.store_in(journal)
    return RemoteStart(run, [*_others_text(store, others), *_public_text(store, claim)])


def discard_run(store: ObjectStore, journal: JournalStore, run: RemoteRun) -> None:
    """Give up a run that lost: remove what it uploaded, as far as that is possible, and then its claim.

    The pages stay in the journal, so another run can make the parts anew.
    """
    with contextlib.suppress(BulkExportError):
        for path in uploaded_paths(journal):
            store.remove(run.key(path))
        store.remove(claim_key(run.generation))
    journal.drop_results()


def lost_to_another(store: ObjectStore) -> UsageError:
    """The refusal to replace what another run wrote in the meantime."""
    return UsageError(
        f"Another run finished its export to {store.url} first.",
        kept="It was not changed, and the pages of this one are kept on this machine.",
        next_step="Leave it at that, or add --overwrite to replace it; no page is requested again.",
    )


def finished_in_store(store: ObjectStore) -> UsageError:
    """The refusal to write over a finished export."""
    return UsageError(
        f"{store.url} holds a finished export.",
        kept="Nothing was changed.",
        next_step="Choose another address, or replace it with --overwrite.",
    )


def _present_manifest(store: ObjectStore) -> tuple[StoredManifest | None, bool]:
    """Return the manifest that is there, and whether it is certain that there is none."""
    try:
        return read_stored_manifest(store), True
    except StoreAccessDenied:
        return None, False


def _refuse_other_objects(store: ObjectStore) -> None:
    """Raise UsageError if there are objects that no run which is known by its claim can have written."""
    try:
        listed = [stored.key for stored, _ in zip(store.list(), range(_MOST_LISTED), strict=False)]
    except StoreAccessDenied:
        return
    ours = {key: parse_key(key) for key in listed}
    claimed = {known.generation for known in ours.values() if known is not None and not known.path}
    for key, known in ours.items():
        if key != MANIFEST and (known is None or known.generation not in claimed):
            raise UsageError(
                f"{store.url} holds objects that are not an export, such as {key[:200]}.",
                kept="Nothing was changed.",
                next_step="Choose an address with nothing below it, or one that holds an export.",
            )


def _others_text(store: ObjectStore, others: Sequence[Claim]) -> list[str]:
    if not others:
        return []
    begun = f"another export to {store.url} was begun at {others[-1].started_at} and is not finished"
    return [f"{begun}; of those that are under way, the first one to end is kept"]


def _public_text(store: ObjectStore, claim: Claim) -> list[str]:
    if not store.is_public(claim_key(claim.generation)):
        return []
    return [f"{store.url} can be read by everybody, without credentials; the records are personal data"]


def _parse_run(text: str) -> RemoteRun:
    url, run, started_at, generation, version, replaces = json.loads(text)
    if not all(isinstance(value, str) for value in (url, run, started_at, version)) or type(generation) is not int:
        raise TypeError("not a run")
    keys = [key for key in replaces if (ours := parse_key(key)) is not None and ours.path]
    return RemoteRun(url, run, started_at, generation, version, tuple(keys))
