"""The doorman: closes the shop in order when the process is asked to end."""

from __future__ import annotations

import signal

import trio

from actors import Actor
from examples.order_saga.desk import Close


class Doorman(Actor):
    """Tells the desk of the first signal; what a second one does is Python's own business."""

    def on_ready(self) -> None:
        """Listens beside its turns."""
        self.start_soon(self.listen)

    async def listen(self) -> None:
        """For Ctrl-C, or for a polite kill."""
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for _ in signals:
                break
        if desk := self.system.whereis("desk"):
            desk.cast(Close())
