"""Checks the ratios that the project promises: best of several rounds, with a margin.

python benches/check.py [--rounds N] [--json FILE]
"""

import argparse
import json
import os
import platform
import sys
from dataclasses import dataclass

import peers
from cases import alt, channel, create, group, parked, schedule, snapshot, sync
from harness import OURS, Case, Result, run_case

MARGIN = 1.5
GREENLET = "greenlet, switch ring"
TIMES_FASTER = 5.0
TOO_SLOW = "TOO SLOW"
RECORDED_MOST = 3.0
PARKED_MOST = 2.0
LOCK_MOST = 1.5
GROUP_MOST = 2.0
ALT_MOST = 3.0


@dataclass(frozen=True)
class Requirement:
    case: Case
    most: float  # multiples of an empty call
    #: The nearest equivalent in CPython alone, and what that does.
    alone: str = ""
    alone_does: str = ""


REQUIREMENTS = [
    Requirement(schedule.TWO, 1.6, schedule.GENERATORS, "next() of 2 generators in turn"),
    Requirement(schedule.THOUSAND, 2.5, schedule.GENERATORS, "next() of 1000 generators in turn"),
    Requirement(channel.CASE, 4.5 if sys.version_info < (3, 12) else 4.0),
    Requirement(create.CASE, 6.0, create.ITERATORS, "make, call and drop 100 callable iterators"),
]

#: `dumps` and `loads` of tasklets: multiples of the time for the plain objects.
SNAPSHOTS = (
    (snapshot.DUMPS[1], 9.0),
    (snapshot.DUMPS[10], 2.2),
    (snapshot.DUMPS[100], 0.8),
    (snapshot.BY_VALUE, 20.0),
    (snapshot.LOADS[10], 2.8),
    (snapshot.LOADS[100], 0.9),
)


#: What `line` has printed: (what, required, measured).
rows: list[tuple[str, str, str]] = []


def line(what: str, required: str, measured: str, verdict: str) -> None:
    if what:
        rows.append((what, required, measured))
    print(f"{what:<66} {required:>12} {measured:>9}  {verdict}")


def judge(shortfall: float) -> str:
    """Return the verdict on a measure that misses its requirement by this factor, if above 1."""
    if shortfall <= 1:
        return "ok"
    return "ok within the margin" if shortfall <= MARGIN else TOO_SLOW


def check_case(requirement: Requirement, ours: Result) -> bool:
    required = f"<= {requirement.most:.1f}"
    title = requirement.case.title
    if ours.problem:
        line(title, required, "-", ours.problem)
        return False
    measured = min(ours.ratios)
    verdict = judge(measured / requirement.most)
    line(title, required, f"{measured:.2f}", verdict)
    return verdict != TOO_SLOW


def check_greenlet(ours: Result, greenlet: Result) -> bool:
    what, required = "times faster than greenlet's switch ring", f">= {TIMES_FASTER:.1f}"
    if greenlet.problem:
        line(what, required, "-", f"NOT CHECKED: {greenlet.problem}")
        return not greenlet.problem.startswith("failed")
    if ours.problem:
        line(what, required, "-", ours.problem)
        return False
    measured = greenlet.best / ours.best
    verdict = judge(TIMES_FASTER / measured)
    line(what, required, f"{measured:.2f}", verdict)
    return verdict != TOO_SLOW


def check_slower(what: str, ours: Result, slow: Result, most: float) -> bool:
    required = f"<= {most:.1f}"
    if ours.problem or slow.problem:
        line(what, required, "-", ours.problem or slow.problem or "")
        return False
    measured = slow.best / ours.best
    verdict = judge(measured / most)
    line(what, required, f"{measured:.2f}", verdict)
    return verdict != TOO_SLOW


def main(rounds: int) -> int:
    if peers.stackless is None:
        print("stackless is not installed: nothing to check")
        return 1
    print(f"multiples of an empty call, best of {rounds} rounds; the margin is {MARGIN}x")
    line("", "required", "measured", "")
    passed = []
    for requirement in REQUIREMENTS:
        only = {OURS, GREENLET, channel.RECORDED, requirement.alone}
        results = run_case(requirement.case, rounds, 0.04, only=only)
        passed.append(check_case(requirement, results[OURS]))
        if requirement.alone:
            measured = f"{min(results[requirement.alone].ratios):.2f}"
            line(f"... CPython alone: {requirement.alone_does}", "-", measured, "for comparison")
        if requirement.case is schedule.TWO:
            passed.append(check_greenlet(results[OURS], results[GREENLET]))
        if requirement.case is channel.CASE:
            what = "times slower while it is recorded"
            recorded = results[channel.RECORDED]
            passed.append(check_slower(what, results[OURS], recorded, RECORDED_MOST))
    results = run_case(alt.CASE, rounds, 0.04, only={OURS, alt.ALT})
    what = "times slower by alt() over 3 channels than by receive()"
    passed.append(check_slower(what, results[OURS], results[alt.ALT], ALT_MOST))
    for depth, case in ((1, parked.SHALLOW), (20, parked.DEEP)):
        results = run_case(case, rounds, 0.04)
        what = f"times slower when parked each time, {depth} calls deep"
        passed.append(check_slower(what, results[OURS], results[parked.PARKED], PARKED_MOST))
    for case, peer in (
        (sync.FREE, sync.STANDARD),
        (sync.HANDED, sync.CHANNEL),
        (sync.QUEUE, sync.CHANNEL),
    ):
        results = run_case(case, rounds, 0.04, only={OURS, peer})
        what = f"{case.title}: multiples of {peer}"
        passed.append(check_slower(what, results[peer], results[OURS], LOCK_MOST))
    results = run_case(group.CASE, rounds, 0.04, only={OURS, group.GROUP})
    what = "times slower: 1000 tasklets in a task group"
    passed.append(check_slower(what, results[OURS], results[group.GROUP], GROUP_MOST))
    for case, most in SNAPSHOTS:
        results = run_case(case, rounds, 0.04)
        what = f"{case.title}: multiples of {snapshot.PLAIN}"
        passed.append(check_slower(what, results[snapshot.PLAIN], results[OURS], most))
    return 0 if all(passed) else 1


def write(file: str) -> None:
    """Write the measures as JSON, for benches/performance_table.py."""
    found = {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "processor": processor(),
        "load": os.getloadavg()[0],
        "rows": rows,
    }
    with open(file, "w") as out:
        json.dump(found, out, indent=2)


def processor() -> str:
    """Return the number of processors and their name."""
    try:
        with open("/proc/cpuinfo") as lines:
            names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return f"{os.cpu_count()} x {names[0] if names else platform.machine()}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Check the ratios that must hold.")
    parser.add_argument("--rounds", type=int, default=9, metavar="N", help="rounds to run (9)")
    parser.add_argument("--json", metavar="FILE", help="write what was measured there, too")
    arguments = parser.parse_args()
    status = main(arguments.rounds)
    if arguments.json:
        write(arguments.json)
    sys.exit(status)
