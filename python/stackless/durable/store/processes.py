"""How a process of this machine is told from all others, so that its end can be noticed."""

from __future__ import annotations

import os


def this_machine() -> str:
    """Return a name for the place where process numbers mean what they mean here.

    That is a machine since it was started, and its namespace of processes: a container has its own.
    """
    with open("/proc/sys/kernel/random/boot_id") as file:
        return f"{file.read().strip()} {os.readlink('/proc/self/ns/pid')}"


def process_began(pid: int) -> int | None:
    """Return when a process of this machine began, in clock ticks; None if there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])
