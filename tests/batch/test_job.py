"""A job's folder: begun once, committed shard by shard, whole at the end, refused to anybody else."""

import json

import pyarrow.parquet
import pytest

from taggen_jax.batch.formats import write_lines, write_parquet
from taggen_jax.batch.job import PREDICTIONS, QUARANTINE, Job
from taggen_jax.batch.plan import Plan
from taggen_jax.errors import UserError

PLAN = Plan(files=(("a.jsonl", 3),), duplicates=frozenset({2}), products=(1, 1), shard_rows=2)
MARKS = {"weights": "a" * 64, "settings": {"decode": {"beams": 4}}, "input": {"a.jsonl": "b" * 64}}


def commit(job, shard, row):
    job.part(shard, PREDICTIONS).write_text(json.dumps(row) + "\n")
    job.part(shard, QUARANTINE).write_text("")
    job.commit(shard, {"products": 1})


def row(name, **more):
    return {"id": name, "tags": ["red", "紅"], "scores": [0.75, 0.5], "content": "c", **more}


def test_shards_become_one_file_in_order_and_nothing_else_stays(tmp_path):
    with Job(tmp_path, MARKS) as job:
        plan = job.plan(lambda: PLAN)
        assert job.missing(plan) == [0, 1] and not job.done()
        commit(job, 1, row("b"))
        assert job.missing(plan) == [0]
        commit(job, 0, row("a"))
        manifest = job.merge(plan, "predictions.jsonl", write_lines)
    lines = (tmp_path / "predictions.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["a", "b"]
    assert [entry["shard"] for entry in manifest["shards"]] == [0, 1]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "manifest.json",
        "predictions.jsonl",
        "quarantine.jsonl",
    ]
    with Job(tmp_path, MARKS) as again:  # nothing is left to do
        assert again.plan(lambda: pytest.fail("planned twice")) == PLAN and again.missing(PLAN) == []
        assert again.merge(PLAN, "predictions.jsonl", write_lines) == manifest


@pytest.mark.parametrize("finished", [False, True])
def test_a_job_with_other_marks_is_refused_with_the_difference(tmp_path, finished):
    with Job(tmp_path, MARKS) as job:
        job.plan(lambda: PLAN)
        if finished:
            commit(job, 0, row("a"))
            commit(job, 1, row("b"))
            job.merge(PLAN, "predictions.jsonl", write_lines)
    other = MARKS | {"weights": "c" * 64, "settings": {"decode": {"beams": 5}}}
    with pytest.raises(
        UserError, match=r"\(weights: aaaaaaaaaaaa -> cccccccccccc; settings\.decode\.beams: 4 -> 5\)"
    ):
        Job(tmp_path, other)


def test_a_shard_that_changed_after_its_commit_is_named(tmp_path):
    with Job(tmp_path, MARKS) as job:
        job.plan(lambda: PLAN)
        commit(job, 0, row("a"))
        commit(job, 1, row("b"))
        job.part(1, PREDICTIONS).write_text("")
        with pytest.raises(
            UserError, match=r"00001\.jsonl: not the file that was committed; delete .*00001\.json"
        ):
            job.merge(PLAN, "predictions.jsonl", write_lines)
    assert not (tmp_path / "predictions.jsonl").exists()


def test_parquet_holds_what_json_lines_hold(tmp_path):
    rows = [row("a"), row("b", truncated=True), {"id": "c", "tags": [], "scores": [], "content": "d"}]
    write_parquet((json.dumps(item).encode() for item in rows), tmp_path / "p.parquet")
    table = pyarrow.parquet.read_table(tmp_path / "p.parquet")
    assert table.to_pylist() == [{"truncated": False, "proposed": None} | item for item in rows]
