"""Kills `taggen train` at random moments, starts it again, and compares what comes out in the end.

    python tools/kill_train.py --runs=30 --kills=100
    python tools/kill_train.py --set=stream.batch_size=32 --set='train.unfreeze={"encoder": 10}'

The kills are dealt out to the runs. A moment is a time since the start, or, every other time, a little after
a save has begun. A run that nobody kills any more must end with the state's SHA-256 and the metrics.jsonl of
one that nobody ever killed. Dropout, packing, accumulation, shuffled tags, field dropout and a share of
denoising are on. Prints one JSON line; exit status 1 if a run differed.
"""

import argparse
import collections
import json
import os
import pathlib
import random
import shutil
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from tools.forked import finished, server, start

STEPS, EVERY = 60, 6
SIZES = {"d_model": 16, "d_mlp": 32, "n_heads": 2, "head_dim": 8, "encoder_layers": 1, "decoder_layers": 1}
SETTINGS = {
    "text": ["title", "category: {category}"],
    "tags": {"order": "shuffled"},
    "tokenizer": {"vocab_size": 800, "sentinels": 20},
    "stream": {
        "source_length": 48,
        "target_length": 80,
        "batch_size": 8,
        "packing": 3,
        "field_dropout": {"category": 0.2},
        "denoise": {"rate": 0.25},
    },
    "model": {"family": "t5", "vocab_size": 800, "dropout": 0.1, **SIZES},
    "train": {"steps": STEPS, "save_every": EVERY, "eval_every": 4 * EVERY, "accumulation": 2},
    "log": {"every": 7},  # windows that straddle checkpoints
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--kills", type=int, default=100, help="in all runs together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--set", action="append", default=[], metavar="FIELD=JSON", help="a setting; repeatable"
    )
    flags = parser.parse_args()
    for setting in flags.set:
        change(SETTINGS, *setting.split("=", 1))
    with tempfile.TemporaryDirectory() as folder:
        result = torture(pathlib.Path(folder), flags.runs, flags.kills, flags.seed)
    print(json.dumps(result))
    sys.exit(result["equal"] != result["runs"])


def change(settings: dict, field: str, value: str) -> None:
    *path, name = field.split(".")
    for part in path:
        settings = settings.setdefault(part, {})
    settings[name] = json.loads(value)


def torture(folder: pathlib.Path, runs: int, kills: int, seed: int) -> dict[str, object]:
    """What `main` prints: how many runs ended equal, and what the kills met."""
    fork = server(folder, ["taggen_jax.prepare", "taggen_jax.train"])
    finished(start(fork, prepare, folder))
    finished(start(fork, train, folder, "straight"))  # compiles
    begin = time.monotonic()
    finished(start(fork, train, folder, "again"))
    seconds = time.monotonic() - begin
    expected = outcome(folder / "straight")
    assert expected == outcome(folder / "again"), "two runs that nobody disturbed differ"

    chance, equal, met = random.Random(seed), 0, collections.Counter[str]()
    for run in range(runs):
        name = f"run{run}"
        for kill in range(kills * run // runs, kills * (run + 1) // runs):
            process = start(fork, train, folder, name)
            if kill % 2:
                time.sleep(chance.uniform(0, seconds))
            else:
                wait_for_a_save(folder / name, process)
                time.sleep(chance.uniform(0, 0.03))
            met[stage(folder / name, process.is_alive())] += 1  # "done" is no kill
            process.kill()
            process.join()
        finished(start(fork, train, folder, name))
        equal += outcome(folder / name) == expected
        shutil.rmtree(folder / name)
        print(f"{equal} of {run + 1} runs equal", file=sys.stderr)
    killed = met.total() - met["done"]
    return {"runs": runs, "equal": equal, "kills": killed, "met": dict(sorted(met.items())), "seed": seed}


def saving(workdir: pathlib.Path) -> set[str]:
    """The temporary folders of saves in progress: those that a killed run left among them."""
    return {path.name for path in workdir.glob("checkpoints/*tmp*")}


def wait_for_a_save(workdir: pathlib.Path, process) -> None:
    """Returns when a save begins that was not there before, or the process has ended."""
    before = saving(workdir)
    while process.is_alive() and not saving(workdir) - before:
        before &= saving(workdir)  # a run deletes what the one before left, and may use its name again
        time.sleep(0.001)


def stage(workdir: pathlib.Path, alive: bool) -> str:
    """What a kill at this moment meets."""
    if not alive:
        return "done"
    if saving(workdir):
        return "in a save"
    return "between saves" if list(workdir.glob("checkpoints/[0-9]*")) else "before a save"


def outcome(workdir: pathlib.Path) -> tuple[str, bytes]:
    summary = json.loads((workdir / "summary.json").read_text())
    return summary["state_sha256"], (workdir / "metrics.jsonl").read_bytes()


def experiment():
    from taggen_jax import experiment

    return experiment.parse(SETTINGS)


def prepare(folder: pathlib.Path) -> None:
    from taggen_jax import prepare
    from taggen_jax.catalog import demo

    demo.write(folder / "catalog.jsonl", 200)
    prepare.run(experiment(), folder / "data", input=[str(folder / "catalog.jsonl")])


def train(folder: pathlib.Path, name: str) -> None:
    from taggen_jax import train

    with open(os.devnull, "w") as nowhere:
        sys.stdout = nowhere
        train.run(experiment(), folder / "data", folder / name)


if __name__ == "__main__":
    main()
