"""Random programs of channel and scheduler operations, compared with the model event by event."""

import os

import model
import pytest
import stackless
from child_process import in_child_process
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from model import MAIN, Model

TASKLETS, CHANNELS = 4, 2
EXAMPLES = 20_000 if os.environ.get("STACKLESS_NIGHTLY") else 400


class Planned(Exception):
    """Raised by the programs themselves."""


# ------------------------------------------------------------------ programs

tasklet_numbers = st.integers(0, TASKLETS - 1)
targets = tasklet_numbers | st.just(MAIN)
channel_numbers = st.integers(0, CHANNELS - 1)
values = st.integers(0, 9)

everybodys = [
    st.tuples(st.just("send"), channel_numbers, values),
    st.tuples(st.just("send"), channel_numbers, values),
    st.tuples(st.just("receive"), channel_numbers),
    st.tuples(st.just("receive"), channel_numbers),
    st.tuples(st.just("next"), channel_numbers),
    st.tuples(st.just("schedule"), values),
    st.tuples(st.just("schedule"), values),
    st.tuples(st.just("schedule_remove"), values),
    st.tuples(st.just("insert"), targets),
    st.tuples(st.just("remove"), targets),
    st.tuples(st.just("run"), targets),
    st.tuples(st.just("switch"), targets),
    st.tuples(st.just("kill"), tasklet_numbers, st.booleans()),
    st.tuples(st.just("throw"), tasklet_numbers, st.just(Planned("thrown")), st.booleans()),
    st.tuples(st.just("close"), channel_numbers),
    st.tuples(st.just("open"), channel_numbers),
    st.tuples(st.just("block_trap"), st.booleans()),
    st.tuples(st.just("look")),
]
failing = st.tuples(st.just("fail"))
tasklet_programs = st.lists(st.one_of(*everybodys, failing), max_size=6)
main_programs = st.lists(st.one_of(*everybodys, st.tuples(st.just("run_all"))), max_size=10)
channel_settings = st.tuples(st.sampled_from([-1, 0, 1]), st.sampled_from([0, 0, 0, 1]))

# Main's last operations: let all run, look, kill who is left.
ENDING = [("block_trap", False), ("run_all",), ("look",)]
for _number in range(TASKLETS):
    ENDING += [("kill", _number, False), ("look",)]


def body(name, program, log):
    """The generator that drives both the model and the real thing; logs all that it sees.

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
            # The text of a refused switch is not fixed by the contract.
            text = "" if operation[0] == "switch" else str(error)
            log.append((name, number, operation[0], type(error).__name__, text))
        else:
            log.append((name, number, operation[0], result))
    log.append((name, "ends"))


# ------------------------------------------------------------------ the real thing


class Real:
    def __init__(self, main_body, bodies, channels):
        self.channels = []
        for preference, schedule_all in channels:
            ch = stackless.channel()
            ch.preference, ch.schedule_all = preference, schedule_all
            self.channels.append(ch)
        self.main_body = main_body
        self.tasklets = [stackless.tasklet(self.drive, (body,)) for body in bodies]

    def drive(self, body):
        """Do what the generator asks for, and give it the outcome."""
        try:
            operation = next(body)
            while True:
                try:
                    result = self.perform(*operation)
                except BaseException as error:
                    operation = body.throw(error)
                else:
                    operation = body.send(result)
        except StopIteration:
            pass

    def run_to_the_end(self):
        self.drive(self.main_body)

    def target(self, number):
        return stackless.main if number == MAIN else self.tasklets[number]

    def perform(self, name, *arguments):
        if name in ("send", "receive", "close", "open"):
            return getattr(self.channels[arguments[0]], name)(*arguments[1:])
        if name == "next":
            return self.channels[arguments[0]].__next__()
        if name in ("schedule", "schedule_remove"):
            return getattr(stackless, name)(*arguments)
        if name == "run_all":
            return stackless.run()
        if name == "block_trap":
            stackless.current.block_trap = arguments[0]
            return None
        if name == "look":
            return self.look()
        target = self.target(arguments[0])
        if name == "kill":
            return target.kill(pending=arguments[1])
        if name == "throw":
            return target.throw(arguments[1], pending=arguments[2])
        getattr(target, name)()
        return None

    def name(self, t):
        return MAIN if t.is_main else self.tasklets.index(t)

    def look(self):
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
        return (
            [self.name(t) for t in ring],
            channels,
            [(t.alive, t.scheduled, t.blocked) for t in everyone],
        )


def events_of(kind, main_program, programs, channels):
    log = []
    bodies = [body(number, program, log) for number, program in enumerate(programs)]
    main_body = body(MAIN, main_program, log)
    kind(main_body, bodies, channels).run_to_the_end()
    for unstarted in bodies:
        unstarted.close()
    return log


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
@given(
    st.lists(tasklet_programs, min_size=TASKLETS, max_size=TASKLETS),
    main_programs,
    st.lists(channel_settings, min_size=CHANNELS, max_size=CHANNELS),
)
def compare(programs, main_program, channels):
    started = [("insert", number) for number in range(TASKLETS - 1)]
    main_program = [*started, *main_program, *ENDING]
    expected = events_of(Model, main_program, programs, channels)
    assert events_of(Real, main_program, programs, channels) == expected
    assert stackless.runcount == 1


@pytest.mark.slow
@in_child_process
def test_random_programs_behave_as_the_model():
    """Sections 2, 4, 5, 8: one thread; in a process of its own, so that deadlocks are deadlocks."""
    compare()
