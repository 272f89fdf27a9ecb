"""A model of cancel scopes and task groups, and random programs that it runs as the engine does.

A program is a tree of statements, each with a number: see `Programs`. `Real` executes it with
tasklets, `Model` with generators, by rules that are written down as simply as possible: nothing is
cached, each question is answered by a walk through the tree. Both write what has happened to each
statement into a log. A program waits only at gates, which its driver opens one by one; deadlines
are moved into the past. So what happens does not depend on any clock.
"""

import random
from collections import deque

import stackless

KINDS = ["plain", "shield", "fail"]


class Programs:
    """Makes random programs: lists of tuples whose first two items are a word and a number."""

    def __init__(self, seed, size):
        self.random = random.Random(seed)
        self.left = size
        self.last = 0

    def number(self):
        self.last += 1
        self.left -= 1
        return self.last

    def body(self, depth, groups):
        statements = []
        for _ in range(self.random.randint(1, 4)):
            if self.left <= 0:
                break
            statements.append(self.statement(depth, groups))
        return statements

    def statement(self, depth, groups):
        words = ["wait"] * 8 + ["swallow"] * 4 + ["clean"] * 3 + ["cancel", "expire", "fail"]
        if depth < 6:
            words += ["scope"] * 6 + ["group"] * 6
        if groups:
            words += ["start"] * 3
        word = self.random.choice(words)
        number = self.number()
        if word in ("cancel", "expire"):
            return word, number, self.random.randint(1, max(number, 1))
        if word == "scope":
            return word, number, self.random.choice(KINDS), self.body(depth + 1, groups)
        if word == "group":
            inside = [*groups, number]
            children = [self.child(depth, inside) for _ in range(self.random.randint(0, 4))]
            return word, number, children, self.body(depth + 1, inside)
        if word == "clean":
            return word, number, self.body(depth + 1, groups), self.number()
        if word == "start":
            return word, number, self.random.choice(groups), self.child(depth, groups)
        return word, number

    def child(self, depth, groups):
        number = self.number()
        return number, self.body(depth + 1, groups)


class Failure(Exception):
    """What the statement `fail` raises; its argument is the number of the statement."""


def flat(error):
    """The numbers of the failures in an exception group, sorted; other exceptions by their name."""
    if isinstance(error, BaseExceptionGroup):
        return sorted((each for inner in error.exceptions for each in flat(inner)), key=str)
    return [error.args[0] if isinstance(error, Failure) else type(error).__name__]


class Real:
    """Runs a program with tasklets."""

    def __init__(self, program):
        self.log = {}
        self.scopes = {}
        self.gates = {}
        self.tasklets = {}
        self.start(0, program)

    def note(self, number, what):
        self.log.setdefault(number, []).append(what)

    def start(self, number, body, group=None):
        start = group.start if group else lambda f, *args: stackless.tasklet(f)(*args)
        self.tasklets[number] = start(self.child, number, body)

    def child(self, number, body):
        try:
            self.execute(body)
            self.note(number, "returned")
        except BaseException as error:
            self.note(number, self.name(error))
            if number:
                raise

    def name(self, error):
        if isinstance(error, stackless.Cancelled):
            return "Cancelled", error.scope.reason
        return type(error).__name__, *flat(error)

    def wait(self, number):
        gate = self.gates[number] = stackless.channel()
        try:
            gate.receive()
        finally:
            del self.gates[number]

    def execute(self, body):
        for word, number, *rest in body:
            try:
                getattr(self, "do_" + word)(number, *rest)
            except BaseException as error:
                self.note(number, self.name(error))
                raise
            self.note(number, "ok")

    def do_wait(self, number):
        self.wait(number)

    def do_swallow(self, number):
        try:
            self.wait(number)
        except stackless.Cancelled as error:
            self.note(number, self.name(error))

    def do_clean(self, number, body, last):
        try:
            self.execute(body)
        finally:
            with stackless.shield():
                self.wait(last)

    def do_fail(self, number):
        raise Failure(number)

    def do_cancel(self, number, scope):
        if scope in self.scopes:
            self.scopes[scope].cancel(scope)

    def do_expire(self, number, scope):
        if scope in self.scopes:
            self.scopes[scope].deadline = 0

    def do_start(self, number, group, child):
        self.start(*child, self.scopes[group])

    def do_scope(self, number, kind, body):
        scope = stackless.CancelScope(None, shield=kind == "shield", fail=kind == "fail")
        self.enter(number, scope, body)

    def do_group(self, number, children, body):
        self.enter(number, stackless.TaskGroup(), body, children)

    def enter(self, number, scope, body, children=()):
        self.scopes[number] = scope
        try:
            with scope:
                for child in children:
                    self.start(*child, scope)
                self.execute(body)
        finally:
            self.note(number, ("left", scope.cancelled, scope.expired))
            if isinstance(scope, stackless.TaskGroup):
                assert scope.tasklets == []

    # What the driver does. `deadline = 0` leaves no reason: the number is not known then.

    def waiting(self):
        return sorted(self.gates)

    def alive(self):
        return sorted(number for number, tasklet in self.tasklets.items() if tasklet.alive)

    def open(self, number):
        self.gates[number].send(None)
        stackless.run()

    def cancel(self, number):
        self.do_cancel(0, number)
        stackless.run()

    def expire(self, number):
        self.do_expire(0, number)
        stackless.run()

    def kill(self, number):
        self.tasklets[number].kill(pending=True)
        stackless.run()


