"""Random scripts, the same for the same seed."""

from __future__ import annotations

from tests.conformance.differential.scripts import (
    Argument,
    Dynamic,
    Group,
    Node,
    Op,
    Script,
    Verb,
    Worker,
    nodes_of,
)
from tests.conformance.differential.trees import DEPTH, Trees

WEIGHTS: dict[Verb, int] = {
    "crash": 10,
    "crash_both": 3,
    "kill": 4,
    "leave": 6,
    "end_group": 2,
    "fail": 6,
    "decline": 2,
    "start_child": 4,
    "start_dynamic": 5,
    "stop_child": 5,
    "stop_dynamic": 2,
    "restart_child": 5,
    "delete_child": 4,
    "count_children": 2,
    "count_dynamic": 1,
}
NOBODY = "nobody"


def script(seed: int) -> Script:
    """A random tree and up to 25 operations on it."""
    trees = Trees(seed)
    random = trees.random
    top = trees.tree()
    workers = [each.id for each in nodes_of(top) if isinstance(each, Worker)]
    failing: tuple[tuple[str, int], ...] = ()
    if workers and random.random() < 0.1:
        failing = ((random.choice(workers), random.randint(1, 2)),)
    stage = Stage(trees, top)
    return Script(top, tuple(stage.op() for _ in range(random.randint(3, 25))), failing)


class Stage:
    """Who may be meant by an operation: everybody who was there at first or was added."""

    def __init__(self, trees: Trees, top: Group) -> None:
        self.trees = trees
        self.random = trees.random
        self.children: dict[str, list[Node]] = {}
        """Of every group."""
        self.dynamic: dict[str, list[Worker]] = {}
        """Of every dynamic supervisor."""
        self.groups: dict[str, Group] = {}
        self.dynamics: dict[str, Dynamic] = {}
        self.levels = {top.id: 1}
        self.add(top)

    def add(self, node: Node) -> None:
        """A node and what is below it can be meant from now on."""
        if isinstance(node, Dynamic):
            self.dynamics[node.id] = node
            self.dynamic[node.id] = []
        elif isinstance(node, Group):
            self.groups[node.id] = node
            self.children[node.id] = list(node.children)
            for child in node.children:
                self.levels[child.id] = self.levels[node.id] + 1
                self.add(child)

    def op(self) -> Op:
        """A random operation."""
        while True:
            (verb,) = self.random.choices(list(WEIGHTS), list(WEIGHTS.values()))
            args = self.args(verb)
            if args is not None:
                return Op(verb, args)

    def args(self, verb: Verb) -> tuple[Argument, ...] | None:
        """Arguments for a verb; None if there is nobody it could mean."""
        random = self.random
        match verb:
            case "crash_both":
                return self.both()
            case "kill":
                return (random.choice([*self.workers(), *self.killable()]),)
            case "end_group":
                id = random.choice([*self.groups, *self.dynamics])
                return id, random.choice(["normal", "shutdown", "why", "boom"])
            case "start_child":
                return self.newcomer()
            case "start_dynamic" | "stop_dynamic":
                return self.guest(verb)
            case "stop_child" | "restart_child" | "delete_child":
                return self.pair(verb)
            case "count_children":
                return (random.choice(list(self.groups)),)
            case "count_dynamic":
                return (random.choice(list(self.dynamics)),) if self.dynamics else None
        # Allowed: before OTP 27, a dynamic child that declines its restart stays in the listing.
        workers = self.workers(dynamic=verb != "decline")
        if not workers:
            return None
        worker = random.choice(workers)
        match verb:
            case "fail":
                return worker, random.randint(1, 4)
            case "decline":
                return worker, 1
            case "leave":
                return worker, random.choice(["normal", "shutdown", "why"])
        return (worker,)

    def workers(self, *, dynamic: bool = True) -> list[str]:
        """The ids of all workers."""
        static = [each for some in self.children.values() for each in some]
        guests = [each for some in self.dynamic.values() for each in some] if dynamic else []
        return [each.id for each in [*static, *guests] if isinstance(each, Worker)]

    def killable(self) -> list[str]:
        """Supervisors above workers only.

        Allowed: in OTP, what is below a killed supervisor stops by itself, at the same time as its
        successor starts; ours is killed with it. Only the workers of OTP's do so unheard.
        """
        groups = [
            id
            for id, children in self.children.items()
            if all(isinstance(each, Worker) for each in children)
        ]
        return [*groups, *self.dynamics]

    def both(self) -> tuple[Argument, ...] | None:
        """Two children of one supervisor. Without tasks: what awaits in ``on_stop`` ends later."""
        siblings: dict[str, list[str]] = {}
        for id, nodes in self.children.items():
            workers = [each for each in nodes if isinstance(each, Worker)]
            siblings[id] = [each.id for each in workers if not each.awaits]
        for id, guests in self.dynamic.items():
            siblings[id] = [each.id for each in guests if not each.awaits]
        possible = [id for id, workers in siblings.items() if len(workers) > 1]
        if not possible:
            return None
        id = self.random.choice(possible)
        return id, *self.random.sample(siblings[id], 2)

    def newcomer(self) -> tuple[Argument, ...]:
        """A child to be started, whose id may be taken."""
        group = self.groups[self.random.choice(list(self.groups))]
        known = self.children[group.id]
        if known and self.random.random() < 0.4:
            return group.id, self.random.choice(known)
        level = self.levels[group.id]
        node = self.trees.node(min(level, DEPTH), group.auto_shutdown)
        self.levels[node.id] = level + 1
        known.append(node)
        self.add(node)
        return group.id, node

    def guest(self, verb: Verb) -> tuple[Argument, ...] | None:
        """A child of a dynamic supervisor, to be started or stopped."""
        if not self.dynamics:
            return None
        dynamic = self.dynamics[self.random.choice(list(self.dynamics))]
        known = self.dynamic[dynamic.id]
        if verb == "stop_dynamic":
            return (dynamic.id, self.random.choice(known).id) if known else None
        if known and self.random.random() < 0.3:
            return dynamic.id, self.random.choice(known)
        worker = self.trees.guest(dynamic)
        known.append(worker)
        return dynamic.id, worker

    def pair(self, verb: Verb) -> tuple[Argument, ...]:
        """A supervisor and an id, rarely one it has never had."""
        if self.dynamics and verb != "stop_child" and self.random.random() < 0.05:
            return self.random.choice(list(self.dynamics)), NOBODY
        id = self.random.choice(list(self.children))
        children = self.children[id]
        if not children or self.random.random() < 0.05:
            return id, NOBODY
        return id, self.random.choice(children).id
