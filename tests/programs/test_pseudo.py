"""Self-training as a user does it: generate, choose, prepare with the rest."""

import json

import pytest

from taggen_jax import generate, prepare, pseudo
from taggen_jax.errors import UserError
from taggen_jax.prepared import Prepared
from tests.programs.conftest import EXPERIMENT


@pytest.fixture(scope="module")
def untagged(trained, tmp_path_factory):
    """The catalog with every second product's tags taken away, and what the model makes of it."""
    folder = tmp_path_factory.mktemp("untagged")
    rows = [json.loads(line) for line in trained.catalog.read_text().splitlines()]
    for row in rows[::2]:
        row |= {"tags": [], "complete": False}
    (folder / "half.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    generate.run(trained.workdir, [str(folder / "half.jsonl")], folder / "tagged", experiment=EXPERIMENT)
    return folder, rows


def test_pseudo_labels_become_incomplete_training_rows(trained, untagged, tmp_path):
    folder, rows = untagged
    half = str(folder / "half.jsonl")
    output = tmp_path / "more.jsonl"
    count = pseudo.run(trained.workdir, [half], folder / "tagged", output, min_score=0.5)
    generated = {
        row["id"]: row["tags"]
        for row in map(json.loads, (folder / "tagged" / "predictions.jsonl").read_text().splitlines())
    }
    more = [json.loads(line) for line in output.read_text().splitlines()]
    assert len(more) == count > 10
    assert {row["id"] for row in more} <= {row["id"] for row in rows[::2]}
    for row in more:
        assert row["tags"] and set(row["tags"]) <= set(generated[row["id"]]) and row["complete"] is False
    labelled = tmp_path / "labelled.jsonl"
    labelled.write_text("".join(json.dumps(row) + "\n" for row in rows[1::2]))
    prepare.run(EXPERIMENT, tmp_path / "data", train=[str(labelled), str(output)])
    source = Prepared(tmp_path / "data").source("train")
    complete = {row["id"]: row["complete"] for row in source.read(range(len(source)))}
    assert complete == {row["id"]: True for row in rows[1::2]} | {row["id"]: False for row in more}


def test_what_does_not_belong_together_is_refused(trained, untagged, tmp_path):
    folder, rows = untagged
    other = tmp_path / "other.jsonl"
    other.write_text("".join(json.dumps(row) + "\n" for row in rows[3:]))
    for arguments, message in (
        (([str(other)], folder / "tagged", tmp_path / "out.jsonl"), "give the same files in the same order"),
        (([str(other)], tmp_path, tmp_path / "out.jsonl"), "the manifest of a finished job is missing"),
        (([str(other)], folder / "tagged", tmp_path / "out.csv"), "expected a name that ends in .jsonl"),
    ):
        with pytest.raises(UserError, match=message):
            pseudo.run(trained.workdir, *arguments)
    with pytest.raises(UserError, match="quota=-1"):
        pseudo.run(trained.workdir, [str(other)], folder / "tagged", tmp_path / "out.jsonl", quota=-1)
