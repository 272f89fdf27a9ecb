"""A thread's first use of tasklets calls the schedule callback, which may do anything."""

import pytest
from child_process import assert_child

OPERATIONS = [
    "t.run()",
    "t.switch()",
    "t.insert()",
    "t.remove()",
    "t.kill()",
    "t.kill(pending=True)",
    "t.throw(KeyError)",
    "t.throw(KeyError, pending=True)",
    "t.raise_exception(KeyError)",
    "t.join(timeout=0)",
    "t.bind_thread()",
    "t.context_run(int)",
    "t.set_context(contextvars.Context())",
    "setattr(t, 'trace_function', None)",
    "setattr(t, 'daemon', True)",
    "copy.copy(t)",
    "stackless.dumps(t)",
    "t.frame",
    "drop()",
]


@pytest.mark.parametrize("body", ["not started", "waits below C", "paused"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_tasklet_loses_its_thread(operation, body):
    """The callback lets the thread end to which the tasklet of the operation belongs."""
    assert_child(
        """
        import contextvars, copy, gc, pickle, sys, threading, warnings
        import stackless
        operation, body = sys.argv[1:]
        warnings.simplefilter("ignore")     # what waits in the thread that ends
        made, may_end, nowhere = threading.Event(), threading.Event(), stackless.channel()
        tasklets = []
        bodies = {
            "not started": int,
            "waits below C": lambda: sorted([1], key=lambda _: nowhere.receive()),
            "paused": lambda: stackless.schedule_remove(None),
        }

        def owner():
            tasklets.append(stackless.tasklet(bodies[body]).bind(args=()))
            if body != "not started":
                tasklets[0].insert()
                stackless.run(block=False)
            made.set()
            may_end.wait()
            gc.collect()

        def on_switch(before, after):
            if before is None:
                may_end.set()
                first.join()

        def drop():
            tasklets.clear()
            gc.collect()
            stackless.getcurrent()

        def second():
            try:
                eval(operation, globals(), {"t": tasklets[0]} if operation != "drop()" else {})
            except (RuntimeError, KeyError, stackless.TimeoutError, pickle.PicklingError):
                pass

        first = threading.Thread(target=owner)
        first.start()
        made.wait()
        stackless.set_schedule_callback(on_switch)
        other = threading.Thread(target=second)
        other.start()
        other.join()
        may_end.set()
        first.join()
        stackless.set_schedule_callback(None)
        print("end")
        """,
        args=(operation, body),
        prints="end",
    )
