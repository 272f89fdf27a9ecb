"""A program written for threads: many wait for work in a queue, as those of a crawler do.

    python many_threads.py COUNT

Prints as JSON the bytes of memory for each thread while all wait, and the seconds to start them and
to let all of them work and end.
"""

import json
import queue
import sys
import threading
import time


def memory() -> int:
    """Bytes of resident memory and page tables; the system's own for a thread are not included."""
    with open("/proc/self/status") as status:
        sizes = dict(line.split(":", 1) for line in status)
    return sum(int(sizes[name].split()[0]) * 1024 for name in ("VmRSS", "VmPTE"))


class Crawler:
    def __init__(self, count: int) -> None:
        self.links: queue.Queue[str | None] = queue.Queue()
        self.lock = threading.Lock()
        self.begun = self.done = 0
        self.threads = [threading.Thread(target=self.work) for _ in range(count)]

    def work(self) -> None:
        with self.lock:
            self.begun += 1
        headers = {"Accept": "*/*", "User-Agent": "crawler"}
        while (link := self.next_link()) is not None:
            with self.lock:
                self.done += len(link) + len(headers) > 0

    def next_link(self) -> str | None:
        return self.links.get()


if __name__ == "__main__":
    number = int(sys.argv[1])
    before = memory()
    crawler = Crawler(number)
    started = time.perf_counter()
    for thread in crawler.threads:
        thread.start()
    while crawler.begun < number:
        time.sleep(0.001)
    begun = time.perf_counter() - started
    least = memory()
    for _ in range(8):  # memory that is given back after a time
        time.sleep(0.5)
        least = min(least, memory())
    started = time.perf_counter()
    for n in range(number):
        crawler.links.put(f"/{n}")
    for _ in crawler.threads:
        crawler.links.put(None)
    for thread in crawler.threads:
        thread.join()
    ended = time.perf_counter() - started
    assert crawler.done == number
    print(json.dumps({"bytes": (least - before) / number, "start": begun, "end": ended}))
