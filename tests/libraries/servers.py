"""Starts real servers for tests, each in a directory and with a port of its own, on loopback.

`make lab` installs the programs. Without one, the tests that need it are skipped.
"""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

#: Seconds until a server must accept connections.
PATIENCE = 60


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def program(name, *folders):
    """The path of a program of a server; skips the test without it."""
    found = shutil.which(name, path=os.pathsep.join([*map(str, folders), os.environ["PATH"]]))
    if found is None:
        pytest.skip(f"there is no {name} here: `make lab` installs it")
    return found


def unprivileged():
    """The user that PostgreSQL runs as, since it refuses to run as root: arguments of Popen."""
    if os.getuid() != 0:
        return {}
    user = pwd.getpwnam("postgres")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def wait_for(port, server, written):
    """Wait until a server accepts connections; `written` returns its log, for the error."""
    end = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if server.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"the server did not start:\n{written()[-2000:]}")
        time.sleep(0.05)


@contextlib.contextmanager
def running(command, port, *, stop=signal.SIGTERM, **options):
    """Run a server until the end of the block; it is ready when its port accepts connections."""
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(
            command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, **options
        )

        def written():
            log.seek(0)
            return log.read().decode()

        try:
            wait_for(port, server, written)
            yield server
        finally:
            server.send_signal(stop)
            server.wait(PATIENCE)


@contextlib.contextmanager
def redis():
    """Redis; gives its port."""
    server, port = program("redis-server"), free_port()
    with tempfile.TemporaryDirectory() as folder:
        options = ["--bind", "127.0.0.1", "--port", str(port), "--dir", folder, "--save", ""]
        with running([server, *options], port):
            yield port


class PostgreSQL:
    """A cluster in a folder, with room for 300 connections. User and database: postgres."""

    def __init__(self, folder, port=None):
        folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
        initdb, self._server = program("initdb", *folders), program("postgres", *folders)
        self._is_ready = program("pg_isready", *folders)
        self._user = unprivileged()
        self._data = os.path.join(folder, "data")
        self.port = port or free_port()
        os.mkdir(self._data, 0o700)
        if self._user:
            os.chmod(folder, 0o755)
            os.chown(self._data, self._user["user"], self._user["group"])
        make = [initdb, "--pgdata", self._data, "--username", "postgres", "--auth", "trust"]
        subprocess.run([*make, "--no-sync"], check=True, capture_output=True, cwd="/", **self._user)

    @contextlib.contextmanager
    def running(self, *settings):
        """Run the server until the end of the block."""
        options = ["-D", self._data, "-h", "127.0.0.1", "-p", str(self.port), "-k", ""]
        options += ["-c", "max_connections=300", "-c", "fsync=off", *settings]
        # SIGINT is its fast shutdown: connections that are still open do not delay it.
        command = [self._server, *options]
        with running(command, self.port, stop=signal.SIGINT, cwd="/", **self._user):
            end = time.monotonic() + PATIENCE
            ask = [self._is_ready, "-q", "-h", "127.0.0.1", "-p", str(self.port)]
            while subprocess.run(ask).returncode:  # it refuses what comes while it starts
                if time.monotonic() > end:
                    raise RuntimeError("PostgreSQL does not answer")
                time.sleep(0.05)
            yield


@contextlib.contextmanager
def postgresql():
    """PostgreSQL; gives its port."""
    with tempfile.TemporaryDirectory(prefix="postgresql") as folder:
        server = PostgreSQL(folder)
        with server.running():
            yield server.port


@contextlib.contextmanager
def mariadb():
    """MariaDB with room for 300 connections; gives its port. User: lab, database: lab."""
    make, server, port = (
        program("mariadb-install-db"),
        program("mariadbd", "/usr/sbin"),
        free_port(),
    )
    user = ["--user=root"] if os.getuid() == 0 else []
    with tempfile.TemporaryDirectory(prefix="mariadb") as folder:
        data = os.path.join(folder, "data")
        start = os.path.join(folder, "start.sql")
        statements = ["create database lab", "create user lab@localhost"]
        statements.append("grant all on lab.* to lab@localhost")
        Path(start).write_text(";\n".join([*statements, ""]))
        made = [
            make,
            "--no-defaults",
            f"--datadir={data}",
            "--auth-root-authentication-method=normal",
        ]
        subprocess.run([*made, "--skip-test-db", *user], check=True, capture_output=True)
        options = [f"--datadir={data}", f"--port={port}", "--bind-address=127.0.0.1", *user]
        options += [f"--socket={folder}/socket", "--max-connections=300", f"--init-file={start}"]
        with running([server, "--no-defaults", *options], port):
            yield port


@contextlib.contextmanager
def rabbitmq():
    """RabbitMQ, with a name server of its own; gives its port. User: guest."""
    folders = ["/usr/lib/rabbitmq/bin", "/usr/sbin"]
    server, names = program("rabbitmq-server", *folders), program("epmd")
    port, name_port = free_port(), free_port()
    with tempfile.TemporaryDirectory(prefix="rabbitmq") as folder:
        Path(folder, "plugins").write_text("[].")
        environment = {
            **os.environ,
            "HOME": folder,
            "ERL_EPMD_PORT": str(name_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"lab{port}@localhost",
            "RABBITMQ_NODE_PORT": str(port),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": f"{folder}/data",
            "RABBITMQ_LOG_BASE": f"{folder}/log",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/plugins",
        }
        with (
            running([names], name_port, env=environment),
            running([server], port, env=environment, cwd=folder),
        ):
            yield port
