"""Laws of folds: groups stay whole, rare tags reach every fold, and nothing is left to chance."""

import collections

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taggen_jax.catalog import demo
from taggen_jax.catalog.folds import assign, groups
from taggen_jax.catalog.product import Product

CATALOGS = st.lists(
    st.tuples(st.integers(0, 12), st.lists(st.sampled_from("abcdef"), max_size=4)), min_size=6, max_size=40
).filter(lambda rows: len({group for group, _ in rows}) >= 3)


def product(id: str, title: str, group: str = "", description: str = "") -> Product:
    return Product(id=id, title=title, group=group, description=description)


@given(CATALOGS)
def test_groups_stay_whole_and_every_product_has_a_fold(rows):
    numbers, tags = zip(*rows, strict=True)
    folds = assign(numbers, tags, 3)
    assert len(folds) == len(rows) and set(folds) <= {0, 1, 2}
    assert len({(group, fold) for group, fold in zip(numbers, folds, strict=True)}) == len(set(numbers))


def test_a_rare_tag_reaches_as_many_folds_as_it_has_products():
    """1,000 products; tags on 2, 3, 5 and 10 of them, strewn among two frequent ones."""
    rare = {"two": range(0, 2), "three": range(1, 4), "five": range(3, 8), "ten": range(5, 15)}
    tags = [
        ["all", *(["odd"] if i % 2 else []), *(tag for tag, places in rare.items() if i in places)]
        for i in range(1000)
    ]
    folds = assign(range(1000), tags, 5)
    for tag, places in rare.items():
        spread = collections.Counter(folds[i] for i in places)
        assert len(spread) == min(5, len(places)) and max(spread.values()) <= -(-len(places) // 5), tag
    assert set(collections.Counter(folds).values()) == {200}
    odd = collections.Counter(folds[i] for i in range(1, 1000, 2))
    assert max(odd.values()) - min(odd.values()) <= 2


def test_folds_depend_on_the_catalog_and_the_salt_alone():
    tags = [[str(i % 7)] for i in range(100)]
    assert assign(range(100), tags, 4) == assign(range(100), tags, 4)
    assert assign(range(100), tags, 4) != assign(range(100), tags, 4, salt="2")


def test_variants_and_near_duplicates_are_one_group_and_chains_too():
    text = "soft cotton towel for the bath"
    products = [
        product("1", "Towel, 2 pieces", description=text),
        product("2", "lamp", group="g"),
        product("3", "TOWEL 5 pieces!", group="g", description=text),
        product("4", "lamp"),  # the title alone says too little
        product("5", "lamp"),
        product("6", "Pieces towel", description="For the bath: soft, soft cotton"),
    ]
    assert groups(products, near=1.0) == [0, 0, 0, 3, 4, 0]
    assert groups(products, near=0.0) == [0, 1, 1, 3, 4, 5]


def test_the_demo_catalog_keeps_its_groups(tmp_path):
    products = list(demo.products(300))
    numbers = groups(products, near=0.85)
    by_group = collections.defaultdict(set)
    for item, number in zip(products, numbers, strict=True):
        by_group[item.group].add(number)
    assert all(len(found) == 1 for found in by_group.values())
    assert len(set(numbers)) > 50


@pytest.mark.parametrize("folds", [1, 4])
def test_too_few_or_too_many_folds_are_refused(folds):
    with pytest.raises(ValueError, match=f"folds={folds} must be at least 2 and at most the 3 groups"):
        assign([0, 1, 1, 2], [["a"]] * 4, folds)
