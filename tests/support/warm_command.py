"""The command in a process of its own that has everything imported: as it is, but for the half second before."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import IO, Any

from bulk_export import cli

_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["tests.support.warm"])
Stream = int | IO[Any] | None


def run_warm(
    arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str], timeout: float = 50
) -> subprocess.CompletedProcess[str]:
    """Run a command line to its end; warnings are errors in it."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = WarmProcess(arguments, cwd=cwd, env=env, stdout=out, stderr=err)
        try:
            code = process.wait(timeout)
        finally:
            process.kill()
        shown = []
        for file in (out, err):
            file.seek(0)
            shown.append(file.read())
        return subprocess.CompletedProcess(list(arguments), code, *shown)


class WarmProcess:
    """A process that runs a command line, or another function that reads `sys.argv`, while the test continues.

    It has what these tests use of `subprocess.Popen`.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        main: Callable[[], None] = cli.main,
        stdin: Stream = None,
        stdout: Stream = None,
        stderr: Stream = None,
        start_new_session: bool = False,
    ) -> None:
        self._arguments = list(arguments)
        self.stdout: IO[bytes] | None = None
        self.stderr: IO[bytes] | None = None
        with ExitStack() as opened:
            streams = {}
            for number, stream in enumerate((stdin, stdout, stderr)):
                if stream == subprocess.PIPE:
                    reading, streams[number] = os.pipe()
                    opened.callback(os.close, streams[number])
                    setattr(self, "stdout" if number == 1 else "stderr", os.fdopen(reading, "rb"))
                elif stream == subprocess.DEVNULL:
                    streams[number] = opened.enter_context(Path(os.devnull).open("r+b", buffering=0)).fileno()
                elif stream is not None:
                    streams[number] = stream if isinstance(stream, int) else stream.fileno()
            start = (main, self._arguments, str(cwd), dict(env), _Descriptors(streams), start_new_session)
            # A daemon is ended with the tests, whatever became of its test.
            self._process = _PROCESSES.Process(target=_become, args=start, daemon=True)
            self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired(self._arguments, timeout)
        return self._process.exitcode

    def communicate(self, timeout: float | None = None) -> tuple[bytes, bytes]:
        """Read the pipes to their ends, and wait for the end of the process."""
        with ThreadPoolExecutor(2) as threads:
            out, err = threads.map(lambda pipe: b"" if pipe is None else pipe.read(), (self.stdout, self.stderr))
        self.wait(timeout)
        self.close()
        return out, err

    def send_signal(self, number: int) -> None:
        if self._process.exitcode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)
        self._process.join()

    def close(self) -> None:
        """Close the pipes of a process that has ended."""
        for pipe in (self.stdout, self.stderr):
            if pipe is not None:
                pipe.close()


class _Descriptors:
    """Descriptors by the number that they get in a process to which this is passed as an argument."""

    def __init__(self, held: dict[int, int]) -> None:
        self.held = held

    def __getstate__(self) -> dict[int, Any]:
        return {number: DupFd(descriptor) for number, descriptor in self.held.items()}

    def __setstate__(self, state: dict[int, Any]) -> None:
        self.held = {number: given.detach() for number, given in state.items()}


def _become(
    main: Callable[[], None],
    arguments: Sequence[str],
    cwd: str,
    env: Mapping[str, str],
    streams: _Descriptors,
    new_session: bool,
) -> None:
    for number, descriptor in streams.held.items():
        os.dup2(descriptor, number)
        os.close(descriptor)
        if number:
            # As the interpreter makes them when it starts.
            lines = number == 2 or os.isatty(number)
            stream = open(number, "w", encoding="utf-8", closefd=False, buffering=1 if lines else -1)  # noqa: SIM115
            setattr(sys, ("stdin", "stdout", "stderr")[number], stream)
    if new_session:
        os.setsid()
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    warnings.simplefilter("error")
    sys.argv = ["bulk-export", *arguments]
    main()
