"""Laws of the ways to tag: a closed vocabulary gives its own tags only, once each; exact scores sum to 1."""

import dataclasses
import json

import numpy as np
import pytest

from taggen_jax import closed, evaluate, experiment, generate, main
from taggen_jax.catalog.tags import TagsConfig
from taggen_jax.catalog.vocabulary import Vocabulary
from taggen_jax.config import from_dict
from taggen_jax.data import tokenizer as tokenizers
from taggen_jax.decode.inclusion import SelectConfig
from taggen_jax.errors import UserError
from taggen_jax.experiment import GenerateConfig
from taggen_jax.tagger import answer
from tests.programs.conftest import EXPERIMENT


def test_a_closed_vocabulary_gives_no_invalid_tag_and_no_duplicate(trained, tmp_path):
    """The model has learnt nothing yet: what it writes freely is no tag at all."""
    rates = {}
    for vocabulary in ("open", "closed"):
        settings = dataclasses.replace(EXPERIMENT.generate, vocabulary=vocabulary)
        changed = dataclasses.replace(EXPERIMENT, generate=settings)
        metrics = evaluate.run(trained.workdir, trained.data, "train", tmp_path / vocabulary, changed)
        rates[vocabulary] = metrics["invalid_rate"] + metrics["duplicate_rate"] + metrics["empty_rate"]
    assert rates["closed"] == 0 < rates["open"]


def test_exact_scores_are_a_distribution_over_tags(trained, tmp_path):
    with pytest.raises(SystemExit) as status:
        main.main(
            [
                "generate",
                f"--workdir={trained.workdir}",
                f"--input={trained.catalog}",
                f"--output={tmp_path}",
                "--mode=exact",
                "--config.generate.select.threshold=0.0",
            ]
        )
    assert status.value.code == 0
    tags = set(Vocabulary.load(trained.workdir / "vocabulary.json").tags)
    for line in (tmp_path / "predictions.jsonl").read_text().splitlines():
        row = json.loads(line)
        assert len(set(row["tags"])) == len(row["tags"]) == 32 and set(row["tags"]) <= tags
        assert row["scores"] == sorted(row["scores"], reverse=True)
        assert 0 < np.sum(row["scores"]) <= 1 + 1e-4


def test_sampling_draws_valid_tags_whatever_stands_beside_a_product(trained, tmp_path):
    """Scores are shares of 16 lists; other order, other batches, other lengths: the same rows."""
    lines = trained.catalog.read_text().splitlines()[:40]
    rows = {}
    for name, order in (("there.jsonl", lines), ("back.jsonl", lines[::-1][:25])):
        (tmp_path / name).write_text("\n".join(order))
        arguments = [f"--workdir={trained.workdir}", f"--input={tmp_path / name}", "--mode=sample"]
        arguments += [f"--output={tmp_path / f'{name}.out'}", "--config.generate.select.threshold=0.0"]
        with pytest.raises(SystemExit) as status:
            main.main(["generate", *arguments])
        assert status.value.code == 0
        predictions = (tmp_path / f"{name}.out" / "predictions.jsonl").read_text()
        rows[name] = {row["id"]: row for row in map(json.loads, predictions.splitlines())}
    assert len(rows["back.jsonl"]) == 25
    assert all(row == rows["there.jsonl"][id] for id, row in rows["back.jsonl"].items())
    tags = set(Vocabulary.load(trained.workdir / "vocabulary.json").tags)
    for row in rows["there.jsonl"].values():
        assert len(set(row["tags"])) == len(row["tags"]) > 0 and set(row["tags"]) <= tags
        assert all(score * 16 == pytest.approx(round(score * 16), abs=1e-3) for score in row["scores"])


@pytest.mark.parametrize("mode", ["beam", "exact", "sample"])
def test_a_size_is_no_tag(trained, tmp_path, mode):
    """Read as if the model wrote sizes, of which it knows nothing."""
    settings = dataclasses.replace(EXPERIMENT.generate, mode=mode, select=SelectConfig(threshold=0.0))
    changed = dataclasses.replace(EXPERIMENT, tags=TagsConfig(size_prefix=True), generate=settings)
    metrics = evaluate.run(trained.workdir, trained.data, "test", tmp_path, changed)
    assert metrics["invalid_rate"] == metrics["duplicate_rate"] == 0 < metrics["predicted_tags"]


