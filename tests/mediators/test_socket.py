"""J3: the owner's local socket: who may ask, what it takes, and that it harms nobody."""

from __future__ import annotations

import errno
import os
import pickle
import socket
import stat
import struct
import sys
import tempfile
import threading
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import ActorError, Refusal, open_system
from mediators import Handle, MemoryJournal, Start, Status
from mediators.driver import requests
from mediators.driver import socket as owner_socket
from mediators.driver.remote import OwnerGone, OwnerSilent, RemoteRefused, send
from mediators.journal import JournalUnreachable, SqliteJournal, owner_of
from tests.mediators.orders import PlaceOrder, Shop, shop

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from actors import Ref
    from actors.testing import VirtualClock


@asynccontextmanager
async def running(path: Path, clock: VirtualClock) -> AsyncGenerator[tuple[Ref[Any], str]]:
    """A shop with the order 1 that waits, and the path of its socket."""
    async with open_system(seed=0, clock=clock.now) as system:
        ref = await system.start(shop(path), name="shop")
        await ref.call(Start(PlaceOrder("1")))
        await wait_all_tasks_blocked()
        owner = owner_of(path)
        assert owner is not None and owner.socket is not None
        yield ref, owner.socket


def there(path: str) -> bool:
    return os.path.exists(path)


async def exchange(path: str, data: bytes) -> bytes:
    """What is answered to some bytes, to the end of the connection or of the line."""
    with trio.socket.socket(socket.AF_UNIX) as connection:
        await connection.connect(path)
        sender = memoryview(data)
        try:
            while sender:
                sender = sender[await connection.send(sender) :]
        except (BrokenPipeError, ConnectionResetError):
            pass
        found = b""
        while not found.endswith(b"\n"):
            try:
                chunk = await connection.recv(1 << 16)
            except ConnectionResetError:
                break
            if not chunk:
                break
            found += chunk
        return found


async def ask(path: str, **request: Any) -> Any:
    return msgspec.json.decode(await exchange(path, msgspec.json.encode(request) + b"\n"))


async def test_j3_the_directory_is_open_to_its_user_alone_and_its_path_is_in_the_lock_file(
    virtual_clock: VirtualClock, tmp_path: Path
) -> None:
    async with running(tmp_path / "orders.db", virtual_clock) as (_, path):
        directory = os.path.dirname(path)
        assert stat.S_IMODE(os.stat(directory).st_mode) == 0o700
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        assert os.stat(directory).st_uid == os.geteuid()
    assert not there(directory)
    assert owner_of(tmp_path / "orders.db") is None


async def test_j3_what_is_asked_over_the_socket_is_done_and_answered(
    virtual_clock: VirtualClock, tmp_path: Path
) -> None:
    async with running(tmp_path / "orders.db", virtual_clock) as (ref, path):
        order = Handle(ref, "order-1", PlaceOrder)
        assert await ask(path, verb="pause", id="order-1") == {"ok": None}
        assert await order.status() is Status.PAUSED
        assert await ask(path, verb="resume", id="order-1") == {"ok": "waiting"}
        forked = await ask(path, verb="fork", id="order-1", new_id="order-1b")
        assert forked == {"ok": "order-1b"}
        signal = {"verb": "signal", "id": "order-1", "type": "Approved", "fields": {"by": "bob"}}
        assert await ask(path, **signal) == {"ok": None}
        assert await order.result(timeout=1.0) == "book approved by bob"
        assert await ask(path, verb="cancel", id="order-1b") == {"ok": None}
        await wait_all_tasks_blocked()
        assert await Handle(ref, "order-1b").status() is Status.CANCELLED


@pytest.mark.parametrize(
    ("request_", "type", "text"),
    [
        ({"verb": "cancel", "id": "order-9"}, "NoSuchWorkflow", "order-9"),
        ({"verb": "resume", "id": "order-1"}, "VerbRefused", "not paused"),
        ({"verb": "retry", "id": "order-1"}, "VerbRefused", "no incident"),
        ({"verb": "signal", "id": "order-1", "type": "Aproved"}, "BadRequest", "No type"),
        ({"verb": "signal", "id": "order-1", "type": "Approved"}, "BadRequest", "no fields of"),
    ],
    ids=["no such workflow", "not paused", "no incident", "misspelt type", "wrong fields"],
)
async def test_j3_a_refusal_is_answered_with_its_type_and_text(
    virtual_clock: VirtualClock, tmp_path: Path, request_: dict[str, Any], type: str, text: str
) -> None:
    async with running(tmp_path / "orders.db", virtual_clock) as (_, path):
        answer = await ask(path, **request_)
    assert answer["error"]["type"] == type
    assert text in answer["error"]["text"]


