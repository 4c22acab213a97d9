"""Where this tool keeps what outlives a run, such as spent requests: one directory for each user."""

from __future__ import annotations

from pathlib import Path


def state_directory() -> Path | None:
    """The user's state directory for this tool, None where the user has no home directory that is known.

    In a container a process may run without HOME and without an entry in the list of users.
    """
    import platformdirs  # only looked up where it is needed: it takes time to import

    try:
        directory = Path(platformdirs.user_state_dir("bulk-export"))
    except RuntimeError:
        return None
    return directory if directory.is_absolute() else None
