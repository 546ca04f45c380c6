"""Laws of subsets: a product gets tags of its own set only, as if the others of its batch had the same."""

import dataclasses
import json
import pathlib
import shutil

import pytest

from taggen_jax import calibrate, evaluate, generate, subsets, train
from taggen_jax.catalog.product import Product
from taggen_jax.catalog.vocabulary import Vocabulary
from taggen_jax.decode.inclusion import SelectConfig
from taggen_jax.errors import UserError
from tests.programs.conftest import EXPERIMENT

PRODUCTS = 24


@pytest.fixture(scope="module")
def tags(trained) -> list[str]:
    """All that some training product has and that is short enough."""
    vocabulary = Vocabulary.load(trained.workdir / "vocabulary.json")
    return [tag for tag, count in zip(vocabulary.tags, vocabulary.counts, strict=True) if count]


@pytest.fixture(scope="module")
def sets(tags) -> dict[str, list[str]]:
    return {"en": tags[::3], "zh": tags[1::3]}


@pytest.fixture(scope="module")
def catalog(tmp_path_factory) -> pathlib.Path:
    path = tmp_path_factory.mktemp("subsets") / "catalog.jsonl"
    languages = ("en", "zh", "fr")
    rows = [{"id": i, "title": f"kettle {i % 8}", "language": languages[i % 3]} for i in range(PRODUCTS)]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def run(trained, catalog, output, *, file=None, previous=None, **settings) -> list[dict]:
    """All candidates of every product."""
    if file is not None:
        path = output.with_suffix(".json")
        path.write_text(json.dumps(file))
        settings["subsets"] = str(path)
    config = dataclasses.replace(EXPERIMENT.generate, select=SelectConfig(threshold=0.0), **settings)
    experiment = dataclasses.replace(EXPERIMENT, generate=config)
    generate.run(trained.workdir, [str(catalog)], output, experiment=experiment, previous=previous)
    return [json.loads(line) for line in (output / "predictions.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("mode", ["beam", "exact"])
def test_a_mixed_batch_equals_a_run_for_each_set(trained, catalog, tags, sets, tmp_path, mode):
    file = {"field": "language", "sets": sets, "default": None}
    mixed = run(trained, catalog, tmp_path / "mixed", file=file, mode=mode)
    for place, own in enumerate([*sets.values(), tags]):
        everyone = {"field": "language", "sets": {}, "default": own}
        alone = run(trained, catalog, tmp_path / str(place), file=everyone, mode=mode)
        assert len(mixed) == len(alone) == PRODUCTS
        for one, other in list(zip(mixed, alone, strict=True))[place::3]:
            assert set(one["tags"]) <= set(own) and one["tags"]
            assert one["tags"] == other["tags"]
            assert one["scores"] == pytest.approx(other["scores"], abs=1e-5)
        if mode == "exact" and len(own) <= 32:
            assert sum(mixed[place]["scores"]) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("mode", ["beam", "exact"])
def test_forbidden_tags_never_come(trained, catalog, tmp_path, mode):
    free = {tag for row in run(trained, catalog, tmp_path / "free", mode=mode) for tag in row["tags"]}
    never = tuple(sorted(free))
    rows = run(trained, catalog, tmp_path / "without", mode=mode, forbidden=never)
    assert len(free) > 1 and not free & {tag for row in rows for tag in row["tags"]}
    assert all(row["tags"] for row in rows)


@pytest.fixture
def tagged(monkeypatch) -> list[str]:
    """The ids of the products that were searched, not taken from an earlier job."""
    ids, batches = [], generate.batches

    def counting(products, experiment):
        return batches((ids.append(product.id) or product for product in products), experiment)

    monkeypatch.setattr(generate, "batches", counting)
    return ids


def assert_equal(rows, others):
    """Scores but for their last digits: an edited vocabulary moves the terms of the sums behind them."""
    assert [row["tags"] for row in rows] == [row["tags"] for row in others]
    for row, other in zip(rows, others, strict=True):
        assert row["scores"] == pytest.approx(other["scores"], abs=1e-5)


def test_an_earlier_job_is_reused_for_the_same_sets_only(trained, catalog, sets, tmp_path, tagged):
    file = {"field": "language", "sets": sets}
    first = run(trained, catalog, tmp_path / "first", file=file)
    tagged.clear()
    assert run(trained, catalog, tmp_path / "again", file=file, previous=tmp_path / "first") == first
    swapped = {"field": "language", "sets": {"zh": sets["en"], "en": sets["zh"]}}
    second = run(trained, catalog, tmp_path / "swapped", file=swapped, previous=tmp_path / "first")
    assert not tagged, "there were products of the same text and the same set"
    assert second == run(trained, catalog, tmp_path / "swapped whole", file=swapped)
    tagged.clear()
    fewer = {"field": "language", "sets": {"en": sets["en"][1:], "zh": sets["zh"]}}
    third = run(trained, catalog, tmp_path / "fewer", file=fewer, previous=tmp_path / "first")
    assert tagged == [str(i) for i in range(0, PRODUCTS, 3)], "only the products of the set that changed"
    assert third == run(trained, catalog, tmp_path / "fewer whole", file=fewer)


@pytest.mark.parametrize("mode", ["beam", "exact"])
def test_a_new_tag_reaches_the_products_that_may_have_it(trained, catalog, sets, tmp_path, tagged, mode):
    file = {"field": "language", "sets": sets}
    run(trained, catalog, tmp_path / "first", file=file, mode=mode)
    workdir = tmp_path / "workdir"
    shutil.copytree(trained.workdir, workdir)
    old = Vocabulary.load(workdir / "vocabulary.json")
    counts = {tag: count for tag, count in zip(old.tags, old.counts, strict=True) if count}
    new = Vocabulary.from_counts(counts | {"electric tea": 3}, set(old.tags) - counts.keys())
    new.save(workdir / "vocabulary.json")
    edited = dataclasses.replace(trained, workdir=workdir)
    tagged.clear()
    rows = run(edited, catalog, tmp_path / "new", file=file, mode=mode, previous=tmp_path / "first")
    assert tagged == [str(i) for i in range(2, PRODUCTS, 3)], "those without a set of their own"
    assert_equal(rows, run(edited, catalog, tmp_path / "whole", file=file, mode=mode))
    tagged.clear()
    never = {"mode": mode, "forbidden": ("electric tea",)}
    back = run(edited, catalog, tmp_path / "back", file=file, previous=tmp_path / "first", **never)
    assert not tagged, "as if the tag did not exist"
    assert_equal(back, run(edited, catalog, tmp_path / "back whole", file=file, **never))


def test_a_set_is_chosen_by_a_field_of_the_catalog(tmp_path):
    path = tmp_path / "sets.json"
    products = [
        Product(id="a", title="t", category="Tea", attributes={"colour": "red"}),
        Product(id="b", title="t", category="Pots"),
    ]
    for field, value in (("category", "Tea"), ("attributes.colour", "red")):
        path.write_text(json.dumps({"field": field, "sets": {"x": ["p"], value: ["q"]}}))
        assert list(map(subsets.load(str(path)).number, products)) == [2, 0]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"field": "language", "sets": {"en": ["kettel"]}}, r"sets\['en'\]: tag 'kettel' is not in vocab"),
        ({"field": "language", "sets": {"en": []}}, r"sets\['en'\] has no tag that may be given"),
        ({"field": "language", "sets": {}, "default": ["new"]}, r"default has no tag that may be given"),
        (
            {"field": "title", "sets": {}},
            r"field is 'title', expected category, language or attributes\.NAME",
        ),
        ({"field": "language", "sets": {"en": "tea"}}, "sets and default are no lists of tags"),
        ({"field": "language", "set": {}}, "not the subsets of a vocabulary"),
    ],
)
def test_wrong_subsets_are_named(tmp_path, value, message):
    path = tmp_path / "sets.json"
    path.write_text(json.dumps(value))
    vocabulary = Vocabulary.from_counts({"kettle": 2}, ["new"])
    with pytest.raises(UserError, match=rf"sets\.json: {message}"):
        subsets.load(str(path)).allowed(["kettle"], vocabulary)


def test_prepared_rows_have_no_field_to_choose_by(trained, tmp_path):
    path = tmp_path / "sets.json"
    path.write_text('{"field": "category", "sets": {}}')
    config = dataclasses.replace(EXPERIMENT.generate, subsets=str(path))
    experiment = dataclasses.replace(EXPERIMENT, generate=config)
    with pytest.raises(UserError, match="prepared rows keep no fields"):
        evaluate.run(trained.workdir, trained.data, experiment=experiment)
    with pytest.raises(UserError, match="prepared rows keep no fields"):
        calibrate.run(trained.workdir, trained.data, experiment)
    with pytest.raises(UserError, match="prepared rows keep no fields"):
        train.run(experiment, trained.data, tmp_path / "workdir")
