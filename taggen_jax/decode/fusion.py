"""Several systems' scores of the same products made into one: a logistic regression over their log-odds.

Every system ranks some tags for a product and scores them in 0..1, whatever it means by that. For each pair
of product and tag that any of them names:

    log-odds of the fused score = sum over systems of (weight + rarity weight x r) x log-odds of its score
                                  + bias + rarity bias x r + bias of the tag

where r falls with the tag's training count: a system that learns from counts knows frequent tags, one that
reads names the rare ones. A system that does not name the tag counts as if it had given it the last score
that it gives the product. The tag's own bias is drawn towards 0 by an L2 penalty (a random intercept of
standard deviation 1 in log-odds), so that a tag with few products keeps to what holds for all. Learnt from
products that no system was trained on. Letters: N pairs, P systems, F = 2 P + 1 features. Fitting takes
scikit-learn, applying takes numpy only.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

FLOOR = 1e-5  # scores are known to about so much
FOLDS = 5
GRID = np.linspace(0.05, 0.65, 25)  # thresholds that are tried

Ranked = Sequence[tuple[str, float]]  # one system's tags for one product with their scores, best first
Product = Sequence[Ranked]  # what each of the systems says, all in the same order
Counts = Mapping[str, int]  # training products of each tag


@dataclasses.dataclass(frozen=True)
class Fusion:
    """What was learnt.

    Attributes:
      counts: as fitted with.
      weights_F: of the features, see `features`.
      bias: for every tag.
      tags: what is added for some.
    """

    counts: Counts
    weights_F: tuple[float, ...]
    bias: float
    tags: Mapping[str, float]

    def apply(self, product: Product) -> list[tuple[str, float]]:
        """Every tag that some system names, with its fused score, best first."""
        tags, x_NF = features(product, self.counts)
        own_N = np.array([self.tags.get(tag, 0.0) for tag in tags])
        score_N = 1 / (1 + np.exp(-(x_NF @ np.array(self.weights_F) + self.bias + own_N)))
        order = np.argsort(-score_N, kind="stable")
        return [(tags[i], float(score_N[i])) for i in order]


def features(product: Product, counts: Counts) -> tuple[list[str], np.ndarray]:
    """The tags that some system names; float64 [N, F]: each system's log-odds, these times r, and r."""
    tags = list(dict.fromkeys(tag for ranked in product for tag, _ in ranked))
    score_NP = np.zeros((len(tags), len(product)))
    for p, ranked in enumerate(product):
        scores = dict(ranked)
        last = min(scores.values(), default=FLOOR)
        score_NP[:, p] = [scores.get(tag, last) for tag in tags]
    score_NP = np.clip(score_NP, FLOOR, 1 - FLOOR)
    odds_NP = np.log(score_NP / (1 - score_NP))
    # 1 for a tag of no product, 0 at about 50, -1 at about 3,000
    rarity_N1 = 1 - np.log1p([counts.get(tag, 0) for tag in tags]).reshape(-1, 1) / 4
    return tags, np.concatenate([odds_NP, odds_NP * rarity_N1, rarity_N1], axis=1)


def fit(products: Sequence[Product], gold: Sequence[frozenset[str]], counts: Counts) -> Fusion:
    """Learns from products whose right tags are known.

    Raises:
      ValueError: no system names a right tag, or none a wrong one.
    """
    import scipy.sparse as sp  # both take a second; who applies does not need them
    from sklearn.linear_model import LogisticRegression

    tables = [features(product, counts) for product in products]
    named = [tag for tags, _ in tables for tag in tags]
    right_N = np.array([tag in want for (tags, _), want in zip(tables, gold, strict=True) for tag in tags])
    if not right_N.any() or right_N.all():
        raise ValueError(f"{right_N.sum()} of {len(right_N)} scored tags are right, expected some of both")
    distinct = {tag: i for i, tag in enumerate(dict.fromkeys(named))}
    own_NX = sp.csr_matrix((np.ones(len(named)), (np.arange(len(named)), [distinct[tag] for tag in named])))
    x_NF = np.concatenate([x for _, x in tables])
    # The penalty is one for all, and nothing against what so many pairs say of the few features.
    model: Any = LogisticRegression(solver="liblinear", random_state=0)
    weights, F = model.fit(sp.hstack([x_NF, own_NX], format="csr"), right_N).coef_[0], x_NF.shape[1]
    own = {tag: float(weights[F + i]) for tag, i in distinct.items()}
    return Fusion(counts, tuple(weights[:F].tolist()), float(model.intercept_[0]), own)


def cross_fitted(
    products: Sequence[Product], gold: Sequence[frozenset[str]], counts: Counts
) -> list[list[tuple[str, float]]]:
    """The fused ranking of each product, by a fusion that it had no part in."""
    fused: list[list[tuple[str, float]]] = [[] for _ in products]
    for fold in range(FOLDS):
        others = [i for i in range(len(products)) if i % FOLDS != fold]
        fusion = fit([products[i] for i in others], [gold[i] for i in others], counts)
        for i in range(fold, len(products), FOLDS):
            fused[i] = fusion.apply(products[i])
    return fused


def thresholds(
    ranked: Sequence[Ranked],
    gold: Sequence[frozenset[str]],
    slice_of: Callable[[str], str],
    macro_weight: float = 1.0,
) -> dict[str, float]:
    """The least score of an answered tag, one a slice of tags: of all combinations of thresholds, the one of
    best micro-F1 + macro_weight x macro-F1 (over the tags that some product has).

    One threshold for all favours frequent tags, one a tag is judged by a few products; slices of like
    frequency lie between.
    """
    tags = sorted({tag for row in ranked for tag, _ in row}.union(*gold))
    place, slices = {tag: i for i, tag in enumerate(tags)}, [slice_of(tag) for tag in tags]
    names = sorted(set(slices))
    answered_QX, right_QX = np.zeros((2, len(GRID), len(tags)))
    gold_X = np.zeros(len(tags))
    for row, want in zip(ranked, gold, strict=True):
        gold_X[[place[tag] for tag in want]] += 1
        for tag, score in row:
            answered_QX[score >= GRID, place[tag]] += 1
            right_QX[score >= GRID, place[tag]] += tag in want
    f1_QX = 2 * right_QX / np.maximum(answered_QX + gold_X[None], 1)
    macro_QX = f1_QX * (gold_X > 0)[None] / max(1, (gold_X > 0).sum())

    def combined(table_QX: np.ndarray) -> np.ndarray:
        """Summed over tags, for every combination of thresholds: an axis a slice."""
        of_slices = [table_QX[:, [s == name for s in slices]].sum(axis=1) for name in names]
        return functools.reduce(np.add.outer, of_slices)

    micro = 2 * combined(right_QX) / np.maximum(combined(answered_QX) + gold_X.sum(), 1)
    total = micro + macro_weight * combined(macro_QX)
    best = np.unravel_index(np.argmax(total), total.shape)
    return {name: float(GRID[q]) for name, q in zip(names, best, strict=True)}