class ModelCancelled(BaseException):
    pass


class Killed(BaseException):
    pass


class ModelScope:
    def __init__(self, owner, shield=False, fails=False, group=False):
        self.owner, self.outer = owner, owner.scope
        self.shield, self.fails, self.group = shield, fails, group
        self.cancelled = self.expired = self.joining = self.starved = self.was_left = False
        self.reason = None
        self.members, self.errors, self.interruption = [], [], None


class ModelTasklet:
    def __init__(self, scope):
        self.scope = scope  # the innermost one around it
        self.base = scope  # the group that it began in
        self.begun = self.runnable = self.ended = False
        self.exception = None  # what it gets when it continues
        self.steps = None


class Model:
    """Runs a program with generators, which yield where a tasklet waits."""

    def __init__(self, program):
        self.log = {}
        self.scopes = {}
        self.gates = {}
        self.tasklets = {}
        self.ready = deque()
        self.start(0, program)

    note = Real.note

    def around(self, t):
        scope = t.scope
        while scope is not None:
            yield scope
            if scope.shield:
                return
            scope = scope.outer

    def cancelling(self, t):
        found = None
        for scope in self.around(t):
            if scope.joining and scope.owner is t:
                return None
            if scope.cancelled:
                found = scope
        return found

    def all_inside(self, scope):
        """The tasklets in a scope: its owner, and the members of groups, in the engine's order."""
        to_visit, found = [], []

        def add(t, until):
            found.append(t)
            inner = t.scope
            while inner is not None and inner.owner is t and inner is not until:
                if inner.members and inner not in to_visit:
                    to_visit.append(inner)
                inner = inner.outer

        if scope.members:
            to_visit.append(scope)
        if not scope.was_left:
            add(scope.owner, scope)
        while to_visit:
            for member in to_visit.pop().members:
                add(member, None)
        return found

    def cancel_scope(self, scope, reason=None):
        if scope.cancelled or scope.was_left:
            return
        scope.cancelled, scope.reason = True, reason
        for t in self.all_inside(scope):
            self.wake_if_cancelled(t)

    def wake_if_cancelled(self, t):
        # It cannot wait in a cancelled scope already, so this one has made the difference.
        if self.cancelling(t) and not t.runnable and not t.ended:
            self.wake(t, ModelCancelled)

    def wake(self, t, exception=None):
        t.exception = exception
        if not t.runnable:
            t.runnable = True
            self.ready.append(t)

    def start(self, number, body, group=None):
        t = self.tasklets[number] = ModelTasklet(group)
        t.steps = self.child(t, number, body)
        if group:
            group.members.append(t)
        self.wake(t)

    def child(self, t, number, body):
        try:
            yield from self.execute(t, body)
            self.note(number, "returned")
        except BaseException as error:
            self.note(number, self.name(error))
            if number:
                raise

    def name(self, error):
        if isinstance(error, ModelCancelled):
            return "Cancelled", error.args[0].reason
        if isinstance(error, Killed):
            return "TaskletExit", "TaskletExit"
        return type(error).__name__, *flat(error)

    def run(self):
        while self.ready:
            t = self.ready.popleft()
            if t.ended:
                continue
            exception, t.exception = t.exception, None
            error = None
            begun, t.begun = t.begun, True
            try:
                if exception is None:
                    t.steps.send(None)
                elif not begun:
                    t.steps.close()
                    raise exception
                else:
                    if exception is ModelCancelled:
                        exception = ModelCancelled(self.cancelling(t))
                    t.steps.throw(exception)
                t.runnable = False
            except StopIteration:
                t.ended = True
            except BaseException as caught:
                t.ended, error = True, caught
            if t.ended:
                self.end(t, error)

    def end(self, t, error):
        group = t.base
        if group is None:
            return
        if isinstance(error, ModelCancelled):
            group.starved |= error.args[0] is not group
        elif error is not None and not isinstance(error, Killed):
            group.errors.append(error)
            self.cancel_scope(group)
        group.members.remove(t)
        if not group.members and group.joining and not group.owner.runnable:
            self.wake(group.owner)

    def pause(self, t):
        """The tasklet is about to wait."""
        scope = self.cancelling(t)
        if scope is not None:
            raise ModelCancelled(scope)
        yield

    def wait(self, t, number):
        self.gates[number] = t
        try:
            yield from self.pause(t)
        finally:
            del self.gates[number]

    def execute(self, t, body):
        for word, number, *rest in body:
            try:
                yield from getattr(self, "do_" + word)(t, number, *rest)
            except BaseException as error:
                self.note(number, self.name(error))
                raise
            self.note(number, "ok")

    def do_wait(self, t, number):
        yield from self.wait(t, number)

    def do_swallow(self, t, number):
        try:
            yield from self.wait(t, number)
        except ModelCancelled as error:
            self.note(number, self.name(error))

    def do_clean(self, t, number, body, last):
        try:
            yield from self.execute(t, body)
        finally:
            scope = t.scope = ModelScope(t, shield=True)
            try:
                yield from self.wait(t, last)
            finally:
                t.scope = scope.outer

    def do_fail(self, t, number):
        raise Failure(number)
        yield

    def do_cancel(self, t, number, scope):
        if scope in self.scopes:
            self.cancel_scope(self.scopes[scope], scope)
        return
        yield

    def do_expire(self, t, number, scope):
        scope = self.scopes.get(scope)
        if scope and not scope.cancelled and not scope.was_left:
            scope.expired = True
            self.cancel_scope(scope)
        return
        yield

    def do_start(self, t, number, group, child):
        group = self.scopes[group]
        if group.was_left:
            raise RuntimeError
        self.start(*child, group)
        return
        yield

    def do_scope(self, t, number, kind, body):
        scope = ModelScope(t, shield=kind == "shield", fails=kind == "fail")
        yield from self.enter(t, number, scope, body)

    def do_group(self, t, number, children, body):
        yield from self.enter(t, number, ModelScope(t, group=True), body, children)

    def enter(self, t, number, scope, body, children=()):
        self.scopes[number] = t.scope = scope
        error = None
        try:
            for child in children:
                self.start(*child, scope)
            yield from self.execute(t, body)
        except BaseException as caught:
            error = caught
        try:
            yield from self.leave(t, scope, error)
        finally:
            self.note(number, ("left", scope.cancelled, scope.expired))

    def leave(self, t, scope, error):
        ours = isinstance(error, ModelCancelled) and error.args[0] is scope
        waited = False
        if scope.group:
            if error is not None and not ours:
                self.interrupt(scope, error)
            count = 0
            scope.joining = True
            while scope.members:
                waited = True
                try:
                    yield
                except BaseException as caught:
                    count += 1
                    self.interrupt(scope, caught)
                    if count >= 3:
                        self.kill_members(scope)
        t.scope, scope.was_left, scope.joining = scope.outer, True, False
        scope.expired = scope.expired and ours
        if scope.group and scope.errors:
            raise BaseExceptionGroup("", scope.errors)
        if scope.interruption is not None:
            raise scope.interruption
        if ours:
            if scope.expired and scope.fails:
                raise stackless.TimeoutError
            return
        if error is not None:
            raise error
        outer = self.cancelling(t)
        if outer is not None and (waited or scope.starved):
            raise ModelCancelled(outer)

    def interrupt(self, scope, error):
        if isinstance(error, Exception):
            scope.errors.append(error)
        elif scope.interruption is None:
            scope.interruption = error
        self.cancel_scope(scope)

    def kill_members(self, scope):
        for t in list(scope.members):
            if t.begun:
                self.wake(t, Killed)
            else:
                t.ended = True
                self.end(t, None)

    def waiting(self):
        return sorted(self.gates)

    def alive(self):
        return sorted(number for number, t in self.tasklets.items() if not t.ended)

    def open(self, number):
        self.wake(self.gates[number])
        self.run()

    def cancel(self, number):
        self.cancel_scope(self.scopes[number], number)
        self.run()

    def expire(self, number):
        deque(self.do_expire(None, 0, number), 0)
        self.run()

    def kill(self, number):
        self.wake(self.tasklets[number], Killed)
        self.run()
