"""Laws of splits: a hash decides, groups stay whole, and a new row moves no other."""

import collections
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taggen_jax.catalog.product import Product
from taggen_jax.catalog.splits import Deduplicator, SplitConfig, fingerprint, split_of
from taggen_jax.config import from_dict
from taggen_jax.errors import UserError

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
SHARES = st.tuples(st.floats(0, 0.5), st.floats(0, 0.5))


@given(TEXTS, TEXTS, TEXTS, SHARES)
def test_the_variants_of_a_group_stay_together(one, other, group, shares):
    config = SplitConfig(validation=shares[0], test=shares[1])
    first = Product(id=one, title="a", group=group)
    assert split_of(first, config) == split_of(Product(id=other, title="b", group=group), config)


@given(TEXTS, SHARES)
def test_a_product_without_a_group_is_its_own(text, shares):
    config = SplitConfig(validation=shares[0], test=shares[1])
    own = split_of(Product(id=text, title="a"), config)
    assert own == split_of(Product(id="x", title="a", group=text), config)


def test_shares_are_kept_and_the_salt_stirs():
    products = [Product(id=str(i), title="t") for i in range(5000)]
    counts = collections.Counter(split_of(product, SplitConfig()) for product in products)
    assert 4000 - 150 < counts["train"] < 4000 + 150 and 500 - 80 < counts["test"] < 500 + 80
    moved = sum(split_of(p, SplitConfig()) != split_of(p, SplitConfig(salt="2")) for p in products)
    assert 1200 < moved < 2100  # 1 - 0.8² - 2 · 0.1² of them, if the two splits are independent


def test_a_larger_test_split_only_takes_in():
    """Changing a share keeps what was measured on: the test products stay test products."""
    products = [Product(id=str(i), title="t") for i in range(500)]
    for product in products:
        if split_of(product, SplitConfig(test=0.1)) == "test":
            assert split_of(product, SplitConfig(test=0.2)) == "test"


def test_splits_do_not_depend_on_machine_or_version():
    products = [Product(id=f"p{i}", title="t") for i in range(200)]
    text = " ".join(split_of(product, SplitConfig()) for product in products)
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "ee25e6fbff869951"


@pytest.mark.parametrize("values", [{"validation": -0.1}, {"test": 1.1}, {"validation": 0.6, "test": 0.6}])
def test_shares_that_are_none_are_refused(values):
    with pytest.raises(UserError, match=r"config\.split: validation=.*together at most 1"):
        from_dict(SplitConfig, values, "config.split")


def test_duplicates_go_and_are_counted_over_all_streams():
    one = Product(id="1", title="t", description="d")
    same = Product(id="2", title="t", description="d", tags=("x",))
    other = Product(id="3", title="td")
    assert fingerprint(one) == fingerprint(same) != fingerprint(other)
    deduplicate = Deduplicator()
    assert list(deduplicate([one, other, same])) == [one, other] and deduplicate.dropped == 1
    assert list(deduplicate([same, other])) == [] and deduplicate.dropped == 3
