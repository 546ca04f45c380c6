"""Laws of the programs: nothing is lost, nothing is done twice, a workdir stands alone."""

import dataclasses
import json
import pathlib
import shutil

import jax
import numpy as np
import pytest

from taggen_jax import evaluate, generate, prepare, report, train
from taggen_jax.errors import UserError
from taggen_jax.interop import hf
from taggen_jax.models import family
from taggen_jax.models.layers import ComputeConfig
from taggen_jax.parallel.mesh import make_mesh
from taggen_jax.prepared import Prepared
from taggen_jax.runs.checkpoints import Checkpoints
from taggen_jax.runs.workdir import Workdir
from taggen_jax.training.freeze import partition
from taggen_jax.training.state import restorable
from taggen_jax.training.step import Training
from tests.programs.conftest import EXPERIMENT, PRODUCTS


def lines(path: pathlib.Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def with_steps(steps):
    return dataclasses.replace(EXPERIMENT, train=dataclasses.replace(EXPERIMENT.train, steps=steps))


def state_at(workdir, step):
    bundle = family.build(EXPERIMENT.model, EXPERIMENT.compute)
    training = Training(bundle, partition(bundle.shapes, bundle.axes, ()), EXPERIMENT.train)
    checkpoints = Checkpoints(Workdir(workdir).checkpoints, EXPERIMENT.checkpoints, writing=False)
    return checkpoints.restore(step, restorable(training, make_mesh(EXPERIMENT.mesh)))[0]


def test_every_product_is_prepared_once_and_variants_stay_together(trained):
    splits = {split: Prepared(trained.data).source(split) for split in prepare.SPLITS}
    rows = [(row["id"], row["group"], split) for split, source in splits.items() for row in source]
    assert len(rows) == len({row_id for row_id, _, _ in rows}) == PRODUCTS
    assert len({(group, split) for _, group, split in rows}) == len({group for _, group, _ in rows})
    assert json.loads((trained.data / "preflight.json").read_text())["passed"]


def test_stopped_and_resumed_equals_straight(trained, tmp_path):
    train.run(with_steps(3), trained.data, tmp_path)
    train.run(with_steps(6), trained.data, tmp_path)
    expected, state = state_at(trained.workdir, 6), state_at(tmp_path, 6)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b, strict=True), state, expected)
    assert lines(tmp_path / "metrics.jsonl")[-1] == lines(trained.workdir / "metrics.jsonl")[-1]


def test_a_run_starts_from_a_hugging_face_folder(trained, tmp_path):
    params = jax.device_get(state_at(trained.workdir, 6)["params"])
    hf.save(tmp_path / "hf", EXPERIMENT.model, params)
    settings = dataclasses.replace(
        EXPERIMENT.train,
        pretrained=str(tmp_path / "hf"),
        freeze=("encoder", "embedding"),
        steps=1,
        optimizer=dataclasses.replace(EXPERIMENT.train.optimizer, learning_rate=1e-9, weight_decay=0.0),
    )
    train.run(dataclasses.replace(EXPERIMENT, train=settings), trained.data, tmp_path / "workdir")
    bundle = family.build(EXPERIMENT.model, EXPERIMENT.compute)
    checkpoints = Checkpoints(tmp_path / "workdir" / "checkpoints", EXPERIMENT.checkpoints, writing=False)
    after = checkpoints.restore_params(1, bundle.shapes)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), after, params)
    for part in ("encoder", "embedding"):
        jax.tree.map(np.testing.assert_array_equal, after[part], params[part])


def test_pretrained_weights_of_another_architecture_are_refused(trained, tmp_path):
    other = dataclasses.replace(EXPERIMENT.model, d_mlp=48)
    bundle = family.build(other, EXPERIMENT.compute)
    hf.save(tmp_path / "hf", other, bundle.init(jax.random.key(0)))
    settings = dataclasses.replace(EXPERIMENT.train, pretrained=str(tmp_path / "hf"))
    with pytest.raises(UserError, match=r"its model is another one; set model d_mlp: 32 -> 48"):
        train.run(dataclasses.replace(EXPERIMENT, train=settings), trained.data, tmp_path / "workdir")


def test_a_finished_run_does_nothing_more(trained, capsys):
    before = (trained.workdir / "metrics.jsonl").read_bytes()
    train.run(EXPERIMENT, trained.data, trained.workdir)
    assert "already trained for 6 steps" in capsys.readouterr().out
    assert (trained.workdir / "metrics.jsonl").read_bytes() == before