async def test_j3_another_user_is_refused(
    virtual_clock: VirtualClock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running(tmp_path / "orders.db", virtual_clock) as (ref, path):
        with monkeypatch.context() as patch:
            patch.setattr(owner_socket, "peer_uid", lambda connection: os.geteuid() + 1)
            answer = await ask(path, verb="cancel", id="order-1")
        assert answer == {"error": {"type": "Refused", "text": "This socket is for another user."}}
        assert await Handle(ref, "order-1").status() is Status.WAITING
        assert "was refused at the owner's socket" in caplog.text
        with monkeypatch.context() as patch:
            patch.setattr(owner_socket, "peer_uid", lambda connection: os.geteuid() + 1)
            patch.setattr(owner_socket, "is_welcome", lambda uid: True)
            assert await ask(path, verb="cancel", id="order-1") == {"ok": None}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
@pytest.mark.parametrize("opened", [False, True], ids=["directory", "directory left open"])
async def test_j3_another_user_does_not_even_reach_it(
    virtual_clock: VirtualClock, tmp_path: Path, opened: bool
) -> None:
    code = (
        "import os, socket, sys\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "with socket.socket(socket.AF_UNIX) as connection:\n"
        "    connection.settimeout(5)\n"
        "    try:\n"
        "        connection.connect(sys.argv[1])\n"
        "        print(connection.recv(1000).decode())\n"
        "    except PermissionError:\n"
        "        print('no way in')\n"
    )
    async with running(tmp_path / "orders.db", virtual_clock) as (_, path):
        if opened:
            os.chmod(os.path.dirname(path), 0o755)
            os.chmod(path, 0o777)
        process = await trio.run_process(
            [sys.executable, "-c", code, path], capture_stdout=True, capture_stderr=True
        )
    assert (b"another user" if opened else b"no way in") in process.stdout


async def test_j3_the_user_at_the_other_end_is_told_by_the_system() -> None:
    one, other = socket.socketpair(socket.AF_UNIX)
    with one, other:
        assert owner_socket.peer_uid(one) == os.geteuid()
    assert owner_socket.is_welcome(os.geteuid())
    assert owner_socket.is_welcome(0)
    assert not owner_socket.is_welcome(os.geteuid() + 1)


async def test_j3_what_is_no_request_closes_its_connection_and_no_other(
    virtual_clock: VirtualClock, tmp_path: Path
) -> None:
    async with running(tmp_path / "orders.db", virtual_clock) as (ref, path):
        with trio.socket.socket(socket.AF_UNIX) as bystander:
            await bystander.connect(path)
            for data in (
                b"hello\n",
                b'{"verb": "cancel"}\n',
                b'{"verb": "cancel", "id": "order-1", "code": "x"}\n',
                b"\xff\xfe\n",
                b"[" * 100_000 + b"\n",
            ):
                answer = msgspec.json.decode(await exchange(path, data))
                assert answer["error"]["type"] == "BadRequest", data[:20]
            await bystander.send(b'{"verb": "pause", "id": "order-1"}\n')
            assert await bystander.recv(1000) == b'{"ok":null}\n'
        assert await Handle(ref, "order-1").status() is Status.PAUSED


async def test_j3_a_request_without_end_is_refused_before_it_fills_the_memory(
    virtual_clock: VirtualClock, tmp_path: Path
) -> None:
    async with running(tmp_path / "orders.db", virtual_clock) as (_, path):
        data = await exchange(path, b"x" * (3 * owner_socket.MAX_FRAME))
        assert b"at most" in data
        assert await ask(path, verb="cancel", id="order-1") == {"ok": None}


class Exploit:
    def __reduce__(self) -> Any:
        return os.mkdir, (self.path,)

    def __init__(self, path: str) -> None:
        self.path = path


async def test_j3_a_pickle_executes_nothing(virtual_clock: VirtualClock, tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    data = pickle.dumps(Exploit(str(marker)))
    async with running(tmp_path / "orders.db", virtual_clock) as (_, path):
        for frame in (data + b"\n", struct.pack(">I", len(data)) + data + b"\n"):
            assert b"BadRequest" in await exchange(path, frame)
        hidden = {
            "verb": "signal",
            "id": "order-1",
            "type": "Approved",
            "fields": {"by": data.hex()},
        }
        assert await ask(path, **hidden) == {"ok": None}
    assert not marker.exists()
    pickle.loads(data)
    assert marker.exists()


async def test_j3_too_many_connections_are_told_so(
    virtual_clock: VirtualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner_socket, "MAX_CONNECTIONS", 1)
    async with running(tmp_path / "orders.db", virtual_clock) as (_, path):
        with trio.socket.socket(socket.AF_UNIX) as first:
            await first.connect(path)
            await wait_all_tasks_blocked()
            assert b"Busy" in await exchange(path, b"")
        await wait_all_tasks_blocked()
        assert await ask(path, verb="cancel", id="order-1") == {"ok": None}


async def test_j3_a_connection_that_says_nothing_lets_no_time_pass_and_ends_with_its_owner(
    virtual_clock: VirtualClock, tmp_path: Path
) -> None:
    with trio.socket.socket(socket.AF_UNIX) as silent:
        async with running(tmp_path / "orders.db", virtual_clock) as (_, path):
            await silent.connect(path)
            await silent.send(b'{"verb": "can')
            before = virtual_clock.time
            await wait_all_tasks_blocked()
            assert virtual_clock.time == before
        assert await silent.recv(10) == b""


async def test_j3_each_incarnation_has_a_socket_of_its_own(
    virtual_clock: VirtualClock, tmp_path: Path
) -> None:
    file = tmp_path / "orders.db"
    async with running(file, virtual_clock) as (ref, path):
        ref._place.request(crash_now)
        await trio.sleep(1)
        await wait_all_tasks_blocked()
        owner = owner_of(file)
        assert owner is not None and owner.socket not in (None, path)
        assert not there(path)
        assert await ask(str(owner.socket), verb="cancel", id="order-1") == {"ok": None}


def crash_now(place: Any) -> None:
    from actors.runtime import lifecycle

    lifecycle.crash(place, ValueError("boom"), None)


async def test_j3_a_socket_that_cannot_be_opened_is_logged_and_stops_nobody(
    virtual_clock: VirtualClock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse() -> str:
        raise PermissionError("no directory for you")

    monkeypatch.setattr(owner_socket, "make_directory", refuse)
    async with open_system(seed=0, clock=virtual_clock.now) as system:
        ref = await system.start(shop(tmp_path / "orders.db"), name="shop")
        await ref.call(Start(PlaceOrder("1")))
        await wait_all_tasks_blocked()
        owner = owner_of(tmp_path / "orders.db")
        assert owner is not None and owner.socket is None
        assert await Handle(ref, "order-1").status() is Status.WAITING
    assert "no directory for you" in caplog.text


def test_j3_a_path_that_is_too_long_for_a_socket_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    made = owner_socket.make_directory()
    try:
        assert not made.startswith(str(deep))
        assert list(deep.iterdir()) == []
    finally:
        os.rmdir(made)
    monkeypatch.setattr(owner_socket, "_parents", lambda: [str(deep)])
    with pytest.raises(OSError, match="short enough"):
        owner_socket.make_directory()


def test_j3_what_a_killed_owner_left_is_removed_by_another_one_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = tempfile.mkdtemp()
    monkeypatch.setattr(tempfile, "tempdir", parent)
    monkeypatch.setattr(owner_socket, "STALE", -1.0)
    dead, path = owner_socket.open_listener()
    dead.close()
    alive, living = owner_socket.open_listener()
    assert not there(os.path.dirname(path))
    other, third = owner_socket.open_listener()
    assert there(living)
    for listener, each in ((alive, living), (other, third)):
        listener.close()
        owner_socket._remove(each)
    os.rmdir(parent)


async def test_j3_a_journal_in_memory_has_no_socket(
    virtual_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    monkeypatch.setattr(owner_socket, "make_directory", lambda: made.append("") or "")
    cls = type("ShopOn", (Shop,), {"journal": MemoryJournal()})
    async with open_system(seed=0, clock=virtual_clock.now) as system:
        await system.start(cls, name="shop")
        await wait_all_tasks_blocked()
    assert made == []


def test_the_other_end_tells_nobody_there_from_no_answer(tmp_path: Path) -> None:
    request = requests.CancelRequest(id="order-1")
    path = os.path.join(tempfile.mkdtemp(prefix="understudy-"), "owner")
    with pytest.raises(OwnerGone):
        send(path, request)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        with pytest.raises(OwnerSilent, match="within 0.05 s"):
            send(path, request, timeout=0.05)
    with pytest.raises(OwnerGone):
        send(path, request)  # a stale socket, as kill -9 leaves it
    with pytest.raises(ValueError, match="at most"):
        send(path, requests.CancelRequest(id="x" * owner_socket.MAX_FRAME))
    os.unlink(path)
    os.rmdir(os.path.dirname(path))


async def test_the_other_end_raises_what_the_owner_refuses(
    virtual_clock: VirtualClock, tmp_path: Path
) -> None:
    async with running(tmp_path / "orders.db", virtual_clock) as (_, path):
        to_thread = trio.to_thread.run_sync
        with pytest.raises(RemoteRefused, match="not paused") as caught:
            await to_thread(send, path, requests.ResumeRequest(id="order-1"))
        assert caught.value.type == "VerbRefused"
        assert await to_thread(send, path, requests.PauseRequest(id="order-1")) is None
        assert await to_thread(send, path, requests.ResumeRequest(id="order-1")) == "waiting"


# -- what goes wrong at either end


class Answers:
    """An owner that answers the first connection with these bytes, and closes it."""

    def __init__(self, data: bytes) -> None:
        self.path = os.path.join(tempfile.mkdtemp(prefix="understudy-"), "owner")
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen()
        self.data = data
        self.thread = threading.Thread(target=self._answer)
        self.thread.start()

    def _answer(self) -> None:
        connection, _ = self.listener.accept()
        with connection:
            connection.recv(1 << 16)
            connection.sendall(self.data)

    def close(self) -> None:
        self.thread.join()
        self.listener.close()
        os.unlink(self.path)
        os.rmdir(os.path.dirname(self.path))


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "The owner has closed the connection without an answer."),
        (b'{"ok": nu', "The owner has closed the connection without an answer."),
        (b"hello\n", "What the owner has sent is no answer: "),
        (b'{"error": 3}\n', "What the owner has sent is no answer: "),
    ],
    ids=["nothing", "half", "no JSON", "no error"],
)
def test_the_other_end_takes_what_is_no_answer_for_silence(data: bytes, text: str) -> None:
    owner = Answers(data)
    try:
        with pytest.raises(OwnerSilent, match=text):
            send(owner.path, requests.PauseRequest(id="order-1"), timeout=5.0)
    finally:
        owner.close()


def test_the_other_end_says_what_the_owner_has_refused() -> None:
    owner = Answers(b'{"error": {"type": "Busy", "text": "64 connections are open already."}}\n')
    try:
        with pytest.raises(RemoteRefused) as caught:
            send(owner.path, requests.PauseRequest(id="order-1"), timeout=5.0)
    finally:
        owner.close()
    assert (caught.value.type, str(caught.value)) == ("Busy", "64 connections are open already.")


async def test_j3_an_owner_whose_lock_file_cannot_be_written_goes_on_without_a_socket(
    virtual_clock: VirtualClock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    made: list[str] = []

    def announce(self: SqliteJournal, path: str | None) -> None:
        if path is not None:
            made.append(path)
            raise JournalUnreachable("orders.db.lock cannot be written: Input/output error.")

    monkeypatch.setattr(SqliteJournal, "announce", announce)
    async with open_system(seed=0, clock=virtual_clock.now) as system:
        ref = await system.start(shop(tmp_path / "orders.db"), name="shop")
        await ref.call(Start(PlaceOrder("1")))
        await wait_all_tasks_blocked()
        assert await Handle(ref, "order-1").status() is Status.WAITING
    assert "nothing can be asked of it from outside: orders.db.lock cannot be" in caplog.text
    assert len(made) == 1 and not there(os.path.dirname(made[0]))


def test_j3_a_socket_that_cannot_listen_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "understudy-x"
    folder.mkdir()
    (folder / "owner").write_text("in the way")
    monkeypatch.setattr(owner_socket, "make_directory", lambda: str(folder))
    with pytest.raises(OSError, match="in use"):
        owner_socket.open_listener()
    assert not folder.exists()


def test_j3_where_no_directory_can_be_made_the_system_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner_socket, "_parents", lambda: [str(tmp_path / "none")])
    with pytest.raises(FileNotFoundError):
        owner_socket.make_directory()


def test_j3_a_system_without_peer_credentials_leaves_it_to_the_directory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Darwin:
        def getsockopt(self, level: int, option: int, size: int) -> bytes:
            assert (level, option, size) == (0, 1, 76)
            return struct.pack("II", 0, 501) + bytes(68)

    monkeypatch.delattr(socket, "SO_PEERCRED", raising=False)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert owner_socket.peer_uid(Darwin()) == 501
    monkeypatch.setattr(sys, "platform", "other")
    assert owner_socket.peer_uid(None) is None
    assert owner_socket.is_welcome(None)


class Listener:
    """Fails as told at each accept; then it waits for ever."""

    def __init__(self, *numbers: int) -> None:
        self.numbers = list(numbers)

    async def accept(self) -> Any:
        if self.numbers:
            number = self.numbers.pop(0)
            raise OSError(number, os.strerror(number))
        await trio.sleep_forever()


async def test_j3_an_owner_without_free_descriptors_waits_for_one(
    virtual_clock: VirtualClock,
) -> None:
    listener: Any = Listener(errno.EMFILE, errno.ECONNABORTED, errno.ENFILE)
    driver: Any = None
    before = trio.current_time()
    with trio.move_on_after(10.0):
        await owner_socket._accept(driver, listener)
    assert listener.numbers == []
    assert trio.current_time() - before == 10.0


async def test_j3_a_socket_that_fails_is_closed_and_told_and_its_owner_goes_on(
    virtual_clock: VirtualClock, tmp_path: Path, caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    async def accept(driver: Any, listener: Any) -> None:
        await trio.lowlevel.checkpoint()
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr(owner_socket, "_accept", accept)
    async with open_system(seed=0, clock=virtual_clock.now) as system:
        ref = await system.start(shop(tmp_path / "orders.db"), name="shop")
        await ref.call(Start(PlaceOrder("1")))
        await wait_all_tasks_blocked()
        owner = owner_of(tmp_path / "orders.db")
        assert owner is not None and owner.socket is None
        assert await Handle(ref, "order-1").status() is Status.WAITING
    assert "the owner's socket has failed and is closed" in caplog.text


class Failing:
    """A mediator that raises what it was told to."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def call(self, message: Any, timeout: float | None) -> Any:
        await trio.lowlevel.checkpoint()
        raise self.error


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (Refusal("not now"), "not now"),
        (ActorError("it died"), "The mediator did not answer: it died"),
        (KeyError("odd"), "'odd'"),
    ],
    ids=["refusal", "death", "mistake"],
)
async def test_j3_however_a_request_ends_it_is_answered(error: Exception, text: str) -> None:
    driver: Any = SimpleNamespace(face=Failing(error), types=None)
    found = await owner_socket.answer(driver, requests.PauseRequest(id="order-1"))
    assert found == {"error": {"type": type(error).__name__, "text": text}}


async def test_j3_a_connection_that_breaks_is_of_no_concern_to_the_others(
    virtual_clock: VirtualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    caplog.set_level("INFO", "mediators")
    connected = owner_socket._connected
    broken: list[int] = []

    async def breaks_once(driver: Any, connection: Any, *, busy: bool) -> None:
        if not broken:
            broken.append(1)
            raise ConnectionResetError("gone")
        await connected(driver, connection, busy=busy)

    monkeypatch.setattr(owner_socket, "_connected", breaks_once)
    async with running(tmp_path / "orders.db", virtual_clock) as (_, path):
        assert await exchange(path, b"") == b""
        assert await ask(path, verb="pause", id="order-1") == {"ok": None}
    assert "A connection to the owner's socket has ended: ConnectionResetError" in caplog.text
