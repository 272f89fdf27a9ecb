"""Everything a program can do to tasklets, at random and from everywhere.

python chaos.py SEED [STEPS]    prints what the seed has chosen, then "end"

Looks for crashes, hangs and the assertions of debug builds: what a single operation does is not
checked here. The seed chooses which of these places act, besides the main tasklets and bodies of
tasklets: destructors, weak reference callbacks, schedule and channel callbacks, the error handler,
trace functions, signal handlers, `__reduce__` methods, other threads; and whether memory runs out
now and then. Without threads a seed does the same each time, as far as the system's clock lets it.
"""

import contextlib
import copy
import functools
import gc
import operator
import os
import pickle
import queue
import random
import signal
import sys
import threading
import warnings
import weakref

import stackless
from chaos_blocks import Blocks, primitives
from stackless import _stackless, socket

try:
    import _testcapi
except ImportError:
    _testcapi = None

#: The places that a seed may choose, each with its probability.
PLACES = {
    "destructors": 0.8,
    "weakrefs": 0.5,
    "schedule callback": 0.4,
    "channel callback": 0.3,
    "error handler": 0.3,
    "tracing": 0.3,
    "signals": 0.4,
    "pickling": 0.6,
    "waits": 0.4,
    "limits": 0.4,
    "threads": 0.4,
    "no memory": 0.25,
    "hard": 0.15,
    "forks": 0.15,
    "groups": 0.4,
    "locks": 0.4,
}

#: Exceptions that an operation may raise: refusals, and those that come out of a tasklet.
EXPECTED = (
    RuntimeError,
    ValueError,
    AttributeError,
    KeyError,
    LookupError,
    TypeError,
    MemoryError,
    OSError,
    StopIteration,
    pickle.PicklingError,
    pickle.UnpicklingError,
    stackless.TaskletExit,
    stackless.TimeoutExit,
    stackless.Cancelled,
    BaseExceptionGroup,
    queue.Empty,
    queue.Full,
    threading.BrokenBarrierError,
)

#: Tasklets that all threads use.
shared = []
#: The programs of all threads.
programs = []
main_thread = threading.current_thread()


class Loud:
    """Acts when it is destroyed, pickled, or when its weak reference dies."""

    def __init__(self, program):
        self.program = program
        if program.has("weakrefs"):
            program.keep(weakref.ref(self, program.on_weakref))

    def __del__(self):
        if self.program.has("destructors"):
            self.program.aside()

    def __reduce__(self):
        self.program.aside()
        return Quiet, ()


class Quiet:
    """Takes the place of a Loud in a copy."""


