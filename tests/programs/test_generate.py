"""A job of generation: shards change nothing, and neither does any way to interrupt it."""

import collections
import dataclasses
import json
import os
import pathlib
import resource
import shutil
import signal
import threading
import time

import pyarrow.parquet
import pytest

from taggen_jax import calibrate, evaluate, generate
from taggen_jax.batch.reuse import earlier
from taggen_jax.data.tokenizer import Tokenizer
from taggen_jax.decode.beam import DecodeConfig
from taggen_jax.decode.inclusion import SelectConfig
from taggen_jax.errors import UserError
from taggen_jax.main import main
from tests.programs.conftest import EXPERIMENT
from tools import kill_generate


@pytest.fixture(scope="module")
def catalog(tmp_path_factory) -> pathlib.Path:
    """Good rows, bad rows and repeated ids."""
    path = tmp_path_factory.mktemp("catalog") / "catalog.jsonl"
    kill_generate.write_catalog(path)
    return path


@pytest.fixture(scope="module")
def straight(trained, catalog, tmp_path_factory) -> dict[str, bytes]:
    """The files of a run that nobody disturbed, in one shard."""
    output = tmp_path_factory.mktemp("straight")
    generate.run(trained.workdir, [str(catalog)], output)
    return kill_generate.contents(output)


def rows(output) -> dict[str, bytes]:
    """The files of rows: what the manifest says differs with the size of a shard."""
    contents = kill_generate.contents(output)
    assert set(contents) == {"predictions.jsonl", "quarantine.jsonl", "manifest.json"}
    return {name: contents[name] for name in ("predictions.jsonl", "quarantine.jsonl")}


def test_the_cut_into_shards_changes_no_byte(trained, catalog, straight, tmp_path):
    """So a product's row depends on no neighbour, and on no place in a batch."""
    generate.run(trained.workdir, [str(catalog)], tmp_path, shard_rows=37)
    assert rows(tmp_path).items() <= straight.items()


def test_every_row_of_the_input_is_accounted_for(catalog, straight):
    manifest = json.loads(straight["manifest.json"])
    counts = [(shard["products"], sum(shard["quarantined"].values())) for shard in manifest["shards"]]
    lines = len(catalog.read_text().splitlines())
    cut = straight["predictions.jsonl"].count(b'"truncated": true')
    assert sum(shard["truncated"] for shard in manifest["shards"]) == cut > 0
    assert [sum(column) for column in zip(*counts, strict=True)] == [
        straight["predictions.jsonl"].count(b"\n"),
        straight["quarantine.jsonl"].count(b"\n"),
    ]
    assert sum(map(sum, counts)) == lines == manifest["plan"]["files"][0][1]


def test_starting_spells_every_tag_once(trained, tmp_path, monkeypatch):
    spelled, encode_tag = collections.Counter(), Tokenizer.encode_tag

    def counting(self, tag):
        spelled[tag] += 1
        return encode_tag(self, tag)

    monkeypatch.setattr(Tokenizer, "encode_tag", counting)
    (tmp_path / "one.jsonl").write_text('{"id": 1, "title": "kettle"}')
    generate.run(trained.workdir, [str(tmp_path / "one.jsonl")], tmp_path / "out")
    assert len(spelled) > 1 and set(spelled.values()) == {1}


def test_bad_rows_alone_make_empty_predictions(trained, tmp_path):
    (tmp_path / "bad.jsonl").write_text("{\n{\n")
    assert generate.run(trained.workdir, [str(tmp_path / "bad.jsonl")], tmp_path / "out", shard_rows=1) == 0
    assert not (tmp_path / "out" / "predictions.jsonl").read_bytes()
    assert (tmp_path / "out" / "quarantine.jsonl").read_bytes().count(b"\n") == 2


def test_killed_and_started_again_equals_never_killed(trained, tmp_path):
    result = kill_generate.torture(tmp_path, runs=1, kills=3, seed=1, workdir=trained.workdir)
    assert result["equal"] == result["runs"] == 1


def test_sigterm_gives_the_shard_up_and_says_143(trained, catalog, straight, tmp_path):
    def send() -> None:
        while not (tmp_path / "parts" / "00001.json").exists():
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    sender = threading.Thread(target=send)
    sender.start()
    with pytest.raises(SystemExit) as stopped:
        generate.run(trained.workdir, [str(catalog)], tmp_path, shard_rows=20)
    sender.join()
    assert stopped.value.code == 143 and signal.getsignal(signal.SIGTERM) is before
    assert not (tmp_path / "manifest.json").exists()
    assert not [path for path in (tmp_path / "parts").iterdir() if path.name.startswith(".")]
    generate.run(trained.workdir, [str(catalog)], tmp_path, shard_rows=20)
    assert rows(tmp_path).items() <= straight.items()


def test_a_full_disk_is_named_and_leaves_nothing_half_written(trained, catalog, straight, tmp_path, capsys):
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    arguments = [f"--workdir={trained.workdir}", f"--input={catalog}", f"--output={tmp_path}"]
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(straight["predictions.jsonl"]) - 1, limit[1]))
    try:
        with pytest.raises(SystemExit) as stopped:
            main(["generate", *arguments])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and error.splitlines()[-1].startswith("taggen: error: ")
    assert "/parts/00000." in error  # the first file that is larger than the job's settings in the manifest
    assert "jsonl: File too large; check the path, its permissions and the free space" in error
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {"claims", "plan.json"}
    with pytest.raises(SystemExit) as stopped:
        main(["generate", *arguments])
    assert stopped.value.code == 0 and kill_generate.contents(tmp_path) == straight


