"""Bytes to records to columns and lines."""

from bulk_export.decode.arrangement import Arrangement
from bulk_export.decode.decoder import Block, Decoder, Lines
from bulk_export.decode.drift import Drift
from bulk_export.decode.envelope import Body, SplitBody, UnusablePage, split_page, text_of
from bulk_export.decode.identity import Key, identity_columns
from bulk_export.decode.plain import version
from bulk_export.decode.redacted import page_rewriter
from bulk_export.decode.whole import WholeBody

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
