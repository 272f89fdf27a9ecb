"""A tasklet with a trace function that has not started: it has a stack, but no frame on it."""

import pytest
from child_process import assert_child

TRACED = """
import copy, gc, pickle, sys, threading, weakref
import stackless
from stackless import run, schedule, tasklet

class Function:
    "A trace or profile function whose destruction is seen."
    def __call__(self, *_):
        return None
alive = weakref.WeakSet()
log = []

class Plain(tasklet):
    pass

def made(name, kind=tasklet):
    t = kind(log.append, ("called",))
    function = Function()
    alive.add(function)
    setattr(t, name, function)
    return t

def in_thread(call):
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()

def refused(call, *args):
    try:
        call(*args)
    except RuntimeError as error:
        assert "trace function before it began" in str(error), error
    else:
        raise AssertionError("not refused")

def use(t):
    "Nothing is left of the function's stack; the tasklet is as any other."
    assert t.bind(log.append, ("again",)).alive
    copy.copy(t).bind(None)
    gc.collect()
    t.insert()
    run()
    assert log.pop() == "again" and not log and not t.alive

"""

DEATHS = {
    "unbound": "t.bind(None); assert not t.alive; gc.collect(); refused_run(t)",
    "bound": "t.bind(len); assert not t.alive; t.bind(None)",
    "bound_anew": "t.bind(log.append, ('again',)); assert t.alive; t.run(); log.remove('again')",
    "killed": "t.kill(); assert not t.alive",
    "killed_in_the_ring": "t.insert(); t.kill(); assert not t.alive",
    "killed_when_its_turn_comes": "t.kill(pending=True); run(); assert not t.alive",
    "dropped": "del t",
    "dropped_in_a_cycle": "t.bind(lambda t=t: None, ()); t.trace_function = Function(); del t",
    "finalised_by_hand": "t.__del__()",
    "run": "t.run(); assert log.pop() == 'called' and not t.alive",
    "moved": "refused(in_other_thread, t)",
    "removed": "t.insert(); t.remove(); assert t.alive",
    "copied": "assert getattr(copy.copy(t), name) is None; assert getattr(t, name)",
    "thread_ended": "t = None; in_thread(orphan); assert not orphans[0].alive",
    "thread_ended_in_the_ring": "t = None; in_thread(lambda: orphan().insert())",
    "exit": "sys.exit()",
}


@pytest.mark.parametrize("name", ["trace_function", "profile_function"])
@pytest.mark.parametrize("kind", ["tasklet", "Plain"])
@pytest.mark.parametrize("death", DEATHS)
def test_ways_to_die(name, kind, death):
    """14: the function is dropped with the stack; a tasklet with a function to run is alive."""
    assert_child(
        f"""{TRACED}
name, kind, orphans = {name!r}, {kind}, []
def orphan():
    orphans.append(made(name, kind))
    return orphans[0]

def refused_run(t):
    try: t.run()
    except RuntimeError: pass
    else: raise AssertionError
def in_other_thread(t):
    errors = []
    def move():
        try: t.bind_thread()
        except RuntimeError as error: errors.append(error)
    in_thread(move)
    if errors: raise errors[0]

for _ in range(20):
    t = made(name, kind)
    {DEATHS[death]}
    for t in [t] if "t" in globals() and t else []:
        use(t)
    t = None
    orphans.clear()
    gc.collect()
    assert not log, log
    schedule()
gc.collect()
assert not alive, len(alive)
assert stackless.runcount == 1
sys.exit()
"""
    )


def test_stacks_are_given_back():
    """Many stacks: the tasklet is bound again each time."""
    assert_child(
        f"""{TRACED}
stackless.set_stack_limits(count=100)
t = tasklet()
for _ in range(2_000):
    t.bind(log.append, ("called",))
    t.trace_function = Function()
t.run()
print(*log)
""",
        prints="called",
    )


@pytest.mark.parametrize("begun", [False, True])
def test_audit_hook_of_the_setter(begun):
    """14: while the function is being set, the tasklet keeps its stack."""
    assert_child(
        f"""{TRACED}
def body():
    stackless.schedule_remove(None)

refusals = []
def hook(event, arguments):
    if event in ("sys.settrace", "sys.setprofile") and armed:
        change = armed.pop()
        try:
            change()
        except RuntimeError:
            refusals.append(event)

armed = []
sys.addaudithook(hook)
for name in "trace_function", "profile_function":
    for change in (
        lambda: t.bind(None),
        lambda: t.bind(len, ([],)),
        lambda: stackless._stackless._park(t),
        lambda: in_thread(in_other_thread),
    ):
        def in_other_thread():
            stackless.getcurrent()
            t.bind_thread()
        t = tasklet(body)
        t.bind(None, ())
        if {begun}:
            t.run()
            stackless._stackless._park(t)
        armed.append(change)
        function = Function()
        threading.excepthook = lambda arguments: refusals.append("in a thread")
        setattr(t, name, function)
        assert len(refusals) == 1, (name, refusals)
        refusals.clear()
        assert getattr(t, name) is function
        setattr(t, name, None)
        t.run()
        assert t.alive == (not {begun})
print("end")
""",
        prints="end",
    )
