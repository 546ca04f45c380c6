"""Benchmarks in turns: every program in a process of its own, one after another, round after round."""

import json
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any


def in_turns(commands: Mapping[str, Sequence[str]], rounds: int, figure: str) -> dict[str, Any]:
    """Medians over the rounds, ratios of the first program's to the others', and what each round gave.

    Args:
      commands: for each name, a Python script and its arguments; the last line it prints is JSON and holds
        {figure: {"median": ..}}, and perhaps "peak_rss_mib". The first one is ours.
      rounds: how often each has its turn.
      figure: "examples_per_s", for instance; the larger, the better.
    """
    rates: dict[str, list[float]] = {name: [] for name in commands}
    peaks: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            printed = subprocess.run(
                [sys.executable, *command], check=True, stdout=subprocess.PIPE, text=True
            )
            last = json.loads(printed.stdout.splitlines()[-1])
            rates[name].append(last[figure]["median"])
            peaks[name].append(last.get("peak_rss_mib", 0.0))
    median = {name: statistics.median(of) for name, of in rates.items()}
    ours, *peers = commands
    return {
        figure: median,
        "ratio": {name: median[ours] / median[name] for name in peers},
        "peak_rss_mib": {name: round(max(of)) for name, of in peaks.items()},
        "rounds": rates,
    }