def test_a_job_is_not_continued_with_other_settings(trained, catalog, straight, tmp_path):
    for name, content in straight.items():
        (tmp_path / name).write_bytes(content)
    search = DecodeConfig(beams=3, n_best=2, max_length=8)
    experiment = dataclasses.replace(
        EXPERIMENT, generate=dataclasses.replace(EXPERIMENT.generate, decode=search)
    )
    with pytest.raises(UserError, match=r"other settings \(settings\.generate\.decode\.beams: 2 -> 3\)"):
        generate.run(trained.workdir, [str(catalog)], tmp_path, experiment=experiment)
    other = tmp_path / "catalog.jsonl"
    other.write_bytes(catalog.read_bytes() + b"\n")
    with pytest.raises(UserError, match=r"input\..*catalog\.jsonl: \w{12} -> nothing"):
        generate.run(trained.workdir, [str(other)], tmp_path)


@pytest.mark.parametrize("format", ["jsonl", "parquet"])
def test_what_is_taken_from_an_earlier_job_equals_a_full_run(trained, catalog, tmp_path, format, monkeypatch):
    generate.run(trained.workdir, [str(catalog)], tmp_path / "before", format=format)
    lines = catalog.read_bytes().splitlines()
    lines[3:5] = [lines[4], lines[3].replace(b'"title": "', b'"title": "old ')]  # moved, and changed
    new = tmp_path / "new.jsonl"
    new.write_bytes(b"\n".join([*lines[:100], b'{"id": "new", "title": "kettle"}', *lines[110:]]) + b"\n")
    generate.run(trained.workdir, [str(new)], tmp_path / "full", format=format)

    tagged = []
    batches = generate.batches

    def counting(products, experiment):
        return batches((tagged.append(product.id) or product for product in products), experiment)

    monkeypatch.setattr(generate, "batches", counting)
    generate.run(
        trained.workdir,
        [str(new)],
        tmp_path / "part",
        format=format,
        previous=tmp_path / "before",
        shard_rows=50,
    )
    rows = f"predictions.{format}"
    if format == "jsonl":
        assert (tmp_path / "part" / rows).read_bytes() == (tmp_path / "full" / rows).read_bytes()
    else:
        part, full = (pyarrow.parquet.read_table(tmp_path / name / rows) for name in ("part", "full"))
        assert part == full
    assert tagged == [json.loads(lines[4])["id"], "new"]


def test_an_earlier_job_of_another_model_is_of_no_use(trained, catalog, straight, tmp_path):
    manifest = json.loads(straight["manifest.json"])
    marks = manifest["fingerprint"]
    for name, content in straight.items():
        (tmp_path / name).write_bytes(content)
    assert len(earlier(tmp_path, marks)) > 200
    assert len(earlier(tmp_path, marks | {"input": {}, "vocabulary": "other"})) > 200
    with pytest.raises(UserError, match=r"another model or other settings \(weights: \w{12} -> other\)"):
        earlier(tmp_path, marks | {"weights": "other"})


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # orbax drops its other reads
@pytest.mark.filterwarnings("ignore:coroutine:RuntimeWarning")
@pytest.mark.parametrize("keep", [0.5, 0.0])
def test_a_truncated_checkpoint_is_named(trained, catalog, tmp_path, keep):
    workdir = tmp_path / "workdir"
    shutil.copytree(trained.workdir, workdir)
    step = max(workdir.glob("checkpoints/*"), key=lambda path: int(path.name))
    for path in workdir.glob("checkpoints/*/state/**/*"):
        if path.is_file() and path.stat().st_size > 1000:
            os.truncate(path, int(keep * path.stat().st_size))
    with pytest.raises(UserError, match=r"checkpoints/\d+: this checkpoint cannot be read, it is not whole"):
        generate.run(workdir, [str(catalog)], tmp_path / "output")
    assert step.exists() and not list((tmp_path / "output").glob("*.jsonl"))


def test_a_calibration_is_applied_to_what_it_was_fitted_for(trained, catalog, tmp_path, capsys):
    workdir = tmp_path / "workdir"
    shutil.copytree(trained.workdir, workdir)
    with pytest.raises(UserError, match=r"calibration\.json: missing, and --min-precision needs it"):
        precise = dataclasses.replace(EXPERIMENT.generate, select=SelectConfig(min_precision=0.9))
        generate.run(
            workdir,
            [str(catalog)],
            tmp_path / "a",
            experiment=dataclasses.replace(EXPERIMENT, generate=precise),
        )
    calibrate.run(workdir, trained.data)
    arguments = [f"--workdir={workdir}", f"--input={catalog}", f"--output={tmp_path / 'b'}"]
    with pytest.raises(SystemExit) as stopped:
        main(["generate", *arguments, "--min-precision=0.9"])
    assert stopped.value.code == 0, capsys.readouterr().err
    lines = (tmp_path / "b" / "predictions.jsonl").read_text().splitlines()
    assert len(lines) == kill_generate.PRODUCTS and not any(json.loads(line)["tags"] for line in lines)
    wider = dataclasses.replace(EXPERIMENT.generate, decode=DecodeConfig(beams=3, n_best=2, max_length=8))
    with pytest.raises(UserError, match=r"calibration\.json: fitted for another decode; run `taggen calib"):
        evaluate.run(
            workdir,
            trained.data,
            "test",
            tmp_path / "c",
            dataclasses.replace(EXPERIMENT, generate=wider),
        )
