"""Does an operation many times at once in threads, as the programs beside this file do.

The operation waits WAIT seconds for a server. Prints as JSON what it took: nothing here knows of
tasklets. All is done twice, and measured the second time; `close` then closes what is kept.
"""

import gc
import json
import os
import resource
import threading
import time

COUNT = 200
WAIT = 0.25


def descriptors():
    return len(os.listdir("/proc/self/fd"))


#: Before the program has opened anything.
FIRST = descriptors()


def memory():
    """The resident memory in KiB."""
    pages = int(open("/proc/self/statm").read().split()[1])
    return pages * resource.getpagesize() // 1024


def run(operation, close=lambda: None):
    """Call operation(number), which returns whether its result is right, in threads."""
    results = []

    def call(number):
        results.append(operation(number))

    def batch():
        results.clear()
        threads = [threading.Thread(target=call, args=[number]) for number in range(COUNT)]
        started = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.perf_counter() - started

    batch()
    gc.collect()
    before = memory()
    wall = batch()
    right = results.count(True)
    gc.collect()
    grown = memory() - before
    close()
    gc.collect()
    done = {"wall": wall, "right": right, "before": FIRST, "after": descriptors()}
    print(json.dumps({**done, "grown": grown}))
