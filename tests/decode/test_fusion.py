"""Laws of fusion: what helps is weighed, what misleads is not; thresholds go by slice."""

import numpy as np
import pytest

from taggen_jax.decode import fusion

TAGS = tuple("abcdef")
COUNTS = dict.fromkeys(TAGS, 50)
RNG = np.random.default_rng(0)


def products(count=300, noise=(1.0, 2.0)):
    """What systems say that see the truth through noise of several strengths, and the truth."""
    ranked, gold = [], []
    for _ in range(count):
        truth = RNG.random(len(TAGS)) < 0.3
        scores = [1 / (1 + np.exp(-(2 * truth - 1 + RNG.normal(0, n, len(TAGS))))) for n in noise]
        ranked.append(
            [sorted(zip(TAGS, map(float, row), strict=True), key=lambda item: -item[1]) for row in scores]
        )
        gold.append(frozenset(tag for tag, has in zip(TAGS, truth, strict=True) if has))
    return ranked, gold


def log_loss(ranked, gold):
    return -np.mean(
        [
            np.log(score if tag in want else 1 - score)
            for row, want in zip(ranked, gold, strict=True)
            for tag, score in row
        ]
    )


def test_the_surer_system_weighs_more_and_both_are_better_than_each():
    ranked, gold = products()
    learnt = fusion.fit(ranked, gold, COUNTS)
    assert learnt.weights_F[0] > 2 * learnt.weights_F[1] > 0
    unseen, truth = products()
    each = [[[part] for part, _ in unseen], [[part] for _, part in unseen]]
    alone = [fusion.fit([[product[i]] for product in ranked], gold, COUNTS) for i in range(2)]
    losses = [
        log_loss([one.apply(product) for product in parts], truth)
        for one, parts in zip(alone, each, strict=True)
    ]
    assert log_loss([learnt.apply(product) for product in unseen], truth) < min(losses)


def test_a_tag_that_a_system_does_not_name_has_the_last_score_it_gives():
    tags, x_NF = fusion.features([[("a", 0.9), ("b", 0.2)], [("c", 0.7)]], COUNTS)
    assert tags == ["a", "b", "c"]
    np.testing.assert_allclose(1 / (1 + np.exp(-x_NF[:, :2])), [[0.9, 0.7], [0.2, 0.7], [0.2, 0.7]])


def test_the_system_that_knows_rare_tags_is_believed_about_these():
    """One sees the frequent tags well and the rare ones badly, the other the other way round."""
    ranked, gold = products(noise=(0.5, 3.0))
    counts = {tag: 3000 if tag < "d" else 0 for tag in TAGS}
    for product in ranked:
        one, other = (dict(row) for row in product)
        mixed = [{tag: (one, other)[(tag < "d") == first][tag] for tag in TAGS} for first in (False, True)]
        product[:] = [list(scores.items()) for scores in mixed]
    learnt = fusion.fit(ranked, gold, counts)
    of_frequent, of_rare = learnt.weights_F[2:4]
    assert of_rare > 0 > of_frequent


def test_a_tag_that_is_always_wrong_is_believed_less_and_an_unknown_one_by_the_rest_alone():
    ranked, gold = products(noise=(1.0,))
    gold = [want - {"a"} for want in gold]
    learnt = fusion.fit(ranked, gold, COUNTS)
    assert learnt.tags["a"] < min(learnt.tags[tag] for tag in TAGS[1:])
    scores = dict(learnt.apply([[("a", 0.8), ("b", 0.8), ("new", 0.8)]]))
    assert scores["a"] < scores["new"]
    (_, x_NF), rare = fusion.features([[("new", 0.8)]], COUNTS), 1.0
    assert x_NF.tolist() == [[pytest.approx(np.log(4)), pytest.approx(rare * np.log(4)), rare]]
    odds = x_NF[0] @ learnt.weights_F + learnt.bias
    assert scores["new"] == pytest.approx(1 / (1 + np.exp(-odds)))


def test_nobody_names_anything():
    assert fusion.fit(*products(), COUNTS).apply([[], []]) == []
    with pytest.raises(ValueError, match="0 of 1 scored tags are right"):
        fusion.fit([[[("a", 0.5)]]], [frozenset()], COUNTS)


def test_cross_fitting_never_looks_at_the_product_itself():
    ranked, gold = products(20)
    before = fusion.cross_fitted(ranked, gold, COUNTS)[3]
    gold[3] = frozenset(TAGS) - gold[3]
    assert fusion.cross_fitted(ranked, gold, COUNTS)[3] == before


@pytest.mark.parametrize("macro_weight", [0.0, 0.2, 1.0])
def test_thresholds_are_the_best_of_all_combinations(macro_weight):
    """By trying them all on few products: no other combination has a better sum of micro- and macro-F1."""
    ranked, gold = products(40, noise=(2.0,))
    rows = [product[0] for product in ranked]
    slices = {tag: "head" if tag < "d" else "tail" for tag in TAGS}

    def total(least):
        answers = [{tag for tag, score in row if score >= least[slices[tag]]} for row in rows]
        right, answered, wanted = np.array(
            [
                [
                    sum(tag in a and tag in g for a, g in zip(answers, gold, strict=True)),
                    sum(tag in a for a in answers),
                    sum(tag in g for g in gold),
                ]
                for tag in TAGS
            ]
        ).T
        micro = 2 * right.sum() / (answered.sum() + wanted.sum())
        return micro + macro_weight * np.mean(2 * right / np.maximum(answered + wanted, 1))

    found = fusion.thresholds(rows, gold, slices.__getitem__, macro_weight)
    tried = [total({"head": one, "tail": other}) for one in fusion.GRID[::4] for other in fusion.GRID[::4]]
    assert total(found) >= max(tried) - 1e-12