def test_every_tag_of_a_search_has_room_after_the_longest_size(tokenizer):
    tags = Vocabulary.from_counts({"tea": 2, "a-tag-of-many-pieces": 1})
    longest = max(len(tokenizer.encode_tag(tag)) for tag in tags.tags)
    of_size = len(tokenizer.encode_tag("10"))
    for sizes, room in (((), 0), (("0", "10"), of_size + 1)):
        for length, count in ((longest + 1 + room, 2), (longest + room, 1)):
            kept, *_ = closed.build(tags, tokenizer, vocab_size=800, max_length=length, sizes=sizes)
            assert len(kept) == count


def test_what_is_written_freely_is_read_after_its_size(tokenizer):
    ids = [
        token for tag in ("2", "tea", "red") for token in (*tokenizer.encode_tag(tag), tokenizer.separator)
    ]
    read = answer(tokenizer, np.array([ids[:-1]]), np.zeros(1), SelectConfig(), sized=True)
    assert read.tags == ("tea", "red")


def test_the_legal_mass_is_reported_where_asked(trained, tmp_path):
    file = tmp_path / "two.jsonl"
    file.write_text('{"id": "a", "title": "red kettle"}\n{"id": "b", "title": "tea"}\n')
    asked = dataclasses.replace(
        EXPERIMENT, generate=dataclasses.replace(EXPERIMENT.generate, report_mass=True)
    )
    generate.run(trained.workdir, [str(file)], tmp_path / "out", experiment=asked)
    rows = [json.loads(line) for line in (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()]
    assert len(rows) == 2 and all(0 < row["legal_mass"] < 0.5 for row in rows), "six steps teach no tag"


@pytest.fixture
def tokenizer(trained):
    return tokenizers.load(trained.workdir / "tokenizer", EXPERIMENT.tags.separator)


@pytest.mark.parametrize(
    ("tags", "max_length", "message"),
    [
        ({}, 8, "no tag with a count"),
        ({"tea": 0}, 8, "no tag with a count"),
        ({"kettle": 1, "tea\x00pot\x00": 1}, 1, "has room for no tag and an end"),
    ],
)
def test_a_vocabulary_that_cannot_be_closed_is_refused(tokenizer, tags, max_length, message):
    with pytest.raises(UserError, match=message):
        closed.build(Vocabulary.from_counts(tags), tokenizer, vocab_size=800, max_length=max_length)


def test_a_tag_that_the_tokenizer_loses_is_refused(tmp_path):
    """A tokenizer of somebody else's, without bytes to fall back on."""
    backend = tokenizers.tokenizers.Tokenizer(
        tokenizers.models.WordLevel({"<pad>": 0, "</s>": 1, "<unk>": 2, "<sep>": 3, "tea": 4}, "<unk>")
    )
    known = tokenizers.Tokenizer(backend, pad="<pad>", eos="</s>", unknown="<unk>", separator="<sep>")
    with pytest.raises(
        UserError, match=r"1 of 2 tags do not come back .*'coffee'.*generate.vocabulary='open'"
    ):
        closed.build(Vocabulary.from_counts({"tea": 2, "coffee": 1}), known, vocab_size=5, max_length=8)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"mode": "exact", "vocabulary": "open"}, "needs vocabulary='closed'"),
        ({"mode": "exact", "report_mass": True}, "report_mass is for mode='beam'"),
        ({"mode": "sample", "report_mass": True}, "report_mass is for mode='beam'"),
        ({"mode": "sample", "sample": {"top_k": 0}}, "top_k=0 is for vocabulary='open'"),
        ({"mode": "sample", "vocabulary": "open", "decode": {"no_repeat_ngram": 2}}, "is for mode='beam'"),
        ({"decode": {"no_repeat_ngram": 2}}, "is for vocabulary='open'"),
    ],
)
def test_modes_that_contradict_each_other_are_refused(wrong, message):
    with pytest.raises(UserError, match=message):
        from_dict(GenerateConfig, wrong, "generate")


def test_a_workdir_of_before_is_closed():
    values = experiment.config_dict(EXPERIMENT).to_dict()
    del values["generate"]["vocabulary"], values["generate"]["mode"]
    assert experiment.parse(values) == EXPERIMENT
