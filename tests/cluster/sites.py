"""Clusters whose scheduler and workers are processes of their own, as on other machines."""

import json
import os
import subprocess
import sys

from distributed.security import Security
from test_cluster_tasklets import until


class Site:
    """A scheduler and workers, each a process with its own environment, as on other machines."""

    def __init__(self, folder, protocol="tcp", environment=(), prefix=(), host="127.0.0.1"):
        self.processes = []
        self.environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        self.environment.pop("STACKLESS_CLUSTER_KEY", None)
        self.environment.update(environment)
        self.file = folder / "scheduler.json"
        options = {"protocol": protocol, "port": 0, "scheduler_file": str(self.file)}
        options.update(dashboard=False, dashboard_address=f"{host}:0")
        self.start("Scheduler", {"host": host, **options}, [], prefix=prefix)
        until(lambda: self.file.exists() and self.file.read_text().endswith("}"))
        self.address = json.loads(self.file.read_text())["address"]

    def start(self, kind, options, arguments, environment=(), prefix=()):
        spec = json.dumps({"cls": f"distributed.{kind}", "opts": options})
        command = [*prefix, sys.executable, "-m", "dask", "spec", *arguments, "--spec", spec]
        log = open(f"{self.file}.{len(self.processes)}.log", "w")
        process = subprocess.Popen(
            command, env={**self.environment, **dict(environment)}, stdout=log, stderr=log
        )
        log.close()
        self.processes.append(process)

    def worker(self, name, environment=(), prefix=(), host="127.0.0.1"):
        options = {"name": name, "nthreads": 1, "memory_limit": 0, "host": host}
        options.update(dashboard=False, dashboard_address=f"{host}:0")
        self.start("Worker", options, [self.address], environment, prefix)

    def logs(self):
        return "".join(
            each.read_text() for each in sorted(self.file.parent.glob("scheduler.json.*.log"))
        )

    def close(self):
        for each in self.processes:
            each.kill()
        for each in self.processes:
            each.wait(60)


def settings(folder, who):
    """What Dask reads of TLS from the environment."""
    prefix = "DASK_DISTRIBUTED__COMM__TLS__"
    return {
        f"{prefix}CA_FILE": str(folder / "ca.pem"),
        "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "true",
        **{
            f"{prefix}{each}__{part}": str(folder / f"{who}.pem")
            for each in ("SCHEDULER", "WORKER", "CLIENT")
            for part in ("CERT", "KEY")
        },
    }


def security(folder, who="one", ca="ca"):
    file = str(folder / f"{who}.pem")
    return Security(
        tls_ca_file=str(folder / f"{ca}.pem"),
        tls_client_cert=file,
        tls_client_key=file,
        require_encryption=True,
    )
