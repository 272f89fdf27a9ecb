"""Random programs of scheduler and channel operations, compared with the model event by event."""

import os
import random

import model
import pytest
import stackless
from child_process import run_child
from model import MAIN, Model

TASKLETS, CHANNELS = 4, 2
ENOUGH = 2_000_000 if os.environ.get("STACKLESS_NIGHTLY") else 100_000
#: Ticks of a limit (the code of the programs between two switches must not reach the soft one),
#: and iterations of a loop that certainly takes more ticks.
HARD, SOFT, TURNS = 200, 6000, 3000


class Planned(Exception):
    """Raised by the programs themselves."""


# ------------------------------------------------------------------ programs


def operation(r, me):
    """Return one random operation. `me` may be MAIN."""
    tasklet, channel, value = r.randrange(TASKLETS), r.randrange(CHANNELS), r.randrange(10)
    target = r.choice([*range(TASKLETS), MAIN])
    flag = r.random() < 0.5
    choices = [
        (4, ("send", channel, value)),
        (4, ("receive", channel)),
        (2, ("next", channel)),
        (4, ("schedule", value)),
        (2, ("schedule_remove", value)),
        (2, ("insert", target)),
        (2, ("remove", target)),
        (2, ("run", target)),
        (2, ("switch", target)),
        (2, ("kill", tasklet, flag)),
        (2, ("throw", target, Planned("thrown"), flag)),
        (1, ("close", channel)),
        (1, ("open", channel)),
        (1, ("prefer", channel, r.choice([-1, 0, 1]), int(r.random() < 0.3))),
        (1, ("block_trap", flag)),
        (1, ("trap", r.random() < 0.3)),
        (3, ("run_all",)),
        (1, ("run_turns", r.randrange(6))),
        (1, ("run_ticks", flag)),
        (1, ("spin",)),
        (2, ("look",)),
    ]
    if me != MAIN:
        choices.append((1, ("fail",)))
    weights, operations = zip(*choices, strict=True)
    return r.choices(operations, weights)[0]


# Main's first operations: all but one tasklet are runnable.
BEGINNING = [("insert", number) for number in range(TASKLETS - 1)]
# Its last ones: let all run, look, kill the tasklets that are left.
ENDING = [("block_trap", False), ("trap", False), ("run_all",), ("look",)]
for _number in range(TASKLETS):
    ENDING += [("trap", False), ("kill", _number, False), ("look",)]


class Case:
    """Programs for main and the tasklets, and the options that they run with."""

    def __init__(self, seed):
        r = random.Random(seed)
        self.main = [operation(r, MAIN) for _ in range(r.randrange(20))]
        self.programs = [
            [operation(r, number) for _ in range(r.randrange(12))] for number in range(TASKLETS)
        ]
        self.channels = [(r.choice([-1, 0, 1]), r.choice([0, 0, 0, 1])) for _ in range(CHANNELS)]
        self.options = {"callbacks": r.random() < 0.7, "handler": r.random() < 0.1}

    def events(self, kind):
        log = []
        bodies = [body(number, program, log) for number, program in enumerate(self.programs)]
        main_body = body(MAIN, [*BEGINNING, *self.main, *ENDING, *ENDING], log)
        kind(main_body, bodies, self.channels, log.append, **self.options).run_to_the_end()
        for unstarted in bodies:
            unstarted.close()
        return log

    def fails(self):
        """None if the two sides agree, otherwise the events of both."""
        expected, seen = self.events(Model), self.events(Real)
        return None if seen == expected else (expected, seen)

    def operations(self):
        """The number of generated operations that are carried out."""
        ending = len(BEGINNING) + len(self.main)
        events = [event for event in self.events(Model) if type(event[1]) is int]
        return sum(
            event[0] != "channel" and (event[0] != MAIN or len(BEGINNING) <= event[1] < ending)
            for event in events
        )

    def shrink(self):
        """Remove operations as long as it still fails."""
        again = True
        while again:
            again = False
            for program in (self.main, *self.programs):
                for place in reversed(range(len(program))):
                    operation = program.pop(place)
                    if self.fails():
                        again = True
                    else:
                        program.insert(place, operation)


def body(name, program, log):
    """The generator that drives both the model and the real tasklets; logs all events that it sees.

    TaskletExit ends it, any other exception is noted and the next operation follows.
    """
    for number, operation in enumerate(program):
        if operation == ("fail",):
            log.append((name, number, "fails"))
            raise Planned(name)
        try:
            result = yield operation
        except (model.Exit, stackless.TaskletExit):
            log.append((name, number, operation[0], "killed"))
            raise
        except BaseException as error:
            # Stackless does not define the text of a refused switch.
            text = "" if operation[0] == "switch" else str(error)
            log.append((name, number, operation[0], type(error).__name__, text))
        else:
            log.append((name, number, operation[0], result))
    log.append((name, "ends"))


# ------------------------------------------------------------------ the real thing


def spin(turns, spinning):
    for _ in range(turns):
        if not spinning:
            return


