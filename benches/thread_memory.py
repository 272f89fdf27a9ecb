"""The memory of a waiting thread of an unedited program: tasklets, OS threads, gevent.

python benches/thread_memory.py [--count N] [--rounds N]

The program is net/many_threads.py. The kernel's memory for an OS thread, a stack of 16 KiB and
more, is not included.
"""

import argparse
import json
import subprocess
import sys

import peers
import serving

PROGRAM = str(serving.HERE / "many_threads.py")
COMMANDS = {
    "stackless run": (["-m", "stackless", "run", PROGRAM], "stackless"),
    "threads": ([PROGRAM], None),
    "gevent": (["-m", "gevent.monkey", PROGRAM], "gevent"),
}


def measure(arguments: list[str], count: int) -> dict[str, float] | str:
    """Return what the program prints, or why it could not."""
    command = [sys.executable, *arguments, str(count)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        return "not done after 120 s"
    if done.returncode:
        return done.stderr.strip().split("\n")[-1] or f"status {done.returncode}"
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main(count: int, rounds: int) -> None:
    print(f"{count:,} threads that wait, CPython {sys.version.split()[0]}; best of {rounds} rounds")
    print(f"{'':16}{'bytes each':>12}{'x ours':>8}{'start':>9}{'work, end':>11}")
    ours = None
    for name, (arguments, needs) in COMMANDS.items():
        if peers.missing(needs):
            print(f"{name:16}skipped: {needs} is not installed")
            continue
        found = [measure(arguments, count) for _ in range(rounds)]
        good = [each for each in found if not isinstance(each, str)]
        if not good:
            print(f"{name:16}failed: {found[0]}")
            continue
        best = {key: min(each[key] for each in good) for key in good[0]}
        ours = ours or best["bytes"]
        line = f"{name:16}{best['bytes']:>12,.0f}{best['bytes'] / ours:>8.1f}"
        print(f"{line}{best['start']:>7.2f} s{best['end']:>9.2f} s", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    main(given.count, given.rounds)
