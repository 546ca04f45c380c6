"""What every measure scores: the gold tags and the predicted ones of one product."""

import dataclasses

Tag = str | int
"""A tag as text or as an index into the vocabulary; one evaluation uses one of the two throughout."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prediction:
    """One product's answer, without repeats: they are removed here, once, and counted.

    Attributes:
      gold: the tags it has; () where nobody has tagged the product.
      tags: the predicted set, best first.
      ranked: a longer ranking for the measures at k, best first; () means `tags`.
      duplicates: repeats that were dropped before this object was made; those found in `tags` are added.
    """

    gold: tuple[Tag, ...]
    tags: tuple[Tag, ...]
    ranked: tuple[Tag, ...] = ()
    duplicates: int = 0

    def __post_init__(self) -> None:
        """Drops repeats, keeping each tag's first place."""
        distinct = tuple(dict.fromkeys(self.tags))
        object.__setattr__(self, "duplicates", self.duplicates + len(self.tags) - len(distinct))
        object.__setattr__(self, "tags", distinct)
        object.__setattr__(self, "ranked", tuple(dict.fromkeys(self.ranked)) or distinct)
        object.__setattr__(self, "gold", tuple(dict.fromkeys(self.gold)))
