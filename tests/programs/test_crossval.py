"""Cross-validation holds every product out once, from a model that never saw its group; runs compare."""

import collections
import dataclasses
import json
import statistics

import pytest

from taggen_jax import compare, crossval, predictions
from taggen_jax.errors import UserError
from taggen_jax.metrics.prediction import Prediction
from taggen_jax.prepared import Prepared
from tests.programs.conftest import EXPERIMENT, PRODUCTS

FOLDS = 2


@pytest.fixture(scope="module")
def validated(trained, tmp_path_factory):
    output = tmp_path_factory.mktemp("crossval")
    short = dataclasses.replace(
        EXPERIMENT, train=dataclasses.replace(EXPERIMENT.train, steps=2, eval_products=0)
    )
    return output, crossval.run(short, [str(trained.catalog)], output, FOLDS)


def test_every_product_is_held_out_once_and_no_group_straddles(validated):
    output, pooled = validated
    rows = [
        (row["id"], row["group"], fold, split)
        for fold in range(FOLDS)
        for split in ("train", "validation", "test")
        for row in Prepared(output / f"fold-{fold}" / "data").source(split)
    ]
    held_out = collections.Counter(id for id, _, _, split in rows if split == "test")
    assert json.loads((output / "folds.json").read_text()) == {
        id: fold for id, _, fold, split in rows if split == "test"
    }
    assert pooled["products"] == len(held_out) == PRODUCTS and set(held_out.values()) == {1}
    places = collections.defaultdict(set)
    for _, group, fold, split in rows:
        places[group, fold].add(split)
    assert all(len(splits) == 1 for splits in places.values())


def test_the_pool_is_the_folds_together(validated):
    output, pooled = validated
    folders = [output / f"fold-{fold}" for fold in range(FOLDS)]
    together = [item.prediction for folder in folders for item in predictions.read(folder)]
    assert collections.Counter(together) == collections.Counter(
        item.prediction for item in predictions.read(output)
    )
    hits = sum(len(set(item.gold) & set(item.tags)) for item in together)
    assert pooled["micro_f1"] == pytest.approx(
        2 * hits / sum(len(item.gold) + len(item.tags) for item in together)
    )
    written = json.loads((output / "crossval.json").read_text())
    scores = [json.loads((folder / "metrics.json").read_text())["p_at_1"] for folder in folders]
    assert written["mean"]["p_at_1"] == pytest.approx(statistics.mean(scores))
    assert written["spread"]["p_at_1"] == pytest.approx(statistics.stdev(scores))


def test_an_output_of_other_folds_is_refused(validated, trained):
    output, _ = validated
    with pytest.raises(UserError, match="begun with other products or another --folds"):
        crossval.run(EXPERIMENT, [str(trained.catalog)], output, FOLDS + 1)


def test_predictions_read_back_as_they_were(tmp_path):
    item = Prediction(
        gold=("a", "ß"), tags=("b",), ranked=("b", "a"), scores=(0.75, 0.125), text="é\n", duplicates=2
    )
    (tmp_path / predictions.NAME).write_text(predictions.to_line("1", item), encoding="utf-8")
    assert predictions.read(tmp_path) == [predictions.Answered("1", item)]


def write(folder, rows):
    folder.mkdir()
    lines = [
        predictions.to_line(id, Prediction(gold=gold, tags=tags, scores=(0.5,) * len(tags)))
        for id, gold, tags in rows
    ]
    (folder / predictions.NAME).write_text("".join(lines), encoding="utf-8")
    return folder


def test_compare_pairs_products_by_id(tmp_path, capsys):
    rows = [(str(i), ("a",), ("a",) if i % 2 else ("b",)) for i in range(50)]
    a = write(tmp_path / "a", rows)
    b = write(tmp_path / "b", [(id, gold, ("a",)) for id, gold, _ in reversed(rows)])
    differences = compare.run(a, b, tmp_path / "out")
    assert differences["micro_f1"].difference.value == pytest.approx(0.5)
    assert differences["micro_f1"].p < 0.001
    written = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert written["micro_f1"]["a"]["value"] == pytest.approx(0.5)
    assert "50 products" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("1", ("a",), ())], "1 products are in one of them only, as '2'"),
        ([("1", ("a",), ()), ("2", ("b",), ())], "the gold tags of product '2' differ"),
    ],
)
def test_unlike_data_is_not_compared(rows, message, tmp_path):
    a = write(tmp_path / "a", [("1", ("a",), ()), ("2", ("a",), ())])
    with pytest.raises(UserError, match=message):
        compare.run(a, write(tmp_path / "b", rows))


def test_a_folder_without_predictions_or_with_others_says_so(tmp_path):
    with pytest.raises(UserError, match=r"no such file; run `taggen evaluate` first"):
        predictions.read(tmp_path)
    (tmp_path / predictions.NAME).write_text('{"id": "1", "tags": []}\n')
    with pytest.raises(UserError, match=r"predictions\.jsonl:1: not a line of an evaluation"):
        predictions.read(tmp_path)


def test_more_folds_than_groups_are_refused(trained, tmp_path):
    with pytest.raises(UserError, match="folds=5000 must be at least 2 and at most"):
        crossval.run(EXPERIMENT, [str(trained.catalog)], tmp_path, folds=5000)
