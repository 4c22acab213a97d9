"""Keeps a copy current: polls for changes, whole sweeps for what went away, and one transaction for each."""
