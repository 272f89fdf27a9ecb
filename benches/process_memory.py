"""The memory that a process uses, as the system shows it."""


def kernel_stacks() -> int:
    """Bytes of the stacks that the kernel has for all threads of the machine: 16 KiB for each."""
    with open("/proc/meminfo") as sizes:
        return next(int(line.split()[1]) for line in sizes if line.startswith("KernelStack")) * 1024


def memory(process: int | str = "self") -> tuple[int, int]:
    """Bytes of resident memory and of page tables of a process: its id, or "self"."""
    with open(f"/proc/{process}/status") as status:
        sizes = dict(line.split(":", 1) for line in status)
    rss, pte = (int(sizes[name].split()[0]) * 1024 for name in ("VmRSS", "VmPTE"))
    return rss, pte
