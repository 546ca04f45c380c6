"""A product as every room above knows it, and the one text that a model reads of it."""

import dataclasses
import re
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


def source_text(product: Product, pieces: tuple[str, ...]) -> str:
    """The text that a model reads, see `source_pieces`."""
    return "".join(source_pieces(product, pieces))


def source_pieces(product: Product, pieces: tuple[str, ...]) -> list[str]:
    """The parts of the text that a model reads, one a piece; "" where the product's field is empty.

    A piece is a field, "title", set apart from what is before it by " | "; or a field with a marker around
    it, "title: {title}", set apart by a space. Attributes read "key: value; key: value", reviews are joined
    by " / ", and the hyphens and underscores of the id become spaces, because an id is often a name.

    Raises:
      UserError: a field that is no text of a product (its tags, for one: they are the answer).
    """
    texts: list[str] = []
    for piece in pieces:
        field = field_of(piece)
        text = _TEXT_OF[field](product)
        lead = "" if not any(texts) else " " if marked(piece) else " | "
        texts.append(
            lead + piece.replace(f"{{{field}}}", text) if text and marked(piece) else text and lead + text
        )
    return texts


def marked(piece: str) -> bool:
    """Whether a piece of the text has a marker around its field."""
    return "{" in piece


def field_of(piece: str) -> str:
    """The field of a piece. Raises UserError where it has none, or more than one."""
    found = re.findall(r"\{(\w*)\}", piece) if marked(piece) else [piece]
    if len(found) != 1 or found[0] not in _TEXT_OF:
        raise UserError(
            f"text: got {piece!r}, expected one of the fields {', '.join(_TEXT_OF)}, or one in a marker, such"
            " as 'title: {title}'"
        )
    return found[0]


_TEXT_OF: dict[str, Callable[[Product], str]] = {
    "id": lambda product: product.id.replace("-", " ").replace("_", " "),
    "title": lambda product: product.title,
    "description": lambda product: product.description,
    "reviews": lambda product: " / ".join(filter(None, product.reviews)),
    "attributes": lambda product: "; ".join(f"{key}: {value}" for key, value in product.attributes.items()),
    "category": lambda product: product.category,
    "language": lambda product: product.language,
}
