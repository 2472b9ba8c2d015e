"""``understudy workflows``: what is in a journal, why it waits, and deciding what it cannot.

``list``, ``show``, ``why`` and ``replay`` read the file, whether a mediator has it open or not. The
others ask the mediator that has it open, through its socket; if there is none, what they ask is
left in the journal's inbox, and taken up when a mediator opens it.
"""

from __future__ import annotations

import importlib
import os
import sys
import time
from typing import Annotated, Any

import msgspec
from cyclopts import App, Parameter

from mediators import Mediator, Status
from mediators.driver import requests
from mediators.reading.moments import moment, span, stamp
from mediators.reading.rendering import short
from mediators.reading.summary import summary_of, turns_of
from mediators.reading.why import why
from mediators.testing import replay_journal
from observers import printing, records
from observers.asking import told
from observers.failures import ExitCode, Failed

app = App(
    name="workflows",
    help=(
        "What is in a journal, why it waits, and deciding what it cannot decide itself.\n\n"
        "list, show, why and replay read the file, whether a mediator has it open or not. The "
        "others ask the mediator that has it open; if there is none, what they ask is left in the "
        "journal's inbox, and done when a mediator opens it."
    ),
    help_format="plaintext",
)

Json = Annotated[bool, Parameter(name="--json", negative="")]
SCRIPT = (
    "The journal was written by a program whose classes were in the file that was started, so that "
    "their names begin with __main__. Have them imported by it, or give them a journal_name."
)
STATUSES = (*map(str, Status), "continued", "open")


# -- looking


@app.command(name="list")
def list_(
    file: str,
    /,
    *,
    status: str | None = None,
    type: str | None = None,
    limit: int = 100,
    json: Json = False,
) -> None:
    """List workflows, the latest last.

    Parameters
    ----------
    file
        The journal.
    status
        Only those in this status: running, waiting, paused, compensating, incident, done, failed,
        cancelled, continued, or open for all that are not over.
    type
        Only those of this class, by its name in the journal or without its module.
    limit
        At most so many.
    json
        Print JSON.
    """
    if status is not None and status not in STATUSES:
        text = f"--status is one of {', '.join(STATUSES)}. Got: {status!r}"
        raise Failed(ExitCode.USAGE, text)
    if limit < 1:
        raise Failed(ExitCode.USAGE, f"--limit is 1 or more. Got: {limit}")
    now = time.time()
    with records.opened(file) as reader:
        found, earlier = records.listed(reader, status, type, limit, now)
    left_out = ""
    if earlier:
        ones = "one" if earlier == 1 else "ones"
        left_out = f"{earlier} earlier {ones}; --limit {earlier + len(found)} shows all."
    if json:
        printing.print_json(
            [
                {
                    "id": each.row.id,
                    "run": each.row.run,
                    "type": each.row.type,
                    "status": each.status,
                    "started": each.row.started,
                    "ended": each.row.ended,
                    "waits": each.waits,
                }
                for each in found
            ]
        )
        if left_out:
            printing.complain(left_out)
        return
    heads = ("ID", "RUN", "TYPE", "STATUS", "STARTED", "TOOK", "WAITS FOR")
    rows = [
        (
            each.row.id,
            str(each.row.run),
            short(each.row.type),
            each.status,
            stamp(each.row.started),
            span((each.row.ended or now) - each.row.started),
            each.waits,
        )
        for each in found
    ]
    if rows or not printing.on_terminal():
        printing.table(heads, rows, status=3)
    if printing.on_terminal():
        if not rows:
            printing.say("No workflows." if status is None and type is None else "None like that.")
        if left_out:
            printing.say(left_out)
    elif left_out:
        printing.complain(left_out)


