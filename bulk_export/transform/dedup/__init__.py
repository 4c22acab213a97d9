"""Which records are the same, and which version of one is written."""