def test_evaluation_scores_every_row_and_agrees_with_its_predictions(trained, tmp_path):
    metrics = evaluate.run(trained.workdir, trained.data, "test", tmp_path)
    written = lines(tmp_path / "predictions.jsonl")
    source = Prepared(trained.data).source("test")
    assert [line["id"] for line in written] == [row["id"] for row in source]
    assert metrics == json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["products"] == len(source)
    hits = sum(len(set(line["tags"]) & set(line["gold"])) for line in written)
    predicted, gold = (sum(len(line[key]) for line in written) for key in ("tags", "gold"))
    assert metrics["micro_f1"] == pytest.approx(2 * hits / (predicted + gold))
    for line in written:
        assert line["scores"] == sorted(line["scores"], reverse=True)
        assert [tag for tag, _ in line["candidates"]][: len(line["tags"])] == line["tags"]
    spoken = {line["language"] for line in written}
    assert len(spoken) > 1 and all(f"language_{name}_micro_f1" in metrics for name in spoken)


def test_what_evaluation_wrote_elsewhere_can_be_reported_on(trained, tmp_path):
    evaluate.run(trained.workdir, trained.data, "test", tmp_path / "elsewhere")
    report.run(tmp_path / "elsewhere", tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "F1 by language of the product" in page and "Loss on validation" in page


def test_a_copied_workdir_tags_raw_files_as_evaluation_tags_arrays(trained, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(trained.workdir, copy)
    evaluate.run(trained.workdir, trained.data, "validation", tmp_path / "evaluated")
    assert generate.run(copy, [str(trained.catalog)], tmp_path / "generated") == PRODUCTS
    generated = {line["id"]: line for line in lines(tmp_path / "generated" / "predictions.jsonl")}
    assert list(generated) == [line["id"] for line in lines(trained.catalog)]
    for line in lines(tmp_path / "evaluated" / "predictions.jsonl"):
        assert generated[line["id"]]["tags"] == line["tags"]
        np.testing.assert_allclose(generated[line["id"]]["scores"], line["scores"], atol=1e-4)


def test_a_cut_product_says_so(trained, tmp_path):
    file = tmp_path / "two.jsonl"
    rows = [
        {"id": "short", "title": "kettle"},
        {"id": "long", "title": "red kettle " * 50},
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    generate.run(trained.workdir, [str(file)], tmp_path / "out")
    assert [line.get("truncated", False) for line in lines(tmp_path / "out" / "predictions.jsonl")] == [
        False,
        True,
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"text": ("title",)}, r"data: prepared with another config \(text: "),
        (
            {"compute": ComputeConfig(remat="full")},
            r"begun with another config \(compute\.remat: 'none' -> 'full'\)",
        ),
        (
            {"model": dataclasses.replace(EXPERIMENT.model, vocab_size=64)},
            "model.vocab_size=64 to read is less than the",
        ),
    ],
)
def test_a_workdir_is_not_resumed_with_another_experiment(trained, change, message):
    with pytest.raises(UserError, match=message):
        train.run(dataclasses.replace(EXPERIMENT, **change), trained.data, trained.workdir)


def test_a_failed_check_leaves_no_folder(trained, tmp_path):
    strict = dataclasses.replace(
        EXPERIMENT, preflight=dataclasses.replace(EXPERIMENT.preflight, max_truncated_source_share=0.0)
    )
    with pytest.raises(
        UserError, match=r"preflight: .*truncated_sources in train.*raise stream\.source_length"
    ):
        prepare.run(strict, tmp_path / "data", input=[str(trained.catalog)])
    assert not list(tmp_path.iterdir())


def test_given_splits_are_kept(trained, tmp_path):
    rows = trained.catalog.read_text(encoding="utf-8").splitlines(keepends=True)
    groups = [json.loads(row)["group"] for row in rows]
    cut = next(i for i in range(150, PRODUCTS) if groups[i] != groups[i - 1])
    for name, part in (("a", rows[:cut]), ("b", rows[cut:])):
        (tmp_path / f"{name}.jsonl").write_text("".join(part), encoding="utf-8")
    prepare.run(
        EXPERIMENT, tmp_path / "data", train=[str(tmp_path / "a.jsonl")], test=[str(tmp_path / "b.jsonl")]
    )
    prepared = Prepared(tmp_path / "data")
    assert [len(prepared.source(split)) for split in prepare.SPLITS] == [cut, 0, PRODUCTS - cut]
