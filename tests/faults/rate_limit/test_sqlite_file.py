"""A budget file that is damaged, foreign, full, locked or gone: nothing is sent uncounted, nothing is made anew."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import sqlite3
import stat
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulk_export.core.credentials import Token
from bulk_export.core.model import Limit
from bulk_export.errors import BudgetUnavailable, DamagedState, LocalFailure
from bulk_export.extract.rate_limit import RateLimiter, RequestOutcome, open_rate_limiter, read_usage
from bulk_export.extract.rate_limit.adapters import ThreadedAsyncLedger
from bulk_export.extract.rate_limit.boot_clock import boot_clock
from bulk_export.extract.rate_limit.interface import Granted, Limits
from bulk_export.extract.rate_limit.sqlite import file as sqlite_file
from bulk_export.extract.rate_limit.sqlite.ledger import SqliteLedger

AGREED = Limits(Limit(20, 60), Limit(20, 60), (None,), 30.0)


def open_ledger(path: Path) -> SqliteLedger:
    return SqliteLedger(path, "https://service.example", Token("t"), AGREED, boot_clock())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A budget file with something in it."""
    path = tmp_path / "budget.sqlite"
    with closing(open_ledger(path)) as ledger:
        for number in range(10):
            ledger.claim(number)
            ledger.release(number, RequestOutcome.ANSWERED)
    return path


def claim_many(ledger: SqliteLedger, first: int) -> int:
    """Ask for thirty permits; return how many there were."""
    return sum(isinstance(ledger.claim(number), Granted) for number in range(first, first + 30))


