"""One writer at a time, and nobody after its death (rule J3)."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import pytest

from mediators.journal import (
    Batch,
    Fenced,
    JournalLocked,
    JournalUnreachable,
    RunRow,
    SqliteJournal,
    lock,
    owner_of,
    sqlite,
)

if TYPE_CHECKING:
    from collections.abc import Callable

OWNER = """
journal = SqliteJournal(path)
journal.announce(os.environ.get("SOCKET") or None)
shard = journal.acquire()
shard.append(started(shard.next_number))
say("owned")
sys.stdin.readline()
journal.announce("/run/later.sock")
say("announced")
sys.stdin.readline()
journal.close()
"""


def started(number: int) -> Batch:
    return Batch([RunRow(number, f"order-{number}", 1, "T", "running", 1.0)], [(number, 0, b"x")])


def test_j3_a_second_process_is_refused_and_told_who_has_it(
    path: Path, child: Callable[..., Any]
) -> None:
    owner = child(path, OWNER)
    assert owner.hear() == "owned"
    journal = SqliteJournal(path)
    with pytest.raises(JournalLocked) as refused:
        journal.acquire()
    assert f"process {owner.pid} (no socket)" in str(refused.value)
    assert str(path) in str(refused.value)
    with pytest.raises(JournalLocked):
        journal.leave(0, [b"not while it is owned"])
    owner.tell()
    assert owner.hear() == "announced"
    with pytest.raises(JournalLocked, match=rf"process {owner.pid} \(socket /run/later.sock\)"):
        journal.acquire()
    found = owner_of(path)
    assert found is not None
    assert (found.pid, found.socket) == (owner.pid, "/run/later.sock")
    assert found.since is not None and found.since > 0
    owner.tell()
    assert owner.wait() == 0
    assert owner_of(path) is None
    with closing(journal):
        assert journal.acquire().epoch == 2


def test_j3_after_kill_9_the_lock_is_free_and_what_was_committed_is_there(
    path: Path, child: Callable[..., Any]
) -> None:
    owner = child(path, OWNER)
    assert owner.hear() == "owned"
    with SqliteJournal.read(path) as reader:
        assert [row.number for row in reader.runs()] == [1]
    owner.kill()
    assert json.loads(Path(f"{path}.lock").read_text())["pid"] == owner.pid
    assert owner_of(path) is None
    with closing(SqliteJournal(path)) as journal:
        shard = journal.acquire()
        assert shard.epoch == 2
        assert [(row.number, len(data)) for row, data in shard.open_runs()] == [(1, 2)]
        found = owner_of(path)
        assert found is not None and found.pid == os.getpid()


def test_j3_two_objects_in_one_process_exclude_each_other(path: Path) -> None:
    with closing(SqliteJournal(path)) as first, closing(SqliteJournal(path)) as second:
        first.acquire()
        with pytest.raises(JournalLocked, match="this very process"):
            second.acquire(1)
        first.close()
        second.acquire(1)
        with pytest.raises(JournalLocked):
            first.acquire()


def test_j3_without_the_lock_there_would_be_two_owners(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "_lock", lambda file, how: True)
    with closing(SqliteJournal(path)) as first, closing(SqliteJournal(path)) as second:
        first.acquire(0)
        second.acquire(1)
        assert owner_of(path) is None


def test_j3_another_name_of_the_file_is_no_way_around_the_lock(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(path)
    with closing(SqliteJournal(path)) as first, closing(SqliteJournal(link)) as second:
        first.acquire()
        assert owner_of(link) == owner_of(path) is not None
        with pytest.raises(JournalLocked):
            second.acquire()
        assert not Path(f"{link}.lock").exists()


def test_j3_a_refused_opener_leaves_the_owners_word_in_the_lock_file(path: Path) -> None:
    with closing(SqliteJournal(path)) as first:
        first.acquire()
        first.announce("/run/a.sock")
        before = Path(f"{path}.lock").read_text()
        with pytest.raises(JournalLocked):
            SqliteJournal(path).acquire()
        assert Path(f"{path}.lock").read_text() == before
        assert sorted(json.loads(before)) == ["pid", "socket", "time"]


def test_j3_a_socket_announced_early_is_named_once_the_journal_is_open(path: Path) -> None:
    with closing(SqliteJournal(path)) as journal:
        journal.announce("/run/early.sock")
        assert owner_of(path) is None
        journal.acquire()
        found = owner_of(path)
        assert found is not None and found.socket == "/run/early.sock"


def test_j3_an_owner_that_has_not_said_who_it_is_is_an_owner(path: Path) -> None:
    with closing(SqliteJournal(path)) as journal:
        journal.acquire()
        Path(f"{path}.lock").write_text("")
        found = owner_of(path)
        assert found is not None and found.pid is None
        with pytest.raises(JournalLocked, match="does not say"):
            SqliteJournal(path).acquire()


def test_j3_somebody_who_asks_for_the_owner_keeps_nobody_out(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The question takes the lock for a moment, shared: whoever wants to own it waits that long."""
    held = lock.FileLock(str(path))
    held.acquire()
    held.release()
    asking = open(f"{path}.lock", "rb", buffering=0)  # noqa: SIM115
    assert lock._lock(asking, fcntl.LOCK_SH)
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            asking.close()

    monkeypatch.setattr(time, "sleep", pause)
    with closing(SqliteJournal(path)) as journal:
        journal.acquire()
    assert len(pauses) == 3


