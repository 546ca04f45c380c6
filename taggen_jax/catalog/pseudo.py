"""Which of a model's tags are good enough to train on: sure ones, and of no tag too many.

Self-training likes what it knows: without quotas the frequent tags crowd out the others (Wei et al., 2021,
"CReST"). What is left out is not known to be wrong; so the products come out as incompletely tagged ones.
"""

import collections
import dataclasses
import hashlib
import heapq
import math
from collections.abc import Iterable, Mapping

Tags = Mapping[str, float]  # the tags of one product with their scores
Rank = tuple[float, bytes]  # a score, and what decides between equal ones


@dataclasses.dataclass(frozen=True, kw_only=True)
class Quotas:
    """What a pseudo-label has to be.

    Attributes:
      min_score: its least score; the probability to be right where scores are calibrated.
      share: of a tag at most so many times its training products, the best scored ones.
    """

    min_score: float = 0.9
    share: float = 1.0

    def __post_init__(self) -> None:
        """Raises ValueError for what is no probability, and for no share at all."""
        if not 0 <= self.min_score <= 1 or self.share <= 0:
            raise ValueError(f"min_score={self.min_score} must be in [0, 1], and quota={self.share} above 0")


def least(products: Iterable[tuple[str, Tags]], counts: Mapping[str, int], quotas: Quotas) -> dict[str, Rank]:
    """The rank from which on a tag is kept: that of the last product in its quota.

    Args:
      products: (id, tags with scores) of each.
      counts: a tag's training products; one without any has no quota, and is never kept.
    """
    best: dict[str, list[Rank]] = collections.defaultdict(list)  # heaps, the least first
    for id, tags in products:
        for tag, score in tags.items():
            if score >= quotas.min_score and counts.get(tag):
                full = len(best[tag]) >= math.ceil(quotas.share * counts[tag])
                (heapq.heappushpop if full else heapq.heappush)(best[tag], _rank(id, tag, score))
    return {tag: ranks[0] for tag, ranks in best.items()}


def kept(id: str, tags: Tags, least: Mapping[str, Rank]) -> tuple[str, ...]:
    """Those tags of one product that are good enough, in their order."""
    return tuple(tag for tag in tags if tag in least and _rank(id, tag, tags[tag]) >= least[tag])


def _rank(id: str, tag: str, score: float) -> Rank:
    """Many scores are 1: among equals a hash draws lots."""
    return score, hashlib.blake2b(f"{tag}\0{id}".encode(), digest_size=8).digest()
