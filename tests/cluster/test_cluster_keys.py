"""Keys and TLS: which hosts are let in, over which connections."""

import re
import subprocess
import sys

import cluster_programs as programs
import pytest
from distributed.security import Security
from sites import security, settings
from stackless import cluster
from test_cluster_tasklets import until

KEY = bytes(range(32))
OTHER = bytes(range(1, 33))


def names(c):
    return sorted(each.name for each in c.workers())


# ------------------------------------------------------------------ keys


def test_a_host_without_the_key_is_refused(site):
    there = site()
    there.worker("has-it", {"STACKLESS_CLUSTER_KEY": KEY.hex()})
    with cluster.connect(there.address, key=KEY, name="program") as c:
        until(lambda: names(c) == ["has-it"])
        assert c.spawn(programs.add, 1, 2).join(60) == 3
        there.worker("has-none")
        there.worker("has-another", {"STACKLESS_CLUSTER_KEY": OTHER.hex()})
        until(lambda: "has-none has no key" in there.logs())
        until(lambda: "has-another has another key" in there.logs())
        assert names(c) == ["has-it"]
        assert KEY.hex() not in there.logs()


def test_a_program_without_the_key_is_refused(site, monkeypatch):
    there = site()
    there.worker("one", {"STACKLESS_CLUSTER_KEY": KEY.hex()})
    code = """
import sys
from stackless import cluster
with cluster.connect(sys.argv[1], key=bytes.fromhex(sys.argv[2]), name="first") as c:
    print("ready", flush=True)
    sys.stdin.read()
"""
    first = subprocess.Popen(
        [sys.executable, "-c", code, there.address, KEY.hex()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert first.stdout.readline() == "ready\n"
        for key, why in (OTHER, "another key"), (None, "no key"):
            with pytest.raises(cluster.ClusterError, match=why):
                cluster.connect(there.address, key=key, name="second")
        monkeypatch.setenv("STACKLESS_CLUSTER_KEY", KEY.hex())
        with cluster.connect(there.address, name="third") as c:
            until(lambda: names(c) == ["one"])
            assert c.spawn(programs.add, 1, 2).join(60) == 3
    finally:
        first.communicate("")


@pytest.mark.parametrize("text", ["no hexadecimal", "00" * 31])
def test_a_key_in_the_environment_that_is_none(monkeypatch, text):
    monkeypatch.setenv("STACKLESS_CLUSTER_KEY", text)
    with pytest.raises(cluster.ClusterError, match="64 hexadecimal digits"):
        cluster.connect(workers=1)


def test_a_made_key_reaches_all(site):
    there = site()
    there.worker("early")
    with cluster.connect(there.address, name="program") as c:
        until(lambda: names(c) == ["early"])
        there.worker("late")
        until(lambda: names(c) == ["early", "late"])
        for each in names(c):
            assert c.spawn(programs.where, on=each).join(60) == each


# ------------------------------------------------------------------ TLS


def test_tls(site, certificates):
    there = site(protocol="tls", environment=settings(certificates, "one"))
    there.worker("one")
    there.worker("two")
    with cluster.connect(there.address, security=security(certificates), name="program") as c:
        assert re.match(r"tls://", c.address)
        until(lambda: names(c) == ["one", "two"])
        assert {each.address[:6] for each in c.workers()} == {"tls://"}
        workers = names(c)
        assert c.spawn(programs.factorial, 10, workers, on="one").join(60) == 3628800
        channel = c.channel(on="two")
        receiver = c.spawn(programs.receive_all, channel, on="two")
        c.spawn(programs.send_and_move, channel, list(range(12)), workers, on="one").join(60)
        channel.close()
        assert receiver.join(60) == list(range(12))


def test_strangers_are_not_let_in(site, certificates):
    there = site(protocol="tls", environment=settings(certificates, "one"))
    there.worker("one")
    strange = security(certificates, "stranger", "strange-ca")
    for each in strange, Security():
        address = there.address if each is strange else there.address.replace("tls", "tcp")
        with pytest.raises((OSError, RuntimeError)):
            cluster.connect(address, security=each, timeout=2)
