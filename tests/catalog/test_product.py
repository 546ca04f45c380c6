"""Laws of a product and of the text that a model reads of it."""

import dataclasses
import pickle

import pytest

from taggen_jax.catalog.product import Product, source_pieces, source_text
from taggen_jax.errors import UserError

PRODUCT = Product(
    id="red_mug-2",
    title="Red mug",
    reviews=("nice", "", "broke"),
    attributes={"Size": "L", "Mat": "clay"},
    category="Kitchen",
    language="en",
    tags=("secret",),
)


def test_the_fields_are_read_in_the_order_given():
    fields = ("category", "id", "description", "attributes", "reviews", "language", "title")
    text = "Kitchen | red mug 2 | Size: L; Mat: clay | nice / broke | en | Red mug"
    assert source_text(PRODUCT, fields) == text


def test_empty_fields_leave_no_trace():
    assert source_text(Product(id="a", title="t"), ("reviews", "title", "attributes", "category")) == "t"


@pytest.mark.parametrize("field", ["tags", "titel", "group"])
def test_the_answer_is_never_read(field):
    with pytest.raises(UserError, match=f"got '{field}', expected one of the fields id, title"):
        source_text(PRODUCT, ("title", field))


def test_a_field_may_have_a_marker_which_goes_with_it():
    pieces = ("[{language}]", "name: {title}", "description: {description}", "in {category}!", "id")
    assert source_text(PRODUCT, pieces) == "[en] name: Red mug in Kitchen! | red mug 2"
    assert source_text(dataclasses.replace(PRODUCT, language=""), pieces[:2]) == "name: Red mug"
    assert source_pieces(PRODUCT, pieces) == ["[en]", " name: Red mug", "", " in Kitchen!", " | red mug 2"]
    assert source_text(dataclasses.replace(PRODUCT, title="{id} {tags}"), pieces[1:2]) == "name: {id} {tags}"


@pytest.mark.parametrize("piece", ["{tags}", "{title} {id}", "{title", "title: {}"])
def test_a_marker_has_one_field_to_read(piece):
    with pytest.raises(UserError, match="or one in a marker"):
        source_text(PRODUCT, (piece,))


def test_a_product_is_a_value():
    """Equal by content, hashable, copied by workers; no two share a mutable default."""
    same = Product(**dataclasses.asdict(PRODUCT))
    assert same == PRODUCT and hash(same) == hash(PRODUCT)
    assert pickle.loads(pickle.dumps(PRODUCT)) == PRODUCT
    assert Product(id="a", title="b").attributes is not Product(id="a", title="b").attributes
    with pytest.raises(dataclasses.FrozenInstanceError):
        PRODUCT.title = "x"
