"""taggen prepare: from catalog files to checked, tokenised, split arrays.

Two passes, both streamed. The first reads, cleans, drops repeats and splits, and leaves the cleaned products
in a temporary file per split; the second, knowing the tags and the tokenizer, checks and writes the rows.
The output folder appears whole, or not at all.
"""

import contextlib
import dataclasses
import functools
import itertools
import json
import os
import pathlib
import shlex
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Self

from taggen_jax import experiment as experiments
from taggen_jax import governed
from taggen_jax.catalog.clean import cleaner
from taggen_jax.catalog.corrections import Corrections
from taggen_jax.catalog.corrections import load as load_corrections
from taggen_jax.catalog.folds import groups
from taggen_jax.catalog.product import Product, source_text
from taggen_jax.catalog.quarantine import Quarantine
from taggen_jax.catalog.readers import expand, read
from taggen_jax.catalog.spelling import Speller
from taggen_jax.catalog.splits import Deduplicator, SplitConfig, split_of
from taggen_jax.catalog.tags import TagsConfig
from taggen_jax.catalog.thesaurus import Term, Thesaurus
from taggen_jax.catalog.vocabulary import Vocabulary
from taggen_jax.data import beam as beamed
from taggen_jax.data import preflight, store
from taggen_jax.data import tokenizer as tokenizers
from taggen_jax.data.rows import make_rows
from taggen_jax.data.store import Row
from taggen_jax.data.tokenizer import Tokenizer
from taggen_jax.errors import UserError
from taggen_jax.experiment import Experiment
from taggen_jax.files import write_json
from taggen_jax.terminal import counted

SPLITS = ("train", "validation", "test")


def run(
    experiment: Experiment,
    output: pathlib.Path,
    input: Sequence[str] = (),
    train: Sequence[str] = (),
    validation: Sequence[str] = (),
    test: Sequence[str] = (),
    corrections: Sequence[str] = (),
    strict: bool = False,
    beam: str = "",
) -> None:
    """Prepares the files of `input`, split by hash, or those of `train`, `validation` and `test` as they are.

    The tags of products are corrected by the files of `corrections`, see `catalog.corrections`. With `beam`,
    Apache Beam's own options, its workers tokenise and write the rows, see `data.beam`: to the same arrays.

    Raises:
      UserError: no input, an output folder with something in it, a failed check; with `strict` any bad row.
    """
    given = {"train": train, "validation": validation, "test": test}
    if bool(input) == any(given.values()):
        raise UserError("taggen prepare: give either --input, or --train with --validation and --test")
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError(f"{output}: exists and is not an empty folder; give a new one, or remove it first")
    sources = {split: expand(patterns) for split, patterns in ({"": input} | given).items() if patterns}
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent) as unfinished:
        folder = pathlib.Path(unfinished) / "data"
        spell = Speller(experiment.tags)
        correct = load_corrections(corrections, Speller(experiment.tags))
        with Spool(pathlib.Path(unfinished) / "spool") as spool:
            _collect(experiment, sources, spell, correct, spool, folder / "quarantine.jsonl", strict)
            if input:
                _split(spool, experiment.split)
        print("split: " + ", ".join(f"{split} {spool.counts[split]:,}" for split in SPLITS))
        if corrections:
            print(correct.describe())
        _keep_vocabulary(spell, experiment.tags, folder)
        _write(experiment, spool, folder, beam)
        os.replace(folder, output)  # over an empty folder, or none
    print(f"prepared {output}")


