"""The hash of each page, read backwards: first one page after the other, then all at once.

Both use the same function; the second time, each page has its own tasklet.

    python examples/talk/hash_pages.py [NUMBER]
"""

import hashlib
import sys
import time

import stackless
from local_server import web_server
from stackless import socket


def read_page(address: str, path: str) -> bytes:
    """A plain, blocking HTTP client."""
    host, _, port = address.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        with connection.makefile("rb") as file:
            return file.read().partition(b"\r\n\r\n")[2]


def hash_of_reversed(address: str, path: str) -> str:
    return hashlib.sha256(read_page(address, path)[::-1]).hexdigest()[:16]


if __name__ == "__main__":
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    paths = [f"/{n}?seconds=0.05" for n in range(number)]
    with web_server() as address:
        started = time.monotonic()
        one_by_one = [hash_of_reversed(address, path) for path in paths]
        between = time.monotonic()
        for path in paths:
            stackless.run_tasklet(hash_of_reversed, address, path)
        at_once = stackless.run_all()
        ended = time.monotonic()
    for path, digest in zip(paths[:3], at_once, strict=False):
        print(path.partition("?")[0], digest)
    print("the same hashes:", one_by_one == at_once)
    print("at once is at least three times as fast:", ended - between < (between - started) / 3)