class Real:
    """Its tasklets are atomic except in their spins, so that only those are interrupted."""

    def __init__(self, main_body, bodies, channels, note, *, callbacks, handler):
        self.note, self.callbacks, self.handler = note, callbacks, handler
        self.channels = []
        for preference, schedule_all in channels:
            ch = stackless.channel()
            ch.preference, ch.schedule_all = preference, schedule_all
            self.channels.append(ch)
        self.main_body = main_body
        self.tasklets = [stackless.tasklet(self.drive, (body,)) for body in bodies]
        self.spinning = []  # tasklets in a spin that were not interrupted

    def run_to_the_end(self):
        for t in [*self.tasklets, stackless.main]:
            t.set_atomic(True)
        if self.callbacks:
            stackless.set_schedule_callback(self.on_switch)
            stackless.set_channel_callback(self.on_channel)
        if self.handler:
            stackless.set_error_handler(self.on_error)
        try:
            self.drive(self.main_body)
        finally:
            stackless.set_schedule_callback(None)
            stackless.set_channel_callback(None)
            stackless.set_error_handler(None)
        stackless.main.set_atomic(False)
        assert stackless.runcount == 1
        assert not any(t.alive for t in self.tasklets)

    def on_switch(self, old, new):
        self.note(("switch", self.name(old), self.name(new)))

    def on_channel(self, ch, t, sending, willblock):
        assert t is stackless.current
        place = self.channels.index(ch)
        self.note(("channel", place, self.name(t), sending, willblock, t.tempval))

    def on_error(self, kind, error, traceback):
        self.note(("handler", self.name(stackless.current), str(error)))

    def drive(self, body):
        """Do what the generator asks for, and give it the outcome."""
        try:
            operation = next(body)
            while True:
                try:
                    result = self.perform(*operation)
                except BaseException as error:
                    self.spinning.clear()
                    operation = body.throw(error)
                else:
                    self.spinning.clear()
                    operation = body.send(result)
        except StopIteration:
            pass

    def target(self, number):
        return stackless.main if number == MAIN else self.tasklets[number]

    def perform(self, name, *arguments):
        if hasattr(self, "do_" + name):
            return getattr(self, "do_" + name)(*arguments)
        if name in ("send", "receive", "close", "open"):
            return getattr(self.channels[arguments[0]], name)(*arguments[1:])
        if name in ("schedule", "schedule_remove"):
            return getattr(stackless, name)(*arguments)
        # insert, remove, run, switch
        getattr(self.target(arguments[0]), name)()
        return None

    def do_next(self, number):
        return self.channels[number].__next__()

    def do_kill(self, number, pending):
        return self.target(number).kill(pending=pending)

    def do_throw(self, number, error, pending):
        return self.target(number).throw(error, pending=pending)

    def do_prefer(self, number, preference, schedule_all):
        self.channels[number].preference = preference
        self.channels[number].schedule_all = schedule_all

    def do_block_trap(self, flag):
        stackless.current.block_trap = flag

    def do_trap(self, flag):
        stackless.switch_trap(flag - stackless.switch_trap())

    def do_run_all(self):
        return stackless.run()

    def do_run_turns(self, turns):
        return stackless.run_n_tasklets(turns)

    def do_run_ticks(self, soft):
        victim = stackless.run(SOFT if soft else HARD, soft=soft, ignore_nesting=True)
        return None if victim is None else self.name(victim)

    def do_spin(self):
        me = stackless.current
        self.spinning.append(me)
        timer = stackless.get_thread_info(-1, 1 << 31)[3]
        me.set_atomic(False)
        try:
            # Without a limit there is no interrupt.
            spin(TURNS if timer and timer[0] else 1, self.spinning)
        finally:
            me.set_atomic(True)

    def name(self, t):
        return MAIN if t.is_main else self.tasklets.index(t)

    def do_look(self):
        ring = [stackless.current]
        while ring[-1].next is not ring[0]:
            assert ring[-1].next.prev is ring[-1]
            ring.append(ring[-1].next)
        assert stackless.runcount == len(ring)
        channels = []
        for ch in self.channels:
            queue, t = [], ch.queue
            while t is not None:
                assert t._channel is ch
                queue.append(self.name(t))
                t = t.next
            channels.append((ch.balance, queue, ch.closing))
        everyone = [*self.tasklets, stackless.main]
        timer, *watchdogs = stackless.get_thread_info(-1, 1 << 31)[3] or [None]
        return (
            [self.name(t) for t in ring],
            channels,
            [(t.alive, t.scheduled, t.blocked) for t in everyone],
            [self.name(t) for t in watchdogs],
            timer and self.name(timer),
        )


# ------------------------------------------------------------------ the comparison


def compare(seed, operations):
    """Compare cases from this seed on for that many operations. Return the counts of both."""
    done, cases = 0, 0
    while done < operations:
        case = Case(seed + cases)
        failure = case.fails()
        if failure:
            case.shrink()
            expected, seen = case.fails() or failure
            print(f"seed {seed + cases}: {case.options} {case.channels}")
            print("main:", case.main)
            print("tasklets:", case.programs)
            for number, pair in enumerate(zip(expected, seen, strict=False)):
                if pair[0] != pair[1]:
                    print("before:", *expected[:number], sep="\n  ")
                    print("the model says", pair[0], "the engine", pair[1], sep="\n  ")
                    break
            raise SystemExit("the engine and the model differ")
        done += case.operations()
        cases += 1
    return done, cases


@pytest.mark.slow
def test_random_programs_behave_as_the_model():
    """Sections 2, 4, 5, 7, 8, 9: one thread, in its own process, so that deadlocks are found.

    The same programs every time; the nightly run has twenty times as many.
    """
    child = run_child(
        f"""
        import sys
        sys.path[:0] = {[os.path.dirname(model.__file__), os.path.dirname(__file__)]!r}
        from test_random_programs import compare
        print(*compare(0, {ENOUGH}))
        """,
        timeout=3000,
    )
    assert child.returncode == 0 and not child.stderr, child.stdout + child.stderr
    operations, cases = map(int, child.stdout.split())
    print(f"{operations} operations in {cases} programs agree")
    assert operations >= ENOUGH