def moved_while_taken(path: Path, monkeypatch: pytest.MonkeyPatch) -> SqliteJournal:
    """An owner whose lock file was moved away just before it was locked, and put in place anew."""
    real = lock._lock
    name = Path(f"{path}.lock")

    def moving(file: Any, how: int) -> bool:
        if not name.with_suffix(".old").exists():
            name.rename(name.with_suffix(".old"))
        return real(file, how)

    monkeypatch.setattr(lock, "_lock", moving)
    journal = SqliteJournal(path)
    journal.acquire()
    return journal


def test_j3_a_lock_file_moved_before_it_was_locked_is_not_taken_for_the_lock(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(moved_while_taken(path, monkeypatch)):
        assert owner_of(path) is not None
        with pytest.raises(JournalLocked):
            SqliteJournal(path).acquire()


def test_j3_without_a_second_look_a_moved_lock_file_would_lock_nobody_out(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "_is_at", lambda file, name: True)
    with closing(moved_while_taken(path, monkeypatch)), closing(SqliteJournal(path)) as second:
        second.acquire()


def robbed(path: Path) -> tuple[SqliteJournal, Any, SqliteJournal, Any]:
    """An owner whose lock file was deleted, and the second owner that came so."""
    first = SqliteJournal(path)
    shard = first.acquire()
    shard.append(started(1))
    Path(f"{path}.lock").unlink()
    second = SqliteJournal(path)
    return first, shard, second, second.acquire()


def test_j1_an_owner_that_lost_its_lock_file_is_fenced_by_the_epoch_on_disk(path: Path) -> None:
    first, stale, second, owner = robbed(path)
    with closing(first), closing(second):
        with pytest.raises(Fenced, match="later owner than epoch 1"):
            stale.append(started(2))
        owner.append(started(3))
        with pytest.raises(Fenced):
            stale.append(started(4))
        assert [row.number for row in owner.runs()] == [1, 3]


def test_j1_without_the_epoch_a_stale_owner_would_write(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        sqlite, "_ADVANCE", "UPDATE shards SET position = ?, number = ? WHERE shard = ? AND ? > 0"
    )
    first, stale, second, owner = robbed(path)
    with closing(first), closing(second):
        stale.append(started(2))
        assert [row.number for row in owner.runs()] == [1, 2]


def test_j3_a_forked_child_neither_keeps_the_lock_nor_takes_it_along(path: Path) -> None:
    """A lock made by flock belongs to the open file, which a fork shares."""
    held = lock.FileLock(str(path))
    held.acquire()
    answer, ask = os.pipe()
    go, wait = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(ask, b"free" if not held.held else b"held")
            os.close(wait)
            os.read(go, 1)
        finally:
            os._exit(0)
    try:
        assert os.read(answer, 4) == b"free"
        assert owner_of(path) is not None
        # As when the process dies: its descriptors are closed, and nothing else is done.
        assert held._file is not None
        held._file.close()
        assert owner_of(path) is None
    finally:
        for descriptor in (go, wait, answer, ask):
            os.close(descriptor)
        os.waitpid(pid, 0)


def test_j3_a_lock_that_cannot_be_made_or_read_says_why(unprivileged: Any) -> None:
    directory, as_nobody = unprivileged
    path = directory / "orders.db"
    SqliteJournal(path).leave(0, [b"x"])
    directory.chmod(0o555)
    Path(f"{path}.lock").chmod(0)
    with as_nobody():
        with pytest.raises(JournalUnreachable, match=r"orders\.db\.lock cannot be read"):
            owner_of(path)
        with pytest.raises(JournalUnreachable, match=r"lock file .* Give this user"):
            SqliteJournal(path).acquire()


def test_j3_nothing_is_opened_or_made_before_it_is_asked_for(path: Path) -> None:
    journal = SqliteJournal(path)
    assert owner_of(path) is None
    journal.close()
    assert list(path.parent.iterdir()) == []
    journal.leave(0, [b"left behind"])
    assert owner_of(path) is None
    with closing(journal):
        assert journal.acquire().inbox(0) == [(0, b"left behind")]


def failing_write(number: int) -> Any:
    def pwrite(*_: Any) -> int:
        raise OSError(number, os.strerror(number))

    return pwrite


def test_j3_a_full_disk_keeps_no_owner_out_who_may_make_room(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = lock.FileLock(str(path))
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", failing_write(errno.ENOSPC))
        held.acquire()
    try:
        assert held.held
        assert str(owner_of(path)) == "a process that does not say which (no socket)"
    finally:
        held.release()


def test_j3_a_lock_file_that_cannot_be_written_lets_go_of_the_lock(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = lock.FileLock(str(path))
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", failing_write(errno.EIO))
        with pytest.raises(JournalUnreachable, match=r"orders\.db\.lock cannot be written: Input"):
            held.acquire()
    assert not held.held
    held.acquire()
    held.acquire()  # again is nothing new
    held.release()
    held.release()
    assert owner_of(path) is None


def test_j3_a_file_system_without_locks_is_named(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(descriptor: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(JournalUnreachable, match=r"cannot be locked \(No locks available\): put"):
        lock.FileLock(str(path)).acquire()


def test_j3_what_is_no_file_cannot_be_a_lock_file(path: Path) -> None:
    os.mkdir(f"{path}.lock")
    with pytest.raises(JournalUnreachable, match="nobody can say who owns the journal"):
        owner_of(path)
    with pytest.raises(JournalUnreachable, match=r"its lock file .* cannot \(Is a directory\)"):
        lock.FileLock(str(path)).acquire()


def test_j3_a_lock_whose_file_cannot_be_emptied_is_let_go_all_the_same(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = lock.FileLock(str(path))
    held.acquire()
    with monkeypatch.context() as patch:
        patch.setattr(os, "ftruncate", failing_write(errno.EIO))
        held.release()
    assert owner_of(path) is None


def test_j3_a_lock_that_is_forgotten_is_closed_here_and_not_emptied(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a forked child does with the locks it has inherited."""
    monkeypatch.setattr(lock, "_held", WeakSet())
    held = lock.FileLock(str(path))
    held.acquire()
    lock._forget_all()
    assert not held.held
    held.forget()
    assert (path.parent / f"{path.name}.lock").read_bytes() != b""
