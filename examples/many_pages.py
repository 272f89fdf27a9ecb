"""Many pages at once with the standard urllib: each request is a blocking call in a tasklet.

python examples/many_pages.py [NUMBER]
"""

import sys
import time
from http.server import BaseHTTPRequestHandler
from urllib.request import ProxyHandler, build_opener

import stackless
from stackless import monkey
from stackless.servers import TaskletHTTPServer


class Pages(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        time.sleep(0.05)  # the pages take some time
        body = f"page {self.path}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(TaskletHTTPServer):
    request_queue_size = 1024


open_url = build_opener(ProxyHandler({})).open


def fetch(url: str) -> bytes:
    with open_url(url) as answer:
        return answer.read()


def all_at_once(urls: list[str]) -> list[bytes]:
    for url in urls:
        stackless.run_tasklet(fetch, url)
    return stackless.run_all()


if __name__ == "__main__":
    monkey.patch_all()
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    with Server(("127.0.0.1", 0), Pages) as server:
        serving = stackless.tasklet(server.serve_forever)()
        serving.daemon = True
        urls = [f"http://127.0.0.1:{server.server_port}/{n}" for n in range(number)]
        started = time.perf_counter()
        pages = all_at_once(urls)
        seconds = time.perf_counter() - started
        server.shutdown()
    right = pages == [b"page /%d" % n for n in range(number)]
    print(f"{number} pages in {seconds:.2f} s, one after the other {number * 0.05:.0f} s at least")
    print("all as expected:", right)
