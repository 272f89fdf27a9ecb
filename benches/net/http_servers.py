"""HTTP servers that answer every GET with a few bytes; each prints its port.

    python http_servers.py PEER

Those of `http.server` run the standard request handler, as it is ("closing": HTTP/1.0, a
connection for each request) or set to keep connections; those of `httptools` a parser in C, ours
in a loop that reads and writes a blocking socket; those on streams of asyncio and uvloop parse the
head themselves. `../http_server.py` and `../idle_connections.py` measure them.
"""

import asyncio
import http.server
import socket
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

LOCAL = ("127.0.0.1", 0)
BODY = b"hello, load\n"
ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
)


class Closing(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:
            pass  # the load has ended

    def log_message(self, format: str, *args: object) -> None:
        pass


class Plain(Closing):
    protocol_version = "HTTP/1.1"


class Keeping(Plain):
    wbufsize = -1  # one system call for head and body
    disable_nagle_algorithm = True


def serve(kind: Any, handler: type[Closing]) -> None:
    class Server(kind):  # type: ignore[misc]
        request_queue_size = 1024

    server = Server(LOCAL, handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()


def ours(handler: type[Closing]) -> None:
    from stackless.servers import TaskletHTTPServer

    serve(TaskletHTTPServer, handler)


def gevents(handler: type[Closing]) -> None:
    from gevent import monkey

    monkey.patch_all()
    serve(http.server.ThreadingHTTPServer, handler)


def threads(handler: type[Closing]) -> None:
    threading.stack_size(256 * 1024)
    serve(http.server.ThreadingHTTPServer, handler)


class Answers:
    """What httptools calls; `write` sends."""

    def __init__(self, write: Callable[[bytes], Any]) -> None:
        self.write = write

    def on_message_complete(self) -> None:
        self.write(ANSWER)


def loop_over_httptools() -> None:
    import httptools
    import stackless
    from stackless import socket as ours

    def talk(connection: Any) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        feed = httptools.HttpRequestParser(Answers(connection.sendall)).feed_data
        receive = connection.recv
        try:
            while data := receive(65536):
                feed(data)
        except ConnectionError:
            pass  # the load has ended
        finally:
            connection.close()

    def accept() -> None:
        while True:
            connection, _ = listener.accept()
            stackless.tasklet(talk)(connection)

    listener = ours.create_server(LOCAL, backlog=1024)
    print(listener.getsockname()[1], flush=True)
    stackless.tasklet(accept)()
    stackless.run()


class Protocol(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        import httptools

        self.feed = httptools.HttpRequestParser(Answers(transport.write)).feed_data

    def data_received(self, data: bytes) -> None:
        self.feed(data)


def uvloop_and_httptools() -> None:
    import uvloop

    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Protocol, *LOCAL, backlog=1024)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

    uvloop.run(main())


async def streams() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readline():
            headers = {}
            while (line := await reader.readline()) not in (b"\r\n", b""):
                name, _, value = line.decode("latin-1").partition(":")
                headers[name.lower()] = value.strip()
            writer.write(ANSWER)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, *LOCAL, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def uvloop_streams() -> None:
    import uvloop

    uvloop.run(streams())


#: What each peer does, and the packages that it needs.
Peers = dict[str, tuple[Callable[[], None], tuple[str, ...]]]
CLOSING: Peers = {
    "ours, closing": (partial(ours, Closing), ("stackless",)),
    "threads, closing": (partial(threads, Closing), ()),
    "gevent, closing": (partial(gevents, Closing), ("gevent",)),
}
KEEPING: Peers = {
    "ours": (partial(ours, Keeping), ("stackless",)),
    "threads": (partial(threads, Keeping), ()),
    "gevent": (partial(gevents, Keeping), ("gevent",)),
}
PARSER: Peers = {
    "ours, httptools": (loop_over_httptools, ("stackless", "httptools")),
    "uvloop, httptools": (uvloop_and_httptools, ("uvloop", "httptools")),
}
#: For many connections that are kept and idle.
IDLE: Peers = {
    "ours, idle": (partial(ours, Plain), ("stackless",)),
    "gevent, idle": (partial(gevents, Plain), ("gevent",)),
    "asyncio, idle": (lambda: asyncio.run(streams()), ()),
    "uvloop, idle": (uvloop_streams, ("uvloop",)),
    "threads, idle": (partial(threads, Plain), ()),
}

if __name__ == "__main__":
    (CLOSING | KEEPING | PARSER | IDLE)[sys.argv[1]][0]()
