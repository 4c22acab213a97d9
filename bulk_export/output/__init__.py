"""Rows to part files, the manifest, publishing and verifying."""
