"""Checks on funded places and links, run offline on a finished export or on a copy of the service's records."""
