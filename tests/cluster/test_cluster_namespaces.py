"""Two hosts with networks of their own (namespaces of Linux), over TLS. Needs root."""

import contextlib
import math
import os
import shutil
import subprocess

import cluster_programs as programs
import pytest
from sites import security, settings
from stackless import cluster
from test_cluster_tasklets import until

NET = "10.213.77"


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


@contextlib.contextmanager
def namespaces(count):
    """Namespaces in one bridged network, in which this process has the address NET.1."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root, and the command ip (iproute2)")
    tag = f"slc{os.getpid() % 100000}"
    names = [f"{tag}n{n}" for n in range(count)]
    try:
        try:
            ip("link", "add", tag, "type", "bridge")
            ip("addr", "add", f"{NET}.1/24", "dev", tag)
            ip("link", "set", tag, "up")
            for n, name in enumerate(names):
                ip("netns", "add", name)
                ip(
                    "link",
                    "add",
                    f"{tag}v{n}",
                    "type",
                    "veth",
                    "peer",
                    "name",
                    "eth0",
                    "netns",
                    name,
                )
                ip("link", "set", f"{tag}v{n}", "master", tag, "up")
                ip("-n", name, "addr", "add", f"{NET}.{n + 2}/24", "dev", "eth0")
                ip("-n", name, "link", "set", "eth0", "up")
                ip("-n", name, "link", "set", "lo", "up")
        except subprocess.CalledProcessError as error:
            pytest.skip(f"this system makes no network namespaces: {error.stderr.strip()}")
        yield [(["ip", "netns", "exec", name], f"{NET}.{n + 2}") for n, name in enumerate(names)]
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)
        subprocess.run(["ip", "link", "del", tag], capture_output=True)


def test_two_hosts_with_tls(site, certificates):
    environment = settings(certificates, "one")
    with namespaces(2) as ((prefix, first), (other_prefix, second)):
        there = site(protocol="tls", environment=environment, prefix=prefix, host=first)
        there.worker("one", prefix=prefix, host=first)
        there.worker("two", prefix=other_prefix, host=second)
        with cluster.connect(there.address, security=security(certificates), name="here") as c:
            until(lambda: sorted(each.name for each in c.workers()) == ["one", "two"])
            assert {each.address.rpartition(":")[0] for each in c.workers()} == {
                f"tls://{first}",
                f"tls://{second}",
            }
            workers = ["one", "two", "here"]
            assert c.spawn(programs.factorial, 20, workers).join(60) == math.factorial(20)
            for home in workers:
                channel = c.channel(capacity=3, on=home)
                receiver = c.spawn(programs.receive_and_move, channel, workers, on="two")
                c.spawn(programs.send_and_move, channel, range(30), workers, on="one").join(60)
                channel.close()
                assert receiver.join(60) == list(range(30))
        there.close()
