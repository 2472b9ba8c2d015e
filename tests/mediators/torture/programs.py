"""A small language of workflow programs, as plain data; what draws them, and what runs them.

A program is a list of nodes, a node a dict whose ``k`` says what it does. Every step, effect and
undo of one program has a number ``u`` of its own, by which the books know it.
"""

from __future__ import annotations

from typing import Any

import attrs
from hypothesis import strategies as st

from actors import Call, Refusal
from mediators import Retry, StepFailed, Workflow, WorkflowEnded, effect_key

Node = dict[str, Any]
Program = list[Any]

SPENT = 50
"""As many bad attempts are more than any step has."""


class No(Refusal):
    """What components and programs refuse with."""


class Mistake(Exception):
    """What a program raises that is wrong."""


@attrs.frozen
class Exact(Call[int]):
    """For the component that writes its effect in the transaction of its key."""

    u: int
    fates: list[str]
    owner: str


@attrs.frozen
class Plain(Call[int]):
    """For the component that remembers nothing; the world outside knows keys."""

    u: int
    fates: list[str]
    owner: str


@attrs.frozen
class UndoExact(Call[None]):
    u: int
    fates: list[str]
    owner: str


@attrs.frozen
class UndoPlain(Call[None]):
    u: int
    fates: list[str]
    owner: str


@attrs.frozen
class Signal:
    kind: str
    n: int


@attrs.define
class Play(Workflow[Any]):
    """Runs a program."""

    id: str | None
    root: str
    program: list[Any]

    async def run(self) -> Any:
        return await self.all(self.program)

    async def all(self, nodes: Program) -> list[Any]:
        return [await self.one(node) for node in nodes]

    async def one(self, node: Node) -> Any:
        k = node["k"]
        if k == "step":
            return await self.act(node)
        if k == "effect":
            undo = self.undo_of(node, UndoPlain)
            args = (self.root, node["u"], node["fates"])
            retry = Retry(attempts=node["attempts"], first=0.05, cap=0.2)
            return await self.effect(outside, *args, undo=undo, retry=retry, timeout=1.0)
        if k == "gather":
            branches = [self.all(each) for each in node["branches"]]
            return list(await self.gather(*branches, limit=node["limit"]))
        if k == "race":
            return await self.race(*[self.all(each) for each in node["branches"]])
        if k == "sleep":
            return await self.sleep(node["seconds"])
        if k == "receive":
            n = node["n"]
            where = None if n is None else (lambda signal: signal.n == n)
            got = await self.receive(Signal, where=where, timeout=node["timeout"])
            return None if got is None else got.n
        if k == "child":
            inner = Play(None, self.root, node["program"])
            return await self.child(inner, detached=node["detached"])
        if k == "pivot":
            await self.pivot()
            return "pivot"
        if k == "continue":
            await self.continue_as_new(Play(self.id, self.root, node["program"]))
        if k == "try":
            try:
                return await self.all(node["body"])
            except (Refusal, StepFailed, WorkflowEnded):
                return ["caught", await self.all(node["handler"])]
        if k == "fail":
            raise No(node["u"])
        assert k == "mistake", node
        raise Mistake(node["u"])

    def undo_of(self, node: Node, cls: Any) -> Any:
        message = cls(node["u"], node["undo_fates"], self.root)
        return {None: None, "message": message, "function": lambda _: message}[node["undo"]]

    async def act(self, node: Node) -> Any:
        exact = node["exact"]
        message = (Exact if exact else Plain)(node["u"], node["fates"], self.root)
        return await self.step(
            message,
            undo=self.undo_of(node, UndoExact if exact else UndoPlain),
            retry=Retry(attempts=node["attempts"], first=0.05, cap=0.2),
            timeout=1.0,
        )


outside_world: list[Any] = []
"""The world of the running life, for effects."""


async def outside(owner: str, u: int, fates: list[str]) -> int:
    """What an effect of a program does."""
    result: int = await outside_world[-1].effect(owner, u, fates, effect_key())
    return result


# -- drawing programs

FAILING = [["crash"] * SPENT, ["hang"] * SPENT, ["late"] * SPENT, ["late"] + ["crash"] * SPENT]


