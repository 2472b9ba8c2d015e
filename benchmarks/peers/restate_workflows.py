"""Restate 1.7: its server, with its own defaults, and the workflows behind hypercorn.

The server fsyncs its log (`rocksdb-disable-wal-fsync = false`, which is checked). It, the process
with the workflows and the client that calls them are three processes on this machine, as Restate is
meant to be run. There is no undo: the failing saga runs its compensations itself.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import httpx
import restate
from hypercorn.asyncio import serve as hypercorn_serve
from hypercorn.config import Config

from benchmarks.disk import folder
from benchmarks.peers.harness import AT_ONCE, Sample, Stopwatch, expect, main, median_ms
from benchmarks.roster import restate_server

ORDER = {"order": "order-000017", "items": ["understudy", "stage"], "total": 12990, "at": 1.5}
UP = 30.0
"""Seconds for the server to come up."""
PATIENCE = 120.0
"""Seconds for a workflow to end."""
PR_SET_PDEATHSIG = 1
NO_FSYNC = "rocksdb-disable-wal-fsync"


def charge(order: dict[str, Any]) -> str:
    return f"payment-{order['order']}"


def reserve(order: dict[str, Any]) -> str:
    return f"place-{order['order']}"


def ship(order: dict[str, Any]) -> str:
    return f"parcel-{order['order']}"


def refuse(order: dict[str, Any]) -> str:
    raise restate.TerminalError(f"out of reach: {order['order']}")


def undo(done: str) -> None:
    """Refund or release."""


async def place_order(context: restate.WorkflowContext, order: dict[str, Any]) -> str:
    """Three steps."""
    await context.run_typed("charge", charge, order=order)
    await context.run_typed("reserve", reserve, order=order)
    parcel: str = await context.run_typed("ship", ship, order=order)
    return parcel


async def fail_order(context: restate.WorkflowContext, order: dict[str, Any]) -> str:
    """Two steps, a refusal, and two undos."""
    payment = await context.run_typed("charge", charge, order=order)
    place = await context.run_typed("reserve", reserve, order=order)
    try:
        await context.run_typed("refuse", refuse, order=order)
    except restate.TerminalError:
        await context.run_typed("release", undo, done=place)
        await context.run_typed("refund", undo, done=payment)
        return "undone"
    return "shipped"


def service(name: str, function: Callable[..., Any]) -> Any:
    made = restate.Workflow(name)
    made.main(name="run")(function)
    return made


app = restate.app([service("PlaceOrder", place_order), service("FailOrder", fail_order)])


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def server_says(question: str) -> str:
    """What the server's binary answers to an option."""
    asked = [str(restate_server()), question]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout


def settings() -> str:
    """Which Restate it is; raises RuntimeError if its server does not fsync its log."""
    said = server_says("--dump-config")
    lines = {line.strip() for line in said.splitlines() if NO_FSYNC in line}
    expect(lines, {f"{NO_FSYNC} = false"})
    version = server_says("--version").split()[1]
    return f"{version}, SDK {metadata.version('restate-sdk')}, {NO_FSYNC}=false"


def started(command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """A process that dies with this one (Linux)."""
    die_with_parent = partial(ctypes.CDLL(None).prctl, PR_SET_PDEATHSIG, signal.SIGKILL)
    quiet = subprocess.DEVNULL
    return subprocess.Popen(
        command,
        env=environment,
        stdin=quiet,
        stdout=quiet,
        stderr=quiet,
        preexec_fn=die_with_parent,  # noqa: PLW1509 -- no thread is running yet
    )


def ended(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and reap it."""
    process.kill()
    process.wait()


def serve(address: str) -> None:
    """Serve the workflows, in this one process, until killed."""
    config = Config()
    config.bind = [address]
    # As Restate's documentation has it: one connection for all invocations, never closed.
    config.h2_max_concurrent_streams = 2**31 - 1
    config.keep_alive_max_requests = 2**31 - 1
    config.keep_alive_timeout = 2**31 - 1
    asyncio.run(hypercorn_serve(app, config))


@asynccontextmanager
async def served(where: Path) -> AsyncIterator[httpx.AsyncClient]:
    """The server and the workflows in processes of their own; a client for the ingress."""
    node, admin, ingress, endpoint = (f"127.0.0.1:{free_port()}" for _ in range(4))
    environment = os.environ | {
        "RESTATE_BIND_ADDRESS": node,
        "RESTATE_ADMIN__BIND_ADDRESS": admin,
        "RESTATE_INGRESS__BIND_ADDRESS": ingress,
        "RESTATE_LISTEN_MODE": "tcp",
        "RESTATE_DISABLE_TELEMETRY": "true",
        "RESTATE_LOG_FILTER": "error",
    }
    commands = (
        [str(restate_server()), "--base-dir", str(where), "--no-logo"],
        [sys.executable, "-m", "benchmarks.peers.restate_workflows", "serve", endpoint],
    )
    limits = httpx.Limits(max_connections=AT_ONCE)
    with ExitStack() as stack:
        for command in commands:
            stack.callback(ended, started(command, environment))
        async with httpx.AsyncClient(
            base_url=f"http://{ingress}", timeout=PATIENCE, limits=limits
        ) as client:
            await registered(client, f"http://{admin}/deployments", f"http://{endpoint}")
            yield client


async def registered(client: httpx.AsyncClient, deployments: str, endpoint: str) -> None:
    """Tell the server where the workflows are, as soon as it listens, until they can be called."""
    deadline = time.monotonic() + UP
    while True:
        try:
            said = await client.post(deployments, json={"uri": endpoint})
            if said.is_success:
                answer = await client.post("/PlaceOrder/first/run", json=ORDER)
                if answer.is_success:
                    return
        except httpx.TransportError:
            pass
        if time.monotonic() > deadline:
            raise RuntimeError(f"the server did not come up within {UP:.0f} s")
        await asyncio.sleep(0.1)


async def call(client: httpx.AsyncClient, name: str, number: int) -> Any:
    """Run a workflow to its end."""
    answer = await client.post(f"/{name}/order-{number}/run", json=ORDER)
    return answer.raise_for_status().json()


async def saga(n: int) -> Sample:
    """One workflow after the other."""
    taken: list[float] = []
    with folder() as where:
        async with served(where) as client:
            with Stopwatch() as watch:
                for number in range(n):
                    began = time.perf_counter()
                    end = await call(client, "PlaceOrder", number)
                    taken.append(time.perf_counter() - began)
    expect(end, "parcel-order-000017")
    return Sample(watch.seconds, {"p50_ms": median_ms(taken)})


async def at_once(name: str, wanted: str, n: int) -> Sample:
    """A hundred callers at once, each with one workflow after the other."""
    ends: list[str] = []

    async def caller(numbers: range) -> None:
        ends.extend([await call(client, name, number) for number in numbers])

    with folder() as where:
        async with served(where) as client:
            with Stopwatch() as watch:
                await asyncio.gather(*(caller(range(at, n, AT_ONCE)) for at in range(AT_ONCE)))
    expect(ends, [wanted] * n)
    return Sample(watch.seconds)


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(sys.argv[2])
        raise SystemExit
    if sys.argv[1:] == ["settings"]:
        print(settings())
        raise SystemExit
    works: dict[str, Callable[[int], Coroutine[Any, Any, Sample]]] = {
        "saga": saga,
        "saga_100": partial(at_once, "PlaceOrder", "parcel-order-000017"),
        "saga_fail": partial(at_once, "FailOrder", "undone"),
    }
    settings()
    main("restate", works, lambda work, n: asyncio.run(work(n)))
