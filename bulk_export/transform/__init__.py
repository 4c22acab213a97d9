"""Pure rules from bytes to records to columns and lines: no clock, no network, no disk."""
