"""Runs one of CPython's own test modules; prints a line of JSON with the result of each test.

    python run_module.py MODULE [--in PLACE] [--only PATTERN ...] [--leave-out PATTERN ...]

With --in after the patches of `stackless.monkey`, in a `tasklet`, or in the `main` one, which is
not alone; or, with `loop`, unpatched in a tasklet, where the event loops of asyncio are
`stackless.aio.EventLoop`.
Without --in unpatched and without tasklets. Switches are counted for each test.
"""

import argparse
import fnmatch
import json
import os
import sys
import time
import traceback
import unittest
from pathlib import Path

#: Modules that ask for the network although everything that is run of them stays on this machine.
ASK_FOR_NETWORK = {"test_socketserver", "test_timeout"}


class Result(unittest.TestResult):
    """Records how each test ended; a test with subtests ends as the worst of them."""

    ORDER = ("passed", "skipped", "failed")

    def __init__(self, switches):
        super().__init__()
        self.count_switches = switches
        self.outcomes = {}

    def note(self, test, outcome, why=""):
        test = getattr(test, "test_case", test)  # of a subtest
        name, before = test.id(), self.outcomes.get(test.id())
        if before is None or self.ORDER.index(outcome) > self.ORDER.index(before["outcome"]):
            self.outcomes[name] = {"outcome": outcome, "why": why}

    def startTest(self, test):
        super().startTest(test)
        print(json.dumps({"begins": test.id()}), file=REPORT, flush=True)
        self.switches, self.began = self.count_switches(), time.monotonic()

    def stopTest(self, test):
        super().stopTest(test)
        ended = self.outcomes.get(test.id(), {"outcome": "passed", "why": ""})
        ended["switches"] = self.count_switches() - self.switches
        ended["seconds"] = round(time.monotonic() - self.began, 3)
        print(json.dumps({"test": test.id(), **ended}), file=REPORT, flush=True)

    def addSuccess(self, test):
        self.note(test, "passed")

    def addFailure(self, test, error):
        super().addFailure(test, error)
        self.note(test, "failed", self.failures[-1][1])
        self.outside(test)

    def addError(self, test, error):
        super().addError(test, error)
        self.note(test, "failed", self.errors[-1][1])
        self.outside(test)

    def addSubTest(self, test, subtest, error):
        super().addSubTest(test, subtest, error)
        if error is not None:
            text = (self.failures + self.errors)[-1][1]
            self.note(test, "failed", text)

    def addSkip(self, test, reason):
        self.note(test, "skipped", reason)
        self.outside(test)

    def addExpectedFailure(self, test, error):
        self.note(test, "passed", "fails, as expected")

    def addUnexpectedSuccess(self, test):
        self.note(test, "failed", "succeeds, which was not expected")

    def outside(self, test):
        """An outcome of a class or module as a whole is reported at once."""
        if not isinstance(test, unittest.TestCase):
            entry = {"test": test.id(), **self.outcomes[test.id()], "switches": 0, "seconds": 0}
            print(json.dumps(entry), file=REPORT, flush=True)


def chosen(suite, only, left_out):
    """The same suite, which keeps classes together, without the tests that are not wanted."""
    kept = unittest.TestSuite()
    for each in suite:
        if isinstance(each, unittest.TestSuite):
            kept.addTest(chosen(each, only, left_out))
        elif (not only or matches(each, only)) and not matches(each, left_out):
            kept.addTest(each)
    return kept


def matches(test, patterns):
    name = test.id().removeprefix("test.")
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def use_patched_queue():
    """Have test_queue test the patched module `queue`, not a copy that is imported later."""
    from test.support import import_helper

    fresh = import_helper.import_fresh_module

    def import_fresh_module(name, fresh_ones=(), blocked=(), **others):
        if name == "queue" and not blocked:
            return sys.modules["queue"]
        return fresh(name, others.pop("fresh", fresh_ones), blocked, **others)

    import_helper.import_fresh_module = import_fresh_module


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("module")
    parser.add_argument("--in", dest="where", choices=["tasklet", "main", "loop"])
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--leave-out", nargs="*", default=[])
    given = parser.parse_args()
    from test import support

    resources = ["cpu", "subprocess", "walltime"]
    if given.module in ASK_FOR_NETWORK:
        resources.append("network")
    support.use_resources = dict.fromkeys(resources)

    def run(switches):
        try:
            suite = unittest.defaultTestLoader.loadTestsFromName(f"test.{given.module}")
        except unittest.SkipTest as reason:
            print(json.dumps({"skipped": str(reason)}), file=REPORT, flush=True)
        else:
            chosen(suite, given.only, given.leave_out).run(Result(switches))
        print(json.dumps({"ended": True}), file=REPORT, flush=True)

    if given.where is None:
        run(lambda: 0)
        return
    import stackless
    from stackless import _stackless, monkey

    def tick():
        while True:
            stackless.sleep(0.001)

    if given.where == "loop":
        sys.path.insert(0, str(Path(__file__).parents[1]))
        from replaced_loop import replace_loops

        replace_loops()
    else:
        monkey.patch_all()
        use_patched_queue()
    _stackless._count_switches()
    # Runs while a test waits longer than a moment, so that such waits are counted.
    stackless.tasklet(tick)().daemon = True
    if given.where == "main":
        run(_stackless._switches)
        return

    def run_as_thread(switches):
        _stackless._gives_way()
        run(switches)

    running = stackless.tasklet(run_as_thread)(_stackless._switches)
    while running.alive:
        try:
            running.join()  # not run(), which waits for threads that are daemons, too
        except BaseException:
            # An exception that a signal handler raises while the thread sleeps is raised here.
            traceback.print_exc()


if __name__ == "__main__":
    REPORT = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # child processes of tests write to it
    sys.stdout = sys.stderr
    with REPORT:
        main()
