"""Blocks and primitives for the chaos program: task groups, cancel scopes, and `stackless.sync`."""

import stackless
from stackless import sync


def primitives():
    """New primitives, by the names of the operations below."""
    return {
        "lock": sync.Lock(),
        "rlock": sync.RLock(),
        "semaphore": sync.Semaphore(2),
        "condition": sync.Condition(),
        "event": sync.Event(),
        "barrier": sync.Barrier(2),
        "queue": sync.Queue(2),
        "simple": sync.SimpleQueue(),
    }


class Blocks:
    """What a program of chaos.py does in the block of a group, of a scope, or with a primitive.

    The program has `chance`, `tasklets`, `primitives`, keep(), pause(), turn() and body().
    """

    def ways_of_blocks(self):
        ways = []
        if self.has("groups"):
            ways += [self.group, self.scope]
        if self.has("locks"):
            ways += [self.locked, self.signalled, self.queued]
        return ways

    def group(self):
        policy = {"on_error": self.chance.choice(["cancel", "log"])}
        with self.chance.choice([stackless.move_on_after(0.05), stackless.shield(0.05)]):
            with stackless.TaskGroup(**policy) as group:
                for _ in range(self.chance.randrange(4)):
                    member = group.start(self.chance.choice([self.body, self.pause, self.turn]))
                    self.tasklets.append(member)
                if self.chance.random() < 0.3:
                    self.keep(group)
                if self.chance.random() < 0.5:
                    self.pause()
                if self.chance.random() < 0.3:
                    group.cancel(self.chance.choice([None, "enough"]))

    def scope(self):
        seconds = self.chance.choice([0, 0.0005, 0.005])
        kind = self.chance.choice([stackless.move_on_after, stackless.shield])
        with kind(seconds) as scope:
            if self.chance.random() < 0.3:
                self.keep(scope)
            self.turn()
            if self.chance.random() < 0.3:
                scope.cancel()
            self.pause()

    def locked(self):
        name = self.chance.choice(["lock", "rlock", "semaphore"])
        lock = self.primitives[name]
        if lock.acquire(timeout=self.chance.choice([0, 0.0005, 0.002])):
            try:
                self.turn()
            finally:
                self.release(lock)

    def release(self, lock):
        try:
            lock.release()
        except RuntimeError:
            pass  # an RLock in a copy of a tasklet that does not own it

    def signalled(self):
        condition, event = self.primitives["condition"], self.primitives["event"]
        way = self.chance.randrange(5)
        if way == 0:
            event.set()
        elif way == 1:
            event.clear()
        elif way == 2:
            event.wait(0.0005)
        elif way == 3:
            self.primitives["barrier"].wait(0.0005)
        elif condition.acquire(timeout=0.0005):
            try:
                if self.chance.random() < 0.5:
                    condition.wait(0.0005)
                else:
                    condition.notify(self.chance.randrange(3))
            finally:
                self.release(condition)

    def queued(self):
        queue = self.primitives[self.chance.choice(["queue", "simple"])]
        if self.chance.random() < 0.5:
            queue.put(self.loud(), timeout=0.0005)
        else:
            self.keep(queue.get(timeout=0.0005))
        if self.chance.random() < 0.05:
            self.primitives = primitives()
