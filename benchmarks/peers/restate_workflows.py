"""Restate 1.7: its server, with its own defaults, and the workflows behind hypercorn.

The server fsyncs its log (`rocksdb-disable-wal-fsync = false`, which is checked). It, the process
with the workflows and the client that calls them are three processes on this machine, as Restate is
meant to be run. There is no undo: the failing saga runs its compensations itself.
"""

from __future__ import annotations

import asyncio
import os
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

from benchmarks.disk import folder
from benchmarks.peers.harness import AT_ONCE, Sample, Stopwatch, expect, main, median_ms
from benchmarks.roster import RESTATE_SERVER

ORDER = {"order": "order-000017", "items": ["understudy", "stage"], "total": 12990, "at": 1.5}
UP = 30.0
"""Seconds for the server to come up."""
PATIENCE = 120.0
"""Seconds for a workflow to end."""
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


def settings() -> str:
    """Which Restate it is; raises RuntimeError if its server does not fsync its log."""
    asked = [str(RESTATE_SERVER), "--dump-config"]
    said = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    lines = {line.strip() for line in said.splitlines() if NO_FSYNC in line}
    expect(lines, {f"{NO_FSYNC} = false"})
    version = subprocess.run(
        [str(RESTATE_SERVER), "--version"], capture_output=True, text=True, check=True
    ).stdout.split()[1]
    return f"{version}, SDK {metadata.version('restate-sdk')}, {NO_FSYNC}=false"


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
    hypercorn = [sys.executable, "-m", "hypercorn", "--log-level", "error", "-b", endpoint]
    commands = (
        [str(RESTATE_SERVER), "--base-dir", str(where), "--no-logo"],
        [*hypercorn, "benchmarks.peers.restate_workflows:app"],
    )
    limits = httpx.Limits(max_connections=AT_ONCE)
    with ExitStack() as stack:
        for command in commands:
            process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
            stack.callback(process.wait)
            stack.callback(process.kill)
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
        for number in numbers:
            ends.append(await call(client, name, number))

    with folder() as where:
        async with served(where) as client:
            with Stopwatch() as watch:
                await asyncio.gather(*(caller(range(at, n, AT_ONCE)) for at in range(AT_ONCE)))
    expect(ends, [wanted] * n)
    return Sample(watch.seconds)


if __name__ == "__main__":
    if sys.argv[1:] == ["settings"]:
        print(settings())
        raise SystemExit
    works: dict[str, Callable[[int], Coroutine[Any, Any, Sample]]] = {
        "saga": saga,
        "saga_100": partial(at_once, "PlaceOrder", "parcel-order-000017"),
        "saga_fail": partial(at_once, "FailOrder", "undone"),
    }
    main("restate", works, lambda work, n: asyncio.run(work(n)))