def fates(exact: bool) -> st.SearchStrategy[list[str]]:
    """What becomes of the attempts, one after another; past the end all is well."""
    bad = ["crash", "late"] if exact else ["crash", "late", "hang", "slow"]
    return st.one_of(
        st.just([]),
        st.just([]),
        st.lists(st.sampled_from(bad), max_size=2),
        st.sampled_from([["refuse"], ["crash", "refuse"]]),
    )


@st.composite
def steps(draw: st.DrawFn) -> Node:
    what = draw(st.integers(0, 99))
    exact = what % 2 == 0
    kind = "effect" if what > 80 else "step"
    told = draw(fates(exact and kind == "step"))
    if what in {10, 20, 31, 41, 91, 92}:
        told = FAILING[draw(st.integers(0, 3))]
        if exact and kind == "step":
            told = ["crash" if each == "hang" else each for each in told]
    undo_fates = {0: ["refuse"], 1: ["crash"], 2: ["late"], 3: ["crash", "crash"]}
    return {
        "k": kind,
        "exact": exact and kind == "step",
        "fates": told,
        "undo": draw(st.sampled_from([None, "message", "message", "function"])),
        "undo_fates": undo_fates.get(draw(st.integers(0, 40)), []),
        "attempts": 3 if len(told) >= SPENT else 20,
    }


@st.composite
def nodes(draw: st.DrawFn, depth: int, top: bool) -> Node:
    """One node. ``top``: not in a branch."""
    what = draw(st.integers(0, 39))
    if what < 20 or (depth <= 0 and what < 30):
        return draw(steps())
    if what < 22:
        return {"k": "sleep", "seconds": draw(st.sampled_from([0.1, 0.5, 3.0]))}
    if what < 24:
        n = draw(st.sampled_from([None, 1, 2]))
        return {"k": "receive", "n": n, "timeout": draw(st.sampled_from([0.3, 2.0, 20.0]))}
    if what == 24:
        return {"k": "fail"}
    if depth <= 0:
        return draw(steps())
    inner = programs(depth - 1, False)
    if what < 29:
        branches = draw(st.lists(inner, min_size=1, max_size=3))
        return {"k": "gather", "branches": branches, "limit": draw(st.sampled_from([None, 1, 2]))}
    if what < 32:
        return {"k": "race", "branches": draw(st.lists(inner, min_size=1, max_size=3))}
    if what < 35:
        program = draw(programs(depth - 1, True))
        return {"k": "child", "program": program, "detached": draw(st.integers(0, 3)) == 0}
    if what < 38:
        handler = programs(0, top)
        return {"k": "try", "body": draw(programs(depth - 1, top)), "handler": draw(handler)}
    if what == 38 and top:
        return {"k": "pivot"}
    if what == 39 and draw(st.integers(0, 5)) == 0:
        return {"k": "mistake"}
    return draw(steps())


def programs(depth: int, top: bool) -> st.SearchStrategy[Program]:
    """Several nodes."""
    return st.lists(nodes(depth, top), min_size=1, max_size=4 if top else 2)


@st.composite
def instances(draw: st.DrawFn) -> dict[str, Any]:
    """One workflow, and what comes to it from outside and when."""
    program = draw(programs(2, True))
    if draw(st.integers(0, 7)) == 0:
        program = [*program, {"k": "continue", "program": draw(programs(1, True))}]
    times = st.sampled_from([0.0, 0.05, 0.2, 0.7, 1.5, 3.0])
    what = st.sampled_from(["signal", "signal", "cancel"])
    drawn = draw(st.lists(st.tuples(times, what, st.integers(1, 3)), max_size=3))
    events: list[list[Any]] = sorted(map(list, drawn), key=lambda each: float(each[0]))
    return numbered({"program": program, "events": events, "begins": draw(times) / 3})


def numbered(instance: dict[str, Any]) -> dict[str, Any]:
    """Give every node its number."""
    for u, node in enumerate(walk(instance["program"])):
        node["u"] = u
    return instance


def walk(program: Program) -> list[Node]:
    """Every node of a program."""
    found: list[Node] = []
    for node in program:
        found.append(node)
        for inner in (*node.get("branches", ()), node.get("program", ())):
            found += walk(inner)
        for name in ("body", "handler"):
            found += walk(node.get(name, []))
    return found
