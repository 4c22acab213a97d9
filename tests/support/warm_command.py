"""The command in a process of its own that has everything imported: as it is, but for the half second before."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from bulk_export import cli

_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["tests.support.warm"])


def run_warm(
    arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str], timeout: float = 50
) -> subprocess.CompletedProcess[str]:
    """Run a command line to its end; warnings are errors in it."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / name for name in ("stdout", "stderr")]
        process = _PROCESSES.Process(target=_become, args=(tuple(arguments), str(cwd), dict(env), files))
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(list(arguments), timeout)
        return subprocess.CompletedProcess(list(arguments), process.exitcode, *(file.read_text() for file in files))


def _become(arguments: Sequence[str], cwd: str, env: Mapping[str, str], files: Sequence[Path]) -> None:
    for descriptor, file in enumerate(files, start=1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), descriptor)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    warnings.simplefilter("error")
    sys.argv = ["bulk-export", *arguments]
    cli.main()