class Program(Blocks):
    """One thread's tasklets, and the operations that they run."""

    def __init__(self, seed, places):
        self.chance = random.Random(seed)
        self.places = places
        self.tasklets, self.kept = [], []
        self.channels = [stackless.channel() for _ in range(3)]
        self.primitives = primitives()
        self.depth = 0
        #: Number of calls of aside() that are still allowed in this step: each causes further ones.
        self.asides = 0
        self.left = 0
        programs.append(self)

    def has(self, place):
        return place in self.places

    def keep(self, thing):
        self.kept.append(thing)
        if len(self.kept) > 30:
            self.kept[self.chance.randrange(30)] = None
            del self.kept[:10]

    # ------------------------------------------------------------------ what tasklets run

    def choose(self, value, **keywords):
        """Wait for some of the channels and the end of a tasklet."""
        cases = []
        for _ in range(self.chance.randint(1, 4)):
            channel = self.chance.choice([*self.channels, *shared_channels])
            cases.append(channel.sending(value) if self.chance.random() < 0.5 else channel)
        if self.chance.random() < 0.2 and self.tasklets:
            cases.append(self.chance.choice(self.tasklets))
        self.keep(stackless.alt(*cases, fair=self.chance.random() < 0.5, **keywords))

    def pause(self):
        channel = self.chance.choice(self.channels)
        value = Loud(self) if self.chance.random() < 0.5 else None
        ways = [
            lambda: stackless.schedule(value),
            lambda: stackless.schedule_remove(value),
            channel.receive,
            lambda: channel.send(value),
            lambda: next(channel),
            lambda: channel.send_sequence([value, value]),
            lambda: channel.send_exception(KeyError, value),
            lambda: stackless.run(),
            lambda: self.choose(value),
            lambda: self.choose(value, else_=value),
        ]
        if self.has("waits"):
            ways += [
                lambda: stackless.sleep(0.0005),
                lambda: channel.receive(timeout=0.0005),
                lambda: self.choose(value, timeout=0.0005),
                lambda: self.chance.choice(self.tasklets).join(timeout=0.0005),
                self.limited,
                self.talk,
            ]
        ways += self.ways_of_blocks()
        return self.chance.choice(ways)()

    def loud(self):
        return Loud(self)

    def limited(self):
        with stackless.timeout(0.0005):
            return self.pause()

    def talk(self):
        one, other = socket.socketpair()
        with one, other:
            one.settimeout(0.0005)
            if self.chance.random() < 0.5:
                other.send(b"x")
            return one.recv(1)

    def recurse(self, depth):
        loud = Loud(self)
        if depth > 0:
            return self.recurse(depth - 1)
        return self.pause(), loud

    def values(self):
        loud = Loud(self)
        try:
            for _ in range(self.chance.randrange(4)):
                yield self.recurse(self.chance.randrange(3))
        finally:
            if self.chance.random() < 0.3:
                self.recurse(1)
            del loud

    def turn(self):
        depth = self.chance.randrange(5)
        ways = [
            lambda: self.recurse(depth * 3),
            lambda: [None for _ in self.values()],
            lambda: list(map(self.recurse, [depth])),
            lambda: sorted([2, 1], key=lambda _: bool(self.recurse(depth))),
            lambda: self.guarded(depth),
            lambda: self.handling(depth),
            lambda: self.recurse(*[depth]),
            lambda: type("C", (), {"__init__": lambda me: self.recurse(depth) and None})(),
            lambda: self.spin(),
        ]
        self.chance.choice(ways)()

    def guarded(self, depth):
        with contextlib.ExitStack() as stack:
            stack.callback(self.aside)
            self.recurse(depth)

    def handling(self, depth):
        try:
            raise KeyError(Loud(self))
        except KeyError:
            self.recurse(depth)

    def spin(self):
        for _ in range(self.chance.randrange(300)):
            pass

    def body(self, *_arguments):
        while self.chance.random() < 0.85 and self.left > 0:
            try:
                self.turn()
            except (KeyError, MemoryError):
                pass
            except stackless.TaskletExit:
                if self.chance.random() < 0.7:
                    raise

    # ------------------------------------------------------------------ from elsewhere

    def aside(self):
        """Does a random operation in the middle of another one."""
        if self.depth > 3 or self.asides <= 0 or self.chance.random() < 0.5:
            return
        self.depth += 1
        self.asides -= 1
        try:
            self.act()
        except EXPECTED:
            pass
        finally:
            self.depth -= 1

    def on_weakref(self, _reference):
        self.aside()

    def on_schedule(self, before, after):
        if self.chance.random() < 0.1:
            target = self.chance.choice(
                [before, after, self.chance.choice(self.tasklets or [after])]
            )
            if target is not None:
                self.aside_with(target)

    def on_channel(self, _channel, tasklet, _sending, _blocks):
        if self.chance.random() < 0.1:
            self.aside_with(tasklet)

    def aside_with(self, tasklet):
        if self.depth > 3:
            return
        self.depth += 1
        try:
            self.do_to(tasklet)
        except EXPECTED:
            pass
        finally:
            self.depth -= 1

    def on_error(self, *_error):
        self.aside()

    def on_signal(self, *_arguments):
        self.aside()
        if self.chance.random() < 0.1:
            raise KeyError("from the signal handler")

    def trace(self, frame, event, _argument):
        if self.chance.random() < 0.02:
            self.aside()
        return self.trace if event == "call" else None

    # ------------------------------------------------------------------ operations

    def new(self):
        kind = stackless.tasklet
        if self.chance.random() < 0.2:
            kind = self.chance.choice([Subclass, Stubborn])
        ways = [
            lambda: kind(self.body)(),
            lambda: kind(self.body)(Loud(self), Loud(self)),
            lambda: kind(self.body, (Loud(self),)),
            lambda: kind(self.body),
            lambda: kind(self.pause)(),
            lambda: kind(stackless.schedule_remove)(Loud(self)),
            lambda: kind(copy.copy)(Loud(self)),
        ]
        tasklet = self.chance.choice(ways)()
        self.tasklets.append(tasklet)
        if len(self.tasklets) > 40:
            del self.tasklets[self.chance.randrange(40)]

    def do_to(self, tasklet):
        ways = {
            lambda: _stackless._park(tasklet): 3,
            tasklet.run: 3,
            tasklet.insert: 2,
            tasklet.remove: 2,
            tasklet.switch: 1,
            tasklet.kill: 1,
            lambda: tasklet.kill(pending=True): 1,
            lambda: tasklet.throw(KeyError): 1,
            lambda: tasklet.throw(KeyError, pending=True): 1,
            lambda: tasklet.bind(None): 1,
            lambda: tasklet.bind(self.body, ()): 1,
            lambda: tasklet.setup(Loud(self)): 1,
            lambda: self.share(tasklet): 1,
            lambda: self.keep(tasklet.frame): 1,
            lambda: setattr(tasklet, "tempval", Loud(self)): 1,
            lambda: setattr(tasklet, "tempval", stackless.bomb(KeyError, "bomb")): 0.5,
            lambda: tasklet.set_atomic(self.chance.random() < 0.5): 0.5,
            lambda: tasklet.set_ignore_nesting(True): 0.5,
            lambda: setattr(tasklet, "block_trap", self.chance.random() < 0.2): 0.3,
            lambda: self.tasklets.remove(tasklet): 1,
            lambda: repr(tasklet): 0.3,
            lambda: [getattr(tasklet, name) for name in ATTRIBUTES]: 0.5,
        }
        if self.has("pickling"):
            ways[lambda: self.copy_of(tasklet)] = 3
        if self.has("tracing"):
            ways[
                lambda: setattr(tasklet, "trace_function", self.chance.choice([None, self.trace]))
            ] = 1
            ways[
                lambda: setattr(tasklet, "profile_function", self.chance.choice([None, print_none]))
            ] = 0.5
        self.pick(ways)

    def copy_of(self, tasklet):
        way = self.chance.choice(
            [
                copy.copy,
                lambda t: pickle.loads(pickle.dumps(t)),
                lambda t: stackless.loads(stackless.dumps(t)),
                stackless.why_not_picklable,
            ]
        )
        other = way(tasklet)
        if isinstance(other, stackless.tasklet):
            self.tasklets.append(other)

    def share(self, tasklet):
        if len(shared) > 20:
            shared.clear()
        shared.append(tasklet)
        other = self.chance.choice(shared)
        if self.chance.random() < 0.5:
            other.bind_thread()
        self.tasklets.append(other)

    def meet(self):
        channel = self.chance.choice(self.channels)
        if channel.balance < 0:
            channel.send(Loud(self))
        elif channel.balance > 0:
            channel.receive()

    def change_channel(self):
        at = self.chance.randrange(len(self.channels))
        channel = self.channels[at]
        ways = [
            channel.close,
            channel.open,
            lambda: setattr(channel, "preference", self.chance.choice([-1, 0, 1])),
            lambda: setattr(channel, "schedule_all", self.chance.randrange(2)),
            lambda: self.channels.__setitem__(at, stackless.channel()),
            lambda: self.channels.__setitem__(at, stackless.channel(capacity=at + 1)),
            lambda: self.channels.__setitem__(at, self.chance.choice(shared_channels)),
        ]
        self.chance.choice(ways)()

    def run_some(self):
        ways = [lambda: stackless.run_n_tasklets(self.chance.randrange(1, 9))]
        if self.has("limits"):
            ways += [
                lambda: stackless.run(self.chance.randrange(1, 600)),
                lambda: stackless.run(200, soft=True),
                lambda: stackless.run(300, totaltimeout=True, ignore_nesting=True),
                lambda: stackless.run(seconds=0.0005),
            ]
        victim = self.chance.choice(ways)()
        if victim is not None:
            self.tasklets.append(victim)

    def short_of_memory(self):
        """Makes one of our calls without memory. Other calls would run Python code, and CPython
        3.13 itself crashes where there is no memory for a function object."""
        tasklet = self.chance.choice(self.tasklets)
        call, arguments = self.chance.choice(
            [
                (stackless.tasklet, (len, ())),
                (stackless.tasklet, ()),
                (stackless.channel, ()),
                (tasklet.insert, ()),
                (tasklet.remove, ()),
                (tasklet.bind, (len, ())),
                (tasklet.bind_thread, ()),
                (_stackless._park, (tasklet,)),
                (stackless.getuncollectables, ()),
                (stackless.get_thread_info, (-1, 3 << 30)),
            ]
        )
        start = self.chance.randrange(1, 8)
        calls = [
            functools.partial(_testcapi.set_nomemory, start, start + 1),
            functools.partial(call, *arguments),
            _testcapi.remove_mem_hooks,
        ]
        try:
            list(map(operator.call, calls))  # no Python code in between
        except EXPECTED:
            pass
        finally:
            _testcapi.remove_mem_hooks()

    def fork(self):
        pid = os.fork()
        if pid == 0:
            signal.alarm(30)  # a hang of the child ends it
            try:
                for _ in range(20):
                    with contextlib.suppress(*EXPECTED):
                        self.plain_act()
                gc.collect()
            finally:
                os._exit(0)
        _, status = os.waitpid(pid, 0)
        assert status == 0, f"a forked child ended with status {status}"

    def plain_act(self):
        if not self.tasklets or self.chance.random() < 0.1:
            return self.new()
        tasklet = self.chance.choice(self.tasklets)
        self.pick(
            {
                lambda: self.do_to(tasklet): 12,
                stackless.schedule: 2,
                self.run_some: 2,
                self.meet: 2,
                self.change_channel: 1,
                lambda: gc.collect(self.chance.randrange(3)): 0.3,
                stackless.getuncollectables: 0.2,
                stackless.snapshot: 0.2,
                lambda: stackless.switch_trap(0): 0.1,
                lambda: stackless.get_thread_info(-1, 1 << 30 | 1 << 31): 0.1,
            }
        )

    def act(self):
        if self.has("no memory") and self.tasklets and self.chance.random() < 0.05:
            return self.short_of_memory()
        if self.has("signals") and self.left > 0 and self.chance.random() < 0.03 and here_is_main():
            signal.raise_signal(signal.SIGUSR1)
        if (
            self.has("forks")
            and self.chance.random() < 0.005
            and self.depth == 0
            and here_is_main()
        ):
            return self.fork()
        self.plain_act()

    def pick(self, ways):
        (way,) = self.chance.choices(list(ways), list(ways.values()))
        return way()

    def work(self, steps):
        self.left = steps
        while self.left > 0:
            try:
                while self.left > 0:
                    self.left -= 1
                    self.asides = 100
                    self.act()
            except EXPECTED:
                pass  # refused, or a tasklet's exception, which can be raised between any two lines


