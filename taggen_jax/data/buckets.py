"""Batches of like length for generation: few shapes, little padding, answers in input order.

products  7 3 9 2 | 8 1 ..    a window is read ahead and sorted by length,
batches   2 3 | 7 9           cut into batches, each padded to the next multiple of `step`,
answers   7 3 9 2             and its answers wait until all before them have come.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

Answer = TypeVar("Answer")


@dataclasses.dataclass(frozen=True, kw_only=True)
class BucketConfig:
    """How products are sorted into batches.

    Attributes:
      batch_size: rows of every batch.
      longest: tokens of the longest source; longer ones are refused.
      step: sources are padded to the next multiple of this, so that at most longest / step shapes compile.
      window: batches that are sorted together: how far an answer may have to wait.
    """

    batch_size: int
    longest: int
    step: int = 32
    window: int = 16

    def __post_init__(self) -> None:
        for name in ("batch_size", "longest", "step", "window"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")

    def padded(self, length: int) -> int:
        """The bucket of a source of this many tokens."""
        if length > self.longest:
            raise ValueError(f"a source of {length} tokens, expected at most longest={self.longest}")
        return min(self.longest, -(-max(length, 1) // self.step) * self.step)


def batches(
    sources: Iterable[Sequence[int]], config: BucketConfig, *, pad: int, eos: int
) -> Iterator[dict[str, Any]]:
    """Batches "source" int32 [B, S], "row" int32 [B] (its number in the input) and "weight" float32 [B].

    Rows that fill up the last batch of a window have weight 0, and read an empty product.
    """
    numbered = enumerate(sources)
    while window := list(itertools.islice(numbered, config.window * config.batch_size)):
        window.sort(key=lambda one: len(one[1]))
        for start in range(0, len(window), config.batch_size):
            yield _batch(window[start : start + config.batch_size], config, pad, eos)


def _batch(
    products: Sequence[tuple[int, Sequence[int]]], config: BucketConfig, pad: int, eos: int
) -> dict[str, Any]:
    B, S = config.batch_size, config.padded(max(len(source) for _, source in products))
    source_BS, row_B = np.full((B, S), pad, np.int32), np.zeros(B, np.int32)
    source_BS[len(products) :, 0] = eos
    for i, (row, source) in enumerate(products):
        source_BS[i, : len(source)] = source
        row_B[i] = row
    return {"source": source_BS, "row": row_B, "weight": (np.arange(B) < len(products)).astype(np.float32)}


def in_order(answers: Iterable[tuple[int, Answer]]) -> Iterator[tuple[int, Answer]]:
    """(row, answer) of rows 0, 1, 2, .., whatever order they come in; early ones wait."""
    waiting: dict[int, Answer] = {}
    due = 0
    for row, answer in answers:
        waiting[row] = answer
        while due in waiting:
            yield due, waiting.pop(due)
            due += 1
    if waiting:
        raise ValueError(f"no answer for row {due}, though {len(waiting)} later ones have come")