@app.command
def show(file: str, id: str, /, *, run: int | None = None, json: Json = False) -> None:
    """Show where a workflow stands, and its history.

    Parameters
    ----------
    file
        The journal.
    id
        The workflow.
    run
        Which run of it; the latest, if not given.
    json
        Print JSON.
    """
    now = time.time()
    with records.opened(file) as reader:
        row = records.find(reader, id, run)
        turns = turns_of(reader, row)
        summary = summary_of(reader, row)
        pending = records.pending(reader, row)
    if json:
        history = [
            {"time": turn.time, "events": [records.as_data(event) for event in turn.events]}
            for turn in turns
        ]
        asked = [msgspec.to_builtins(each) for each in pending]
        data = records.summary_as_data(summary)
        printing.print_json({**data, "inbox": asked, "history": history})
        return
    ended = "" if summary.ended is None else moment(summary.ended, now)
    undos = [f"{each.path}: {each.message or each.fault}" for each in summary.undos]
    unread = [f"{short(each.type)}, {moment(each.since, now)}" for each in summary.unread]
    printing.fields(
        [
            ("id", summary.id),
            ("run", str(summary.run)),
            ("type", summary.type),
            ("status", summary.status),
            ("started", moment(summary.started, now)),
            ("updated", "" if ended else moment(summary.updated, now)),
            ("ended", ended),
            ("outcome", summary.outcome_words(1000)),
            ("cancelled", summary.cancelled or ""),
            ("why", "" if summary.over else why(summary, now, file)),
            ("undos", "\n".join(undos)),
            ("unread", "\n".join(unread)),
            ("inbox", "\n".join(map(records.request_as_words, pending))),
        ],
        summary.status,
    )
    sys.stdout.write("\n")
    began = summary.started
    printing.table(
        ("AT", "WHAT", "PATH", ""),
        [
            (
                since(each.time - began) if each.first else "",
                each.kind if each.first else f"  {each.kind}",
                each.path,
                each.text,
            )
            for each in records.lines(turns)
        ],
    )


@app.command(name="why")
def why_(file: str, id: str, /, *, run: int | None = None, json: Json = False) -> None:
    """Say what a workflow waits for, since when, and what would move it.

    Parameters
    ----------
    file
        The journal.
    id
        The workflow.
    run
        Which run of it; the latest, if not given.
    json
        Print JSON.
    """
    now = time.time()
    with records.opened(file) as reader:
        row = records.find(reader, id, run)
        summary = summary_of(reader, row)
        pending = records.pending(reader, row)
    text = why(summary, now, file)
    if pending:
        asked = ", ".join(map(records.request_as_words, pending))
        text += f"\nIts next owner will take up what was left in the inbox: {asked}."
    if json:
        printing.print_json({**records.summary_as_data(summary), "why": text})
    else:
        printing.say(text)


# -- deciding


@app.command
def signal(
    file: str,
    id: str,
    /,
    *,
    type: str,
    json: str = "{}",
    signal_id: str | None = None,
    expires: float | None = None,
) -> None:
    """Send a workflow an event, for its receive().

    Parameters
    ----------
    file
        The journal.
    id
        The workflow.
    type
        The class of the event by its name in the journal, shop:Approved; without the module where
        that is clear.
    json
        Its fields, as a JSON object.
    signal_id
        Sent again under one id, it counts once.
    expires
        Seconds after which it is a dead letter, if nobody has read it.
    """
    fields = from_json(json, "--json")
    if not isinstance(fields, dict):
        raise Failed(ExitCode.USAGE, f"--json is an object with the event's fields. Got: {json}")
    more = {} if signal_id is None else {"signal_id": signal_id}
    request = requests.SignalRequest(id=id, type=type, fields=fields, expires=expires, **more)
    printing.say(told(file, request, f"{id} has the signal {short(type)}."))


@app.command
def cancel(file: str, id: str, /, *, reason: str = "somebody asked for it") -> None:
    """End a workflow: what it has done is undone.

    Parameters
    ----------
    file
        The journal.
    id
        The workflow.
    reason
        Is written down.
    """
    request = requests.CancelRequest(id=id, reason=reason)
    printing.say(told(file, request, f"{id} is cancelled; what it has done is being undone."))


@app.command
def pause(file: str, id: str, /, *, reason: str = "somebody asked for it") -> None:
    """Let nothing more be delivered to a workflow; what is under way goes on and is kept.

    Parameters
    ----------
    file
        The journal.
    id
        The workflow.
    reason
        Is written down.
    """
    printing.say(told(file, requests.PauseRequest(id=id, reason=reason), f"{id} is paused."))


@app.command
def resume(file: str, id: str, /) -> None:
    """Let a workflow go on that was paused, by somebody or by a mistake that is mended.

    Parameters
    ----------
    file
        The journal.
    id
        The workflow.
    """
    printing.say(told(file, requests.ResumeRequest(id=id), f"{id} goes on: it is {{}}."))


@app.command
def retry(file: str, id: str, /, *, path: str | None = None) -> None:
    """Try again what stands as an incident.

    Parameters
    ----------
    file
        The journal.
    id
        The workflow.
    path
        Which step or undo; all, if not given.
    """
    printing.say(told(file, requests.RetryRequest(id=id, path=path), f"{id} tries again."))


