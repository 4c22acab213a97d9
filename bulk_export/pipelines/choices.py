"""The words that options take, as types: a type checker finds a wrong one, and an editor offers the right ones.

The same words stand in the `choices` of the options, for the command line.
"""

from __future__ import annotations

from typing import Literal

FileFormat = Literal["parquet", "ndjson", "csv"]
Compression = Literal["zstd", "snappy", "gzip", "none"]
JournalCompression = Literal["lz4", "none"]
SchemaMode = Literal["lax", "strict", "infer"]
Gone = Literal["keep", "drop"]
CopyFormat = Literal["delta", "parquet"]
Removed = Literal["mark", "delete"]
LoadMode = Literal["replace", "upsert", "append"]
Nested = Literal["json", "child-tables"]
NulCharacter = Literal["fail", "replace"]
Display = Literal["auto", "rich", "plain", "none"]
