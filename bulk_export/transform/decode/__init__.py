"""Bytes to records to columns and lines.

`Decoder` is the entrance. It decodes pages by one of two paths that give the same result: the compiled path
(`compiled_path`), which declines what it cannot judge, and the exact path (`exact_path`), which defines what is right.
`RecordShaper` splits pages without decoding records.
"""

from bulk_export.transform.decode.body import Body, InvalidPage, SplitBody, split_page
from bulk_export.transform.decode.decoder import Block, Decoder, Lines
from bulk_export.transform.decode.drift import Drift, refuse_drift
from bulk_export.transform.decode.identity import Key, Keys, identity_columns, record_version
from bulk_export.transform.decode.record_shape import RecordShaper
from bulk_export.transform.decode.redactor import page_rewriter
from bulk_export.transform.decode.scanned_page import HashedIds, content_of
from bulk_export.transform.decode.unpaged import UnpagedBody

__all__ = [
    "Block",
    "Body",
    "Decoder",
    "Drift",
    "HashedIds",
    "InvalidPage",
    "Key",
    "Keys",
    "Lines",
    "RecordShaper",
    "SplitBody",
    "UnpagedBody",
    "content_of",
    "identity_columns",
    "page_rewriter",
    "record_version",
    "refuse_drift",
    "split_page",
]
