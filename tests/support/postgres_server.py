"""A PostgreSQL server of its own for tests: in a temporary directory, on loopback, as an ordinary user."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support.ports import free_port

USER, PASSWORD, DATABASE = "loader", "s3cret pass", "warehouse"
_SECONDS_TO_START = 60


def binaries() -> Path | None:
    """The directory of the newest server that is installed; None if there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    initdb = shutil.which("initdb")
    return Path(initdb).resolve().parent if initdb else None


class PostgresServer:
    """A running server. `url` has no password: `passfile` holds it, in the form of PGPASSFILE."""

    def __init__(self, directory: Path, port: int) -> None:
        self.port = port
        self.url = f"postgresql://{USER}@127.0.0.1:{port}/{DATABASE}"
        self.url_with_password = f"postgresql://{USER}:s3cret%20pass@127.0.0.1:{port}/{DATABASE}"
        self.passfile = directory / "passfile"
        self.passfile.write_text(f"127.0.0.1:{port}:*:{USER}:{PASSWORD}\n")
        self.passfile.chmod(0o600)


@contextmanager
def postgres_server(directory: Path) -> Iterator[PostgresServer]:
    """Start a server, and stop it afterwards. PostgreSQL does not run as root, so a lesser user runs it then."""
    tools = binaries()
    assert tools is not None
    data = directory / "data"
    as_user = _as_ordinary_user(directory)
    (directory / "password").write_text(PASSWORD)
    _allow_all(directory)
    options = ["--auth=scram-sha-256", f"--username={USER}", f"--pwfile={directory / 'password'}", "--no-sync"]
    _run([*as_user, str(tools / "initdb"), "-D", str(data), "-E", "UTF8", "--locale=C", *options])
    port = free_port()
    quick = ["fsync=off", "full_page_writes=off", "synchronous_commit=off", "max_connections=40", "log_statement=none"]
    settings = [f"port={port}", "listen_addresses=127.0.0.1", "unix_socket_directories=", *quick]
    command = [*as_user, str(tools / "postgres"), "-D", str(data), *(part for one in settings for part in ("-c", one))]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        environment = os.environ | {"PGPASSWORD": PASSWORD}
        address = ["-h", "127.0.0.1", "-p", str(port), "-U", USER]
        deadline = time.monotonic() + _SECONDS_TO_START
        while subprocess.run([str(tools / "pg_isready"), *address], capture_output=True, check=False).returncode:
            assert process.poll() is None, (directory / "log").read_text()
            assert time.monotonic() < deadline, "the server does not start"
            time.sleep(0.05)
        _run([str(tools / "createdb"), *address, DATABASE], environment)
        yield PostgresServer(directory, port)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(_SECONDS_TO_START)


def _as_ordinary_user(directory: Path) -> Sequence[str]:
    if os.geteuid() != 0:
        return ()
    names = {entry.pw_name for entry in pwd.getpwall()}
    user = "postgres" if "postgres" in names else "nobody"
    shutil.chown(directory, user)
    return ("setpriv", f"--reuid={user}", "--clear-groups", "--")


def _allow_all(directory: Path) -> None:
    """Let the server's user reach its directory."""
    for above in directory.parents:
        if above == Path("/tmp") or above.stat().st_uid != os.geteuid():
            break
        above.chmod(above.stat().st_mode | 0o011)


def _run(command: Sequence[str], environment: dict[str, str] | None = None) -> None:
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