class Subclass(stackless.tasklet):
    """A subclass whose instances have a `__dict__`."""


class Stubborn(stackless.tasklet):
    """Has its own destructor, which does not call that of its base."""

    def __del__(self):
        pass


ATTRIBUTES = [
    name
    for name, value in vars(stackless.tasklet).items()
    if type(value).__name__ in ("getset_descriptor", "member_descriptor")
]
shared_channels = [stackless.channel() for _ in range(2)]


def print_none(*_arguments):
    """A profile function."""


def here_is_main():
    return threading.current_thread() is main_thread


def chosen(seed):
    """The places that a seed chooses."""
    chance = random.Random(seed)
    places = {place for place, likely in PLACES.items() if chance.random() < likely}
    if _testcapi is None:
        places.discard("no memory")
    if "threads" in places:
        # The hooks belong to the process, and a forked child would wait for locks of other threads.
        places -= {"no memory", "forks"}
    if "no memory" in places:
        # None of our calls may run Python code then: see short_of_memory().
        places -= {"destructors", "weakrefs", "schedule callback", "channel callback", "tracing"}
    return places


def main(seed, steps=1500):
    warnings.simplefilter("ignore")
    sys.unraisablehook = lambda _: None  # destructors in places where nothing can switch
    threading.excepthook = lambda _: None
    places = chosen(seed)
    print(f"seed {seed}: {', '.join(sorted(places)) or 'nothing'}", flush=True)
    stackless.set_stack_limits(park_above=random.Random(seed).choice([1, 10, 4096]), park_after=0)
    # Modules that are imported at their first use: a tasklet that is paused for ever during such
    # an import would keep all others waiting.
    stackless.snapshot()
    stackless.loads(stackless.dumps(stackless.tasklet(print, ())))
    stackless.why_not_picklable(threading.Lock())
    program = Program(seed, places)
    if "schedule callback" in places:
        stackless.set_schedule_callback(program.on_schedule)
    if "channel callback" in places:
        stackless.set_channel_callback(program.on_channel)
    if "error handler" in places:
        stackless.set_error_handler(program.on_error)
    if "hard" in places:
        stackless.enable_softswitch(False)
    signal.signal(signal.SIGUSR1, program.on_signal if "signals" in places else signal.SIG_IGN)
    others = []
    if "threads" in places:
        for i in (1, 2):
            other = Program(seed + i, places)
            others.append(threading.Thread(target=other.work, args=(steps,), daemon=True))
    for thread in others:
        thread.start()
    try:
        program.work(steps)
        for thread in others:
            thread.join(60)
    except EXPECTED:
        pass
    finally:
        stackless.getcurrent().set_atomic(True)  # or a tasklet's exception can be raised later
        for each in programs:
            each.left = 0  # tasklets that clean up at exit send no signals


if __name__ == "__main__":
    try:
        main(*map(int, sys.argv[1:]))
    except EXPECTED:
        pass
    print("end", flush=True)
