"""Which tags a product may have: sets of the vocabulary, by the value of one of the product's fields.

    {"field": "category", "sets": {"Shoes": ["boots", "sandals"], "Tea": ["green tea"]}, "default": null}

Products whose value has no set get the default: a list of tags, or null for all of them. Values are compared
as the catalog spells them, before cleaning.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from taggen_jax.catalog.product import Product
from taggen_jax.catalog.vocabulary import Vocabulary
from taggen_jax.closed import refuse_unknown
from taggen_jax.errors import UserError
from taggen_jax.files import read_json

_FIELDS = ("category", "language")
_ATTRIBUTE = "attributes."
_KEYS = ("field", "sets", "default")


@dataclasses.dataclass(frozen=True)
class Subsets:
    """Numbered sets of tags; number 0 is the default.

    Attributes:
      path: the file, for messages.
      field: "category", "language", or "attributes.NAME".
      sets: the tags by the value of the field, numbered from 1 on in this order.
      default: the tags of all other products; None stands for every tag.
    """

    path: str
    field: str
    sets: Mapping[str, tuple[str, ...]]
    default: tuple[str, ...] | None

    def number(self, product: Product) -> int:
        """The number of the product's set."""
        if self.field.startswith(_ATTRIBUTE):
            value = product.attributes.get(self.field.removeprefix(_ATTRIBUTE), "")
        else:
            value = getattr(product, self.field)
        return self._numbers.get(value, 0)

    @functools.cached_property
    def _numbers(self) -> dict[str, int]:
        return {value: number for number, value in enumerate(self.sets, 1)}

    def allowed(self, tags: Sequence[str], vocabulary: Vocabulary) -> np.ndarray:
        """bool [G, X]: which of `tags`, those of a closed search, each set allows.

        Raises:
          UserError: a set names a tag that the vocabulary lacks, or none that the search may write.
        """
        rows = [self._row(tags, "default", tags if self.default is None else self.default, vocabulary)]
        rows += [self._row(tags, f"sets[{value!r}]", own, vocabulary) for value, own in self.sets.items()]
        return np.array(rows)

    def _row(self, tags: Sequence[str], name: str, own: Sequence[str], vocabulary: Vocabulary) -> list[bool]:
        refuse_unknown(own, vocabulary, f"{self.path}: {name}")
        members = set(own)
        row = [tag in members for tag in tags]
        if not any(row):
            raise UserError(
                f"{self.path}: {name} has no tag that may be given, expected at least one; tags that are"
                " forbidden, too long, or of no training product do not count"
            )
        return row


def load(path: str) -> Subsets:
    """Reads the file.

    Raises:
      UserError: the file is missing, or is no subsets.
    """
    value = read_json(pathlib.Path(path), "the subsets")
    wanted = 'expected {"field": .., "sets": {VALUE: [TAG, ..], ..}, "default": null or [TAG, ..]}'
    if not isinstance(value, dict) or not {"field", "sets"} <= value.keys() <= set(_KEYS):
        raise UserError(f"{path}: not the subsets of a vocabulary; {wanted}")
    field, sets, default = (value.get(key) for key in _KEYS)
    if not isinstance(field, str) or not (field in _FIELDS or field.startswith(_ATTRIBUTE)):
        raise UserError(f"{path}: field is {field!r}, expected {', '.join(_FIELDS)} or {_ATTRIBUTE}NAME")
    if (
        not isinstance(sets, dict)
        or not all(map(_tags, sets.values()))
        or not (default is None or _tags(default))
    ):
        raise UserError(f"{path}: sets and default are no lists of tags; {wanted}")
    known = {str(name): tuple(tags) for name, tags in sets.items()}
    return Subsets(path, field, known, None if default is None else tuple(default))


def _tags(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(tag, str) for tag in value)


def refuse(path: str) -> None:
    """Raises UserError where subsets are asked for on prepared rows, which do not keep a product's fields."""
    if path:
        raise UserError(
            f"generate.subsets={path!r}: prepared rows keep no fields to choose a set by; set it for"
            " `taggen generate` only (generate.forbidden works here, too)"
        )