@app.command
def skip(file: str, id: str, /, *, path: str | None = None) -> None:
    """Leave an incident as it is: an undo is not made, a step counts as failed.

    Parameters
    ----------
    file
        The journal.
    id
        The workflow.
    path
        Which step or undo; all, if not given.
    """
    printing.say(told(file, requests.SkipRequest(id=id, path=path), f"{id} goes on without it."))


@app.command
def resolve(
    file: str, id: str, /, *, json: str = "null", type: str | None = None, path: str | None = None
) -> None:
    """Give the answer that a step or an undo cannot get by itself.

    Parameters
    ----------
    file
        The journal.
    id
        The workflow.
    json
        The answer, as JSON; with a type, its fields.
    type
        The class of the answer by its name in the journal, if it has one.
    path
        Which step or undo; all, if not given.
    """
    value = from_json(json, "--json")
    request = requests.ResolveRequest(id=id, value=value, type=type, path=path)
    printing.say(told(file, request, f"{id} has its answer."))


@app.command
def fork(file: str, id: str, new_id: str, /, *, at: str | None = None) -> None:
    """Start a workflow with the history of another one, up to before the outcome of a step.

    Parameters
    ----------
    file
        The journal.
    id
        The workflow whose history it is.
    new_id
        The id of the new one.
    at
        The path of the step; all of the history, if not given.
    """
    request = requests.ForkRequest(id=id, new_id=new_id, at=at)
    printing.say(told(file, request, f"{new_id} goes on from what {id} has done."))


# -- replaying


@app.command
def replay(
    file: str,
    id: str | None = None,
    /,
    *,
    app: Annotated[str, Parameter(name="--app")],
    json: Json = False,
) -> int:
    """Replay every run of a journal, open or over, against the code as it is here and now.

    Parameters
    ----------
    file
        The journal.
    id
        Only this workflow.
    app
        The mediator's class, module:Class; the module is looked for in the current directory first.
    json
        Print JSON.
    """
    mediator = load(app)
    with records.opened(file) as reader:
        if id is not None:
            records.find(reader, id)
        runs = [each for each in reader.runs(id_prefix=id) if id is None or each.id == id]
        try:
            found = replay_journal(reader, mediator, id)
        except TypeError as error:
            raise Failed(ExitCode.USAGE, f"{app} cannot be a mediator: {error}") from error
    if json:
        printing.print_json([msgspec.to_builtins(each) for each in found])
    elif found:
        printing.table(
            ("ID", "RUN", "PATH", "RECORDED", "CAME", "WHAT"),
            [
                (each.id, str(each.run), each.path, each.recorded, each.came, each.what)
                for each in found
            ],
        )
    if not json:
        count = f"{len(runs)} run{'' if len(runs) == 1 else 's'} replayed"
        printing.say(f"{count}: {len(found) or 'no'} difference{'' if len(found) == 1 else 's'}.")
        if any("'__main__:" in each.what for each in found):
            printing.say(SCRIPT)
    return ExitCode.DIFFERENT if found else ExitCode.DONE


# -- what is given


def load(name: str) -> type[Mediator]:
    """The mediator's class that ``module:Class`` names. Raises Failed."""
    module, _, path = name.partition(":")
    if not module or not path:
        raise Failed(ExitCode.USAGE, f"--app is a module and a class, shop:Orders. Got: {name!r}")
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module)
        for each in path.split("."):
            found = getattr(found, each)
    except Exception as error:
        text = f"--app {name} cannot be loaded: {type(error).__name__}: {error}"
        raise Failed(ExitCode.USAGE, text) from error
    if not isinstance(found, type) or not issubclass(found, Mediator):
        raise Failed(ExitCode.USAGE, f"--app names the class of a mediator. Got: {found!r}")
    return found


def from_json(text: str, option: str) -> Any:
    """The value of an option that is JSON. Raises Failed."""
    try:
        return msgspec.json.decode(text.encode())
    except (ValueError, UnicodeError) as error:
        raise Failed(ExitCode.USAGE, f"{option} is JSON: {error}. Got: {text}") from error


def since(seconds: float) -> str:
    """How long after the beginning: ``+0.012 s``, ``+3 days``."""
    return f"+{seconds:.3f} s" if seconds < 120 else f"+{span(seconds)}"
