"""A frozen encoder with cached outputs trains as one that runs in every step, through stops and thaws."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from taggen_jax import train
from taggen_jax.errors import UserError
from taggen_jax.models import family
from taggen_jax.models.bert import BertConfig, StackConfig
from taggen_jax.models.layers import ComputeConfig
from taggen_jax.models.t5 import T5Config
from taggen_jax.runs import encoded
from taggen_jax.runs.workdir import Workdir
from taggen_jax.tagger import open_workdir
from taggen_jax.training import encoder

SIDE = {"vocab_size": 800, "d_mlp": 24, "n_heads": 2, "layers": 1, "positions": 48}
MODEL = BertConfig(  # of two widths: the projection between them is a part of what is cached
    encoder=StackConfig(d_model=16, dropout=0.0, **SIDE),
    decoder=StackConfig(d_model=8, dropout=0.1, **SIDE),
    eos=1,
    start=2,
)
FROZEN = ("encoder", "projection")


@pytest.fixture(scope="module")
def run(trained, trained_experiment, tmp_path_factory):
    """Trains: (workdir, settings of train) -> (parameters, the loss of each step, the workdir)."""
    root = tmp_path_factory.mktemp("cached")

    def trained_with(name, buckets=(), **settings):
        settings = {"freeze": FROZEN, "cache_encoder": True, "steps": 4, "save_every": 2} | settings
        experiment = dataclasses.replace(
            trained_experiment,
            model=MODEL,
            stream=dataclasses.replace(trained_experiment.stream, buckets=buckets),
            log=dataclasses.replace(trained_experiment.log, every=1),
            train=dataclasses.replace(
                trained_experiment.train, eval_every=0, eval_products=0, accumulation=2, **settings
            ),
        )
        train.run(experiment, trained.data, root / name)
        lines = [json.loads(line) for line in (root / name / "metrics.jsonl").read_text().splitlines()]
        losses = {line["step"]: line["train/loss"] for line in lines if "train/loss" in line}
        return open_workdir(root / name, step=settings["steps"])[2], losses, Workdir(root / name)

    return trained_with


@pytest.fixture(scope="module")
def cached(run):
    return run("cached")


def test_outputs_of_rows_that_products_share_are_not_cached(trained, trained_experiment, tmp_path):
    packed = dataclasses.replace(trained_experiment.stream, packing=3)
    frozen = dataclasses.replace(
        trained_experiment.train, cache_encoder=True, freeze=("encoder", "embedding")
    )
    experiment = dataclasses.replace(trained_experiment, stream=packed, train=frozen)
    with pytest.raises(UserError, match=r"stream\.packing=3"):
        train.run(experiment, trained.data, tmp_path)


def digest(work):
    return json.loads(work.summary.read_text())["state_sha256"]


def assert_close(one, other):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=0, atol=1e-5), one, other)


def test_cached_equals_uncached(run, cached):
    params, losses, work = run("plain", cache_encoder=False)
    assert not work.encoded.exists() and cached[2].encoded.exists()
    assert len(losses) == 4
    assert_close(cached[1], losses)
    assert_close(cached[0], params)


def test_cached_outputs_are_as_long_as_the_sources_of_the_batch(run, cached):
    params, losses, _ = run("buckets", buckets=(18,), steps=2)
    expected, plain, _ = run("plain buckets", buckets=(18,), steps=2, cache_encoder=False)
    assert losses[2] != cached[1][2], "one of 24 ids, one of 18"
    assert_close(losses, plain)
    assert_close(params, expected)


def test_what_is_frozen_does_not_move(run, cached):
    params = jax.jit(family.build(MODEL, ComputeConfig()).init)(jax.random.key(0))
    for part in FROZEN:
        jax.tree.map(np.testing.assert_array_equal, cached[0][part], params[part])
    assert np.any(cached[0]["decoder"]["embedding"]["word"] != params["decoder"]["embedding"]["word"])


@pytest.mark.parametrize("harm", ["none", "half-written"])
def test_resuming_changes_nothing(run, cached, harm):
    work = run(harm, steps=2)[2]
    data = work.encoded / "memory.bin"
    before, written = data.read_bytes(), data.stat().st_mtime_ns
    if harm == "half-written":  # as a kill leaves it: the marker comes last
        (work.encoded / "memory.json").unlink()
        data.write_bytes(before[: len(before) // 2])
    run(harm, steps=4)
    assert data.read_bytes() == before
    assert (data.stat().st_mtime_ns == written) == (harm == "none")
    assert digest(work) == digest(cached[2])


def test_a_thaw_in_the_middle_goes_back_to_the_ordinary_step(run, cached):
    late = {"unfreeze": {"encoder/blocks": 2}}
    plain, losses, _ = run("plain thaw", cache_encoder=False, **late)
    run("thaw", steps=2, **late)
    params, resumed, _ = run("thaw", **late)
    assert_close(resumed, losses)
    assert_close(params, plain)
    moved, stayed = (p["encoder"]["blocks"]["mlp"]["up"]["kernel"] for p in (params, cached[0]))
    assert np.any(moved != stayed)


def test_an_encoder_that_trains_is_refused(run):
    with pytest.raises(UserError, match=r"train\.cache_encoder: the encoder reads projection, of which"):
        run("refused", freeze=("encoder",))


def test_what_encode_reads_is_found_in_the_program():
    flat = set(encoder.reads(family.build(MODEL, ComputeConfig(dtype="bfloat16"))))
    assert {path.split("/")[0] for path in flat} == {"encoder", "projection"}  # not the pooler
    shared = family.build(T5Config(vocab_size=8, d_model=4, n_heads=1), ComputeConfig())
    assert {path.split("/")[0] for path in encoder.reads(shared)} == {"encoder", "embedding"}


@pytest.fixture
def outputs(tmp_path):
    """(folder, the identity of some outputs, what computes them, how often that was asked for)."""
    memory = np.random.default_rng(0).normal(size=(7, 3, 2)).astype(np.float32)
    asked = []

    def compute():
        asked.append(True)
        yield memory[:4]
        yield np.concatenate([memory[4:], memory[:1]])  # one more than there are rows, to fill the batch

    identity = encoded.identity(memory.shape, memory.dtype, parameters="p", rows="r")
    np.testing.assert_array_equal(encoded.stored(tmp_path, identity, compute), memory)
    return tmp_path, identity, compute, asked


def flip_a_bit(folder):
    with open(folder / "memory.bin", "r+b") as file:
        first = file.read(1)[0]
        file.seek(0)
        file.write(bytes([first ^ 1]))


@pytest.mark.parametrize(
    ("harm", "times"),
    [
        (lambda folder: None, 1),
        (flip_a_bit, 2),
        (lambda folder: (folder / "memory.bin").unlink(), 2),
        (lambda folder: (folder / "memory.json").write_text("{"), 2),
    ],
    ids=["none", "a bit", "no data", "half a marker"],
)
def test_outputs_are_computed_anew_only_where_they_are_not_whole(outputs, harm, times):
    folder, identity, compute, asked = outputs
    before = np.array(encoded.stored(folder, identity, compute))
    harm(folder)
    np.testing.assert_array_equal(encoded.stored(folder, identity, compute), before)
    assert len(asked) == times


@pytest.mark.parametrize("other", ["parameters_sha256", "rows_sha256"])
def test_outputs_of_something_else_are_not_taken(outputs, other):
    folder, identity, compute, asked = outputs
    encoded.stored(folder, {**identity, other: "another"}, compute)
    assert len(asked) == 2


def test_outputs_too_large_for_the_disk_are_refused_with_their_size(tmp_path):
    identity = encoded.identity((10**12, 96, 384), np.float32, parameters="p", rows="r")
    with pytest.raises(
        UserError, match=r"1000000000000 x 96 x 384 float32\) take 137,329,101.6 GiB, and .* free"
    ):
        encoded.stored(tmp_path, identity, lambda: iter(()))
