"""Run every program of the talk and check what it prints, then time the pull parser.

Each program runs as it would by hand; a difference from its expected output is shown, and the exit
status then is 1.

    python examples/demo.py
"""

import difflib
import importlib.util
import os
import shlex
import subprocess
import sys
from pathlib import Path

TALK = Path(__file__).parent / "talk"
PROGRAMS = {
    "hello": "one tasklet",
    "greet": "two tasklets",
    "round_robin": "taking turns",
    "channel_states": "a channel and the tasklets that wait in it",
    "producers_consumer": "two producers, one consumer",
    "divider": "a server and a client",
    "divider_uncaught": "an uncaught error goes to run()",
    "divider_forwarded": "an error sent to the client",
    "factorial": "a thousand levels of recursion, a thousand tasklets",
    "two_workers": "a tasklet that is pickled and hops between two processes",
    "pull_parser": "an iterator out of a parser that calls back",
    "run_tasklet": "wait for some tasklets, leave the others",
    "sleepers": "three ways to wait, and what they cost",
    "async_http": "blocking code on top of an event loop",
    "monkeypatch": "the standard urllib, in tasklets",
    "hash_pages": "many pages at once, with plain blocking code",
    "actor_bots": "robots and bullets, each a tasklet",
}
NEXT = """\
  make test         all tests, on this Python
  make bench        our times, compared with greenlet, gevent, asyncio, uvloop, threads, Go
  examples/talk/    the programs you just saw; most of them fit on one screen
  docs/             how it works and why

a hundred thousand robots:

  {python} {talk}/actor_bots.py --bots 100000 --ticks 5

an animation of a program, to open in a browser:

  {python} -m stackless record {talk}/greet.py

and in {python}:

  >>> import stackless
  >>> channel = stackless.channel()
  >>> stackless.tasklet(channel.send)("hello from a tasklet")
  >>> channel.receive()
  'hello from a tasklet'
"""


def styled(code: int, text: str) -> str:
    return f"\033[{code}m{text}\033[0m" if sys.stdout.isatty() else text


def bold(text: str) -> str:
    return styled(1, text)


def green(text: str) -> str:
    return styled(32, text)


def red(text: str) -> str:
    return styled(31, text)


def as_typed(path: str | Path) -> str:
    """Return a path as it is typed in a shell in the current directory."""
    relative = os.path.relpath(path)
    return shlex.quote(str(path) if relative.startswith("..") else relative)


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, TALK / f"{program}.py"], capture_output=True, text=True, timeout=60
    )


def differences(expected: str, printed: str) -> str:
    lines = difflib.unified_diff(
        expected.splitlines(), printed.splitlines(), "expected", "printed", lineterm=""
    )
    return "\n".join(lines)


def show(program: str, title: str) -> bool:
    """Run a program, show what it prints, and say whether that is what it should print."""
    print(f"{bold(program)}: {title}", flush=True)
    try:
        done = run(program)
    except subprocess.TimeoutExpired as error:
        print(red(f"  still running after {error.timeout:.0f} s\n"))
        return False
    print("".join(f"    {line}\n" for line in done.stdout.splitlines()), end="")
    expected = (TALK / "expected" / f"{program}.txt").read_text()
    if done.returncode == 0 and done.stdout == expected:
        print(green("  as in the talk\n"))
        return True
    print(red(f"  not as expected; exit status {done.returncode}"))
    print(differences(expected, done.stdout), done.stderr, sep="\n")
    return False


def show_table() -> bool:
    print(f"{bold('pull_parser_table')}: how long that takes", flush=True)
    return subprocess.run([sys.executable, TALK / "pull_parser_table.py"]).returncode == 0


def main() -> int:
    if importlib.util.find_spec("stackless") is None:
        print(f"stackless is not installed for {sys.executable}: `make demo` installs it")
        return 1
    failed = [program for program, title in PROGRAMS.items() if not show(program, title)]
    if not show_table():
        failed.append("pull_parser_table")
    if failed:
        print(red(f"\nnot as expected: {', '.join(failed)}"))
        return 1
    print(green(f"\nall {len(PROGRAMS)} programs print what they should"))
    next_steps = NEXT.format(python=as_typed(sys.executable), talk=as_typed(TALK))
    print(f"\n{bold('What to try next')}\n\n{next_steps}", end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
