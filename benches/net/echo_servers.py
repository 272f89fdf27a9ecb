"""Echo servers. Each prints its port: python servers.py PEER"""

import asyncio
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any

LOCAL = ("127.0.0.1", 0)
MOST = 65536


def announce(port: int) -> None:
    print(port, flush=True)


def echo(connection: Any) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    receive, send = connection.recv, connection.sendall
    try:
        while data := receive(MOST):
            send(data)
            # The messages that a thousand waiting connections would keep do not fit into a cache.
            del data
    except ConnectionError:
        pass  # the load has ended
    finally:
        connection.close()


def in_tasklets(listener: socket.socket) -> None:
    import stackless

    def accept() -> None:
        while True:
            connection, _ = listener.accept()
            stackless.tasklet(echo)(connection)

    announce(listener.getsockname()[1])
    stackless.tasklet(accept)()
    stackless.run()


def ours() -> None:
    from stackless import socket as ours

    in_tasklets(ours.create_server(LOCAL, backlog=1024))


def patched() -> None:
    """The program for threads, on patched standard sockets."""
    from stackless import monkey

    monkey.patch_all()
    in_tasklets(socket.create_server(LOCAL, backlog=1024))


def threads() -> None:
    listener = socket.create_server(LOCAL, backlog=1024)
    announce(listener.getsockname()[1])
    threading.stack_size(256 * 1024)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=echo, args=(connection,), daemon=True).start()


def gevents() -> None:
    from gevent.server import StreamServer

    server = StreamServer(LOCAL, lambda connection, _: echo(connection), backlog=1024)
    server.start()
    announce(server.server_port)
    server.serve_forever()


async def streams() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(MOST):
                writer.write(data)
                del data
                await writer.drain()
        except ConnectionError:
            pass  # the load has ended
        writer.close()

    server = await asyncio.start_server(answer, *LOCAL, backlog=1024)
    announce(server.sockets[0].getsockname()[1])
    await server.serve_forever()


class Echo(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        self.write = transport.write

    def data_received(self, data: bytes) -> None:
        self.write(data)


async def protocol() -> None:
    server = await asyncio.get_running_loop().create_server(Echo, *LOCAL, backlog=1024)
    announce(server.sockets[0].getsockname()[1])
    await server.serve_forever()


def on_uvloop(main: Callable[[], Any]) -> None:
    import uvloop

    uvloop.run(main())


#: What each peer does, and the packages that it needs.
PEERS: dict[str, tuple[Callable[[], None], tuple[str, ...]]] = {
    "ours": (ours, ("stackless",)),
    "patched sockets": (patched, ("stackless",)),
    "threads": (threads, ()),
    "gevent": (gevents, ("gevent",)),
    "asyncio streams": (lambda: asyncio.run(streams()), ()),
    "uvloop streams": (lambda: on_uvloop(streams), ("uvloop",)),
    "uvloop protocol": (lambda: on_uvloop(protocol), ("uvloop",)),
}

if __name__ == "__main__":
    PEERS[sys.argv[1]][0]()
