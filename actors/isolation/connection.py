"""A connection: frames out and in over a socket, many to a packet.

What is to be sent is gathered until the writer's turn comes. It may be written earlier, by whoever
is about to do what might end the process.
"""

from __future__ import annotations

import fcntl
import logging
import termios
from collections import deque
from struct import Struct as Layout
from time import perf_counter
from typing import TYPE_CHECKING

import trio
from trio.lowlevel import enable_ki_protection

from actors.isolation import frames as f

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

logger = logging.getLogger("actors")

PROMPT = 0.0002
"""Seconds after which answers go out before another message is begun: if that ends the process,
they are not lost. Within that time they are sent together."""
INT = Layout("i")
CHUNK = 1 << 18
"""Bytes read at once."""


class Connection:
    """One end of a connection; a packet has at most ``largest`` bytes.

    ``do`` is called with the frames that come in and says what was wrong with them, if anything
    was; ``ended`` once nothing comes in any more, with what was wrong; and ``news`` for what is to
    go along with a packet that is about to leave.
    """

    def __init__(
        self,
        connection: socket.socket,
        largest: int,
        *,
        do: Callable[[Sequence[f.Frame]], f.BrokenLink | None],
        ended: Callable[[f.BrokenLink | None], object],
        news: Callable[[], list[f.Frame]],
    ) -> None:
        self._socket = connection
        self._largest = largest
        self._splitter = f.Splitter(largest)
        self._do = do
        self._ended = ended
        self._news = news
        self.closed = False
        self._broken = False
        """Something has come that was no frame: what comes after it counts no more."""
        self._out: list[f.Frame] = []
        """What the next packet consists of, of about ``_size`` bytes."""
        self._size = 0
        self._full: deque[list[f.Frame]] = deque()
        """Packets before that which have grown large enough."""
        self._urgent = False
        """A packet is to leave for its news, whether there is something else or not."""
        self._rest = memoryview(b"")
        """What is left of a packet that was begun elsewhere than in the writer."""
        self._sending = False
        """The writer is in the middle of a packet."""
        self._flushed = 0.0
        self._writer: trio.lowlevel.Task | None = None
        """The writer, while it waits for something to write."""

    def close(self) -> None:
        """Nothing goes in or out any more."""
        self.closed = True
        trio.lowlevel.notify_closing(self._socket)
        self._socket.close()
        self._out.clear()
        self._full.clear()
        self._wake()

    # -- out

    def send(self, frame: f.Frame) -> None:
        """Have a frame sent, together with whatever else comes up until the writer's
        turn."""
        if self.closed:
            return
        self._out.append(frame)
        self._size += f.weight(frame)
        if self._size > f.PACKET:
            self._full.append(self._out)
            self._out, self._size = [], 0
        if self._writer is not None:
            self._wake()

    def hurry(self) -> None:
        """Tell the news, though there may be nothing else to send."""
        self._urgent = True
        self._wake()

    def flush(self) -> None:
        """Write what is ready, at once, if it has waited for long. Not a checkpoint."""
        now = perf_counter()
        if self._out and now - self._flushed >= PROMPT:
            self._flushed = now
            self.write_now()

    def write_now(self) -> None:
        """Write what is ready, unless something before it is being written. Not a checkpoint."""
        if not self._out or self._sending or self._full or self._rest:
            return
        data = memoryview(packed(self._packet(), self._largest))
        try:
            data = data[self._socket.send(data) :]
        except OSError:
            pass  # full, or gone: the writer finds out
        self._rest = data

    @property
    def busy(self) -> bool:
        """Something is to be written, or being written."""
        return bool(self._out or self._full or self._rest) or self._writer is None

    @enable_ki_protection
    async def write(self) -> None:
        """Write what has come together, a packet at a time, until it is closed."""
        with trio.CancelScope(shield=True):
            while not self.closed:
                if self._rest:
                    rest, self._rest = self._rest, memoryview(b"")
                    await self._send_all(rest)
                    continue
                if not (self._out or self._full or self._urgent):
                    self._writer = trio.lowlevel.current_task()
                    await trio.lowlevel.wait_task_rescheduled(_never_aborts)
                    continue
                await self._send_all(memoryview(packed(self._packet(), self._largest)))

    def _wake(self) -> None:
        """Have the writer look."""
        task, self._writer = self._writer, None
        if task is not None:
            trio.lowlevel.reschedule(task)

    def _packet(self) -> list[f.Frame]:
        if self._full:
            return self._full.popleft()
        packet, self._out, self._size = self._out, [], 0
        self._urgent = False
        packet += self._news()
        return packet

    async def _send_all(self, view: memoryview) -> None:
        connection = self._socket
        self._sending = True
        while view:
            try:
                view = view[connection.send(view) :]
            except BlockingIOError:
                await trio.lowlevel.wait_writable(connection)
            except (trio.ClosedResourceError, OSError):
                break  # whoever reads finds out
        self._sending = False
        self._flushed = perf_counter()

    # -- in

    @enable_ki_protection
    async def read(self) -> None:
        """Read packets, and do what they say, until there are no more."""
        broken: f.BrokenLink | None = None
        with trio.CancelScope(shield=True):
            while broken is None and not self.closed:
                try:
                    await trio.lowlevel.wait_readable(self._socket)
                    data = self._socket.recv(CHUNK)
                except BlockingIOError:
                    continue
                except (trio.ClosedResourceError, OSError):
                    break
                if not data:
                    break
                broken = self._take_in(data)
        self._ended(broken)

    def read_rest(self) -> None:
        """Take in what a process that has ended had still sent, and no more: somebody else may have
        its end of the connection, and go on writing. Not a checkpoint."""
        left = self._unread()
        while left > 0 and not self._broken:
            try:
                data = self._socket.recv(min(left, CHUNK))
            except OSError:
                return
            if not data:
                return
            left -= len(data)
            self._take_in(data)

    def _unread(self) -> int:
        """How many bytes can be read now."""
        try:
            return int(INT.unpack(fcntl.ioctl(self._socket, termios.FIONREAD, bytes(INT.size)))[0])
        except (OSError, ValueError):
            return 0

    def _take_in(self, data: bytes) -> f.BrokenLink | None:
        """Do what has come in; returns what was wrong with it."""
        try:
            broken = self._do(self._splitter.feed(data))
        except f.BrokenLink as error:
            broken = error
        self._broken = broken is not None
        return broken


def packed(frames: list[f.Frame], largest: int) -> bytearray:
    """A packet; or several, if one would be larger than the other end takes. What cannot be in
    one, whatever it holds, does not keep the others from leaving."""
    try:
        packet = f.packed(frames)
    except Exception:
        whole: list[f.Frame] = []
        for frame in frames:
            try:
                f.packed([frame])
                whole.append(frame)
            except Exception:
                logger.exception("A %s cannot leave its process", type(frame).__name__)
        packet = f.packed(whole)
    if len(packet) > largest and len(frames) > 1:
        middle = len(frames) // 2
        return packed(frames[:middle], largest) + packed(frames[middle:], largest)
    return packet


def _never_aborts(_: object) -> trio.lowlevel.Abort:
    return trio.lowlevel.Abort.FAILED
