"""A product as every room above knows it, and the one text that a model reads of it."""

import dataclasses
from collections.abc import Callable, Mapping

from taggen_jax.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Product:
    """One row of a catalog. Optional fields are empty, never None.

    Attributes:
      id: unique within a catalog, never empty.
      title: never empty as read; cleaning may empty it.
      attributes: name to value, as the catalog orders them; not to be changed in place.
      group: variants of one product share it and never straddle a split; "" stands for the id.
      tags: what a model learns to write; () where nobody has tagged the product.
      complete: whether it has no other tags than these. A product whose tags nobody has looked for is not.
    """

    id: str
    title: str
    description: str = ""
    reviews: tuple[str, ...] = ()
    attributes: Mapping[str, str] = dataclasses.field(default_factory=dict, hash=False)
    category: str = ""
    language: str = ""
    group: str = ""
    tags: tuple[str, ...] = ()
    complete: bool = True


def source_text(product: Product, fields: tuple[str, ...]) -> str:
    """The text that a model reads: the non-empty ones of `fields`, in the order given, joined by " | ".

    Attributes read "key: value; key: value", reviews are joined by " / ", and the hyphens and underscores of
    the id become spaces, because an id is often a name.

    Raises:
      UserError: a field that is no text of a product (its tags, for one: they are the answer).
    """
    for field in fields:
        if field not in _TEXT_OF:
            raise UserError(f"source text: got field {field!r}, expected some of {', '.join(_TEXT_OF)}")
    return " | ".join(filter(None, (_TEXT_OF[field](product) for field in fields)))


_TEXT_OF: dict[str, Callable[[Product], str]] = {
    "id": lambda product: product.id.replace("-", " ").replace("_", " "),
    "title": lambda product: product.title,
    "description": lambda product: product.description,
    "reviews": lambda product: " / ".join(filter(None, product.reviews)),
    "attributes": lambda product: "; ".join(f"{key}: {value}" for key, value in product.attributes.items()),
    "category": lambda product: product.category,
    "language": lambda product: product.language,
}
