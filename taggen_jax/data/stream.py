"""Rows to batches with Grain, the same ones for any number of hosts and after any interruption.

Which example the n-th visit of a run makes is a function of (seed, n), and which visits a batch holds one of
(seed, batch number), or of the `Place` that the batch before it left where rows are packed: so the stream
starts anywhere at once, and a checkpoint keeps no more of it than that place.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any, Literal

import grain
import numpy as np

from taggen_jax.data import packing
from taggen_jax.data.corruption import DenoiseConfig, Denoiser
from taggen_jax.data.examples import Batch, Example, Frame, pad
from taggen_jax.data.packing import BEGIN, Place
from taggen_jax.data.store import Row, Split
from taggen_jax.data.targets import Targets
from taggen_jax.data.windows import Planned, Windows, source_lengths
from taggen_jax.errors import UserError

Order = Literal["frequent", "text", "shuffled"]
_ENDLESS = 2**48  # visits: more than any run makes, and few enough for the float division in Grain's batch
_TEXT, _FIELDS = 1, 2  # set the chances of denoising and of field dropout apart from that of orders


@dataclasses.dataclass(frozen=True, kw_only=True)
class StreamConfig:
    """The shape and the order of batches.

    Attributes:
      source_length, target_length: ids a row, the end included; what is longer is cut.
      batch_size: rows a batch, over all hosts.
      buckets: shorter source lengths that a training batch of short products may have, ascending, such as
        (32, 64); products of like length then share batches. () pads every batch to `source_length`.
      packing: products a row of a training batch at most; 1 pads every product to a row of its own.
      seed: of the order of rows, and of the order of tags where that is shuffled.
      threads: that read ahead; 0 reads in the program's own thread.
      prefetch: batches that lie ready at most.
      field_dropout: field -> how often, 0..1, a training example goes without it, so that a model learns to
        do without; never without all of them. Its piece of the experiment's `text` needs a marker.
      denoise: which share of the examples is text to restore instead of tags to write.
    """

    source_length: int = 128
    target_length: int = 32
    batch_size: int = 16
    buckets: tuple[int, ...] = ()
    packing: int = 1
    seed: int = 0
    threads: int = 2
    prefetch: int = 8
    field_dropout: Mapping[str, float] = dataclasses.field(default_factory=dict)
    denoise: DenoiseConfig = dataclasses.field(default_factory=DenoiseConfig)

    def __post_init__(self) -> None:
        """Raises ValueError for a size that leaves no room for anything, and for what cannot go together."""
        for name in ("source_length", "target_length", "batch_size", "packing", "prefetch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
        if list(self.buckets) != sorted({size for size in self.buckets if 0 < size < self.source_length}):
            raise ValueError(
                f"buckets={self.buckets}: expected lengths below source_length={self.source_length},"
                " ascending"
            )
        if self.buckets and self.packing > 1:
            raise ValueError(
                f"buckets={self.buckets} and packing={self.packing}: both are there against padding, and a"
                " packed row has hardly any; choose packing, or set it to 1 and keep the buckets"
            )
        for field, rate in self.field_dropout.items():
            if not 0 <= rate < 1:
                raise ValueError(f"field_dropout: {field!r} is {rate}, expected a rate in [0, 1)")
        if self.seed < 0 or self.threads < 0:
            raise ValueError(f"seed={self.seed} and threads={self.threads} must not be negative")


class Batches(Iterator[Batch]):
    """Batches, read ahead by threads.

    Attributes:
      place: where the stream stands before the batch that comes next, however many were read ahead.
    """

    def __init__(self, placed: Generator[tuple[Place, Batch]], place: Place) -> None:
        """`placed` gives each batch with the place after it."""
        self._placed, self.place = placed, place

    def __next__(self) -> Batch:
        """The next batch."""
        self.place, batch = next(self._placed)
        return batch

    def close(self) -> None:
        """Stops reading ahead."""
        self._placed.close()


def train_batches(
    rows: Split,
    targets: Targets,
    config: StreamConfig,
    *,
    order: Order,
    denoiser: Denoiser | None = None,
    dropout: Sequence[float] = (),
    host: int = 0,
    hosts: int = 1,
    place: Place = BEGIN,
) -> Batches:
    """Batches without an end, from `place` on: every row once an epoch, shuffled every time.

    A batch is {"source": int32[B, S], "target": int32[B, T], "tags": int32[B, T], "tagged": float32[B],
    "row": int32[B], "weight": float32[B]}: ids padded at the end, "tags" (the vocabulary ids of a row's) with
    -1; "tagged" is 1 where these are all its tags. Batches run over the ends of epochs. Host h yields rows
    h*B/hosts to (h+1)*B/hosts of each.

    Packed, up to P products in a row, it also has "source_segments": int32[B, S] and "target_segments":
    int32[B, T], which say which product of its row a token is of, from 1 on, 0 for padding; and "tags" is
    int32[B, P, T], "tagged", "row" and "weight" are [B, P]. Which rows the products share depends on the
    lengths of all of them, so every host reads the whole batch.

    With buckets, S is the smallest that holds the batch's longest source. The products of a window of some
    batches are dealt out to these by length instead; finding the lengths reads the split once.

    With denoising, the share `config.denoise.rate` of all visits, evenly strewn, are to any row as text, and
    the others to rows with known tags; each of the two kinds goes through its own rows once an epoch.

    Args:
      order: of a row's tags: by falling frequency, as stored, or drawn anew from (seed, epoch, row).
      denoiser: makes denoising examples from (seed, epoch, row); needed where their rate is above 0.
      dropout: how often each piece of the text is left out, drawn from (seed, epoch, row); () for never.
      place: of a stream with the same settings.

    Raises:
      UserError: no rows, no rows with known tags to mix with, or a batch that the hosts cannot share.
    """
    if not len(rows):
        raise UserError(
            "train split: got 0 rows, expected at least 1; check the input and the split fractions"
        )
    share = _share(config.batch_size, hosts)
    # Grain shuffles epoch e by seed + e: neighbouring seeds would give each other's epochs.
    seed = int(np.random.SeedSequence(config.seed).generate_state(1)[0])
    if config.denoise.rate:
        visits = _mixed(rows, config.denoise.rate, seed)
    else:
        visits = _endless(_visits(np.arange(len(rows))), seed)
    reader = _Reader(rows, targets, config, order, denoiser, tuple(dropout))
    frame = _frame(config, targets)
    own = slice(host * share, (host + 1) * share)
    if config.packing > 1:
        return Batches(_packed(visits, reader, frame, config, place, own), place)
    if config.buckets:
        sizes = (*config.buckets, config.source_length)
        windows = Windows(visits, source_lengths(rows), sizes, config.batch_size, config.seed)
        numbers = grain.MapDataset.range(_ENDLESS // config.batch_size)[place.batch :]
        plan = numbers.map(windows).map(functools.partial(_bucketed, reader=reader, frame=frame, own=own))
    else:
        plan = visits.batch(share)[place.batch * hosts + host :: hosts].map(reader)
        plan = plan.map(functools.partial(pad, rows=share, frame=frame))
    return Batches(_padded(plan, config, place), place)


def eval_batches(
    rows: Split, targets: Targets, config: StreamConfig, *, order: Order, host: int = 0, hosts: int = 1
) -> Batches:
    """All rows once, in the order of the split, as batches of `train_batches`' form, never packed.

    The last batch is filled up with padding of row -1 and weight 0, so that every host sees as many batches.
    """
    share = _share(config.batch_size, hosts)
    batches = -(-len(rows) // config.batch_size)
    plan = _visits(np.arange(batches * config.batch_size)).batch(share)[host::hosts]
    plan = plan.map(_Reader(rows, targets, config, order))
    plan = plan.map(functools.partial(pad, rows=share, frame=_frame(config, targets)))
    return Batches(_padded(plan, config, BEGIN), BEGIN)


def _frame(config: StreamConfig, targets: Targets) -> Frame:
    return Frame(config.source_length, config.target_length, targets.source_pad, targets.pad)


def _padded(batches: grain.MapDataset, config: StreamConfig, place: Place) -> Generator[tuple[Place, Batch]]:
    """Each batch with the place after it; the first one is at `place`."""
    iterator = _ahead(batches, config)
    try:
        for number, batch in enumerate(iterator, start=place.batch + 1):
            yield Place(number, number * config.batch_size), batch
    finally:
        iterator.close()


def _bucketed(planned: Planned, reader: Callable[[Any], list[Example]], frame: Frame, own: slice) -> Batch:
    """This host's `own` rows of a batch, padded to the bucket of the whole."""
    epochs, numbers, as_text = planned.visits
    examples = reader((epochs[own], numbers[own], as_text[own]))
    return pad(examples, len(examples), dataclasses.replace(frame, source_length=planned.source_length))


def _packed(
    visits: grain.MapDataset,
    reader: Callable[[Any], list[Example]],
    frame: Frame,
    config: StreamConfig,
    place: Place,
    own: slice,
) -> Generator[tuple[Place, Batch]]:
    """This host's `own` rows of each packed batch, with the place after it."""
    single = visits.batch(1)
    waiting = [reader(single[visit])[0] for visit in place.waiting]
    read = _ahead(visits[place.visit :].batch(config.batch_size).map(reader), config)
    coming = itertools.chain.from_iterable(read)
    batches = packing.packed(coming, waiting, place, config.batch_size, config.packing, frame)
    placed = ((after, packing.join(rows[own], config.packing, frame)) for after, rows in batches)
    try:
        yield from packing.ahead(placed, config.prefetch) if config.threads else placed
    finally:
        read.close()


def _ahead(plan: grain.MapDataset, config: StreamConfig) -> grain.DatasetIterator:
    options = grain.ReadOptions(num_threads=config.threads, prefetch_buffer_size=config.prefetch)
    return iter(plan.to_iter_dataset(options))


def blank(config: StreamConfig) -> Batch:
    """A training batch without products, for its shapes."""
    frame = Frame(config.source_length, config.target_length, 0, 0)
    if config.packing > 1:
        return packing.join([[]] * config.batch_size, config.packing, frame)
    return pad([], config.batch_size, frame)


def _share(batch_size: int, hosts: int) -> int:
    if batch_size % hosts:
        raise UserError(f"batch_size={batch_size}: expected a multiple of the number of hosts, {hosts}")
    return batch_size // hosts


def _visits(numbers: np.ndarray, as_text: bool = False) -> grain.MapDataset:
    """(epoch, row, whether as text) of every visit to the rows of these numbers: cheap to shuffle, repeat and
    skip before anything is read."""
    places = grain.MapDataset.range(len(numbers))
    return places.map_with_index(lambda index, place: (index // len(numbers), numbers[place], as_text))


def _endless(visits: grain.MapDataset, seed: int) -> grain.MapDataset:
    """Epoch after epoch, each in an order of its own."""
    return visits.shuffle(seed=seed).repeat(_ENDLESS // len(visits))


def _mixed(rows: Split, rate: float, seed: int) -> grain.MapDataset:
    """Visits to all rows as text, and to those with known tags; finding these reads the split once."""
    texts = _endless(_visits(np.arange(len(rows)), as_text=True), seed)
    if rate == 1:
        return texts
    known = np.array([number for number in range(len(rows)) if teaches(rows[number])], np.int64)
    if not len(known):
        raise UserError(
            "train split: got no row with known tags, expected some beside the denoising ones; give tagged"
            " products, or set stream.denoise.rate=1"
        )
    return grain.MapDataset.mix([texts, _endless(_visits(known), seed)], [rate, 1 - rate])


def teaches(row: Row) -> bool:
    """Whether a row says anything about tags: which it has, or that it has none."""
    return bool(len(row["tags"])) or row["complete"]


def without(source: np.ndarray, fields: np.ndarray, dropped: np.ndarray) -> np.ndarray:
    """The ids of a row without those of some fields; all of them where nothing else would be left.

    Args:
      source: int32[S], the ids, with the tokenizer's own around those of the fields.
      fields: int32[F], how many ids each field has.
      dropped: bool[F].
    """
    if not fields[~dropped].any():
        return source
    before = len(source) - 1 - int(fields.sum())
    kept = np.r_[np.ones(before, bool), np.repeat(~dropped, fields), True]
    return source[kept]


@dataclasses.dataclass(frozen=True)
class _Reader:
    """Reads the examples of some visits; what only fills a batch is none."""

    rows: Split
    targets: Targets
    config: StreamConfig
    order: Order
    denoiser: Denoiser | None = None
    dropout: tuple[float, ...] = ()

    def __call__(self, visits: tuple[np.ndarray, np.ndarray, np.ndarray]) -> list[Example]:
        epochs, numbers, as_text = (values.tolist() for values in visits)
        real = [number for number in numbers if number < len(self.rows)]  # what fills a batch comes last
        return [
            self._example(*visit) for visit in zip(epochs, real, as_text, self.rows.read(real), strict=False)
        ]

    def _example(self, epoch: int, number: int, as_text: bool, row: Row) -> Example:
        """What is to be read and written; a target that may lack tags has no end, which nobody knows."""
        tags = row["tags"][: self.config.target_length]
        if as_text and self.denoiser:
            chance = np.random.default_rng((self.config.seed, epoch, number, _TEXT))
            return Example(*self.denoiser(row["source"].tolist(), chance), tags, False, number)
        source = row["source"]
        if any(self.dropout):
            chance = np.random.default_rng((self.config.seed, epoch, number, _FIELDS))
            source = without(source, row["fields"], chance.random(len(self.dropout)) < self.dropout)
        ordered = self._ordered(row["tags"], epoch, number)
        target = self.targets.ids(ordered, self.config.target_length, row["complete"])
        return Example(self._source(source), target, tags, row["complete"], number)

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
