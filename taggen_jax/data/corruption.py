"""Denoising: a text with parts taken out, and what a model has to write for it. Labels are not needed.

    text        a b c d e f g h
    spans       a b <0> e f <1> h       ->  <0> c d <1> g          T5 (Raffel et al., 2020)
    prefix      a b c <0>               ->  <0> d e f g h          UL2's S (Tay et al., 2023)
    infilling   a b <mask> e f <mask> h ->  a b c d e f g h        BART (Lewis et al., 2020)

All are functions of the ids and a random generator.
"""

import dataclasses
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from taggen_jax.data.tokenizer import Tokenizer
from taggen_jax.errors import UserError

Ids = list[int]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DenoiseConfig:
    """How many of the training examples are denoising ones, and of which kind.

    Attributes:
      rate: their share, 0..1, evenly strewn over the stream; the others are products with known tags. 1 is
        pre-training on text alone.
      kind: "spans", "infilling", or "mixture", UL2's seven denoisers in turn (without its mode tokens).
      density: share of a text's ids that is hidden, for "spans" and "infilling".
      mean_span: the mean number of ids in a hidden part, for these.
    """

    rate: float = 0.0
    kind: Literal["spans", "infilling", "mixture"] = "spans"
    density: float = 0.15
    mean_span: float = 3.0

    def __post_init__(self) -> None:
        """Raises ValueError for what is no share, and for parts shorter than one id."""
        if not 0 <= self.rate <= 1 or not 0 < self.density < 1:
            raise ValueError(f"rate={self.rate} must be in [0, 1], and density={self.density} in (0, 1)")
        if self.mean_span < 1:
            raise ValueError(f"mean_span={self.mean_span} must be at least 1")


class _Spans(NamedTuple):
    """One way to hide spans; a mean span of 0 hides one suffix."""

    density: float
    mean: float


# UL2, table 1: R-denoisers, X-denoisers, and the S-denoiser.
_MIXTURE = (
    *(_Spans(0.15, 3), _Spans(0.15, 8)),
    *(_Spans(0.5, 3), _Spans(0.5, 8), _Spans(0.15, 64), _Spans(0.5, 64)),
    _Spans(0.25, 0),
)


class Denoiser:
    """Makes denoising examples of rows as the store keeps them."""

    def __init__(self, tokenizer: Tokenizer, config: DenoiseConfig, source_length: int, target_length: int):
        """The lengths are those of what is made, ends included.

        Raises:
          UserError: the tokenizer has no tokens to stand for what is hidden, or tags have one of their own.
        """
        if tokenizer.tags is not tokenizer:
            raise UserError(
                "stream.denoise: tags have a tokenizer of their own, which cannot spell texts;"
                " prepare with tokenizer.tag_vocab_size=0"
            )
        self._config, self._sentinels = config, tokenizer.sentinels
        self._mask = tokenizer.mask if tokenizer.mask >= 0 else (*self._sentinels, -1)[0]
        if (self._mask if config.kind == "infilling" else len(self._sentinels) - 1) < 0:
            raise UserError(
                "stream.denoise: the tokenizer has no tokens such as '<extra_id_0>' to stand for what is"
                " hidden; prepare with tokenizer.sentinels=32, or with a tokenizer of T5"
            )
        self._before, self._eos = tokenizer.before, tokenizer.eos
        self._room = source_length - len(self._before) - 1
        self._target_room = target_length - 1

    def __call__(self, source: Sequence[int], chance: np.random.Generator) -> tuple[Ids, Ids]:
        """What a model reads and what it has to write, framed and closed by the end."""
        ids = list(source[len(self._before) : -1][: self._room])
        read, written = self._corrupt(ids, chance)
        return [*self._before, *read, self._eos], [*written, self._eos]

    def _corrupt(self, ids: Ids, chance: np.random.Generator) -> tuple[Ids, Ids]:
        config = self._config
        if config.kind == "infilling":
            ids = ids[: self._target_room]
            return infill(ids, config.density, config.mean_span, self._mask, chance), ids
        way = _Spans(config.density, config.mean_span)
        if config.kind == "mixture":
            way = _MIXTURE[chance.integers(len(_MIXTURE))]
        return hide(ids, spans(len(ids), way, self._limits, chance), self._sentinels)

    @property
    def _limits(self) -> tuple[int, int]:
        """The most spans, and the most ids that a target has besides the end."""
        return len(self._sentinels), self._target_room


def spans(
    length: int, way: _Spans, limits: tuple[int, int], chance: np.random.Generator
) -> list[tuple[int, int]]:
    """(start, end) of the parts of a text to hide, none touching another, anywhere in it.

    T5's own always hide the end of a text, which is all that a short one ever loses. Fewer ids are hidden
    than asked for where a target, which holds one sentinel a span, has no room.
    """
    hidden = min(max(1, round(length * way.density)), max(1, length - 1), length)
    while (count := _count(hidden, length, way, limits[0])) + hidden > limits[1] and hidden > 0:
        hidden -= 1
    if hidden <= 0:
        return []
    if not way.mean:
        return [(length - hidden, length)]
    taken = _parts(hidden, count, chance)
    before = _parts(length - hidden + 2, count + 1, chance)[:-1]  # what is kept before each, and 1 more
    before[0] -= 1
    ends = np.cumsum(before + taken)
    return [(int(end - size), int(end)) for end, size in zip(ends, taken, strict=True)]


def _count(hidden: int, length: int, way: _Spans, most: int) -> int:
    """How many spans: by their mean, but each hides an id and keeps one."""
    wanted = round(hidden / way.mean) if way.mean else 1
    return max(1, min(wanted, hidden, length - hidden, most))


def _parts(total: int, count: int, chance: np.random.Generator) -> np.ndarray:
    """`total` cut at random into `count` parts, none empty."""
    cuts = np.sort(chance.choice(total - 1, count - 1, replace=False)) + 1
    return np.diff(np.r_[0, cuts, total])


def hide(ids: Ids, parts: Sequence[tuple[int, int]], sentinels: Sequence[int]) -> tuple[Ids, Ids]:
    """The text with one sentinel for each part, and the parts, each after its sentinel."""
    read: Ids = []
    written: Ids = []
    done = 0
    for (start, end), sentinel in zip(parts, sentinels, strict=False):
        read += [*ids[done:start], sentinel]
        written += [sentinel, *ids[start:end]]
        done = end
    return [*read, *ids[done:]], written


def infill(ids: Ids, density: float, mean: float, mask: int, chance: np.random.Generator) -> Ids:
    """The text with spans of Poisson length, some of them empty, each replaced by one mask; never longer."""
    wanted = round(len(ids) * density)
    sizes: list[int] = []
    while left := wanted - sum(sizes):
        drawn = min(int(chance.poisson(mean)), left)
        sizes.append(left if len(sizes) == wanted - 1 else drawn)  # as many masks as hidden ids at most
    visible = len(ids) - sum(sizes)
    places = np.sort(chance.integers(0, visible + 1, len(sizes)))  # how many visible ids stand before each
    read: Ids = []
    seen = hidden = 0
    for place, size in zip(places.tolist(), sizes, strict=True):
        read += [*ids[seen + hidden : place + hidden], mask]
        seen, hidden = place, hidden + size
    return [*read, *ids[seen + hidden :]]
