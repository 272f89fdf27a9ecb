"""A schedule callback, or code that it runs, changes the tasklet that a switch goes to."""

import pytest
from child_process import assert_child

SWITCHES = """
import contextvars, copy, gc, sys, threading, warnings
import stackless
from stackless import channel, getcurrent, run, schedule, schedule_remove, tasklet

warnings.simplefilter("ignore", ResourceWarning)    # partners that wait for ever
log = []
def body():
    log.append("begins")
    while True:
        schedule()

def in_thread(call):
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()

class OtherThread:
    "Has used tasklets, and waits."
    def __init__(self):
        self.ready, self.leave = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self.live)
        self.thread.start()
        self.ready.wait()
    def live(self):
        getcurrent()
        self.ready.set()
        self.leave.wait()
    def end(self):
        self.leave.set()
        self.thread.join()
other = OtherThread()

changes = {
    "remove": lambda t: None,
    "copy": lambda t: copy.copy(t),
    "unbind": lambda t: t.bind(None),
    "bind": lambda t: t.bind(log.append),
    "rebind": lambda t: t.bind(log.append, ("rebound",)),
    "kill": lambda t: (t.kill(pending=True), t.remove(), copy.copy(t)),
    "throw": lambda t: (t.throw(KeyError, pending=True), t.remove(), copy.copy(t)),
    "move": lambda t: t.bind_thread(other.thread.ident),
    "trace": lambda t: setattr(t, "trace_function", None),
    "schedule": lambda t: schedule(),
}

def ways_to_switch(t):
    "Each of them switches to t, which is next in the ring or waits."
    ch = channel()
    return {
        "schedule": schedule,
        "run": lambda: t.run(),
        "end": lambda: (tasklet(int)().run(), schedule()),
        "receive": lambda: (tasklet(ch.send)(1), ch.receive()),
        "remove": lambda: (tasklet(getcurrent().insert)(), schedule_remove()),
    }

def callback(previous, following):
    if following is t and not done:
        done.append(1)
        def apply():
            t.remove()
            try:
                changes[change](t)
            except RuntimeError as error:
                log.append(str(error))
        in_thread(apply) if elsewhere else apply()
"""


@pytest.mark.parametrize("elsewhere", [False, True], ids=["here", "in_another_thread"])
@pytest.mark.parametrize("started", [False, True], ids=["fresh", "started"])
@pytest.mark.parametrize("way", ["schedule", "run", "end", "receive", "remove"])
def test_callback_that_changes_the_target_of_the_switch(way, started, elsewhere):
    """9: whatever it does to the run queue, that tasklet runs next; then all others continue."""
    assert_child(
        f"""{SWITCHES}
elsewhere = {elsewhere}
for change in changes:
    log.clear()
    t, done = tasklet(body)(), []
    if {started}:
        schedule()
    switch = ways_to_switch(t)[{way!r}]
    stackless.set_schedule_callback(callback)
    try:
        switch()
    except KeyError:
        log.append("KeyError")
    stackless.set_schedule_callback(None)
    assert done, change
    alive = change in ("remove", "copy", "trace", "move", "schedule")
    alive = alive or change == "rebind" and not log
    assert t.thread_id == stackless.getmain().thread_id, change
    assert t.alive == alive, (change, log)
    for _ in range(3):
        schedule()
    gc.collect()
    t.kill()
    assert stackless.runcount == 1, change
other.end()
print("end")
""",
        prints="end",
    )


def test_moving_it_to_another_thread_is_refused():
    """11: it is about to run."""
    assert_child(
        f"""{SWITCHES}
t, done, change = tasklet(body)(), [], "move"
for elsewhere in False, True:
    stackless.set_schedule_callback(callback)
    schedule()
    stackless.set_schedule_callback(None)
    done.clear()
t.kill()
other.end()
print(*log, sep="|")
""",
        prints="can't (re)bind a runnable tasklet|begins|can't (re)bind a runnable tasklet",
    )


@pytest.mark.parametrize("change", ["remove", "unbind", "rebind", "move", "schedule"])
def test_destructor_of_what_a_callback_left(change):
    """15: a context that the callback left to an ended tasklet is dropped during the switch."""
    assert_child(
        f"""{SWITCHES}
class Fuse:
    def __del__(self):
        log.append("dropped")
        t.remove()
        try:
            changes[{change!r}](t)
        except RuntimeError as error:
            log.append("refused")
var = contextvars.ContextVar("var")
def callback(previous, following):
    if following is t and not log:
        contextvars.Context().run(int)
        previous.set_context(contextvars.Context()) if previous.alive else None
        var.set(Fuse())
ends = tasklet(int)()
t = tasklet(body)()
stackless.set_schedule_callback(callback)
schedule()
stackless.set_schedule_callback(None)
assert log[0] == "dropped", log
assert ("refused" in log) == ({change!r} in ("move", "schedule")), log
schedule()
t.kill()
other.end()
print("end")
""",
        prints="end",
    )


def test_callback_that_yields_alone_does_not_hide_what_the_caller_waits_in():
    """A call inside the callback that does not switch leaves the outer one parkable."""
    assert_child(
        """
        import stackless
        def turns():
            while True: stackless.schedule(None)
        def callback(previous, following):
            if previous is t:
                following.remove()
                stackless.schedule(None)
        t = stackless.tasklet(turns)()
        stackless.set_schedule_callback(callback)
        stackless.schedule()
        stackless.set_schedule_callback(None)
        print(t.restorable)
        t.kill()
        """,
        prints="True",
    )
