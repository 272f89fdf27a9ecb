"""A worker in another thread, for a while."""

import contextlib
import threading
import time


@contextlib.contextmanager
def working(app, **options):
    """Let a worker of an app run in another thread meanwhile."""
    thread = threading.Thread(target=app.serve, kwargs=options)
    thread.start()
    try:
        while not app._runners:
            assert thread.is_alive(), "the worker has ended"
            time.sleep(0.001)
        yield
    finally:
        app.stop()
        thread.join()
