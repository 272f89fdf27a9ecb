"""A recursion that begins in one process and ends in another.

    python examples/migrate.py

starts a worker process that listens on the loopback interface. A tasklet computes a factorial here
until it is half way down its recursion; there it pauses. It is sent as data to the worker, which
continues it until its end, and sends the result back. The worker does not have the functions of the
tasklet: they are part of the data.

Unpickling runs code, so a worker must know the origin of what it loads. Both sides have keys: a
message that is not signed with one of them is refused before anything of it is unpickled, as is one
that is too large, damaged, or from another Python. The keys come from the environment variable
MIGRATE_KEYS, or from the file that MIGRATE_KEY_FILE names (it should have mode 600): one or more
hexadecimal keys with space between them. The first one signs, each of them is accepted. To change
keys without a pause, add the new key after the old one everywhere, then move it to the front
everywhere, then remove the old one.

Signatures do not encrypt, and an old message can be recorded and sent again: between machines, use
TLS.
"""

from __future__ import annotations

import os
import pickle
import secrets
import socket
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import stackless

#: Maximum size of a message in bytes, and maximum seconds to wait for the other side.
LARGEST = 1_000_000
PATIENCE = 10.0

# ------------------------------------------------------------------ the work


def factorial(n: int, resting_place: int) -> int:
    """Return n!; the tasklet pauses when `resting_place` levels are left."""
    if n == resting_place:
        print(f"process {os.getpid()}: at the call factorial({n})")
        stackless.schedule_remove()
        print(f"process {os.getpid()}: on from the call factorial({n})", flush=True)
    return 1 if n == 0 else n * factorial(n - 1, resting_place)


def work(n: int, results: list[int]) -> None:
    """Compute n!, and pause half way."""
    results.append(factorial(n, n // 2))


# ------------------------------------------------------------------ keys


def read_keys(environment: Mapping[str, str]) -> list[bytes]:
    """Return the keys, the one to sign with first; an empty list if the environment has none."""
    text = environment.get("MIGRATE_KEYS", "")
    if "MIGRATE_KEY_FILE" in environment:
        with open(environment["MIGRATE_KEY_FILE"], encoding="ascii") as file:
            text = file.read()
    return [bytes.fromhex(each) for each in text.split()]


# ------------------------------------------------------------------ the worker


def serve(keys: list[bytes]) -> None:
    """Answer one connection after the other. Prints the port on the first line."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        print(server.getsockname()[1], flush=True)
        while True:
            connection, _ = server.accept()
            connection.settimeout(PATIENCE)
            try:
                with connection, connection.makefile("rwb") as file:
                    stackless.dump(answer(file, keys), file, key=keys[0])
            except OSError as error:
                print(f"connection lost: {error}", file=sys.stderr)


def answer(file: Any, keys: list[bytes]) -> dict[str, Any]:
    """Run the received tasklet, and return the contents of its list at the end."""
    try:
        tasklet, results = stackless.load(file, key=keys, max_size=LARGEST)
    except (pickle.UnpicklingError, EOFError) as error:
        return {"refused": f"{type(error).__name__}: {error}"}
    tasklet.insert()
    stackless.run()
    return {"results": results}


# ------------------------------------------------------------------ the sender


def start_worker(keys: list[bytes]) -> tuple[subprocess.Popen[str], int]:
    """Start a worker; return the process and its port."""
    text = " ".join(key.hex() for key in keys)
    environment = {**os.environ, "MIGRATE_KEYS": text}
    environment.pop("MIGRATE_KEY_FILE", None)
    worker = subprocess.Popen(
        [sys.executable, __file__, "--worker"], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert worker.stdout is not None
    return worker, int(worker.stdout.readline())


def send(port: int, message: bytes, keys: list[bytes]) -> dict[str, Any]:
    """Send a blob to a worker; return its answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        connection.sendall(message)
        connection.shutdown(socket.SHUT_WR)
        with connection.makefile("rb") as file:
            reply: dict[str, Any] = stackless.load(file, key=keys, max_size=LARGEST)
            return reply


def main() -> None:
    """Begin the computation here, and let the worker end it."""
    keys = read_keys(os.environ) or [secrets.token_bytes(32)]
    worker, port = start_worker(keys)
    try:
        results: list[int] = []
        tasklet = stackless.tasklet(work)(900, results)
        stackless.run()
        message = stackless.dumps((tasklet, results), key=keys[0])
        print(f"process {os.getpid()}: {len(message)} bytes go to process {worker.pid}", flush=True)
        (found,) = send(port, message, keys)["results"]
    finally:
        worker.terminate()
        rest, _ = worker.communicate()
    print(rest, end="")
    print(f"process {os.getpid()}: 900! has {len(str(found))} digits; nothing was computed here:")
    print(f"    {results=}")


if __name__ == "__main__":
    if sys.argv[1:] == ["--worker"]:
        serve(read_keys(os.environ))
    else:
        main()
