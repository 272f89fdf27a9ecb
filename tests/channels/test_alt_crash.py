"""`alt()` where the process forks, and where the interpreter exits."""

import os
import socket

from child_process import assert_child, in_child_process
from stackless import alt, channel, run, tasklet


@in_child_process
def test_fork():
    """The child's tasklets wait for the same channels and descriptors."""
    one, two = socket.socketpair()
    ch, log = channel(), []

    def wait():
        log.append(alt(ch, one).index)

    waiting = [tasklet(wait)() for _ in range(2)]
    run(block=False)
    child = os.fork()
    if child == 0:
        ch.send(None)
        two.send(b"x")
        run()
        good = log == [0, 1] and not any(t.alive for t in waiting)
        os._exit(0 if good else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    # The descriptor is the child's as well: what it was sent there is here now.
    ch.send(None)
    run()
    assert log == [0, 1]
    one.close()
    two.close()


def test_the_end_of_the_interpreter():
    """Those that wait get TaskletExit, also that of a thread when the thread ends."""
    assert_child(
        """
        import os, threading
        from stackless import alt, channel, readable, run, tasklet

        def wait(*cases):
            try:
                alt(*cases)
            finally:
                print("ended")

        a, b, c, d = channel(), channel(capacity=1), channel(), channel()
        b.send(b)
        tasklet(wait)(a, a.sending(1))
        tasklet(wait)(c.receiving(), b.sending(2))
        tasklet(wait)(readable(os.pipe()[0]), c)
        run(block=False)
        thread = threading.Thread(target=lambda: (tasklet(wait)(d, channel()), run(block=False)))
        thread.start()
        thread.join()
        print("main ends")
        """,
        prints="ended main ends ended ended ended",
    )
