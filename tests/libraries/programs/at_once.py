"""Does an operation many times at once in threads, as the programs beside this file do.

The operation waits WAIT seconds for a server. Prints as JSON what it took: nothing here knows of
tasklets. The operations are done twice: after the first time there are open what a library keeps.
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


def memory():
    """The resident memory in KiB."""
    pages = int(open("/proc/self/statm").read().split()[1])
    return pages * resource.getpagesize() // 1024


def run(operation, close=lambda: None):
    """Call operation(number), which returns whether its result is right, in threads."""
    first = descriptors()
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
    before, kept = memory(), descriptors()
    wall = batch()
    right = results.count(True)
    gc.collect()
    grown = memory() - before
    same = descriptors() <= kept
    close()
    gc.collect()
    done = {"wall": wall, "right": right, "before": first, "after": descriptors()}
    print(json.dumps({**done, "grown": grown, "same": same}))
