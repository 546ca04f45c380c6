"""One model over several processes: they answer as one process does, and stop together.

Two processes compile for themselves, so without TAGGEN_EVERY_MESH=1 only the first case runs.
"""

import dataclasses
import json
import os
import pathlib
import signal
import time

import pytest

from taggen_jax import evaluate, generate
from taggen_jax.parallel.lead import Lead
from taggen_jax.signals import Stop
from tests.programs.launched import children, ended, launch

CUT = ["--config.mesh.fsdp=2", "--config.mesh.tensor=2"]  # fsdp between the processes, tensor within
SHARDS = 100  # of SHARD products, which take long enough to be told to stop
SHARD = 32
long = pytest.mark.skipif("TAGGEN_EVERY_MESH" not in os.environ, reason="needs TAGGEN_EVERY_MESH=1")


@dataclasses.dataclass(frozen=True)
class Runs:
    """Starts verbs on the trained workdir."""

    folder: pathlib.Path
    workdir: pathlib.Path
    running: list

    def start(self, verb: str, *flags: str):
        self.running.append(
            launch(self.folder, 2, [verb, f"--workdir={self.workdir}", *CUT, *map(str, flags)])
        )
        return self.running[-1]


@pytest.fixture(scope="module")
def runs(trained, tmp_path_factory):
    runs = Runs(tmp_path_factory.mktemp("led"), trained.workdir, [])
    yield runs
    for process in runs.running:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def lines(folder: pathlib.Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]


def assert_equal(rows: list[dict], others: list[dict]) -> None:
    """But for the last digits of scores: two devices add up in another order than one."""
    assert [row | {"scores": 0} for row in rows] == [row | {"scores": 0} for row in others]
    for row, other in zip(rows, others, strict=True):
        assert row["scores"] == pytest.approx(other["scores"], abs=1e-5)


def test_two_processes_generate_as_one(runs, trained, tmp_path):
    few = tmp_path / "few.jsonl"
    few.write_text("".join(trained.catalog.read_text().splitlines(keepends=True)[:40]))
    flags = [f"--input={few}", f"--output={tmp_path / 'led'}", "--shard_rows=24"]  # two batches, then one
    status, out, error = ended(runs.start("generate", *flags))
    assert status == 0, error
    assert out.count("40 products tagged") == error.count("programs compiled") == 1  # only the first one's
    generate.run(trained.workdir, [str(few)], tmp_path / "alone", shard_rows=24)
    assert_equal(lines(tmp_path / "led"), lines(tmp_path / "alone"))


@long
def test_two_processes_evaluate_as_one(runs, trained, tmp_path):
    status, out, error = ended(
        runs.start("evaluate", f"--data={trained.data}", f"--output={tmp_path / 'led'}")
    )
    assert status == 0, error
    assert out.count("gold tags hit at least once") == 1  # only the first one prints
    metrics = evaluate.run(trained.workdir, trained.data, output=tmp_path / "alone")
    assert json.loads((tmp_path / "led" / "metrics.json").read_text()) == pytest.approx(metrics, abs=1e-5)


@long
@pytest.mark.parametrize("number", [0, 1])
def test_told_by_one_both_give_the_shard_up(runs, trained, tmp_path, number):
    many, output = tmp_path / "many.jsonl", tmp_path / "out"
    products = [{"id": i, "title": f"kettle {i % 50}"} for i in range(SHARDS * SHARD)]
    many.write_text("\n".join(map(json.dumps, products)))
    run = runs.start("generate", f"--input={many}", f"--output={output}", f"--shard_rows={SHARD}")
    while not (output / "parts" / "00001.json").exists():
        assert run.poll() is None, ended(run)
        time.sleep(0.001)
    os.kill(children(run)[number], signal.SIGTERM)
    status, _, error = ended(run)
    assert status == 143, error
    left = [path.name for path in (output / "parts").iterdir()]
    committed = {name.partition(".")[0] for name in left if name.endswith(".json")} - {"plan"}
    assert 2 <= len(committed) < SHARDS and not [name for name in left if name.startswith(".")]
    assert generate.run(trained.workdir, [str(many)], output, shard_rows=SHARD) == SHARDS * SHARD


@long
def test_what_fails_in_the_first_process_ends_both(runs, trained, tmp_path):
    flags = [f"--input={trained.catalog}", f"--output={tmp_path / 'out'}", f"--previous={tmp_path / 'none'}"]
    status, _, error = ended(runs.start("generate", *flags))
    assert status == 2
    assert "none/manifest.json: the manifest of the previous job is missing" in error
    assert "process 0 has failed, see what it says" in error


def test_one_process_shares_with_nobody():
    batches = [{"source": 1}, {"source": 2}]  # no arrays: nothing is sent
    with Stop() as stop, Lead(stop) as lead:
        assert list(lead.share(batches)) == batches
