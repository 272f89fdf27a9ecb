"""Runs CPython's own tests of modules that `stackless.monkey` patches, with and without patches.

Those of asyncio are run a third time, unpatched: in a tasklet, with the loop of `stackless.aio`.

    python tests/cpython/run.py [--smoke] [MODULE ...]

The tests are those of the installed package `test` of the interpreter that runs this. Each module
has its own processes, four at a time: one unpatched, one in a tasklet after `monkey.patch_all()`,
one for tests that must run in the main tasklet. A test that passes unpatched has to pass patched,
or to be in the table of exclusions; one in the table has to fail. A failed test is run once more,
alone.
"""

import argparse
import fnmatch
import importlib.util
import json
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from exclusions import (
    EXCLUDED,
    IN_MAIN,
    LOOP_MODULES,
    MODULES,
    MUST_SWITCH,
    NOT_RUN,
    NOT_RUN_PATCHED,
    SMOKE,
)

TIME_LIMIT = 300  # seconds for a module
HERE = Path(__file__).parent
VERSION = "{}.{}".format(*sys.version_info)


def run_module(module, where=None, only=(), leave_out=()):
    """Return the result of each test, by its name without `test.`, and the end of the output."""
    command = [sys.executable, "-X", "faulthandler", str(HERE / "run_module.py"), module]
    command += ["--in", where] if where else []
    command += ["--only", *only] if only else []
    command += ["--leave-out", *leave_out] if leave_out else []
    with tempfile.TemporaryDirectory() as directory:
        child = subprocess.Popen(
            command,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        try:
            out, wrote = child.communicate(timeout=TIME_LIMIT)
        except subprocess.TimeoutExpired:
            child.kill()
            out, wrote = child.communicate()
    tests, running, ended = {}, None, False
    for line in out.splitlines():
        entry = json.loads(line)
        ended |= "ended" in entry
        if "skipped" in entry:
            tests[module] = {"outcome": "skipped", "why": entry["skipped"], "switches": 0}
        elif "begins" in entry:
            running = entry["begins"].removeprefix("test.")
        elif "test" in entry:
            tests[entry["test"].removeprefix("test.")] = entry
            running = None
    if not ended:
        why = f"the process ended with {child.returncode}, or did not within {TIME_LIMIT} s"
        tests[running or module] = {"outcome": "failed", "why": why, "switches": 0}
    return tests, wrote[-3000:]


def matches(name, patterns):
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def exclusions_of(module):
    here = [e for e in EXCLUDED if e.pattern.startswith(f"{module}.")]
    return [e for e in here if not e.pythons or VERSION in e.pythons]


def of_module(module, patterns):
    return [pattern for pattern in patterns if pattern.startswith(f"{module}.")]


class Compared:
    """The runs of a module: unpatched, and in a place, which is `tasklet` or `loop`."""

    def __init__(self, module, where, plain, pool):
        self.module = module
        self.where = where
        self.not_run = of_module(module, NOT_RUN)
        in_main = []
        if where == "tasklet":
            in_main = of_module(module, IN_MAIN)
            self.not_run += of_module(module, NOT_RUN_PATCHED)
        self.runs = [
            plain,
            pool.submit(run_module, module, where, leave_out=self.not_run + in_main),
        ]
        if in_main:
            self.runs.append(pool.submit(run_module, module, "main", in_main, self.not_run))

    def finish(self):
        """Wait for the runs; return the problems, as texts, and the line of the table."""
        (plain, _), *others = (run.result() for run in self.runs)
        plain = {name: entry for name, entry in plain.items() if not matches(name, self.not_run)}
        patched = {name: entry for tests, _ in others for name, entry in tests.items()}
        excluded = exclusions_of(self.module) if self.where == "tasklet" else []
        problems, used = [], set()
        for name in sorted(plain.keys() | patched.keys()):
            before = plain.get(name, {"outcome": "not there"})["outcome"]
            after = patched.get(name, {"outcome": "not there"})["outcome"]
            exclusion = next((e for e in excluded if fnmatch.fnmatchcase(name, e.pattern)), None)
            if exclusion is not None:
                used.add(exclusion)
                if after == "passed":
                    problems.append(f"{name} is excluded, and passed: {exclusion.reason}")
            elif after != before and before in ("passed", "skipped", "not there"):
                if self.passes_alone(name, after):
                    print(f"  {name} failed once, and passed when it was tried again", flush=True)
                    patched[name]["outcome"] = "passed"
                    continue
                why = patched.get(name, {}).get("why", "")
                problems.append(f"{name}: {before} unpatched, {after} patched\n{why}")
        for e in set(excluded) - used:
            problems.append(f"there is no test for the exclusion {e.pattern}")
        switched = sum(entry["switches"] > 0 for entry in patched.values())
        if (
            self.where == "tasklet"
            and switched < MUST_SWITCH.get(self.module, 0)
            and any(entry["outcome"] != "skipped" for entry in patched.values())
        ):
            problems.append(
                f"{self.module}: only {switched} tests let others run, not "
                f"{MUST_SWITCH[self.module]} as expected"
            )
        if problems:
            problems.append("\n".join(wrote for _, wrote in others))

        def count(tests, outcome="passed"):
            return sum(entry["outcome"] == outcome for entry in tests.values())

        name = f"{self.module} (loop)" if self.where == "loop" else self.module
        line = (
            f"{name:42} {count(plain):9} {count(patched):8} {count(patched, 'skipped'):8} "
            f"{len(used):9} {switched:9}"
        )
        return problems, line

    def passes_alone(self, name, outcome):
        if outcome != "failed":
            return False
        where = "main" if matches(name, IN_MAIN) else self.where
        tests, _ = run_module(self.module, where, [name])
        return tests.get(name, {}).get("outcome") == "passed"


def runs_of(module, pool):
    plain = pool.submit(run_module, module, leave_out=of_module(module, NOT_RUN))
    places = ("loop", "tasklet") if module in LOOP_MODULES else ("tasklet",)
    return [Compared(module, where, plain, pool) for where in places]


def exists(module):
    try:
        return importlib.util.find_spec(f"test.{module}") is not None
    except ModuleNotFoundError:  # a module here, a package in later versions
        return False


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--smoke", action="store_true", help=f"only {', '.join(SMOKE)}")
    parser.add_argument("modules", nargs="*")
    given = parser.parse_args()
    if importlib.util.find_spec("test") is None or importlib.util.find_spec("test.support") is None:
        print(f"SKIPPED: Python {VERSION} at {sys.executable} has no package `test`", flush=True)
        return 0
    modules = given.modules or (SMOKE if given.smoke else MODULES + LOOP_MODULES)
    for module in modules:
        if not exists(module):
            print(f"SKIPPED: Python {VERSION} at {sys.executable} has no test.{module}", flush=True)
    modules = [module for module in modules if exists(module)]
    print(f"== CPython's own tests on Python {VERSION}, unpatched and patched in a tasklet")
    print(f"{'module':42} unpatched  patched  skipped  excluded  switched", flush=True)
    failed = []
    with ThreadPoolExecutor(4) as pool:
        for compared in [each for module in modules for each in runs_of(module, pool)]:
            problems, line = compared.finish()
            print(line, "FAILED" if problems else "", flush=True)
            failed += problems
    for problem in failed:
        print(f"\n{problem}")
    print(f"\nCPython's own tests on {VERSION}: {'FAILED' if failed else 'as expected'}")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
