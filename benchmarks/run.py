"""Measure understudy and its peers at the same work.

    python -m benchmarks                       all works, five rounds, writes docs/performance.md
    python -m benchmarks --quick               a twentieth of the size: does everything run?
    python -m benchmarks --works call,ring --peers understudy,otp --rounds 3
    python -m benchmarks saga saga_100         these works
    python -m benchmarks --million             all works, those done only on request as well

Each run is a fresh process. In a round every peer does the work once, and the order rotates from
round to round, so that whatever else the machine does falls on all alike. Printed are one JSON line
per work and peer and the table of targets; progress, and what could not be measured, goes to
standard error. The document is written when all works have been measured at full size, or to where
`--output` says. Missed targets are reported and fail nothing: a clock is no test.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks import machine, report, roster, works
from benchmarks.report import Run
from benchmarks.roster import ROOT, Peer, Unavailable
from benchmarks.works import OURS, Work

DOCUMENT = ROOT / "docs" / "performance.md"
ROUNDS = 5
LONGEST = 600.0
"""Seconds after which a run counts as failed."""


class RunFailed(Exception):
    """A peer's process did not print its line."""


def note(text: str) -> None:
    """Tell whoever watches; standard output is for the figures."""
    print(text, file=sys.stderr, flush=True)


def available(peers: Sequence[Peer]) -> tuple[dict[str, str], dict[str, str]]:
    """The interpreters of the peers that can be measured, and why the others cannot."""
    interpreters, skipped = {}, {}
    for peer in peers:
        try:
            interpreters[peer.name] = peer.interpreter()
        except Unavailable as reason:
            skipped[peer.name] = str(reason)
            note(f"{peer.name} is skipped: {reason}")
    return interpreters, skipped


def schedule(peers: Sequence[str], rounds: int) -> Iterator[tuple[int, str]]:
    """Who runs when: every peer once a round, another one first each time."""
    for turn in range(rounds):
        first = turn % len(peers)
        for peer in (*peers[first:], *peers[:first]):
            yield turn, peer


def perform(work: Work, peer: Peer, interpreter: str, n: int) -> str:
    """Run one work in a fresh process; its JSON line."""
    command = [interpreter, "-m", peer.module_for(work), work.name, str(n)]
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=LONGEST
        )
    except subprocess.TimeoutExpired as late:
        raise RunFailed(f"took more than {LONGEST:.0f} s") from late
    except subprocess.CalledProcessError as failed:
        said = failed.stderr.strip().splitlines() or [f"exit code {failed.returncode}"]
        raise RunFailed("\n".join(said[-20:])) from failed
    return done.stdout.strip().splitlines()[-1]


def measure(
    work: Work,
    interpreters: Mapping[str, str],
    rounds: int,
    *,
    quick: bool,
    failed: Callable[[str, str, str], None],
) -> list[Run]:
    """All rounds of one work. A peer that fails once is left out: its median would be of fewer."""
    peers = [name for name in interpreters if name in work.sizes]
    out: set[str] = set()
    runs: list[Run] = []
    for turn, name in schedule(peers, min(rounds, work.rounds or rounds)) if peers else ():
        if name in out:
            continue
        size = work.size(name, quick=quick)
        try:
            printed = perform(work, roster.BY_NAME[name], interpreters[name], size)
        except RunFailed as reason:
            out.add(name)
            failed(work.name, name, str(reason))
            continue
        run = report.read_run(printed, turn)
        note(f"{work.name} {name} round {turn + 1}: {run.figure:,.0f} {work.unit}")
        runs.append(run)
    return [run for run in runs if run.peer not in out]


def chosen(known: Mapping[str, object]) -> Callable[[str], list[str]]:
    """An argument that is a list of known names, in the order they are known in."""

    def parse(text: str) -> list[str]:
        names = text.split(",")
        if strange := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(
                f"known are {', '.join(known)}. Got: {', '.join(strange)}"
            )
        return [name for name in known if name in names]

    return parse


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "only",
        nargs="*",
        metavar="WORK",
        type=chosen(works.BY_NAME),
        help="the works to do, as with --works",
    )
    parser.add_argument("--rounds", type=int, help=f"rounds (default {ROUNDS}; quick: 1)")
    parser.add_argument(
        "--works",
        type=chosen(works.BY_NAME),
        default=[],
        help=f"comma-separated, of {', '.join(works.BY_NAME)}",
    )
    parser.add_argument(
        "--peers",
        type=chosen(roster.BY_NAME),
        default=list(roster.BY_NAME),
        help=f"comma-separated, of {', '.join(roster.BY_NAME)}",
    )
    parser.add_argument(
        "--million", action="store_true", help="parked_million as well, which takes minutes"
    )
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--output", type=Path, help="where to write the document")
    return parser


def main() -> int:
    """Measure, print and write; 1 if a run of ours failed."""
    options = arguments().parse_args()
    rounds = max(1, options.rounds or (1 if options.quick else ROUNDS))
    usual = [name for name, work in works.BY_NAME.items() if not work.on_request]
    wanted = set(options.works).union(*options.only) or set(usual)
    if options.million:
        wanted.add("parked_million")
    names = [name for name in works.BY_NAME if name in wanted]
    busy = {peer for name in names for peer in works.BY_NAME[name].sizes}
    interpreters, skipped = available(
        [roster.BY_NAME[name] for name in options.peers if name in busy]
    )
    runs: list[Run] = []
    failures: list[tuple[str, str]] = []

    def failed(work: str, peer: str, reason: str) -> None:
        failures.append((work, peer))
        skipped[f"{peer} at {work}"] = "the run failed"
        note(f"{work} {peer} failed:\n{reason}")

    for name in names:
        work = works.BY_NAME[name]
        measured = measure(work, interpreters, rounds, quick=options.quick, failed=failed)
        for summary in report.summarise(measured):
            print(report.summary_line(summary), flush=True)
        runs += measured
    if OURS in interpreters:
        print(report.targets_table(report.held(report.summarise(runs))))
    whole = not options.quick and wanted.issuperset(usual) and OURS in interpreters
    output = options.output or (DOCUMENT if whole else None)
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        facts = machine.describe(interpreters)
        output.write_text(report.document(runs, facts, skipped, rounds), "utf-8")
        note(f"written: {output}")
    return 1 if any(peer == OURS for _, peer in failures) else 0


if __name__ == "__main__":
    raise SystemExit(main())
