"""What a workflow waits for, since when, and what would move it: in sentences."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from mediators.execution.rollback import UNDO
from mediators.outcomes import Status
from mediators.reading.moments import ago, moment, ordinal
from mediators.reading.rendering import short

if TYPE_CHECKING:
    from mediators.reading.standing import Standing, Summary, Wait

SHOWN = 5
"""How many waits are told of one by one."""


def why(summary: Summary, now: float, file: str = "FILE") -> str:
    """What the workflow waits for, since when and what would move it; a few sentences where it
    waits for several things.

    ``now`` is seconds of the wall clock; ``file`` is the journal's, for the commands that are
    named. Pure.
    """
    if summary.over:
        return _over(summary, now)
    command = f"understudy workflows {{}} {shlex.quote(file)} {shlex.quote(summary.id)}"
    sentences = [_stands(summary, each, command) for each in summary.incidents]
    if summary.pause is not None:
        sentences.append(_paused(summary, now, command))
    waits = summary.waits
    sentences += [f"{summary.id} {_wait(wait, now, command)}" for wait in waits[:SHOWN]]
    if len(waits) > SHOWN:
        sentences.append(f"It waits for {len(waits) - SHOWN} more things.")
    if not sentences:
        sentences.append(f"{summary.id} waits for nothing: its code is about to go on.")
    if summary.status == Status.COMPENSATING:
        reason = f" ({summary.cancelled})" if summary.cancelled else ""
        left = len(summary.undos)
        more = f"; {left} more to be undone after that" if left else ""
        sentences.append(f"It is being undone{reason}{more}.")
    if summary.unread:
        names = sorted({short(each.type) for each in summary.unread})
        count = len(summary.unread)
        are = "signal is" if count == 1 else "signals are"
        sentences.append(f"{count} {are} unread: {', '.join(names)}.")
    if summary.deadline is not None:
        sentences.append(f"The whole is cancelled {moment(summary.deadline, now)}.")
    return "\n".join(sentences)


def _over(summary: Summary, now: float) -> str:
    when = moment(summary.ended or summary.updated, now)
    outcome = summary.outcome_words(300)
    if summary.status == Status.DONE:
        text = "" if outcome == "None" else f", with {outcome}"
        return f"{summary.id} is done{text}: it ended {when}."
    if summary.status == "continued":
        return f"Run {summary.run} of {summary.id} ended {when}: {outcome}."
    verb = "was cancelled" if summary.status == Status.CANCELLED else "has failed"
    reason = f" ({summary.cancelled})" if summary.cancelled else f" with {outcome}"
    return f"{summary.id} {verb}{reason}: it ended {when}."


def _stands(summary: Summary, incident: Standing, command: str) -> str:
    where = f" at {incident.path}" if incident.path else ""
    text = incident.text.rstrip(".")
    path = f" --path {shlex.quote(incident.path)}" if len(summary.incidents) > 1 else ""
    return (
        f"{summary.id} stands as an incident{where}: {text}; decide with retry, skip or resolve: "
        f"{command.format('retry')}{path}"
    )


def _paused(summary: Summary, now: float, command: str) -> str:
    pause = summary.pause
    assert pause is not None
    since = moment(pause.since, now)
    kept = ""
    if pause.kept:
        kept = f" {pause.kept} event{'s are' if pause.kept > 1 else ' is'} kept until then."
    resume = command.format("resume")
    if pause.reason == "pivot":
        return (
            f"{summary.id} stands as an incident since {since}, behind its pivot: "
            f"{pause.incident.rstrip('.')}; decide with retry or resolve: {command.format('retry')}"
        )
    if pause.incident:
        what = f"{pause.incident.rstrip('.')}."
        again = "It goes on when its owner is started with the code mended"
        if pause.reason == "mismatch":
            return (
                f"{summary.id} is paused since {since}, because its code does not follow its "
                f"record: {what} {again}; or end it with: {command.format('cancel')}.{kept}"
            )
        return (
            f"{summary.id} is paused by a mistake in its code since {since}: {what} "
            f"{again}, or with: {resume}.{kept}"
        )
    return (
        f"{summary.id} is paused since {since} ({pause.reason}); it goes on with: {resume}.{kept}"
    )


def _wait(wait: Wait, now: float, command: str) -> str:
    if wait.kind == "sleep":
        assert wait.until is not None
        return f"sleeps until {moment(wait.until, now)}."
    if wait.kind == "receive":
        until = ""
        if wait.until is not None:
            until = f"; without one it goes on {moment(wait.until, now)}"
        return (
            f"waits for a signal `{wait.type}` since {moment(wait.since, now)}{until}; send it "
            f"with: {command.format('signal')} --type {shlex.quote(wait.type)} --json '{{...}}'"
        )
    if wait.kind == "child":
        return (
            f"waits for the end of workflow {wait.type} ({wait.path}), since "
            f"{moment(wait.since, now)}; ask what that one waits for."
        )
    times = f", {ordinal(wait.attempts)} attempt" if wait.attempts > 1 else ""
    why_again = _REASONS.get(wait.reason, "")
    again = f" The one before {why_again}." if times and why_again else ""
    asked = f"asked {ago(wait.asked or wait.since, now)}{times}; it is asked again after a timeout."
    name = short(wait.type)
    if wait.kind == "effect":
        return (
            f"waits for its effect {name} (step {wait.path}), begun "
            f"{ago(wait.asked or wait.since, now)}{times}; it is begun again after a failure."
            f"{again}"
        )
    if wait.kind == "undo":
        step = wait.path.removeprefix(UNDO)
        return f"waits for {name}, which undoes {step}, {asked}{again}"
    if wait.kind == "settle":
        return (
            f"waits to learn what {name} has done (step {wait.path}), which nobody heard of; "
            f"its component is asked until it tells."
        )
    return f"waits for its component's answer to {name} (step {wait.path}), {asked}{again}"


_REASONS = {
    "died": "was lost with its process",
    "crashed": "crashed",
    "timeout": "had no answer in time",
    "settle": "was not heard of",
}
