"""Laws of the plain baselines that learn step by step."""

import importlib
import pathlib

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.metrics import roc_auc_score

BASELINES = pathlib.Path(__file__).parents[2] / "tools" / "baselines"


@pytest.fixture
def fasttext(monkeypatch):
    monkeypatch.syspath_prepend(str(BASELINES))
    return importlib.import_module("fasttext")


def test_a_bag_of_many_grams_learns_more_than_the_shares_of_tags(fasttext):
    """Of fifty n-grams a product only those of its tags say anything: their mean must not drown them."""
    rng, products, tags = np.random.default_rng(0), 2048, 4
    wanted = rng.random((products, tags)) < [0.5, 0.3, 0.2, 0.1]
    grams = rng.integers(100, 5_000, (products, 50))
    grams[:, :tags] = np.where(wanted, np.arange(tags), grams[:, :tags])
    rows = np.repeat(np.arange(products), grams.shape[1])
    shape = (products, len(fasttext.KINDS) * fasttext.ROWS)
    share = np.full(grams.size, 1 / grams.shape[1], np.float32)
    x = sp.csr_matrix((share, (rows, grams.ravel())), shape)
    bag = fasttext.train(x[:1536], wanted[:1536].astype(np.float32), epochs=6)
    scores = bag.score(x[1536:])
    assert all(roc_auc_score(wanted[1536:, i], scores[:, i]) > 0.8 for i in range(tags))
