"""Everything that can happen to suspended tasklets, at random, in three threads that share some.

python chaos.py SEED STEPS    prints "end"; looks for crashes and the assertions of debug builds
"""

import gc
import random
import sys
import threading
import warnings

import stackless
from stackless import _stackless

SHARED = []


class Loud:
    """Its destructor does something."""

    def __init__(self, chance):
        self.chance = chance

    def __del__(self):
        act = self.chance.randrange(12)
        if act == 0:
            gc.collect()
        elif act == 1:
            stackless.schedule()
        elif act == 2:
            stackless.tasklet(int)()
        elif act == 3:
            stackless.getuncollectables()


class Program:
    """One thread's tasklets and what they run."""

    def __init__(self, seed):
        self.chance = random.Random(seed)
        self.tasklets = []
        self.frames = []
        self.channels = [stackless.channel() for _ in range(3)]

    def pause(self, how):
        channel = self.channels[how % 3]
        if how % 5 == 0:
            return stackless.schedule_remove(Loud(self.chance))
        if how % 5 == 1:
            return stackless.schedule(how)
        if how % 5 == 2:
            return channel.receive()
        if how % 5 == 3:
            for value in channel:
                return value
        return stackless.schedule_remove(None)

    def recurse(self, depth, how):
        loud = Loud(self.chance)
        if depth:
            return self.recurse(depth - 1, how)
        return self.pause(how), loud

    def values(self, how):
        loud = Loud(self.chance)
        try:
            for i in range(self.chance.randrange(4)):
                yield self.recurse(self.chance.randrange(3), how + i)
        finally:
            if self.chance.random() < 0.3:
                self.recurse(1, how)
            del loud

    def step(self):
        how, what = self.chance.randrange(100), self.chance.randrange(6)
        if what < 2:
            self.recurse(self.chance.randrange(12), how)
        elif what == 2:
            for _ in self.values(how):
                pass
        elif what == 3:
            list(map(self.recurse, [1], [how]))
        elif what == 4:
            with warnings.catch_warnings():
                self.recurse(2, how)
        else:
            try:
                raise KeyError
            except KeyError:
                self.recurse(3, how)

    def body(self):
        while self.chance.random() < 0.9:
            try:
                self.step()
            except KeyError:
                pass
            except stackless.TaskletExit:
                if self.chance.random() < 0.7:
                    raise

    def meet(self):
        channel = self.chance.choice(self.channels)
        if channel.balance < 0:
            channel.send(None)
        elif channel.balance > 0:
            channel.receive()

    def share(self, tasklet):
        if len(SHARED) > 20:
            SHARED.clear()
        if self.chance.random() < 0.5:
            if tasklet.restorable and not tasklet.scheduled:
                SHARED.append(tasklet)
        elif SHARED:
            other = SHARED.pop()
            other.bind_thread()
            self.tasklets.append(other)

    def look(self, tasklet):
        self.frames.append(tasklet.frame)
        del self.frames[:-10]

    def trace(self, tasklet):
        tasklet.trace_function = self.chance.choice([None, lambda *_: None])

    def act(self):
        if not self.tasklets or not self.chance.randrange(14):
            self.tasklets.append(stackless.tasklet(self.body)())
        if len(self.tasklets) > 60:
            del self.tasklets[self.chance.randrange(60)]
        tasklet = self.chance.choice(self.tasklets)
        acts = {
            lambda: _stackless._park(tasklet): 2,
            tasklet.run: 2,
            tasklet.insert: 1,
            tasklet.kill: 1,
            lambda: tasklet.throw(KeyError): 1,
            lambda: tasklet.bind(None): 1,
            lambda: self.tasklets.remove(tasklet): 1,
            lambda: stackless.run_n_tasklets(self.chance.randrange(1, 9)): 1,
            lambda: stackless.run(500): 0.2,
            lambda: gc.collect(self.chance.randrange(3)): 0.2,
            self.meet: 1,
            lambda: self.share(tasklet): 1,
            lambda: self.look(tasklet): 1,
            lambda: self.trace(tasklet): 0.1,
        }
        (act,) = self.chance.choices(list(acts), list(acts.values()))
        try:
            act()
        except (RuntimeError, KeyError, ValueError, stackless.TaskletExit):
            pass  # refused, or an exception of a tasklet


def work(seed, steps):
    program = Program(seed)
    for _ in range(steps):
        program.act()


def main(seed, steps):
    warnings.simplefilter("ignore")
    sys.unraisablehook = lambda _: None  # destructors in places where nothing can switch
    stackless.set_stack_limits(park_above=10)
    threads = [threading.Thread(target=work, args=(seed + i, steps)) for i in (1, 2)]
    for thread in threads:
        thread.start()
    work(seed, steps)
    for thread in threads:
        thread.join()
    print("end")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
