"""Bytes to records to columns and lines."""

from bulk_export.decode.decoder import Block, Decoder, Lines
from bulk_export.decode.drift import Drift
from bulk_export.decode.envelope import UnusablePage, split_page
from bulk_export.decode.plain import version

__all__ = ["Block", "Decoder", "Drift", "Lines", "UnusablePage", "split_page", "version"]
