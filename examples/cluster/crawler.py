"""A crawler on several workers: a channel of pages to fetch, and one of links that were found.

python examples/cluster/crawler.py

The site is a small server in this program: 200 pages, of which each links to some others. Ten
tasklets on each worker fetch pages; `to_thread` lets the others of its worker run meanwhile. This
program remembers what was seen, so that every page is fetched once.
"""

import random
import re
import threading
import urllib.request
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import stackless
from stackless import cluster

PAGES, PER_WORKER = 200, 10


class Site(BaseHTTPRequestHandler):
    """Page n links to some pages, which depend on n alone."""

    def do_GET(self) -> None:
        n = int(self.path.strip("/"))
        chance = random.Random(n)
        links = [(n + 1) % PAGES, *(chance.randrange(PAGES) for _ in range(4))]
        body = "".join(f'<a href="/{each}">page {each}</a>' for each in links).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        pass


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as answer:
        text: str = answer.read().decode()
        return text


def crawl(site: str, pages: Any, found: Any) -> None:
    """Fetch the pages of a channel until it is closed; report the links of each."""
    for page in pages:
        text = stackless.to_thread(fetch, site + page)
        found.send((cluster.here().name, page, re.findall(r'href="(/\d+)"', text)))


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    site = f"http://127.0.0.1:{server.server_port}"
    with cluster.connect(workers=2) as c:
        # Both are at home here. As many pages wait as there may be: this never has to.
        pages, found = c.channel(capacity=PAGES), c.channel(capacity=20)
        crawlers = [
            c.spawn(crawl, site, pages, found, on=each)
            for each in c.workers()
            for _ in range(PER_WORKER)
        ]
        seen = {"/0"}
        by_worker: Counter[str] = Counter()
        pages.send("/0")
        under_way = 1
        while under_way:
            worker, _, links = found.receive(timeout=60)
            by_worker[worker] += 1
            under_way -= 1
            for link in links:
                if link not in seen:
                    seen.add(link)
                    pages.send(link)
                    under_way += 1
        pages.close()
        for each in crawlers:
            each.join()
    server.shutdown()
    server.server_close()
    print(f"{len(seen)} pages, {sum(by_worker.values())} fetched, by {len(by_worker)} workers")


if __name__ == "__main__":
    main()
