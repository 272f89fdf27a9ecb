"""A recursion that goes down in one process and comes back up in another.

    python examples/migrate.py

starts a worker process that listens on the loopback interface. A tasklet computes a factorial here
until it is half way down its recursion; there it rests. It is sent as data to the worker, which
goes on with it, all the way up, and sends the result back. The worker has never seen its functions:
they travel along.

Unpickling runs code, so a worker must know who sent what it loads. Both sides have keys, and what
is not signed with one of them is refused before anything of it is unpickled; so is what is too
large, damaged, or from another Python. The keys come from the environment variable MIGRATE_KEYS, or
from the file that MIGRATE_KEY_FILE names (mode 600, please): hexadecimal, one key or more with
space between them. The first one signs, each of them is accepted. To change keys without a pause,
add the new key behind the old one everywhere, then move it to the front everywhere, then take the
old one away.

Signatures do not keep secrets, and an old message can be sent again by who has heard it: across
machines, send this through TLS.
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

#: Bytes of the largest message that is accepted, and seconds that the other side may be silent.
LARGEST = 1_000_000
PATIENCE = 10.0

# ------------------------------------------------------------------ the work


def factorial(n: int, resting_place: int) -> int:
    """n!, with a rest when there are `resting_place` levels left to go down."""
    if n == resting_place:
        print(f"process {os.getpid()}: at the call factorial({n})")
        stackless.schedule_remove()
        print(f"process {os.getpid()}: on from the call factorial({n})", flush=True)
    return 1 if n == 0 else n * factorial(n - 1, resting_place)


def work(n: int, results: list[int]) -> None:
    """Compute n!, and rest half way."""
    results.append(factorial(n, n // 2))


# ------------------------------------------------------------------ keys


def read_keys(environment: Mapping[str, str]) -> list[bytes]:
    """The keys, the one to sign with first; none if the environment does not mention any."""
    text = environment.get("MIGRATE_KEYS", "")
    if "MIGRATE_KEY_FILE" in environment:
        with open(environment["MIGRATE_KEY_FILE"], encoding="ascii") as file:
            text = file.read()
    return [bytes.fromhex(each) for each in text.split()]


# ------------------------------------------------------------------ the worker


def serve(keys: list[bytes]) -> None:
    """Answer one connection after the other. The port is printed on the first line."""
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
    """Run the tasklet that arrives, and return what its list then holds."""
    try:
        tasklet, results = stackless.load(file, key=keys, max_size=LARGEST)
    except (pickle.UnpicklingError, EOFError) as error:
        return {"refused": f"{type(error).__name__}: {error}"}
    tasklet.insert()
    stackless.run()
    return {"results": results}


# ------------------------------------------------------------------ the sender


def start_worker(keys: list[bytes]) -> tuple[subprocess.Popen[str], int]:
    """A new worker process and its port."""
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
    """Go down here, come up there."""
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
