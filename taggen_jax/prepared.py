"""A prepared data folder: what `taggen prepare` leaves and every later program reads.

A TFDS dataset in ArrayRecord files, and beside it config.json, tokenizer/, vocabulary.json, quarantine.jsonl
and preflight.json; with a governed vocabulary also thesaurus.jsonl and proposals.jsonl.
"""

import dataclasses
import itertools
import pathlib
from collections.abc import Iterator

from jax.sharding import Mesh

from taggen_jax import experiment as experiments
from taggen_jax import governed
from taggen_jax.catalog.product import field_of, marked
from taggen_jax.catalog.vocabulary import Vocabulary
from taggen_jax.data import store, stream
from taggen_jax.data import tokenizer as tokenizers
from taggen_jax.data.corruption import Denoiser
from taggen_jax.data.examples import Batch
from taggen_jax.data.packing import Place
from taggen_jax.data.store import Split
from taggen_jax.data.targets import Targets, most_tags
from taggen_jax.data.tokenizer import Tokenizer
from taggen_jax.errors import UserError
from taggen_jax.experiment import Experiment
from taggen_jax.parallel import hosts


class Prepared:
    """Opens the parts of a prepared folder when they are asked for.

    Attributes:
      experiment: what it was prepared with.
      vocabulary: the catalog's tags.
      counts: how many training products have each tag; 0 for a tag seen only outside training.
      parents: a tag's broader tags, where the vocabulary is a governed hierarchy.
    """

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root
        self.experiment = experiments.load(root / "config.json")
        self.vocabulary = Vocabulary.load(root / "vocabulary.json")
        self.counts = dict(zip(self.vocabulary.tags, self.vocabulary.counts, strict=True))
        spelling = governed.spelling(root, self.experiment.tags)
        self.parents = spelling.parents if spelling else {}
        self._splits: dict[str, Split] = {}

    @property
    def tokenizer_folder(self) -> pathlib.Path:
        return self.root / "tokenizer"

    def source(self, split: str) -> Split:
        """The rows of one split."""
        if split not in self._splits:
            self._splits[split] = store.open_split(self.root, split)
        return self._splits[split]

    def tokenizer(self, separator: str) -> Tokenizer:
        """The tokenizer, with the separator of the experiment's tags."""
        return tokenizers.load(self.tokenizer_folder, separator)

    def train_batches(self, experiment: Experiment, place: Place, mesh: Mesh) -> stream.Batches:
        """What this process's devices hold of the endless stream, from `place`."""
        part, parts = hosts.share(mesh)
        return stream.train_batches(
            self.source("train"),
            self._targets(experiment),
            experiment.stream,
            order=experiment.tags.order,
            denoiser=self._denoiser(experiment),
            dropout=_dropout(experiment),
            host=part,
            hosts=parts,
            place=place,
        )

    def eval_batches(
        self, experiment: Experiment, split: str, batch_size: int, products: int = 0
    ) -> Iterator[Batch]:
        """All rows of a split once, in order, in every process; or its first `products`, to whole batches."""
        batches = stream.eval_batches(
            self.source(split),
            self._targets(experiment),
            dataclasses.replace(experiment.stream, batch_size=batch_size),
            order=experiment.tags.order,
        )
        return itertools.islice(batches, -(-products // batch_size)) if products else batches

    def _denoiser(self, experiment: Experiment) -> Denoiser | None:
        config = experiment.stream
        if not config.denoise.rate:
            return None
        tokenizer = self.tokenizer(experiment.tags.separator)
        return Denoiser(tokenizer, config.denoise, config.source_length, config.target_length)

    def _targets(self, experiment: Experiment) -> Targets:
        length = experiment.stream.target_length
        most = most_tags(length) if experiment.tags.size_prefix else -1
        targets = Targets.of(self.vocabulary, self.tokenizer(experiment.tags.separator), most)
        if targets.sizes and max(map(len, targets.sizes)) >= length:
            raise UserError(
                f"tags.size_prefix: stream.target_length={length} has no room for a size and an end; raise it"
            )
        return targets


def _dropout(experiment: Experiment) -> tuple[float, ...]:
    """How often each piece of the text is left out; () where none ever is."""
    rates = experiment.stream.field_dropout
    pieces = {field_of(piece): piece for piece in experiment.text}
    for field in rates:
        if field not in pieces or not marked(pieces[field]):
            raise UserError(
                f"stream.field_dropout: {field!r} has no piece with a marker in text={experiment.text!r};"
                f" write it as '{field}: {{{field}}}' there, and prepare so"
            )
    return tuple(rates.get(field, 0.0) for field in pieces) if rates else ()
