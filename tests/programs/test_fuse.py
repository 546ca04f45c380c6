"""Laws of fusing predictions: who knows is believed, what was left out is told, and mistakes are named."""

import dataclasses
import itertools
import json

import numpy as np
import pytest

from taggen_jax import fuse
from taggen_jax.errors import UserError
from taggen_jax.metrics.prediction import Prediction
from taggen_jax.predictions import NAME, to_line
from taggen_jax.prepared import Prepared


def answers(data, split, wrong, seed):
    """What a system says that confuses a share of all pairs of product and tag: (id, prediction) each."""
    prepared, rng = Prepared(data), np.random.default_rng(seed)
    tags = prepared.vocabulary.tags
    for row in prepared.source(split):
        right = np.isin(np.arange(len(tags)), row["tags"])
        scores = np.where(right ^ (rng.random(len(tags)) < wrong), 0.8, 0.1) + rng.normal(0, 0.01, len(tags))
        order = np.argsort(-scores)
        yield (
            row["id"],
            Prediction(
                gold=tuple(tags[i] for i in row["tags"]),
                tags=tuple(tags[i] for i in order if scores[i] > 0.5),
                ranked=tuple(tags[i] for i in order),
                scores=tuple(scores[order].tolist()),
            ),
        )


@pytest.fixture(scope="module")
def systems(trained, tmp_path_factory):
    """Two systems with a folder for each of two splits: one is seldom wrong, one often."""
    root = tmp_path_factory.mktemp("systems")
    systems = itertools.product((("good", 0.02), ("poor", 0.2)), ("train", "validation"))
    for seed, ((name, wrong), split) in enumerate(systems):
        folder = root / name / split
        folder.mkdir(parents=True)
        lines = [to_line(*answer) for answer in answers(trained.data, split, wrong, seed)]
        (folder / NAME).write_text("".join(lines))
    return root


def folders(systems, split):
    return [str(systems / name / split) for name in ("poor", "good")]


def test_the_better_system_weighs_more_and_every_part_is_told(systems, trained, tmp_path):
    fuse.run(folders(systems, "train"), folders(systems, "validation"), trained.data, tmp_path)
    fusion = json.loads((tmp_path / "fusion.json").read_text())
    poor, good = (system["weight"] for system in fusion["weights"].values())
    assert good > poor > 0
    rows = {tuple(row["systems"]): row["micro_f1"] for row in fusion["ablations"]}
    both = tuple(folders(systems, "validation"))
    assert rows.keys() == {both, both[:1], both[1:]}
    assert rows[both] > rows[both[:1]] and rows[both[1:]] > rows[both[:1]]
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["micro_f1"] == rows[both]
    first = json.loads((tmp_path / NAME).read_text().splitlines()[0])
    assert len(first["candidates"]) == len(Prepared(trained.data).vocabulary.tags)


@pytest.mark.parametrize("count", [(2, 1), (1, 1)])
def test_folders_that_do_not_pair_up_are_refused(systems, trained, tmp_path, count):
    fit, apply = (
        folders(systems, split)[:n] for split, n in zip(("train", "validation"), count, strict=True)
    )
    with pytest.raises(UserError, match="as many of the one as of the other, and at least two"):
        fuse.run(fit, apply, trained.data, tmp_path)


def test_other_products_are_refused(systems, trained, tmp_path):
    mixed = [str(systems / "poor" / "train"), str(systems / "good" / "validation")]
    with pytest.raises(UserError, match="are in one of them only"):
        fuse.run(mixed, folders(systems, "validation"), trained.data, tmp_path)


def test_nothing_to_learn_from_is_refused(systems, trained, tmp_path):
    for name in ("a", "b"):
        lines = [
            to_line(id_, dataclasses.replace(answer, gold=()))
            for id_, answer in answers(trained.data, "validation", 0.1, 0)
        ]
        (tmp_path / name).mkdir()
        (tmp_path / name / NAME).write_text("".join(lines))
    with pytest.raises(UserError, match=r"0 of .* scored tags are right"):
        fuse.run(
            [str(tmp_path / "a"), str(tmp_path / "b")],
            folders(systems, "validation"),
            trained.data,
            tmp_path / "out",
        )
