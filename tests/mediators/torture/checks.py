"""What must hold when everything has come to its end."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from mediators import history as h
from mediators.execution.execution import Execution
from mediators.execution.replay import replay
from tests.mediators.torture.programs import SPENT, Node, Play, Program, walk

if TYPE_CHECKING:
    from actors.payloads.types import Types
    from mediators.journal import Reader, RunRow
    from tests.mediators.torture.world import World

OVER = {"done", "failed", "cancelled"}


def check(instances: list[dict[str, Any]], world: World, journal: Reader | None = None) -> None:
    """All of it. Raises AssertionError."""
    assert world.wrong == [], world.wrong[:3]
    reader = journal or world.journal.read()
    rows = reader.runs()
    assert world.types is not None
    runs = {
        row.number: Run(
            row, [h.decode_turn(each.data) for each in reader.history(row.number)], world.types
        )
        for row in rows
    }
    for number, run in runs.items():
        check_replay(run, [each.data for each in reader.history(number)], world.types)
    check_told(world, runs)
    effects = world.effects()
    check_once(effects)
    for n, instance in enumerate(instances):
        id = f"w{n}"
        family = [each for each in runs.values() if each.row.id.partition("/")[0] == id]
        if not family:
            assert ("start", id) not in world.books.told
            continue
        check_ends(instance, family)
        check_effects([each for each in effects if each[2] == id], family)
        check_result(instance, [each for each in family if each.row.id == id], family)


class Run:
    """One run, as its journal tells it."""

    def __init__(self, row: RunRow, turns: list[h.Turn], types: Types) -> None:
        self.row = row
        self.turns = turns
        self.u: dict[str, int] = {}
        """Path to number, of what is undone; of children's by the path it has here."""
        self.stands: list[str] = []
        """Paths of what would be undone, in the order of the outcomes."""
        self.kept: set[int] = set()
        """What a pivot or somebody's decision has left as it is."""
        self.unknown: set[int] = set()
        self.undone: set[int] = set()
        self.signals: list[str] = []
        self.cancelled = False
        self.pivoted = False
        self.result: Any = None
        self.decided = False
        self.wrong_order: list[str] = []
        self.open_undos: dict[str, bool] = {}
        self.types = types
        for turn in turns:
            for event in turn.events:
                self.take(event)

    def take(self, event: Any) -> None:
        types = self.types
        self.decided |= isinstance(event, h.Skipped | h.Resolved)
        if isinstance(event, h.Started) and event.carried is not None:
            self.pivoted = event.carried.pivoted
            for path, message in event.carried.undos:
                self.u[path] = types.decode(message).u
                self.stands.append(path)
        elif isinstance(event, h.Intended):
            self.intended(event)
        elif isinstance(event, h.Completed | h.Resolved) and event.path:
            if event.path.startswith("undo/"):
                self.undone.add(self.u[event.path.removeprefix("undo/")])
            else:
                self.unknown.discard(self.u[event.path])
                if self.open_undos[event.path] or h.given(event.undo) is not None or event.fault:
                    self.stands.append(event.path)
        elif isinstance(event, h.Failed):
            self.unknown.add(self.u[event.path])
        elif isinstance(event, h.Settled):
            self.unknown.discard(self.u.get(event.path, -1))
        elif isinstance(event, h.Refused):
            if not event.path.startswith("undo/"):
                self.unknown.discard(self.u[event.path])
        elif isinstance(event, h.Skipped):
            path = event.path.removeprefix("undo/")
            self.kept.add(self.u[path])
        elif isinstance(event, h.ChildEnded):
            for inner, message in event.undos:
                path = f"{event.path}/{inner}"
                self.u[path] = types.decode(message).u
                self.stands.append(path)
        elif isinstance(event, h.Signalled):
            self.signals.append(event.id)
        elif isinstance(event, h.Cancelled):
            self.cancelled = True
        elif isinstance(event, h.Pivoted):
            self.kept |= {self.u[path] for path in self.stands}
            self.stands.clear()
            self.pivoted = True
        elif isinstance(event, h.Ended):
            if event.status == "done":
                self.result = types.decode(event.value)

    def intended(self, event: h.Intended) -> None:
        path = event.path
        if event.kind == "undo":
            path = path.removeprefix("undo/")
            assert path in self.stands, f"{path} is undone and had no effect"
            at = self.stands.index(path)
            for later in self.stands[at + 1 :]:
                if not is_spared(path, later):
                    self.wrong_order.append(f"{path} is undone before {later}")
            del self.stands[at]
            return
        message = self.types.decode(event.message)
        self.u[path] = message[1][1] if event.kind == "effect" else message.u
        self.open_undos[path] = h.given(event.undo) is not None


def is_spared(path: str, later: str) -> bool:
    """Whether ``path`` belongs to a fork that is taken back while ``later`` stays."""
    parts = path.split("/")
    for n, part in enumerate(parts[:-1]):
        if part.startswith(("gather.", "race.")):
            fork = "/".join(parts[: n + 1]) + "/"
            if not later.startswith(fork):
                return True
            if part.startswith("race.") and not later.startswith(fork + parts[n + 1] + "/"):
                return True
    return False


def check_replay(run: Run, records: list[bytes], types: Types) -> None:
    """The code does again what is recorded."""
    row = run.row
    execution = Execution(types, row.number, row.id, row.run)
    incident = replay(execution, records)
    assert incident is None, f"{row.id}: {incident}"
    if row.over:
        assert execution.over is not None, row
        assert row.status == "continued" or row.status == execution.over, row
    else:
        assert execution.over is None and str(execution.status) == row.status, (
            row,
            execution.status,
        )
    execution.drop()


