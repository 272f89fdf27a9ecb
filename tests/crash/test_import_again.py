"""The package is taken out of `sys.modules` and imported again, as some test runners do."""

from child_process import assert_child

PURGE = """
import gc, sys
import stackless

def purge():
    global stackless
    for name in [name for name in sys.modules if name.split(".")[0] == "stackless"]:
        del sys.modules[name]
    del stackless
    gc.collect()
    import stackless
"""


def test_spare_tasklets():
    """Memory of tasklets that ended before is used again."""
    assert_child(
        f"""{PURGE}
for _ in range(3):
    many = [stackless.tasklet(len) for _ in range(300)]
    del many
    purge()
    many = [stackless.tasklet(len) for _ in range(300)]
    assert all(type(t) is stackless.tasklet for t in many)
del many
gc.collect()
junk = [type("Junk", (), {{}}) for _ in range(2000)]
assert type(stackless.getcurrent()) is stackless.tasklet and stackless.getcurrent().alive
gc.collect()
print("end")
""",
        prints="end",
    )


def test_pending_operations_continue():
    """Tasklets, channels and exceptions from before are those of the new module."""
    assert_child(
        f"""{PURGE}
old = stackless
log = []
def body(ch):
    try:
        while True:
            log.append(ch.receive())
    except stackless.TaskletExit:
        log.append("exit")

def sleeper():
    try:
        stackless.sleep(60)
    except KeyError:
        log.append("thrown")

channel, main = stackless.channel(), stackless.getmain()
t = stackless.tasklet(body)(channel)
late = stackless.tasklet(sleeper)()
stackless.run(block=False)
purge()
assert stackless is not old
for name in "tasklet", "channel", "bomb", "TaskletExit", "TimeoutExit", "TimeoutError":
    assert getattr(stackless, name) is getattr(old, name), name
assert stackless.getmain() is main and isinstance(t, stackless.tasklet)
channel.send(1)
stackless.run(block=False)
late.throw(KeyError, pending=True)
t.throw(stackless.TaskletExit, pending=True)
stackless.run(block=False)
try:
    stackless.channel().receive(timeout=0.001)
except old.TimeoutError:
    log.append("timeout")
print(*log)
""",
        prints="1 thrown exit timeout",
    )


def test_at_exit():
    """Blocked tasklets end exactly once, whichever copy of the package they belong to."""
    assert_child(
        f"""{PURGE}
def body(ch):
    try:
        sorted([1], key=lambda _: ch.receive())
    finally:
        print("ends")
kept = [stackless.tasklet(body)(stackless.channel())]
stackless.run()
purge()
kept.append(stackless.tasklet(body)(stackless.channel()))
stackless.run()
""",
        prints="ends ends",
    )
