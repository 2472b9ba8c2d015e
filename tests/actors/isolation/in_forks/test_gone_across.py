"""Refs of those who are gone, kept in another process."""

from __future__ import annotations

import gc
import os
from typing import Any

import trio

from actors import Actor, Call, NoSuchActor, Ref, System, handles
from tests.actors.isolation.far_actors import Note, Pid, Plus
from tests.actors.isolation.in_forks.across_actors import Do, Doer, DoIt
from tests.actors.isolation.in_forks.guarded import real
from tests.actors.isolation.in_forks.places import alone


class Kept(Call["Ref[Any]"]):
    """Answered by the first ref that was kept."""


class Kids(Call["list[Ref[Any]]"]):
    """Answered by many new actors."""


class Remembers(Actor):
    """Keeps the refs it is told of."""

    def __init__(self) -> None:
        self.refs: list[Ref[Any]] = []

    @handles
    def do(self, msg: Do) -> Any:
        assert msg.whom is not None
        if msg.what == "keep":
            self.refs.append(msg.whom)
        return str(msg.whom == self.refs[0])

    @handles
    def cast(self, msg: DoIt) -> None:
        self.refs[0].cast(Note("are you there?"))

    @handles
    async def plus(self, msg: Plus) -> Any:
        try:
            return await self.refs[0].call(Plus(msg.amount))
        except NoSuchActor:
            return -1

    @handles
    def kept(self, msg: Kept) -> Ref[Any]:
        return self.refs[0]

    @handles
    async def start(self, msg: Kids) -> list[Ref[Any]]:
        return [await self.system.start(Doer) for _ in range(40)]

    @handles
    def pid(self, msg: Pid) -> Any:
        return os.getpid()


async def brief(system: System, ref: Ref[Any], what: str) -> None:
    """Tell of somebody who is gone in a moment, and forgotten here."""
    doer = await system.start(Doer)
    await ref.call(Do(what, doer))
    await doer.stop()


async def forgotten() -> None:
    """Wait until nobody here has what nobody needs."""
    for _ in range(3):
        gc.collect()
        await trio.sleep(0.01)


@real
async def test_what_is_said_to_somebody_long_gone_is_lost_and_harms_nobody() -> None:
    async with alone(Remembers, isolation="process") as (system, ref):
        pid = await ref.call(Pid())
        for number in range(80):
            await brief(system, ref, "keep" if number == 0 else "forget")
        link = ref._place.actor._link
        many = len(link._inlets)
        while len(link._inlets) >= many:
            gc.collect()
            await brief(system, ref, "forget")
        ref.cast(DoIt("cast"))
        # More than the window holds: what was refused is no more on its way.
        for _ in range(300):
            ref.cast(DoIt("cast"))
        assert await ref.call(Plus(1), timeout=3) == -1
        assert await ref.call(Pid()) == pid


@real
async def test_a_ref_of_somebody_gone_goes_to_and_fro_and_means_nobody_else() -> None:
    async with alone(Remembers, isolation="process") as (system, ref):
        await brief(system, ref, "keep")
        kids = await ref.call(Kids())  # whose numbers over there are those of others here
        await forgotten()
        kept = await ref.call(Kept())
        assert kept not in kids and kept.state == "gone" and (await ref.call(Kept())) is kept
        assert await ref.call(Do("is it", kept)) == "True"
