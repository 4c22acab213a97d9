"""Rows to part files, the manifest, publishing and verifying.

Rows pass `page_blocks` (may they be written?), `parts` (where a part ends), `open_part` (one part in all its formats)
and `formats/`. `publish` moves finished parts to their places and writes the `manifest` last. `directory` and
`work_directory` are the rules of the output and of the working state; `verify` compares a finished export with its
manifest.
"""