@contextmanager
def no_room_beyond(size: int) -> Iterator[None]:
    """No file of this process can grow beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def foreign(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE state (x)")


def newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")


def without_state(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM state")


def without_tables(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DROP TABLE spent")


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"not a database, but long enough to look at\n" * 100),
        lambda path: path.write_bytes(path.read_bytes()[:5000]),
        lambda path: path.write_bytes(path.read_bytes()[:4096] + os.urandom(len(path.read_bytes()) - 4096)),
        foreign,
        newer,
        without_state,
        without_tables,
    ],
    ids=["empty", "text", "cut", "noise", "foreign", "newer", "no state", "no table"],
)
def test_untrusted_file_is_refused(path: Path, damage: object) -> None:
    """A file that cannot be trusted is refused and left as it is."""
    damage(path)  # type: ignore[operator]  # each damages a file
    before = path.read_bytes()
    with pytest.raises(DamagedState, match=r"budget\.sqlite") as refused:
        open_ledger(path).claim(1)
    assert refused.value.exit_code == 5
    assert refused.value.next_step
    with pytest.raises(DamagedState):
        read_usage(f"sqlite:///{path}")
    assert path.read_bytes() == before


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), noise=st.binary(min_size=1, max_size=200))
def test_damage_anywhere_is_noticed(path: Path, place: float, noise: bytes) -> None:
    """Damage anywhere in the file is refused as damage when it is noticed."""
    copy = path.with_name("copy.sqlite")
    content = bytearray(path.read_bytes())
    at = int(place * len(content))
    content[at : at + len(noise)] = noise
    copy.write_bytes(content)
    for leftover in ("-wal", "-shm"):
        Path(f"{copy}{leftover}").unlink(missing_ok=True)
    with contextlib.suppress(LocalFailure), closing(open_ledger(copy)) as ledger:
        assert claim_many(ledger, 100) <= 20


def test_key_of_another_service_is_damage(path: Path) -> None:
    """A row whose service does not fit its key is refused as damage."""
    with closing(open_ledger(path)) as ledger:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("UPDATE accounts SET service_number = 5")
            connection.commit()
        with pytest.raises(DamagedState, match="is damaged"):
            ledger.claim(100)


@pytest.mark.parametrize("kind", ["directory", "loop", "missing parent that is a file"])
def test_impossible_path_is_refused(tmp_path: Path, kind: str) -> None:
    """A path that cannot be a file is refused."""
    path = tmp_path / "budget.sqlite"
    if kind == "directory":
        path.mkdir()
    elif kind == "loop":
        path.symlink_to(path)
    else:
        (tmp_path / "file").write_text("")
        path = tmp_path / "file" / "budget.sqlite"
    with pytest.raises(BudgetUnavailable) as refused:
        open_ledger(path)
    assert refused.value.exit_code == 5


def test_a_read_only_file_system_is_refused(path: Path, tmp_path: Path) -> None:
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(mounted)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root may mount a file system here")
    try:
        shutil.copy(path, mounted / "budget.sqlite")
        subprocess.run(["mount", "-o", "remount,ro", str(mounted)], check=True)
        with pytest.raises(BudgetUnavailable):
            open_ledger(mounted / "budget.sqlite")
        with pytest.raises(BudgetUnavailable):
            open_ledger(mounted / "another.sqlite")
    finally:
        subprocess.run(["umount", str(mounted)], check=True)


def test_second_name_is_refused(path: Path, tmp_path: Path) -> None:
    """A file with a second name is refused under both.

    SQLite keeps what was written last beside the file, by name: each name would have a record of its own.
    """
    with closing(open_ledger(path)) as ledger:
        (tmp_path / "elsewhere").mkdir()
        second = tmp_path / "elsewhere" / "other.sqlite"
        second.hardlink_to(path)
        with pytest.raises(BudgetUnavailable, match="hard link"):
            ledger.claim(100)
        for name in (path, second):
            with pytest.raises(BudgetUnavailable, match="hard link") as refused:
                open_ledger(name)
            assert refused.value.exit_code == 5
            with pytest.raises(BudgetUnavailable):
                read_usage(f"sqlite:///{name}")
        second.unlink()
        assert isinstance(ledger.claim(101), Granted)


def test_mounted_file_is_refused(path: Path, tmp_path: Path) -> None:
    """A file that is mounted by itself is refused, since it has another name elsewhere."""
    inside = tmp_path / "a container's" / "budget.sqlite"
    inside.parent.mkdir()
    inside.touch()
    mount = subprocess.run(["mount", "--bind", str(path), str(inside)], capture_output=True, check=False)
    if mount.returncode != 0:
        pytest.skip("nothing may be mounted here")
    try:
        with pytest.raises(BudgetUnavailable, match="mounted by itself") as refused:
            open_ledger(inside)
        assert refused.value.exit_code == 5
        (tmp_path / "link.sqlite").symlink_to(inside)
        with pytest.raises(BudgetUnavailable, match="mounted by itself"):
            open_ledger(tmp_path / "link.sqlite")
    finally:
        subprocess.run(["umount", str(inside)], check=True)
    with closing(open_ledger(path)) as ledger:
        assert isinstance(ledger.claim(100), Granted)


def test_symbolic_link_is_followed(path: Path, tmp_path: Path) -> None:
    """A symbolic link stands for the file that it leads to."""
    link = tmp_path / "link.sqlite"
    link.symlink_to(path)
    with closing(open_ledger(path)) as one, closing(open_ledger(link)) as two:
        assert claim_many(one, 100) + claim_many(two, 200) == 10


def test_killed_creation_leaves_no_second_name(path: Path) -> None:
    """A process that is killed while it makes the file does not leave a second name."""
    path.with_name(f".{path.name}.0123456789abcdef").hardlink_to(path)
    with closing(open_ledger(path)) as ledger:
        assert isinstance(ledger.claim(100), Granted)
    assert [file.name for file in path.parent.glob(".*")] == []


def test_log_of_removed_file_is_not_reused(path: Path) -> None:
    """The log of a file that was removed does not get into the next one."""
    with closing(open_ledger(path)) as ledger:
        assert claim_many(ledger, 100) == 10
        path.unlink()
        with closing(open_ledger(path)) as anew:
            assert claim_many(anew, 200) == 20


async def test_routes_of_one_address_are_one(tmp_path: Path) -> None:
    """The default route and the same address by name share one limit.

    And so are the names of this machine: of ten from an address, ten in all.
    """
    granted = 0
    for base_url, source in (
        ("http://127.0.0.1:8080", None),
        ("http://localhost:8080", "127.0.0.1"),
        ("http://127.0.0.1:8080", "127.0.0.1"),
        ("http://localhost:8080", None),
    ):
        async with open_rate_limiter(
            f"sqlite:///{tmp_path}/budget.sqlite",
            base_url=base_url,
            token=Token(f"t{granted}"),
            service_limit=Limit(4, 60),
            ip_limit=Limit(10, 60),
            min_interval=0,
            sources=(source,),
            answer_timeout=1,
        ) as budget:
            with anyio.move_on_after(0.2):
                for _ in range(4):
                    await budget.release(await budget.acquire(), RequestOutcome.ANSWERED)
                    granted += 1
    assert granted == 10


def test_network_file_system_needs_no_shared_memory(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a network file system the file needs no shared memory."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"1 0 0:1 / / rw - ext4 /dev/a rw\n2 1 0:2 / {tmp_path} rw shared:1 - nfs4 host:/ rw\n")
    monkeypatch.setattr(sqlite_file, "_MOUNTS", mounts)
    with closing(open_ledger(path)) as one, closing(open_ledger(path)) as two:
        assert claim_many(one, 100) + claim_many(two, 200) == 10
        assert [file.name for file in tmp_path.iterdir() if file.name.startswith("budget")] == ["budget.sqlite"]


def test_full_disk_gives_no_permit(path: Path) -> None:
    """On a full disk no permit is given."""
    with closing(open_ledger(path)) as ledger:
        with no_room_beyond(4096), pytest.raises(BudgetUnavailable) as failure:
            claim_many(ledger, 100)
        assert failure.value.exit_code == 5
        assert claim_many(ledger, 200) <= 10


def test_full_disk_makes_no_file(tmp_path: Path) -> None:
    """On a full disk no file is left half made."""
    with no_room_beyond(0), pytest.raises(BudgetUnavailable):
        open_ledger(tmp_path / "budget.sqlite")
    assert list(tmp_path.glob("**/*budget*")) == []


async def test_unsettled_permit_stays_used(path: Path) -> None:
    """A permit that cannot be released for lack of space stays used, and is released when there is space."""
    store = await ThreadedAsyncLedger.open(lambda: open_ledger(path))
    budget = RateLimiter(store, AGREED)
    permits = [await budget.acquire() for _ in range(10)]
    with no_room_beyond(4096):
        await budget.release(permits[0], RequestOutcome.UNSENT)
        await budget.release(permits[1], RequestOutcome.ANSWERED)
        hold = await budget.report_throttled(permits[2], retry_after="0", date=None)
    assert 0 < hold < 1
    assert read_usage(f"sqlite:///{path}")[0].used == 20
    await budget.acquire()
    assert read_usage(f"sqlite:///{path}")[0].used == 20
    await budget.aclose()


def test_removed_file_is_noticed(path: Path) -> None:
    """A file that was removed or replaced during a run is noticed."""
    ledger = open_ledger(path)
    aside = path.with_name("aside.sqlite")
    path.rename(aside)
    with pytest.raises(BudgetUnavailable):
        ledger.claim(100)
    with closing(open_ledger(path)), pytest.raises(BudgetUnavailable, match="replaced"):
        ledger.claim(101)
    ledger.close()


def test_locked_file_is_given_up(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that another process never unlocks is given up."""
    monkeypatch.setattr(sqlite_file, "_BUSY_SECONDS", 0.05)
    with closing(open_ledger(path)) as ledger, closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(BudgetUnavailable, match="another process"):
            ledger.claim(100)
        other.rollback()
        assert isinstance(ledger.claim(101), Granted)


