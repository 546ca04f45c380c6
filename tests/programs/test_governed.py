"""A governed vocabulary on its way to generated tags: it decides what is learnt and what is given."""

import dataclasses
import json
import shutil

import pytest

from taggen_jax import evaluate, generate, prepare, vocabulary
from taggen_jax.catalog.spelling import Spelling
from taggen_jax.catalog.tags import TagsConfig
from taggen_jax.catalog.thesaurus import Term, Thesaurus, load
from taggen_jax.decode.inclusion import Tagged
from taggen_jax.errors import UserError
from taggen_jax.experiment import GenerateConfig
from taggen_jax.governed import NAME, Governance
from taggen_jax.prepared import Prepared
from tests.programs.conftest import EXPERIMENT

TERMS = (
    Term(id="shoes", names={"en": "shoes"}),
    Term(id="boots", names={"en": "boots"}, synonyms=("boot",), parents=("shoes",)),
    Term(id="clogs", names={"en": "clogs"}, parents=("shoes",), status="proposed"),
    Term(id="stilettos", names={"en": "stilettos"}, parents=("shoes",), policy="adult"),
)


def rules(**config) -> Governance:
    spelling = Spelling(Thesaurus(TERMS), TagsConfig(vocabulary="t.jsonl"))
    return Governance(spelling, GenerateConfig(**config))


def test_an_open_search_answers_in_governed_tags_and_says_what_is_new():
    found = Tagged((("boot", 0.9), ("stilettos", 0.8), ("boots", 0.7), ("wedge", 0.6), ("clogs", 0.1)), 4, 0)
    of = rules(vocabulary="open", withheld=("adult",))
    assert of(found).ranked == (("boots", 0.9), ("wedge", 0.6), ("clogs", 0.1)) and of(found).answered == 2
    assert of.proposals(["boots", "wedge", "clogs"]) == ["wedge", "clogs"]
    assert of(of(found)) == of(found)


def test_an_implied_ancestor_is_as_likely_as_its_likeliest_descendant():
    found = Tagged((("boots", 0.9), ("clogs", 0.8), ("shoes", 0.3)), 1, 0)
    assert rules(ancestors=True)(found).ranked == (("boots", 0.9), ("shoes", 0.9))
    assert rules(ancestors=True)(found).tags == ("boots", "shoes")
    assert rules()(found).ranked == (("boots", 0.9), ("shoes", 0.3)) and rules()(found).tags == ("boots",)


@pytest.fixture
def governed(trained, tmp_path):
    """A copy of the trained workdir under a thesaurus of the tags it gave, its commonest left to the test."""
    generate.run(trained.workdir, [str(trained.catalog)], tmp_path / "free")
    counts: dict[str, int] = {}
    for line in (tmp_path / "free" / "predictions.jsonl").read_text().splitlines():
        for tag in json.loads(line)["tags"]:
            counts[tag] = counts.get(tag, 0) + 1
    commonest = max(counts, key=lambda tag: counts[tag])
    shutil.copytree(trained.workdir, tmp_path / "workdir")

    def under(term: Term | None, *more: Term, **generating):
        tags = [tag for tag in Prepared(trained.data).vocabulary.tags if tag != commonest]
        terms = [*(Term(id=tag, names={"en": tag}) for tag in tags), *([term] if term else []), *more]
        Thesaurus(terms).save(tmp_path / "workdir" / NAME)
        settings = dataclasses.replace(EXPERIMENT.generate, **generating)
        experiment = dataclasses.replace(EXPERIMENT, generate=settings)
        output = tmp_path / f"out{len(list(tmp_path.iterdir()))}"
        generate.run(tmp_path / "workdir", [str(trained.catalog)], output, experiment=experiment)
        return [json.loads(line) for line in (output / "predictions.jsonl").read_text().splitlines()]

    return commonest, under


def test_a_closed_search_gives_active_tags_only(governed):
    tag, under = governed
    active = Term(id=tag, names={"en": tag}, policy="adult", parents=("broad",))
    broad = Term(id="broad", names={"en": "a broader tag"})
    assert any(tag in row["tags"] for row in under(active, broad))
    for term, settings in (
        (active, {"withheld": ("adult",)}),
        (dataclasses.replace(active, status="proposed"), {}),
        (None, {}),
    ):
        answers = under(term, broad, **settings)
        assert not any(tag in row["tags"] or "proposed" in row for row in answers)
        assert any(row["tags"] for row in answers)
    for row in under(active, broad, ancestors=True):
        assert ("a broader tag" in row["tags"]) == (tag in row["tags"])


def test_settings_that_need_a_vocabulary_say_so(governed, trained, tmp_path):
    _, under = governed
    experiment = dataclasses.replace(EXPERIMENT, generate=GenerateConfig(ancestors=True))
    with pytest.raises(UserError, match=r"thesaurus\.jsonl: missing, and generate\.withheld"):
        generate.run(trained.workdir, [str(trained.catalog)], tmp_path / "out", experiment=experiment)
    with pytest.raises(UserError, match=r"no tag has the policy 'adlut', only adult"):
        under(Term(id="x", names={"en": "x"}, policy="adult"), withheld=("adlut",))


def test_prepared_data_holds_governed_tags_and_evaluation_knows_their_parents(trained, tmp_path, capsys):
    """Every tag gets an old spelling in the catalog and a parent in the vocabulary; one is not in it."""
    tags = Prepared(trained.data).vocabulary.tags
    unknown, synonym, old = tags[0], tags[1], tags[2]
    terms = [Term(id=f"t{i}", names={"en": tag}, parents=("root",)) for i, tag in enumerate(tags[3:])]
    terms += [
        Term(id="root", names={"en": "anything"}),
        Term(id="s", names={"en": "by its name"}, synonyms=(synonym,), parents=("root",)),
        Term(id="o", names={"en": old}, status="deprecated", replaced_by="s"),
    ]
    Thesaurus(terms).save(tmp_path / "terms.jsonl")
    vocabulary.run(str(tmp_path / "terms.jsonl"), tmp_path / "checked.jsonl")
    assert (tmp_path / "checked.jsonl").read_text() == (tmp_path / "terms.jsonl").read_text()
    spelled = dataclasses.replace(EXPERIMENT.tags, vocabulary=str(tmp_path / "checked.jsonl"))
    experiment = dataclasses.replace(EXPERIMENT, tags=spelled)
    prepare.run(experiment, tmp_path / "data", input=[str(trained.catalog)])
    said = capsys.readouterr().out
    assert "deprecated, " in said and "unknown (1 tags, kept as proposals)" in said
    prepared = Prepared(tmp_path / "data")
    assert {synonym, old}.isdisjoint(prepared.vocabulary.tags) and "by its name" in prepared.counts
    assert [term.name() for term in load(tmp_path / "data" / "proposals.jsonl").terms.values()] == [unknown]
    assert prepared.parents["by its name"] == ("anything",)
    metrics = evaluate.run(trained.workdir, tmp_path / "data", "test", tmp_path / "scores")
    assert metrics["hierarchical_micro_recall"] > 0
