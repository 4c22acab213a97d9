"""Bytes to records to columns and lines."""

from bulk_export.transform.decode.body import Body, SplitBody, UnusablePage, split_page, text_of
from bulk_export.transform.decode.decoder import Block, Decoder, Lines
from bulk_export.transform.decode.drift import Drift
from bulk_export.transform.decode.exact_path import version
from bulk_export.transform.decode.identity import Key, identity_columns
from bulk_export.transform.decode.record_shape import Arrangement
from bulk_export.transform.decode.redactor import page_rewriter
from bulk_export.transform.decode.unpaged import WholeBody

__all__ = [
    "Arrangement",
    "Block",
    "Body",
    "Decoder",
    "Drift",
    "Key",
    "Lines",
    "SplitBody",
    "UnusablePage",
    "WholeBody",
    "identity_columns",
    "page_rewriter",
    "split_page",
    "text_of",
    "version",
]
