"""Compares the tables of a copy with its state before anything is fetched. If they differ, the older one counts."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import datetime

from bulk_export.output.file_names import WORKING_DIRECTORY
from bulk_export.pipelines.sync.options import SyncOptions
from bulk_export.pipelines.sync.state import CopyState
from bulk_export.pipelines.sync.tables.copy_table import TableStatus
from bulk_export.pipelines.sync.tables.storage import SCRATCH, open_table, remove_unused_files

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reconciled:
    """The state to go on with, the tables that are gone, and remarks for the person who runs the poll."""

    state: CopyState
    lost_tables: tuple[str, ...]
    remarks: tuple[str, ...]


def reconcile(options: SyncOptions, state: CopyState, now: datetime) -> Reconciled:
    """Adjust the state to the tables, and remove files that a killed run left in them.

    1. A watermark in the future was noted by a wrong clock: it is dropped.
    2. A table that is gone is fetched as that of a new endpoint. Changes alone would leave out everything else.
    3. A table that is older than the state, or that somebody else changed, gets a full sync.
    4. A table that is newer than the state shows that the state was restored: changes are asked for from as far back as
       it says, and the polls that are open in it were finished long ago.

    Args:
        options: The options of the poll.
        state: The state as it was read.
        now: The present by the service's clock.

    Raises:
        DamagedState: A table cannot be read.
    """
    names = [endpoint.name for endpoint in options.full.endpoints]
    open_ids = {poll.id for poll in state.open_polls.values() if poll.id}
    watermarks = dict(state.watermarks)
    lost, remarks = [], []
    for name in names:
        if name not in watermarks:
            continue
        noted = watermarks[name]
        watermarks[name] = watermark = noted.without_future(now)
        if watermark != noted:
            remarks.append(
                f"{name}: its last poll seems to lie in the future; what a wrong clock may have hidden is asked for"
                " again."
            )
        table = open_table(options, name)
        match table.status(state.mark_of(name), open_ids):
            case TableStatus.ABSENT:
                del watermarks[name]
                lost.append(name)
                logger.warning("%s: the table is gone", name)
                remarks.append(f"{name}: its table is gone, so everything is fetched again.")
            case TableStatus.BEHIND:
                watermarks[name] = watermark.with_full_due()
                remarks.append(
                    f"{name}: its table is older than the last poll or was changed by something else, so a full"
                    " sync is due."
                )
            case TableStatus.AHEAD:
                last = max(state.poll_number, table.mark.poll_number or 0)
                state = replace(state, open_polls={}, poll_number=last)
                remarks.append(
                    f"{name}: sync.json is older than the table, as after a restore; changes are asked for from as"
                    " far back as it says."
                )
    state = replace(state, watermarks=watermarks)
    was_killed = (options.output / WORKING_DIRECTORY / SCRATCH).exists()
    if was_killed or state.open_polls or any(name not in state.table_marks for name in names):
        remove_unused_files(options, names)
    return Reconciled(state, tuple(lost), tuple(remarks))
