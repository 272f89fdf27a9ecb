"""500 URLs at once with unmodified urllib.request, from a server that answers after 50 ms.

The server and each peer run in processes of their own; the best of a few rounds counts.

    python benches/urls.py [--count N] [--rounds N]
"""

import argparse
import asyncio
import json
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable
from time import perf_counter, process_time

import own_process
import peers

DELAY = 0.05
#: Minimum factors of the time of others to ours.
REQUIRED = {"threads": 1.0}


def body(number: int) -> bytes:
    return b"page %d\n" % number


async def serve() -> None:
    """Serve GET /NUMBER; prints the port first."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(DELAY)
        page = body(int(head.split()[1][1:]))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(page) + page)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


pages: dict[int, bytes] = {}


def fetch(port: int, number: int) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{number}") as response:
        pages[number] = response.read()


def ours(port: int, count: int) -> None:
    from stackless import monkey

    monkey.patch_all()
    for number in range(count):
        peers.stackless.tasklet(fetch)(port, number)
    peers.stackless.run()


def threads(port: int, count: int) -> None:
    all_of_them = [threading.Thread(target=fetch, args=(port, number)) for number in range(count)]
    for thread in all_of_them:
        thread.start()
    for thread in all_of_them:
        thread.join()


def gevents(port: int, count: int) -> None:
    from gevent import monkey

    monkey.patch_all()
    peers.gevent.joinall([peers.gevent.spawn(fetch, port, number) for number in range(count)])


PEERS: dict[str, tuple[Callable[[int, int], None], str | None]] = {
    "ours": (ours, "stackless"),
    "threads": (threads, None),
    "gevent": (gevents, "gevent"),
}


def measure(peer: str, port: int, count: int) -> dict[str, float]:
    """Measure in this process."""
    fetch(port, 0)  # the first call imports modules and sets up urllib
    begun, busy = perf_counter(), process_time()
    PEERS[peer][0](port, count)
    taken, busy = perf_counter() - begun, process_time() - busy
    if pages != {number: body(number) for number in range(count)}:
        raise SystemExit("the pages are not what they should be")
    return {"seconds": taken, "processor": busy}


def main(count: int, rounds: int) -> None:
    with subprocess.Popen(
        [sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        port = server.stdout.readline().strip()
        found = own_process.best(__file__, PEERS, ["--port", port, "--count", str(count)], rounds)
        server.kill()
    print(f"{count} URLs at once, answered after {1000 * DELAY:.0f} ms; best of {rounds} rounds")
    print(f"{'':10}{'s':>8}{'processor, s':>14}{'x ours':>8}{'required':>10}")
    for peer, best in found.items():
        ratio = best["seconds"] / found["ours"]["seconds"]
        line = f"{peer:10}{best['seconds']:>8.3f}{best['processor']:>14.3f}{ratio:>8.2f}"
        if peer in REQUIRED:
            mark = f">= {REQUIRED[peer]}"
            line += f"{mark:>10}{'' if ratio >= REQUIRED[peer] else '  missed'}"
        print(line)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--serve", action="store_true", help="be the server")
    parser.add_argument("--peer", choices=PEERS, help="measure this one, in this process")
    parser.add_argument("--port", type=int, help="of the server")
    given = parser.parse_args()
    if given.serve:
        asyncio.run(serve())
    elif given.peer:
        print(json.dumps(measure(given.peer, given.port, given.count)))
    else:
        main(given.count, given.rounds)
