"""Where the sockets of explained processes are, and who may use them."""

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
    """Where this user's sockets may be; new ones are made in the first."""
    places = []
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        places.append(os.path.join(runtime, "stackless"))
    places.append(os.path.join(tempfile.gettempdir(), f"stackless-{os.geteuid()}"))
    return places


def check_directory(path: str) -> None:
    """Raises PermissionError unless the directory is this user's alone, FileNotFoundError."""
    status = os.lstat(path)
    if not stat.S_ISDIR(status.st_mode):
        raise PermissionError(f"{path} is not a directory")
    if status.st_uid != os.geteuid():
        raise PermissionError(f"{path} belongs to another user (uid {status.st_uid})")
    if status.st_mode & 0o077:
        mode = stat.S_IMODE(status.st_mode)
        raise PermissionError(f"{path} is open to others (its mode is {mode:03o}, not 700)")


def own_directory() -> str:
    """The directory for a new socket, made if need be."""
    path = directories()[0]
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700)
    check_directory(path)
    return path


def peer(connection: socket.socket) -> tuple[int, int]:
    """Process and user at the other end."""
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(data)
    return pid, uid


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's
    return True


def answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(path)
        except TimeoutError:
            return True  # too busy to say so
        except OSError:
            return False
        return True


def pids(directory: str) -> list[int]:
    """The processes that have a socket there."""
    names = [name.removesuffix(".sock") for name in os.listdir(directory) if name.endswith(".sock")]
    return sorted(int(name) for name in names if name.isdecimal())


def path_of(directory: str, pid: int) -> str:
    return os.path.join(directory, f"{pid}.sock")


def remove_stale(directory: str) -> None:
    """Removes the sockets that processes have left behind which are no more."""
    for pid in pids(directory):
        path = path_of(directory, pid)
        if not is_alive(pid) and not answers(path):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
