"""Batches of products of like length, for training: few shapes, little padding.

lengths   7 3 9 2 8 5 1 6     a window of the shuffled visits: as many batches as are planned at once
sorted    1 2 3 | 5 6 7 | ..  by stored length, and cut into batches anew
batches   5 6 7 | 1 2 3 | ..  in an order drawn from (seed, window), each padded to the bucket of its longest

A batch is a function of (seed, batch number) and of the stored lengths: every host knows all of it without
reading a row, and a stream starts at any batch.
"""

import functools
import threading
from collections.abc import Sequence
from typing import NamedTuple

import grain
import numpy as np

from taggen_jax.data.store import Split

Visits = tuple[np.ndarray, np.ndarray, np.ndarray]
_BATCHES = 16  # of a window, for each bucket: so one batch in 16 lies across the border of two buckets
_READ = 1000  # rows at once
_ORDER = 3  # sets the order of batches apart from all else that is drawn from the seed


class Planned(NamedTuple):
    """One batch before it is read.

    Attributes:
      visits: (epoch, row, whether as text) of all its products, over all hosts: [B] each.
      source_length: the bucket that holds them.
    """

    visits: Visits
    source_length: int


def source_lengths(rows: Split) -> np.ndarray:
    """int32[N]: how many ids the source of each row has; reads the split once."""
    starts = range(0, len(rows), _READ)
    chunks = (rows.read(range(start, min(start + _READ, len(rows)))) for start in starts)
    return np.array([len(row["source"]) for chunk in chunks for row in chunk], np.int32)


class Windows:
    """batch number -> `Planned`. A window holds the same visits as without buckets, each once.

    What a row becomes when it is read (fields dropped, parts hidden) is never longer than what is stored.
    """

    def __init__(
        self,
        visits: grain.MapDataset,
        lengths: np.ndarray,
        buckets: Sequence[int],
        batch_size: int,
        seed: int,
    ) -> None:
        """
        Args:
          visits: the stream's, without an end.
          lengths: int32[N], of the rows.
          buckets: ascending; sources longer than the last are cut to it.
        """
        # Within an epoch at most: sorting would bring the visits to one row together.
        self._batches = max(1, min(_BATCHES * (len(buckets) - 1), len(lengths) // batch_size))
        self._visits = visits.batch(self._batches * batch_size)
        self._lengths = np.minimum(lengths, buckets[-1])
        self._buckets, self._seed = np.array(buckets), seed
        self._lock = threading.Lock()
        self._window = functools.lru_cache(2)(self._sorted)

    def __call__(self, batch: int) -> Planned:
        """Draws the window of this batch, unless it is one of the last two."""
        window, place = divmod(batch, self._batches)
        with self._lock:  # threads that read ahead ask for the same one
            return self._window(window)[place]

    def _sorted(self, window: int) -> list[Planned]:
        epochs, numbers, as_text = self._visits[window]
        lengths = self._lengths[numbers]
        batches = np.argsort(lengths, kind="stable").reshape(self._batches, -1)
        batches = np.random.default_rng((self._seed, window, _ORDER)).permutation(batches)
        fitting = self._buckets[np.searchsorted(self._buckets, lengths[batches].max(axis=1))].tolist()
        return [
            Planned((epochs[own], numbers[own], as_text[own]), length)
            for own, length in zip(batches, fitting, strict=True)
        ]
