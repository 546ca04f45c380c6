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
      scores: the probability of each tag in `ranked`; None where there are none to be calibrated.
      text: what the tags were read from, for the present and the absent; "" where it is unknown.
      language: of the product; "" where it is unknown.
      duplicates: repeats that were dropped before this object was made; those found in `tags` are added.
    """

    gold: tuple[Tag, ...]
    tags: tuple[Tag, ...]
    ranked: tuple[Tag, ...] = ()
    scores: tuple[float, ...] | None = None
    text: str = ""
    language: str = ""
    duplicates: int = 0

    def __post_init__(self) -> None:
        """Drops repeats, keeping each tag's first place. Raises ValueError unless every tag has a score."""
        distinct = tuple(dict.fromkeys(self.tags))
        ranked = self.ranked or self.tags
        if self.scores is not None:
            if len(self.scores) != len(ranked):
                raise ValueError(f"{len(self.scores)} scores for {len(ranked)} ranked tags; give one a tag")
            first: dict[Tag, float] = {}
            for tag, score in zip(ranked, self.scores, strict=True):
                first.setdefault(tag, score)
            object.__setattr__(self, "scores", tuple(first.values()))
        object.__setattr__(self, "duplicates", self.duplicates + len(self.tags) - len(distinct))
        object.__setattr__(self, "tags", distinct)
        object.__setattr__(self, "ranked", tuple(dict.fromkeys(ranked)))
        object.__setattr__(self, "gold", tuple(dict.fromkeys(self.gold)))