def check_told(world: World, runs: dict[int, Run]) -> None:
    """What clients were told is so."""
    by_id: dict[str, list[Run]] = {}
    for run in runs.values():
        by_id.setdefault(run.row.id, []).append(run)
    ends: dict[str, tuple[Any, ...]] = {}
    for what, id, *rest in world.books.told:
        found = by_id.get(id, [])
        assert found, f"{id} was started, and is lost"
        last = found[-1]
        if what == "signal":
            count = sum(each.signals.count(rest[0]) for each in found)
            assert count == 1, f"the signal {rest[0]} came {count} times"
        elif what == "cancel":
            assert any(each.cancelled for each in found) or last.row.status != "done", id
        elif what == "end":
            assert last.row.status == rest[0], f"{id} was {rest}, and is {last.row.status}"
            if rest[0] == "done":
                assert rest[1] == last.result, f"{id} was told {rest[1]}, and has {last.result}"
            assert ends.setdefault(id, tuple(rest)) == tuple(rest), f"{id} has ended twice"


def check_once(effects: list[tuple[int, str, str, int, str]]) -> None:
    """No effect twice: neither under a key, nor of a node of a program."""
    twice = [key for key, n in Counter(each[4] for each in effects).items() if n > 1]
    assert not twice, f"done twice under one key: {twice}"
    nodes = Counter(each[1:4] for each in effects)
    assert max(nodes.values(), default=1) == 1, f"done twice: {nodes.most_common(3)}"


def check_ends(instance: dict[str, Any], family: list[Run]) -> None:
    """Every workflow ends, or stands in a named state for a reason its program has."""
    for run in family:
        status = run.row.status
        assert run.wrong_order == [], run.wrong_order
        if status in OVER or status == "continued":
            continue
        if status == "paused":
            assert has_mistake(instance["program"]), "paused without a mistake"
        elif status == "incident":
            assert may_be_incident(instance["program"]), "an incident without a reason"
        else:
            # A parent waits for a child that stands, or an undo of it does.
            assert status in {"running", "compensating"}, status
            assert any(
                each.row.parent == run.row.number and not each.row.over for each in family
            ), f"{run.row.id} is {status} for ever"


def has_mistake(program: Program) -> bool:
    """Whether it has code that is wrong: a mistake."""
    return any(node["k"] == "mistake" for node in walk(program))


def may_be_incident(program: Program) -> bool:
    """Whether there is a reason why somebody has to decide."""
    return any(
        ("refuse" in node.get("undo_fates", ()) and node["undo"] is not None)
        or node["k"] == "pivot"
        or (len(node.get("fates", ())) >= SPENT and node["undo"] is not None)
        for node in walk(program)
    )


def check_effects(effects: list[tuple[int, str, str, int, str]], family: list[Run]) -> None:
    """What stands is what the journal says that stands."""
    if any(not run.row.over for run in family):
        return  # it is not over
    done = {u for _, what, _, u, _ in effects if what == "do"}
    undone = {u for _, what, _, u, _ in effects if what == "undo"}
    assert undone <= done, f"undone and never done: {undone - done}"
    said = set[int]().union(*(run.undone for run in family))
    assert undone == said, f"undone {undone}, and the journal says {said}"
    undoable = {node["u"] for node in all_nodes(family) if node.get("undo") is not None}
    kept = set[int]().union(*(run.kept | run.unknown for run in family))
    for run in family:
        if run.row.status == "done":
            kept |= {run.u[path] for path in run.stands}
        elif run.row.status in {"failed", "cancelled"}:
            assert run.stands == [], f"{run.row.id} is {run.row.status}; {run.stands} stands"
    left = (done & undoable) - undone - kept
    assert not left, f"{family[0].row.id}: {left} took effect, and is neither undone nor to stand"


def all_nodes(family: list[Run]) -> list[Node]:
    """Every node of the programs of these runs."""
    found = []
    for run in family:
        started: Any = run.turns[0].events[0]
        workflow = run.types.decode(started.workflow)
        assert isinstance(workflow, Play)
        found += walk(workflow.program)
    return found


# -- the model


class Fails(Exception):
    """A program fails."""


class Unsure(Exception):
    """The model does not know."""


def check_result(instance: dict[str, Any], runs: list[Run], family: list[Run]) -> None:
    """Where nothing depends on time, the end is that of the model."""
    last = runs[-1]
    if instance["events"] or not last.row.over or any(run.decided for run in family):
        return
    try:
        expected: Any = ("done", model(instance["program"]))
    except Fails:
        expected = ("failed", None)
    except Unsure:
        return
    assert (last.row.status, last.result) == expected, (
        f"{last.row.id} is {last.row.status} with {last.result}; the model has {expected}"
    )


def model(program: Program) -> list[Any]:
    """What a program returns. Raises Fails, or Unsure where chance or a mistake is in it."""
    return [value(node) for node in program]


def value(node: Node) -> Any:
    match node["k"]:
        case "step" | "effect":
            if len(node["fates"]) >= SPENT or "refuse" in node["fates"]:
                raise Fails
            return node["u"] * 10
        case "sleep" | "receive":
            return None
        case "gather":
            found, failed = [], False
            for each in node["branches"]:
                try:
                    found.append(model(each))
                except Fails:
                    failed = True
            if failed:
                raise Fails
            return found
        case "child":
            return model(node["program"])
        case "try":
            try:
                return model(node["body"])
            except Fails:
                return ["caught", model(node["handler"])]
        case "pivot":
            return "pivot"
        case "fail":
            raise Fails
        case _:
            raise Unsure
