"""Where the sockets of processes that serve explanations are, and which user may use them."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import struct
import tempfile

#: The size of the kernel's struct ucred.
_CREDENTIALS = struct.Struct("3i")


def directories() -> list[str]:
    """Return the directories of this user's sockets; new sockets are made in the first one."""
    places = []
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        places.append(os.path.join(runtime, "stackless"))
    places.append(os.path.join(tempfile.gettempdir(), f"stackless-{os.geteuid()}"))
    return places


def check_directory(path: str) -> None:
    """Raise PermissionError unless only this user has access to it, or FileNotFoundError."""
    status = os.lstat(path)
    if not stat.S_ISDIR(status.st_mode):
        raise PermissionError(f"{path} is not a directory")
    if status.st_uid != os.geteuid():
        raise PermissionError(f"{path} belongs to another user (uid {status.st_uid})")
    if status.st_mode & 0o077:
        mode = stat.S_IMODE(status.st_mode)
        raise PermissionError(f"{path} is open to others (its mode is {mode:03o}, not 700)")


def own_directory() -> str:
    """Return the directory for a new socket; it is made if it does not exist."""
    path = directories()[0]
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700)
    check_directory(path)
    return path


def peer(connection: socket.socket) -> tuple[int, int]:
    """Return the process id and the user id of the other end."""
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(data)
    return pid, uid


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it belongs to another user
    return True


def answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(path)
        except TimeoutError:
            return True  # it exists, but is too busy to accept
        except OSError:
            return False
        return True


def pids(directory: str) -> list[int]:
    """Return the ids of the processes that have a socket there, sorted."""
    names = [name.removesuffix(".sock") for name in os.listdir(directory) if name.endswith(".sock")]
    return sorted(int(name) for name in names if name.isdecimal())


def path_of(directory: str, pid: int) -> str:
    return os.path.join(directory, f"{pid}.sock")


def remove_stale(directory: str) -> None:
    """Remove the sockets of processes that no longer exist."""
    for pid in pids(directory):
        path = path_of(directory, pid)
        if not is_alive(pid) and not answers(path):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
