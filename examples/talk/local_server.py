"""A web server for the programs that fetch pages, in its own process on the loopback interface.

The text of a page is its path, repeated; it answers after the time that the query asks for.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


class Pages(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        time.sleep(float(parse_qs(parts.query).get("seconds", ["0"])[0]))
        body = f"page {parts.path}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 1024
    daemon_threads = True


@contextmanager
def web_server() -> Iterator[str]:
    """Start the server; the value is the address of its pages without the slash at the end."""
    server = subprocess.Popen([sys.executable, __file__], stdout=subprocess.PIPE, text=True)
    assert server.stdout
    try:
        yield f"http://127.0.0.1:{server.stdout.readline().strip()}"
    finally:
        server.kill()
        server.wait()
        server.stdout.close()


if __name__ == "__main__":
    with Server(("127.0.0.1", 0), Pages) as serving:
        print(serving.server_port, flush=True)
        serving.serve_forever()
