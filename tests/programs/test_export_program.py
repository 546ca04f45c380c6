"""The whole generator as a program: in a process that knows nothing of this package, the tagger's own ids."""

import dataclasses
import json
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest

from taggen_jax import convert, experiment, tagger
from taggen_jax.errors import UserError
from taggen_jax.interop import check
from taggen_jax.models import family
from taggen_jax.parallel.mesh import MeshConfig, make_mesh
from tests.programs.conftest import EXPERIMENT

TOOL = pathlib.Path(__file__).resolve().parents[2] / "tools" / "run_stablehlo.py"


def copied(workdir, folder, **generate):
    """The workdir with other settings of how to generate; the rest by reference."""
    folder.mkdir()
    for path in workdir.iterdir():
        if path.name != "config.json":
            (folder / path.name).symlink_to(path)
    settings = dataclasses.replace(EXPERIMENT.generate, **generate)
    experiment.save(dataclasses.replace(EXPERIMENT, generate=settings), folder / "config.json")
    return folder


@pytest.mark.parametrize(("vocabulary", "dtype"), [("closed", "keep"), ("open", "bfloat16")])
def test_a_fresh_process_writes_the_taggers_ids(trained, tmp_path, capsys, vocabulary, dtype):
    workdir = copied(trained.workdir, tmp_path / "w", vocabulary=vocabulary)
    output = tmp_path / "program"
    convert.export(workdir, output, "stablehlo", dtype)
    assert "exported as stablehlo" in capsys.readouterr().out
    about = json.loads((output / "about.json").read_text())
    assert about["platforms"] == ["cpu", "cuda", "tpu"] and about["vocabulary"] == vocabulary
    source_BS = check.sources(EXPERIMENT.model, EXPERIMENT.stream.source_length)
    done = subprocess.run(
        [sys.executable, "-I", TOOL, output],
        input=json.dumps(source_BS.tolist()),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line)["tokens_BNT"] for line in done.stdout.splitlines()]
    np.testing.assert_array_equal(found, tagger_ids(workdir, source_BS, dtype))


def tagger_ids(workdir, source_BS, dtype):
    """Of the compiled search that `taggen generate` runs, on one device."""
    settings, _, params = tagger.open_workdir(workdir)
    if dtype != "keep":
        params = jax.tree.map(lambda leaf: leaf.astype(dtype), params)
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    bundle = family.build(settings.model, settings.compute)
    search = tagger.generator(bundle, tagger.of_family(settings.generate.decode, settings.model), mesh)
    return search(jax.device_get(params), source_BS, table(workdir, settings)).tokens_BNT


def table(workdir, settings):
    if settings.generate.vocabulary == "open":
        return None
    vocabulary = tagger.Vocabulary.load(workdir / "vocabulary.json")
    words = tagger.tokenizers.load(workdir / "tokenizer", settings.tags.separator)
    return tagger.tables(tagger.closed_trie(settings.generate, settings.model, vocabulary, words)[1])


def test_a_mode_that_has_no_program_is_refused(trained, tmp_path):
    workdir = copied(trained.workdir, tmp_path / "w", mode="exact")
    with pytest.raises(UserError, match="mode='exact' has no program"):
        convert.export(workdir, tmp_path / "program", "stablehlo")
    assert not (tmp_path / "program").exists()


def test_a_program_that_writes_other_tokens_is_removed(trained, tmp_path, monkeypatch):
    run = convert.stablehlo.run
    monkeypatch.setattr(
        convert.stablehlo, "run", lambda *given: {"tokens_BNT": run(*given)["tokens_BNT"][::-1]}
    )
    with pytest.raises(UserError, match="other tokens than the search"):
        convert.export(trained.workdir, tmp_path / "program", "stablehlo")
    assert not list(tmp_path.iterdir())
