"""Rows to batches with Grain, the same ones for any number of hosts and after any interruption.

Which rows a batch holds is a function of (seed, batch number): the stream starts at any batch at once, and
all that a checkpoint keeps of it is {"batch": n}.
"""

import dataclasses
from collections.abc import Iterator
from typing import Literal

import grain
import numpy as np

from taggen_jax.data.store import Split
from taggen_jax.data.targets import Targets
from taggen_jax.errors import UserError

Order = Literal["frequent", "text", "shuffled"]
Batch = dict[str, np.ndarray]
_ENDLESS = 2**48  # visits: more than any run makes, and few enough for the float division in Grain's batch
_FILL = -1  # the row number of what only fills the last batch, and the tag after a row's last


@dataclasses.dataclass(frozen=True, kw_only=True)
class StreamConfig:
    """The shape and the order of batches.

    Attributes:
      source_length, target_length: ids a row, the end included; what is longer is cut.
      batch_size: rows a batch, over all hosts.
      seed: of the order of rows, and of the order of tags where that is shuffled.
      threads: that read ahead; 0 reads in the program's own thread.
      prefetch: batches that lie ready at most.
    """

    source_length: int = 128
    target_length: int = 32
    batch_size: int = 16
    seed: int = 0
    threads: int = 2
    prefetch: int = 8

    def __post_init__(self) -> None:
        """Raises ValueError for a size that leaves no room for anything."""
        for name in ("source_length", "target_length", "batch_size", "prefetch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
        if self.seed < 0 or self.threads < 0:
            raise ValueError(f"seed={self.seed} and threads={self.threads} must not be negative")


class Batches(Iterator[Batch]):
    """Batches, read ahead by threads.

    Attributes:
      batch: the number of the batch that comes next.
    """

    def __init__(self, batches: grain.MapDataset, config: StreamConfig, start: int) -> None:
        """`batches` begins at batch number `start`."""
        options = grain.ReadOptions(num_threads=config.threads, prefetch_buffer_size=config.prefetch)
        self._iterator = iter(batches.to_iter_dataset(options))
        self.batch = start

    def __next__(self) -> Batch:
        """The next batch."""
        batch = next(self._iterator)
        self.batch += 1
        return batch

    def close(self) -> None:
        """Stops reading ahead."""
        self._iterator.close()


def train_batches(
    rows: Split,
    targets: Targets,
    config: StreamConfig,
    *,
    order: Order,
    host: int = 0,
    hosts: int = 1,
    start: int = 0,
) -> Batches:
    """Batches without an end, from batch number `start` on: every row once an epoch, shuffled every time.

    A batch is {"source": int32[B, S], "target": int32[B, T], "tags": int32[B, T], "row": int32[B],
    "weight": float32[B]}: ids padded at the end, "tags" (the vocabulary ids of a row's) with -1. Batches run
    over the ends of epochs. Host h yields rows h*B/hosts to (h+1)*B/hosts of each.

    Args:
      order: of a row's tags: by falling frequency, as stored, or drawn anew from (seed, epoch, row).

    Raises:
      UserError: no rows, or a batch that the hosts cannot share.
    """
    if not len(rows):
        raise UserError(
            "train split: got 0 rows, expected at least 1; check the input and the split fractions"
        )
    share = _share(config.batch_size, hosts)
    # Grain shuffles epoch e by seed + e: neighbouring seeds would give each other's epochs.
    seed = int(np.random.SeedSequence(config.seed).generate_state(1)[0])
    visits = _visits(len(rows)).shuffle(seed=seed).repeat(_ENDLESS // len(rows))
    plan = visits.batch(share)[start * hosts + host :: hosts]
    return Batches(plan.map(_Reader(rows, targets, config, order)), config, start)


def eval_batches(
    rows: Split, targets: Targets, config: StreamConfig, *, order: Order, host: int = 0, hosts: int = 1
) -> Batches:
    """All rows once, in the order of the split, as batches of `train_batches`' form.

    The last batch is filled up with padding of row -1 and weight 0, so that every host sees as many batches.
    """
    share = _share(config.batch_size, hosts)
    batches = -(-len(rows) // config.batch_size)
    plan = _visits(batches * config.batch_size).batch(share)[host::hosts]
    return Batches(plan.map(_Reader(rows, targets, config, order)), config, start=0)


def _share(batch_size: int, hosts: int) -> int:
    if batch_size % hosts:
        raise UserError(f"batch_size={batch_size}: expected a multiple of the number of hosts, {hosts}")
    return batch_size // hosts


def _visits(rows: int) -> grain.MapDataset:
    """(epoch, row) of every visit to a row: cheap to shuffle, repeat and skip before anything is read."""
    return grain.MapDataset.range(rows).map_with_index(lambda index, row: (index // rows, row))


@dataclasses.dataclass(frozen=True)
class _Reader:
    """Reads and pads the rows of one batch."""

    rows: Split
    targets: Targets
    config: StreamConfig
    order: Order

    def __call__(self, visits: tuple[np.ndarray, np.ndarray]) -> Batch:
        epochs, numbers = visits
        real = numbers < len(self.rows)
        rows = self.rows.read(numbers[real].tolist())
        sources = [self._source(row["source"]) for row in rows]
        visited = zip(epochs.tolist(), numbers.tolist(), rows, strict=False)  # what fills a batch comes last
        targets = [
            self.targets.ids(self._ordered(row["tags"], epoch, number), self.config.target_length)
            for epoch, number, row in visited
        ]
        return {
            "source": self._padded(sources, len(numbers), self.config.source_length, self.targets.source_pad),
            "target": self._padded(targets, len(numbers), self.config.target_length, self.targets.pad),
            "tags": self._padded(
                [row["tags"][: self.config.target_length] for row in rows],
                *(len(numbers), self.config.target_length, _FILL),
            ),
            "row": np.where(real, numbers, _FILL).astype(np.int32),
            "weight": real.astype(np.float32),
        }

    def _source(self, ids: np.ndarray) -> np.ndarray:
        if len(ids) <= self.config.source_length:
            return ids
        return np.append(ids[: self.config.source_length - 1], ids[-1])  # the end stays

    def _ordered(self, tags: np.ndarray, epoch: int, number: int) -> list[int]:
        if self.order == "frequent":
            return sorted(tags.tolist())
        if self.order == "shuffled":
            return np.random.default_rng((self.config.seed, epoch, number)).permutation(tags).tolist()
        return tags.tolist()

    def _padded(self, rows: list, count: int, length: int, pad: int) -> np.ndarray:
        padded = np.full((count, length), pad, np.int32)
        for i, ids in enumerate(rows):
            padded[i, : len(ids)] = ids
        return padded
