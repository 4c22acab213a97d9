"""Bytes to records to columns and lines."""

from bulk_export.decode.decoder import Block, Decoder, Lines
from bulk_export.decode.drift import Drift
from bulk_export.decode.envelope import Body, SplitBody, UnusablePage, split_page, text_of
from bulk_export.decode.plain import version
from bulk_export.decode.redacted import page_rewriter

__all__ = [
    "Block",
    "Body",
    "Decoder",
    "Drift",
    "Lines",
    "SplitBody",
    "UnusablePage",
    "page_rewriter",
    "split_page",
    "text_of",
    "version",
]
