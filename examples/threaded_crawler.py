"""A crawler written for threads: a queue of links, many threads, a lock. Nothing in it is ours.

    python examples/threaded_crawler.py [PAGES] [THREADS]
    python -m stackless run examples/threaded_crawler.py [PAGES] [THREADS]

With the second command the threads of the crawler, and those of the server that it crawls, are
tasklets.
"""

import queue
import re
import resource
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.request import ProxyHandler, build_opener


class Site(BaseHTTPRequestHandler):
    """Pages that link to one another: page n to 2n + 1 and 2n + 2."""

    pages = 0

    def do_GET(self) -> None:
        time.sleep(0.02)  # the pages take some time
        number = int(self.path.strip("/"))
        links = [n for n in (2 * number + 1, 2 * number + 2) if n < self.pages]
        body = "".join(f'<a href="/{n}">{n}</a>' for n in links).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 1024


class Crawler:
    """Follows all links, with so many threads."""

    def __init__(self, address: str, threads: int) -> None:
        self.address = address
        self.links: queue.Queue[str | None] = queue.Queue()
        self.seen = {"/0"}
        self.lock = threading.Lock()
        self.open = build_opener(ProxyHandler({})).open
        self.threads = [threading.Thread(target=self.work) for _ in range(threads)]

    def work(self) -> None:
        while (path := self.links.get()) is not None:
            with self.open(self.address + path) as answer:
                text = answer.read().decode()
            for link in re.findall('href="([^"]*)"', text):
                with self.lock:
                    known = link in self.seen
                    self.seen.add(link)
                if not known:
                    self.links.put(link)
            self.links.task_done()

    def run(self) -> None:
        for thread in self.threads:
            thread.start()
        self.links.put("/0")
        self.links.join()
        for _ in self.threads:
            self.links.put(None)
        for thread in self.threads:
            thread.join()


if __name__ == "__main__":
    pages, threads = map(int, [*sys.argv[1:3], "500", "200"][:2])
    Site.pages = pages
    with Server(("127.0.0.1", 0), Site) as server:
        serving = threading.Thread(target=server.serve_forever, args=[0.05])
        serving.start()
        crawler = Crawler(f"http://127.0.0.1:{server.server_port}", threads)
        started = time.perf_counter()
        crawler.run()
        seconds = time.perf_counter() - started
        server.shutdown()
        serving.join()
    print(f"{len(crawler.seen)} pages, {threads} threads")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{seconds:.2f} s, {memory:.0f} MiB", file=sys.stderr)
