"""A workdir that lacks something says what, and what to do."""

import pathlib

import pytest

from taggen_jax.errors import UserError
from taggen_jax.runs.workdir import Workdir, trained


def complete(root: pathlib.Path) -> Workdir:
    workdir = Workdir(root)
    for folder in (workdir.tokenizer, workdir.checkpoints / "12"):
        folder.mkdir(parents=True)
    for file in (workdir.config, workdir.vocabulary):
        file.write_text("{}")
    return workdir


def test_a_complete_workdir_opens(tmp_path: pathlib.Path) -> None:
    assert trained(complete(tmp_path / "run").root) == Workdir(tmp_path / "run")


@pytest.mark.parametrize("part", ["config.json", "tokenizer", "vocabulary.json"])
def test_a_missing_part_is_named(tmp_path: pathlib.Path, part: str) -> None:
    root = complete(tmp_path / "run").root
    (root / part).rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=f"run: no {part} in this workdir; give the folder"):
        trained(root)


def test_a_missing_workdir_is_named(tmp_path: pathlib.Path) -> None:
    with pytest.raises(UserError, match=r"absent: no such workdir; give the folder that `taggen train"):
        trained(tmp_path / "absent")


def test_an_unfinished_checkpoint_does_not_count(tmp_path: pathlib.Path) -> None:
    workdir = complete(tmp_path / "run")
    (workdir.checkpoints / "12").rename(workdir.checkpoints / "12.orbax-checkpoint-tmp")
    with pytest.raises(UserError, match=r"run: no checkpoint in this workdir; run `taggen train --workdir="):
        trained(workdir.root)
