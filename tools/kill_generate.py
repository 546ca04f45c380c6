"""Kills `taggen generate` at random moments, starts it again, and compares what comes out in the end.

    python tools/kill_generate.py --runs=100

Every run: one to three processes share a job; at a random moment all of them get SIGKILL; one to three others
go on, and are killed or, the last time, left alone. The files must then be byte-equal to those of a run that
nobody disturbed. A moment is a time since the start, or, every other time, a little after some shard was
committed. Prints one JSON line; exit status 1 if a run differed.
"""

import argparse
import collections
import json
import os
import pathlib
import random
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from tools.forked import finished, server, start

PRODUCTS, SHARD_ROWS = 240, 20
SHARDS = -(-(PRODUCTS + PRODUCTS // 10) // SHARD_ROWS)  # every tenth row is followed by a bad one


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--kills", type=int, default=2, help="in a run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workdir", type=pathlib.Path, help="a trained workdir; a tiny one is made without")
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = torture(pathlib.Path(folder), flags.runs, flags.kills, flags.seed, flags.workdir)
    print(json.dumps(result))
    sys.exit(result["equal"] != result["runs"])


def torture(
    folder: pathlib.Path, runs: int, kills: int, seed: int, workdir: pathlib.Path | None
) -> dict[str, object]:
    """What `main` prints: how many runs ended equal, how many kills there were, and what they met."""
    fork = server(folder, ["taggen_jax.generate"])
    catalog = folder / "catalog.jsonl"
    write_catalog(catalog)
    if workdir is None:
        workdir = folder / "workdir"
        finished(start(fork, make_workdir, folder, workdir))
    finished(start(fork, generate, workdir, catalog, folder / "straight"))  # compiles
    begin = time.monotonic()
    finished(start(fork, generate, workdir, catalog, folder / "again"))
    seconds = time.monotonic() - begin
    expected = contents(folder / "straight")
    assert expected == contents(folder / "again"), "two runs that nobody disturbed differ"

    chance, equal, killed, met = random.Random(seed), 0, 0, collections.Counter[str]()
    for run in range(runs):
        output = folder / f"run{run}"
        for kill in range(kills):
            count = chance.randint(1, 3)
            processes = [start(fork, generate, workdir, catalog, output) for _ in range(count)]
            if (run + kill) % 2:
                time.sleep(chance.uniform(0, seconds * max(1, count / (os.cpu_count() or 1))))
            else:
                wait_for(output, chance.randint(0, SHARDS), processes)
                time.sleep(chance.expovariate(SHARDS / seconds))
            killed += sum(process.is_alive() for process in processes)
            for process in processes:
                process.kill()
            for process in processes:
                process.join()
            met[stage(output)] += 1
        finished(*(start(fork, generate, workdir, catalog, output) for _ in range(chance.randint(1, 3))))
        equal += contents(output) == expected
        print(f"{equal} of {run + 1} runs equal", file=sys.stderr)
    return {"runs": runs, "equal": equal, "kills": killed, "met": dict(sorted(met.items())), "seed": seed}


def generate(workdir: pathlib.Path, catalog: pathlib.Path, output: pathlib.Path) -> None:
    from taggen_jax import generate as program

    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
        program.run(workdir, [str(catalog)], output, shard_rows=SHARD_ROWS)


def stage(output: pathlib.Path) -> str:
    """How far a job had come."""
    if (output / "manifest.json").exists():
        return "done"
    if not (output / "parts" / "plan.json").exists():
        return "before the plan"
    shards = committed(output)
    return "before the first shard" if not shards else "merging" if shards == SHARDS else "among shards"


def committed(output: pathlib.Path) -> int:
    try:
        names = os.listdir(output / "parts")
    except FileNotFoundError:  # not begun; or ended, a moment ago perhaps
        return 0
    return sum(name.removesuffix(".json").isdecimal() for name in names)


def wait_for(output: pathlib.Path, shards: int, processes) -> None:
    while committed(output) < shards and any(process.is_alive() for process in processes):
        time.sleep(0.001)


def contents(output: pathlib.Path) -> dict[str, bytes]:
    return {str(path.relative_to(output)): path.read_bytes() for path in output.rglob("*") if path.is_file()}


def write_catalog(path: pathlib.Path) -> None:
    """The demo catalog, with a row of rubbish or a repeated id after every tenth row."""
    from taggen_jax.catalog import demo

    demo.write(path, PRODUCTS)
    rows = path.read_bytes().splitlines()
    bad = [rows[number // 2] if number % 20 else b'{"id": ' for number in range(0, PRODUCTS, 10)]
    mixed = [
        line for number in range(0, PRODUCTS, 10) for line in (*rows[number : number + 10], bad[number // 10])
    ]
    path.write_bytes(b"\n".join(mixed) + b"\n")


def make_workdir(folder: pathlib.Path, workdir: pathlib.Path) -> None:
    """A tiny model, one step old: what it writes is nonsense, and depends on every weight."""
    from taggen_jax import prepare, train
    from taggen_jax.catalog import demo
    from taggen_jax.data.stream import StreamConfig
    from taggen_jax.data.tokenizer import TokenizerConfig
    from taggen_jax.decode.beam import DecodeConfig
    from taggen_jax.experiment import Experiment, GenerateConfig
    from taggen_jax.models.t5 import T5Config
    from taggen_jax.training.step import TrainConfig

    sizes = {
        "d_model": 16,
        "d_mlp": 32,
        "n_heads": 2,
        "head_dim": 8,
        "encoder_layers": 1,
        "decoder_layers": 1,
    }
    experiment = Experiment(
        text=("title", "category"),
        tokenizer=TokenizerConfig(vocab_size=800),
        stream=StreamConfig(source_length=24, target_length=40, batch_size=16),
        model=T5Config(vocab_size=800, **sizes),
        train=TrainConfig(steps=1),
        generate=GenerateConfig(batch_size=8, decode=DecodeConfig(beams=2, n_best=2, max_length=8)),
    )
    demo.write(folder / "training.jsonl", 200)
    prepare.run(experiment, folder / "data", input=[str(folder / "training.jsonl")])
    train.run(experiment, folder / "data", workdir)


if __name__ == "__main__":
    main()
