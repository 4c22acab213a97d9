"""A journal that holds pages of one endpoint, as an interrupted run leaves it, and conversions of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bulk_export.core.model import PageKey
from bulk_export.extract.journal import JournalStore, StoredPage
from bulk_export.extract.sweep import Sweep
from bulk_export.output.page_blocks import PageBlocks, PageBody
from bulk_export.pipelines.conversion import ConversionSettings, EndpointConversion, restore_sweep
from bulk_export.services.catalogue import load_service
from bulk_export.transform.decode import Decoder
from bulk_export.transform.redaction import Redaction

PARTNERS = load_service("npq").endpoints[-1]
PAGE_SIZE = 10
UPDATED = "2025-03-25T02:21:32.000Z"


def record(number: int, *, updated_at: str = UPDATED, **attributes: Any) -> dict[str, Any]:
    fields = {"name": f"Partner {number}", "cohort": [2021], "created_at": UPDATED, "updated_at": updated_at}
    return {"id": f"{number:08}", "type": "delivery-partner", "attributes": fields | attributes}


def body(records: Sequence[dict[str, Any]]) -> bytes:
    return json.dumps({"data": list(records)}, separators=(",", ":")).encode()


def full_pages(records: int) -> list[list[dict[str, Any]]]:
    """Numbered records, cut into pages; the last page may be shorter."""
    numbers = [range(first, min(first + PAGE_SIZE, records)) for first in range(0, records, PAGE_SIZE)]
    return [list(map(record, page)) for page in numbers]


def page_bodies(records: int) -> list[PageBody]:
    """The pages of numbered records, as they are converted."""
    return [
        PageBody(PageKey(PARTNERS.name, 0, number), number, len(page), body(page))
        for number, page in enumerate(full_pages(records), start=1)
    ]


def page_blocks(*, excluded: dict[PageKey, frozenset[int]] | None = None, is_strict: bool = False) -> PageBlocks:
    decoder = Decoder(PARTNERS, columns=True, lines="raw")
    return PageBlocks(PARTNERS, decoder, read_numbered, excluded=excluded or {}, is_strict=is_strict)


def read_numbered(key: PageKey) -> bytes:
    """A page of numbered records that is not in memory."""
    return body([record(number) for number in range((key.page - 1) * PAGE_SIZE, key.page * PAGE_SIZE)])


def open_store(directory: Path) -> JournalStore:
    directory.mkdir(exist_ok=True)
    return JournalStore(directory / "journal.sqlite", cap=1 << 20)


def store_pages(store: JournalStore, pages: Sequence[Sequence[dict[str, Any]]]) -> None:
    """Add pages, numbered from 1, as the first sweep would."""
    stored = []
    for number, records in enumerate(pages, start=1):
        content = body(records)
        stored.append(StoredPage(PageKey(PARTNERS.name, 0, number), len(records), "identity", len(content), content))
    store.add_pages(stored, {}, {})


def complete_sweep(store: JournalStore) -> Sweep:
    """A sweep that was read to its end, with the pages of a journal."""
    sweep = Sweep(PARTNERS, number=0, page_size=PAGE_SIZE, stride=1, filters=())
    restore_sweep(sweep, store)
    sweep.plan.conclude()
    return sweep


def open_conversion(store: JournalStore, directory: Path, **changes: Any) -> EndpointConversion:
    """A conversion of the pages of a journal, which cannot ask for more."""
    return EndpointConversion(
        complete_sweep(store), conversion_settings(**changes), store, staging_of(directory), archive=store
    )


def conversion_settings(**changes: Any) -> ConversionSettings:
    given = {"formats": {"ndjson": "none"}, "flatten": False, "schema_mode": "lax", "page_size": PAGE_SIZE}
    return ConversionSettings(**given | {"redaction": Redaction.from_paths((), (), None)} | changes)  # type: ignore[arg-type]


def staging_of(directory: Path) -> Path:
    staging = directory / "parts"
    staging.mkdir(exist_ok=True)
    return staging


def ids_written(conversion: EndpointConversion) -> list[str]:
    """The ids in the lines of all parts, in order."""
    files = [conversion.parts.folder / Path(file.path).name for part in conversion.parts.parts for file in part.files]
    return [json.loads(line)["id"] for file in files for line in file.read_text().splitlines()]
