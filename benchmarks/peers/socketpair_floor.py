"""The floor: two processes and a socket pair, 64 bytes there and back, and nothing around them."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable

from benchmarks.peers.harness import Sample, Stopwatch, expect, main, median_ms

MESSAGE = bytes(64)


def echo(end: socket.socket) -> None:
    """Send back whatever comes."""
    while message := end.recv(len(MESSAGE)):
        end.sendall(message)


def isolated_call(n: int) -> Sample:
    """One round trip after the other."""
    near, far = socket.socketpair()
    child = os.fork()
    if not child:
        near.close()
        echo(far)
        os._exit(0)
    far.close()
    taken: list[float] = []
    answered = 0
    with Stopwatch() as watch:
        for _ in range(n):
            began = time.perf_counter()
            near.sendall(MESSAGE)
            answered += len(near.recv(len(MESSAGE)))
            taken.append(time.perf_counter() - began)
    near.close()
    os.waitpid(child, 0)
    expect(answered, n * len(MESSAGE))
    return Sample(watch.seconds, {"p50_ms": median_ms(taken)})


def perform(work: Callable[[int], Sample], n: int) -> Sample:
    """Nothing is needed around a work."""
    return work(n)


if __name__ == "__main__":
    main("socketpair", {"isolated_call": isolated_call}, perform)