class Spool:
    """Cleaned products on disk between the two passes, one JSONL file a split; "" before they are split.

    Attributes:
      counts: products by split.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        folder.mkdir()
        self.counts = dict.fromkeys((*SPLITS, ""), 0)
        self._paths = {split: folder / (split or "whole") for split in self.counts}
        self._stack = contextlib.ExitStack()
        self._files = {
            split: self._stack.enter_context(path.open("w")) for split, path in self._paths.items()
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def add(self, split: str, product: Product) -> None:
        self._files[split].write(json.dumps(dataclasses.asdict(product)) + "\n")
        self.counts[split] += 1

    def path(self, split: str) -> pathlib.Path:
        """The file of a split, to which nothing may be added any more."""
        if not self._files[split].closed:
            self._files[split].flush()
        return self._paths[split]

    def lines(self, split: str) -> Iterator[str]:
        """Reads a split back as it lies there."""
        with self.path(split).open() as file:
            yield from file

    def products(self, split: str) -> Iterator[Product]:
        """Reads a split back."""
        return map(_product, self.lines(split))


def _product(line: str) -> Product:
    values = json.loads(line)
    return Product(**values | {name: tuple(values[name]) for name in ("reviews", "tags")})


def _collect(
    experiment: Experiment,
    sources: Mapping[str, Sequence[pathlib.Path]],
    spell: Speller,
    correct: Corrections,
    spool: Spool,
    quarantine_path: pathlib.Path,
    strict: bool,
) -> None:
    """The first pass: read, clean, spell tags, drop repeats."""
    clean, deduplicate = cleaner(experiment.clean), Deduplicator()
    with Quarantine(quarantine_path) as quarantine:
        for split, paths in sources.items():
            products = read(paths, experiment.catalog, strict=strict, quarantine=quarantine)
            cleaned = (
                dataclasses.replace(clean(product), tags=spell(product.tags))
                for product in counted(products, None, "read", "products")
            )
            corrected = (dataclasses.replace(product, tags=correct(product)) for product in cleaned)
            # A split that people made is kept as it is; preflight counts what repeats in it or leaks into it.
            for product in corrected if split else deduplicate(corrected):
                spool.add(split, product)
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in quarantine.counts.most_common())
    print(f"read: {sum(spool.counts.values()):,} products, {deduplicate.dropped:,} duplicates dropped")
    print(f"quarantined: {quarantine.counts.total():,} rows" + (f" ({reasons})" if reasons else ""))


def _split(spool: Spool, config: SplitConfig) -> None:
    """Splits the whole: a group of what is alike goes by the hash of its least name."""
    numbers = groups(spool.products(""), config.near)
    names: dict[int, str] = {}
    for product, number in zip(spool.products(""), numbers, strict=True):
        own = product.group or product.id
        names[number] = min(names.get(number, own), own)
    for product, number in zip(spool.products(""), numbers, strict=True):
        product = dataclasses.replace(product, group=names[number])
        spool.add(split_of(product, config), product)
    print(f"groups: {len(names):,} of variants and near-duplicates that stay together")


def _keep_vocabulary(spell: Speller, config: TagsConfig, folder: pathlib.Path) -> None:
    """Keeps the governed vocabulary with the data, and the tags that it lacks as terms to decide upon."""
    if spell.spelling is None:
        return
    print(spell.describe())
    shutil.copyfile(config.vocabulary, folder / governed.NAME)
    language = config.language or "und"  # the standard's code for a language that nobody has determined
    terms = [Term(id=tag, names={language: tag}, status="proposed") for tag in spell.proposed()]
    Thesaurus(terms).save(folder / "proposals.jsonl")


def _write(experiment: Experiment, spool: Spool, folder: pathlib.Path, beam: str) -> None:
    """The second pass: tags and tokenizer from the training products, rows from all, then the checks."""
    if not spool.counts["train"]:
        raise UserError(
            "the training split is empty: no good row came in, or the split's shares leave nothing for it"
        )
    others = itertools.chain(spool.products("validation"), spool.products("test"))
    vocabulary = Vocabulary.from_products(spool.products("train"), others)
    vocabulary.save(folder / "vocabulary.json")
    tokenizer = _tokenizer(experiment, spool, vocabulary)
    tokenizer.save(folder / "tokenizer")
    how: Any = {"fields": experiment.text, "length": experiment.stream.source_length}
    make: beamed.Make = functools.partial(_rows, tokenizer=tokenizer, vocabulary=vocabulary, **how)
    if beam:
        beamed.write(folder, {split: spool.path(split) for split in SPLITS}, make, shlex.split(beam))
    else:
        store.write(folder, {split: make(spool.lines(split)) for split in SPLITS})
    splits = {split: store.open_split(folder, split) for split in SPLITS}
    findings = preflight.check(
        splits, tokenizer, vocabulary, experiment.stream.target_length, experiment.preflight
    )
    write_json(folder / "preflight.json", findings)
    experiments.save(experiment, folder / "config.json")


def _rows(lines: Iterable[str], **how: Any) -> Iterator[Row]:
    """Lines of a spooled split to rows; a function of this module, for workers to find."""
    return make_rows(map(_product, lines), **how)


def _tokenizer(experiment: Experiment, spool: Spool, vocabulary: Vocabulary) -> Tokenizer:
    """The folder that the config names, or one trained on the training products and their tags."""
    separator, config = experiment.tags.separator, experiment.tokenizer
    tags = [tag for tag, count in zip(vocabulary.tags, vocabulary.counts, strict=True) if count]
    speller = None
    if config.tag_vocab_size:
        speller, tags = tokenizers.train_speller(tags, separator, config), []
    if config.path:
        return tokenizers.load(config.path, separator, speller)
    texts = (source_text(product, experiment.text) for product in spool.products("train"))
    return tokenizers.train(texts, tags, separator, config, speller)
