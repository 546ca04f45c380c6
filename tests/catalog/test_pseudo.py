"""Laws of pseudo-labels: sure ones only, no tag over its quota, and always the best."""

import collections
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taggen_jax.catalog.pseudo import Quotas, kept, least

SCORES = st.sampled_from([0.5, 0.9, 0.95, 1.0])
PRODUCTS = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=3), st.dictionaries(st.sampled_from("xyz"), SCORES), max_size=30
)


@given(PRODUCTS, st.dictionaries(st.sampled_from("xyz"), st.integers(0, 6)), st.sampled_from([0.5, 1.0, 2.5]))
def test_each_quota_goes_to_the_best(products, counts, share):
    quotas = Quotas(min_score=0.9, share=share)
    limits = least(products.items(), counts, quotas)
    labels = {(id, tag) for id, tags in products.items() for tag in kept(id, tags, limits)}
    sure = {(id, tag) for id, tags in products.items() for tag in tags if tags[tag] >= 0.9}
    assert labels <= sure
    given_, possible = (collections.Counter(tag for _, tag in pairs) for pairs in (labels, sure))
    for tag in "xyz":
        assert given_[tag] == min(possible[tag], math.ceil(share * counts.get(tag, 0)))
        left = [products[id][tag] for id, name in sure - labels if name == tag]
        taken = [products[id][tag] for id, name in labels if name == tag]
        assert not left or not taken or max(left) <= min(taken)


def test_equals_draw_lots_that_do_not_favour_the_first():
    products = {str(number): {"x": 1.0} for number in range(1000)}
    limits = least(products.items(), {"x": 100}, Quotas())
    winners = [int(id) for id, tags in products.items() if kept(id, tags, limits)]
    assert len(winners) == 100 and 400 < sum(winners) / 100 < 600


@pytest.mark.parametrize("numbers", [{"min_score": 1.5}, {"share": 0.0}])
def test_numbers_that_make_no_sense_are_refused(numbers):
    with pytest.raises(ValueError, match=r"must be in \[0, 1\], and quota=.* above 0"):
        Quotas(**numbers)
