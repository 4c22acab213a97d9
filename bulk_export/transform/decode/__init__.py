"""Bytes to records to columns and lines."""

from bulk_export.transform.decode.body import Body, InvalidPage, SplitBody, split_page, text_of
from bulk_export.transform.decode.decoder import Block, Decoder, Lines
from bulk_export.transform.decode.drift import Drift
from bulk_export.transform.decode.exact_path import version
from bulk_export.transform.decode.identity import Key, identity_columns
from bulk_export.transform.decode.record_shape import RecordShaper
from bulk_export.transform.decode.redactor import page_rewriter
from bulk_export.transform.decode.unpaged import UnpagedBody

__all__ = [
    "Block",
    "Body",
    "Decoder",
    "Drift",
    "InvalidPage",
    "Key",
    "Lines",
    "RecordShaper",
    "SplitBody",
    "UnpagedBody",
    "identity_columns",
    "page_rewriter",
    "split_page",
    "text_of",
    "version",
]
