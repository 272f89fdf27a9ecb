"""A crawler that is killed in the middle, and does not fetch again what it has.

    python examples/durable/crawler.py [DATABASE]

It crawls a small site that it serves itself, in another thread, five pages at a time. Each page is
a step of `durable.map`, recorded on its own. The first run is killed after half of the pages; the
second one continues. What was being fetched at that moment is fetched again.
"""

from __future__ import annotations

import http.server
import os
import re
import signal
import sys
import threading
import urllib.parse
import urllib.request

from stackless import durable

PAGES = 40


class Site(http.server.BaseHTTPRequestHandler):
    """Page n links to the pages 2n + 1 and 2n + 2. A file notes which pages were asked for."""

    def do_GET(self) -> None:
        """Answer with a page."""
        number = int(self.path.strip("/") or 0)
        links = [each for each in (2 * number + 1, 2 * number + 2) if each < PAGES]
        text = "".join(f'<a href="/{each}">{each}</a>' for each in links)
        with open(f"{database}.log", "a") as log:
            log.write(f"{number}\n")
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Write nothing to stderr."""


@durable.step(retries=5, timeout=10)
def fetch(path: str) -> list[str]:
    """Return the links of a page. The address of the site may differ after a restart."""
    with urllib.request.urlopen(urllib.parse.urljoin(address, path)) as page:
        return re.findall(r'href="([^"]+)"', page.read().decode())


@durable.workflow
def crawl(start: str) -> list[str]:
    """Return all pages that can be reached."""
    seen, found = {start}, [start]
    while found:
        links = durable.map(fetch, found, limit=5)
        found = sorted({link for each in links for link in each} - seen)
        seen.update(found)
        if len(seen) > PAGES // 2:
            kill_this_process_once()
    return sorted(seen)


def kill_this_process_once() -> None:
    """End the process as a crash would, the first time."""
    if not os.path.exists(f"{database}.killed"):
        open(f"{database}.killed", "w").close()
        print("... killed", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)


database = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else "crawler.db")

if __name__ == "__main__":
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
    address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    app = durable.App("crawlers", f"sqlite:///{database}")
    pages = app.run(crawl, "/0", id="crawl-1")
    with open(f"{database}.log") as log:
        asked = log.read().split()
    again = len(asked) - len(set(asked))
    print(f"{len(pages)} pages; {len(asked)} requests in both runs, {again} of them again")
    app.close()
    server.shutdown()
    server.server_close()
