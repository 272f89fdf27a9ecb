"""Runs each peer of a benchmark in its own process: the file measures itself with `--peer NAME`."""

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import peers

Figures = dict[str, float]


def best(
    file: str, runs: Mapping[str, tuple[Any, str | None]], arguments: list[str], rounds: int
) -> dict[str, Figures]:
    """Return the smallest of each figure that a peer prints as JSON. Peers take turns.

    `runs` has the function of each peer, and the package that it needs.
    """
    found: dict[str, list[Figures]] = {}
    for _ in range(rounds):
        for peer, (_, needs) in runs.items():
            if peers.missing(needs):
                continue
            command = [sys.executable, file, "--peer", peer, *arguments]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found.setdefault(peer, []).append(json.loads(done.stdout))
    return {
        peer: {name: min(result[name] for result in results) for name in results[0]}
        for peer, results in found.items()
    }
