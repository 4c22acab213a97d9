"""Where the objects of an export are, relative to its address.

    ENDPOINT/part-00000.parquet                      parts of the first export at an address
    pages.sqlite                                     its archive
    generation-2/ENDPOINT/part-00000.parquet         parts of an export that replaces another one
    generation-2/pages.sqlite
    manifest.json                                    names the parts of one generation; written last
    .bulk-export/generation-2.json                   a run claims a generation: nobody else writes there

A generation is written by one run only and never used again, so what a manifest names does not change.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from bulk_export.output.file_names import ARCHIVE, WORKING_DIRECTORY, is_endpoint, is_part

CLAIMS = f"{WORKING_DIRECTORY}/"
_CLAIM = re.compile(rf"{re.escape(CLAIMS)}generation-([1-9][0-9]{{0,5}})\.json", re.ASCII)
_GENERATION = re.compile(r"generation-([1-9][0-9]{0,5})/(.+)", re.ASCII)
MOST_GENERATIONS = 999_999


@dataclass(frozen=True, slots=True)
class OurKey:
    """A key that an export can have written: `path` is the one within its generation, empty for a claim."""

    key: str
    generation: int
    path: str

    @property
    def endpoint(self) -> str:
        """The endpoint of a part; empty for a claim or an archive."""
        return self.path.partition("/")[0] if "/" in self.path else ""


def claim_key(generation: int) -> str:
    """The key of the claim of a generation."""
    return f"{CLAIMS}generation-{generation}.json"


def object_key(generation: int, path: str) -> str:
    """The key of a part or archive, given its path within an export."""
    return path if generation == 1 else f"generation-{generation}/{path}"


def parse_key(key: str) -> OurKey | None:
    """Which object of an export has this key; None for any other, and for the manifest."""
    if match := _CLAIM.fullmatch(key):
        return OurKey(key, int(match[1]), "")
    match = _GENERATION.fullmatch(key)
    generation, path = (int(match[1]), match[2]) if match else (1, key)
    if match and generation == 1:
        return None
    endpoint, slash, name = path.partition("/")
    if path == ARCHIVE or (slash and is_endpoint(endpoint) and is_part(name)):
        return OurKey(key, generation, path)
    return None