def test_the_file_is_private_from_the_moment_it_exists(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "budget.sqlite"
    before = os.umask(0)
    try:
        with closing(open_ledger(path)) as ledger:
            ledger.claim(1)
            files = list(path.parent.iterdir())
            assert len(files) == 3
            assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.parent.parent.stat().st_mode) == 0o700
    assert [file.name for file in path.parent.iterdir()] == ["budget.sqlite"]


def test_file_is_made_concurrently(tmp_path: Path) -> None:
    """Many processes may make the file at once."""
    path = tmp_path / "budget.sqlite"

    def use(number: int) -> bool:
        with closing(open_ledger(path)) as ledger:
            return isinstance(ledger.claim(number), Granted)

    with ThreadPoolExecutor(12) as threads:
        assert all(threads.map(use, range(12)))
    assert read_usage(f"sqlite:///{path}")[0].used == 12
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith("budget")] == ["budget.sqlite"]


async def test_the_default_is_a_file_of_the_user(tmp_path: Path) -> None:
    async with open_rate_limiter(
        "sqlite://",
        base_url="https://service.example",
        token=Token("t"),
        service_limit=Limit(5, 60),
        ip_limit=Limit(5, 60),
        min_interval=0,
        answer_timeout=1,
    ) as budget:
        await budget.acquire()
    assert (tmp_path / "state" / "bulk-export" / "budget.sqlite").is_file()
