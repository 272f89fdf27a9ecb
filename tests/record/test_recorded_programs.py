"""Recorded random programs: the state in the recording is the real one at every tested moment."""

import os
import tempfile
from pathlib import Path

import stackless
from child_process import in_child_process
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from replay import OVER, Replay, load
from stackless import scheduler

EXAMPLES = 5_000 if os.environ.get("STACKLESS_NIGHTLY") else 250
TASKLETS = 4

# Their names are their labels in the recording.
ch0 = ch1 = None

workers = st.integers(0, TASKLETS - 1)
channels = st.integers(0, 1)
operations = st.one_of(
    st.tuples(st.just("send"), channels, st.integers(0, 9)),
    st.tuples(st.just("send"), channels, st.integers(0, 9)),
    st.tuples(st.just("receive"), channels),
    st.tuples(st.just("receive"), channels),
    st.tuples(st.just("iterate"), channels),
    st.tuples(st.just("schedule")),
    st.tuples(st.just("schedule_remove")),
    st.tuples(st.sampled_from(["insert", "remove", "run", "switch", "kill", "throw"]), workers),
    st.tuples(st.sampled_from(["kill_later", "throw_later", "again", "drop"]), workers),
    st.tuples(st.sampled_from(["close", "open", "prefer"]), channels),
    st.tuples(st.just("nested_run")),
    st.tuples(st.just("limited_run"), st.integers(1, 3)),
    st.tuples(st.just("fail")),
    st.tuples(st.just("look")),
)
programs = st.lists(operations, max_size=7)


class Program:
    def __init__(self, bodies, recording):
        self.bodies = bodies
        self.recording = recording
        self.looks = []
        self.made = 0
        self.workers = [stackless.tasklet(self.worker)(n) for n in range(TASKLETS)]
        self.everybody = self.workers[:]

    def end(self):
        """No tasklet of this program may be left when the next one begins."""
        self.made = 1000
        for _ in range(100):
            alive = [t for t in self.everybody if t.alive]
            if not alive:
                return
            for t in alive:
                try:
                    t.kill()
                except (LookupError, RuntimeError, ValueError):
                    pass
        raise AssertionError(f"these do not end: {alive}")

    def worker(self, number):
        self.perform_all(self.bodies[number])

    def perform_all(self, body):
        for operation in body:
            try:
                self.perform(*operation)
            except (RuntimeError, ValueError, StopIteration):
                pass
            self.look()
            if operation[0] == "fail":
                raise LookupError("planned")

    def perform(self, name, *arguments):
        if name in ("send", "receive", "close", "open"):
            getattr((ch0, ch1)[arguments[0]], name)(*arguments[1:])
        elif name == "iterate":
            next((ch0, ch1)[arguments[0]])
        elif name == "prefer":
            (ch0, ch1)[arguments[0]].preference += 1
        elif name in ("schedule", "schedule_remove"):
            getattr(stackless, name)()
        elif name == "nested_run":
            stackless.run()
        elif name == "limited_run":
            stackless.run_n_tasklets(*arguments)
        elif name in ("insert", "remove", "run", "switch", "kill"):
            getattr(self.workers[arguments[0]], name)()
        elif name == "throw":
            self.workers[arguments[0]].throw(ValueError("thrown"))
        elif name == "kill_later":
            self.workers[arguments[0]].kill(pending=True)
        elif name == "throw_later":
            self.workers[arguments[0]].throw(ValueError("thrown"), pending=True)
        elif self.made >= 12:
            return  # without this limit, programs that create programs would not end
        elif name == "again":
            self.made += 1
            self.workers[arguments[0]].bind(self.worker, (arguments[0],))
        elif name == "drop":
            self.made += 1
            self.workers[arguments[0]] = stackless.tasklet(self.worker)(arguments[0])
            self.everybody.append(self.workers[arguments[0]])

    def look(self):
        """Save the state of all tasklets and channels, and mark this moment in the recording."""
        ring, t = [], stackless.current
        while not ring or t is not stackless.current:
            ring.append(self.name(t))
            t = t.next
        queues = {}
        for name, ch in (("ch0", ch0), ("ch1", ch1)):
            waiting, t = [], ch.queue
            while t is not None:
                waiting.append(self.name(t))
                t = t.next
            queues[name] = (waiting, ch.balance)
        alive = [(t.alive, t.blocked, t.paused) for t in self.workers]
        self.recording.note(str(len(self.looks)))
        self.looks.append((ring, queues, alive))

    def name(self, t):
        if t.is_main:
            return "main"
        known = [f"Program.worker({n})" for n, worker in enumerate(self.workers) if worker is t]
        return known[0] if known else "dropped"


def compare(program, path):
    recording = load(path)
    replay = Replay(recording)
    labels = {}
    moments = {int(e.text): i for i, e in enumerate(replay.events) if e.kind == "Note"}
    for number, (ring, queues, alive) in enumerate(program.looks):
        for e in replay.events[replay.count : moments[number]]:
            if e.kind == "Channel":
                labels[e.text] = e.place
        replay.seek(moments[number])
        (thread,) = replay.rings.values()
        context = f"look {number}, before event {moments[number]}: {replay.events}"

        def name(t):
            return replay.labels[t]

        shown = [name(t) for t in thread]
        assert masked(shown, ring) == ring, context
        for label, (waiting, balance) in queues.items():
            queue = replay.queues.get(labels.get(label), ())
            assert masked([name(t) for t in queue], waiting) == waiting, context
            assert (replay.balance(labels[label]) if queue else 0) == balance, context
        newest = {name(t): replay.states[t] for t in sorted(replay.states)}
        for worker, (is_alive, is_blocked, is_paused) in enumerate(alive):
            state = newest[f"Program.worker({worker})"]
            assert (state not in OVER) == is_alive, (worker, state, context)
            assert (state in ("sends", "receives", "iterates")) == is_blocked, (state, context)
            if is_paused:
                assert state in ("paused", "new", "in run()"), (worker, state, context)


def masked(shown, real):
    """Tasklets that the program has dropped have no name of their own any more."""
    if len(shown) != len(real):
        return shown
    pairs = zip(shown, real, strict=True)
    return ["dropped" if theirs == "dropped" else ours for ours, theirs in pairs]


@in_child_process
def test_the_recording_says_what_is_so():
    @settings(
        max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(
        main=programs,
        bodies=st.lists(programs, min_size=TASKLETS, max_size=TASKLETS),
        nested=st.booleans(),
    )
    def check(main, bodies, nested):
        global ch0, ch1
        scheduler.set_use_nested_tasklets(nested)
        ch0, ch1 = stackless.channel(), stackless.channel()
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory, "random.json")
            with stackless.record(path, output=False) as recording:
                program = Program(bodies, recording)
                for _ in range(3):
                    try:
                        program.perform_all([*main, ("nested_run",)])
                    except LookupError:
                        pass
            compare(program, path)
        program.end()

    check()
