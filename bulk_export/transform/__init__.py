"""Pure rules from bytes to records to columns and lines: no clock, no network, no disk.

A page passes `decode/` (bytes to records, columns and lines), with the columns of `schema` and without what
`redaction` takes away; `dedup/` then says which version of a record is written. `inference` finds fields that no
description has.
"""
