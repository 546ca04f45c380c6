"""From predictions to a list of doubts, through people's hands, and back into prepared data."""

import csv
import json

import pytest

from taggen_jax import prepare
from taggen_jax.main import main
from taggen_jax.prepared import Prepared
from tests.programs.conftest import EXPERIMENT


def test_a_planted_wrong_label_is_found_judged_and_mended(trained, tmp_path):
    """The scorer is perfect on the catalog as it was; one product is given a tag it never had."""
    catalog = [json.loads(line) for line in trained.catalog.read_text().splitlines()]
    victim = next(row for row in catalog if len(row["tags"]) > 2)
    planted = next(tag for row in catalog for tag in row["tags"] if tag not in victim["tags"])
    (tmp_path / "scores").mkdir()
    with open(tmp_path / "scores" / "predictions.jsonl", "w") as file:
        for row in catalog:
            tags = row["tags"]
            line = {"id": row["id"], "tags": tags, "gold": tags, "candidates": [[tag, 0.9] for tag in tags]}
            line["gold"] = [*tags, planted] if row is victim else tags
            file.write(json.dumps(line) + "\n")
    victim["tags"] = [*victim["tags"], planted]
    (tmp_path / "catalog.jsonl").write_text("".join(json.dumps(row) + "\n" for row in catalog))
    with pytest.raises(SystemExit) as stopped:
        main(["audit-labels", f"--of={tmp_path / 'scores'}", f"--output={tmp_path / 'doubts.csv'}"])
    assert stopped.value.code == 0
    with open(tmp_path / "doubts.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["id"], row["tag"], row["has_tag"], row["correct"]) == (victim["id"], planted, "yes", "")
    text = (tmp_path / "doubts.csv").read_text()
    (tmp_path / "judged.csv").write_text(text.replace(",yes,,", ",yes,no,"))
    for name, corrections in (("before", []), ("after", [str(tmp_path / "judged.csv")])):
        prepare.run(
            EXPERIMENT,
            tmp_path / name,
            input=[str(tmp_path / "catalog.jsonl")],
            corrections=corrections,
        )
    tags = [_tags(Prepared(tmp_path / name)) for name in ("before", "after")]
    assert planted in tags[0][victim["id"]] and planted not in tags[1][victim["id"]]
    assert [id for id in tags[0] if tags[0][id] != tags[1][id]] == [victim["id"]]


def _tags(prepared: Prepared) -> dict[str, set[str]]:
    names = prepared.vocabulary.tags
    return {
        row["id"]: {names[tag] for tag in row["tags"]}
        for split in prepare.SPLITS
        for row in prepared.source(split).read(range(len(prepared.source(split))))
    }
