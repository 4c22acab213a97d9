"""Bytes to records to columns and lines."""

from bulk_export.decode.decoder import Block, Decoder, Lines, version
from bulk_export.decode.drift import Drift
from bulk_export.decode.envelope import UnusablePage, split_page

__all__ = ["Block", "Decoder", "Drift", "Lines", "UnusablePage", "split_page", "version"]
