"""taggen import and taggen export: weights in from Hugging Face, and out to those who serve them.

Weights go tensor by tensor; a workdir or a folder appears whole or not at all.
"""

import dataclasses
import json
import pathlib
import shutil
import tempfile
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from taggen_jax import closed, searches
from taggen_jax import config as configs
from taggen_jax import experiment as experiments
from taggen_jax.catalog.vocabulary import Vocabulary
from taggen_jax.data import tokenizer as tokenizers
from taggen_jax.decode.constraint import tables
from taggen_jax.errors import UserError
from taggen_jax.experiment import Experiment
from taggen_jax.files import new_folder, write_json
from taggen_jax.interop import adapters, ct2, generation, hf, stablehlo
from taggen_jax.interop import check as checks
from taggen_jax.interop.leaf import Leaf
from taggen_jax.interop.names import flatten
from taggen_jax.models import family
from taggen_jax.models.family import Params
from taggen_jax.runs import leaves as orbax
from taggen_jax.runs.checkpoints import Checkpoints
from taggen_jax.runs.workdir import Workdir, trained
from taggen_jax.tagger import closed_trie, of_family

TOKENIZER_FILES = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("spiece.model", "sentencepiece.bpe.model", "vocab.txt", "vocab.json", "merges.txt"),
)
DTYPES = {"float32": hf.FLOAT32, "bfloat16": hf.BFLOAT16}


def settings(folder: pathlib.Path) -> Experiment:
    """The experiment that a folder's model and generation settings make, all else by default."""
    model = hf.read_config(folder)
    if isinstance(model, family.EncoderConfig):
        raise UserError(
            f"{folder}: an encoder alone writes no tags; train from it: train.pretrained={folder}"
        )
    base = Experiment(model=model)
    decode, _ = generation.read(folder)
    return dataclasses.replace(
        base, generate=dataclasses.replace(base.generate, decode=decode, vocabulary="open")
    )


def import_(from_: pathlib.Path, workdir: pathlib.Path, experiment: Experiment) -> None:
    """Makes a workdir that generates, from a Hugging Face folder. Its vocabulary is open: it lists no tag.

    Args:
      from_: the folder, with weights, config.json and a tokenizer.
      workdir: must be absent or empty.
      experiment: `settings(from_)` with changes of anything but the model.

    Raises:
      UserError: the folder is broken, or its tokenizer does not fit the experiment.
    """
    config, leaves = hf.open_folder(from_)
    if experiment.model != config:
        lines = "; ".join(experiments.differences(config, experiment.model))
        raise UserError(f"config.model: {from_} holds another model ({lines}); leave its fields as they are")
    spelling = (from_, from_ / tokenizers.TAGS)  # of products, and of tags where they have their own
    files = [folder / name for folder in spelling for name in TOKENIZER_FILES if (folder / name).exists()]
    if not files:
        raise UserError(f"{from_}: no tokenizer in it, expected tokenizer.json; save the model's there, too")
    tokenizer = tokenizers.load(from_, experiment.tags.separator)
    vocab_size = family.source_config(config).vocab_size
    for size, room in ((tokenizer.size, vocab_size), (tokenizer.tags.size, config.vocab_size)):
        if size > room:
            raise UserError(f"{from_}: the tokenizer has {size} ids, the model only {room}")
    with new_folder(workdir) as new:
        work = Workdir(new)
        for file in files:
            copy = work.tokenizer / file.relative_to(from_)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
        Vocabulary((), ()).save(work.vocabulary)
        experiments.save(experiment, work.config)
        checkpoints = Checkpoints(work.checkpoints, experiment.checkpoints, writing=True)
        checkpoints.save(0, {"params": leaves}, {"batch": 0}, {})
        checkpoints.close()
    for name, value in generation.read(from_)[1].items():
        print(
            f"note: {generation.FILE}: {name}={json.dumps(value)} stays behind: it means nothing to a beam "
            "search of ours (to sample, see generate.mode and generate.sample)"
        )
    count = sum(leaf.size for leaf in flatten(leaves).values())
    print(f"{count:,} parameters imported: {workdir}")


def export(
    workdir: pathlib.Path, output: pathlib.Path, format: str = "hf", dtype: str = "keep", check: bool = True
) -> None:
    """Writes the best checkpoint's parameters for another library, and has that library confirm them.

    Args:
      workdir: a trained or an imported one.
      output: must be absent or empty.
      format: "hf", "ctranslate2", "orbax", or "stablehlo": the whole generator, see `interop.stablehlo`.
      dtype: "float32", "bfloat16", or "keep": as they are saved.
      check: whether the library loads what was written and answers as ours does.

    Raises:
      UserError: the workdir lacks something, a library is not installed, or its answers differ.
    """
    work = trained(workdir)
    experiment = experiments.load(work.config)
    if format == "ctranslate2" or (check and format == "hf"):
        checks.require("torch", *(["ctranslate2"] if format == "ctranslate2" else []))
    checkpoints = Checkpoints(work.checkpoints, experiment.checkpoints, writing=False)
    step = checkpoints.best_step()
    if step is None:
        raise UserError(f"{workdir}: no whole checkpoint in this workdir; train or import again")
    leaves, lora = checkpoints.leaves(step), experiment.train.lora
    if lora.rank:
        beside = Checkpoints(work.base, experiment.checkpoints, writing=False)
        leaves = adapters.merged(beside.leaves(0) | leaves, lora)
    leaves = jax.tree.map(lambda leaf: _cast(leaf, DTYPES.get(dtype, leaf.dtype)), leaves)
    if leaves.pop("tag_head", None):
        print("note: the tag head stays behind: other libraries have no such thing")
    with new_folder(output) as new:
        report = FORMATS[format](new, work, experiment, leaves, check)
    checkpoints.close()
    print(f"step {step} exported as {format}: {output}; {report if check else 'UNCHECKED'}")


def _cast(leaf: Leaf, dtype: np.dtype) -> Leaf:
    return Leaf(leaf.shape, dtype, leaf.stacked, lambda index: leaf[index].astype(dtype, copy=False))


def _to_hf(new: pathlib.Path, work: Workdir, experiment: Experiment, leaves: Params, check: bool) -> str:
    config = experiment.model
    hf.write(new, config, leaves)
    theirs = json.loads((new / "config.json").read_text(encoding="utf-8"))
    write_json(new / generation.FILE, generation.to_hf(experiment.generate.decode, theirs))
    shutil.copytree(work.tokenizer, new, dirs_exist_ok=True)
    if not check:
        return ""
    probe = checks.probe(config, config.vocab_size)
    ours = checks.our_logits(config, leaves, probe)
    return checks.agree(ours, checks.transformers_logits(new, config, probe), "the logits of transformers")


def _to_ctranslate2(
    new: pathlib.Path, work: Workdir, experiment: Experiment, leaves: Params, check: bool
) -> str:
    config = experiment.model
    with tempfile.TemporaryDirectory(dir=new.parent, prefix=".hf.") as folder:
        _to_hf(pathlib.Path(folder), work, experiment, leaves, check=False)
        ct2.convert(pathlib.Path(folder), new)
    shutil.copytree(work.tokenizer, new, dirs_exist_ok=True)
    if not check:
        return ""
    tokens = tokenizers.load(work.tokenizer, experiment.tags.separator).tokens()
    probe = checks.probe(config, len(tokens))
    ours = ct2.of_targets(checks.our_logits(config, leaves, probe), probe)
    theirs = ct2.target_logprobs(new, tokens, probe, config)
    return checks.agree(ours, theirs, "the log-probabilities of CTranslate2")


def _to_orbax(new: pathlib.Path, work: Workdir, experiment: Experiment, leaves: Params, check: bool) -> str:
    layout = {
        path: {"shape": list(leaf.shape), "dtype": leaf.dtype.name} for path, leaf in flatten(leaves).items()
    }
    metadata = {"config": configs.to_dict(experiment.model), "params": layout}
    orbax.write_params(new / "params", leaves, metadata)
    shutil.copytree(work.tokenizer, new / "tokenizer")
    if not check:
        return ""
    for path, leaf in flatten(leaves).items():
        if not np.array_equal(orbax.read_param(new / "params", path, leaf), leaf[...]):
            raise UserError(f"export: Orbax reads other values of {path} than were written: not exported")
    return f"Orbax reads all {len(layout)} arrays back unchanged"


def _to_stablehlo(
    new: pathlib.Path, work: Workdir, experiment: Experiment, leaves: Params, check: bool
) -> str:
    config, settings = experiment.model, experiment.generate
    if settings.mode != "beam":
        raise UserError(f"export: generate.mode={settings.mode!r} has no program to export, only 'beam' has")
    tokenizer = tokenizers.load(work.tokenizer, experiment.tags.separator)
    index = None
    if settings.vocabulary == "closed":
        words = closed.sizes(settings.decode.max_length) if experiment.tags.size_prefix else ()
        vocabulary = Vocabulary.load(work.vocabulary)
        index = tables(closed_trie(settings, config, vocabulary, tokenizer, words).trie, sizes=len(words))
    search = searches.beams(family.build(config, experiment.compute), of_family(settings.decode, config))
    params = jax.tree.map(lambda leaf: leaf[...], leaves)
    about = {
        "pad": family.source_config(config).pad,
        "eos": config.eos,
        "separator": tokenizer.tags.separator,
        "vocabulary": settings.vocabulary,
        "size_prefix": experiment.tags.size_prefix,
        "search": configs.to_dict(settings.decode),
    }
    stablehlo.save(new, search, (params, index), experiment.stream.source_length, about)
    shutil.copytree(work.tokenizer, new / "tokenizer")
    if not check:
        return ""
    source_BS = checks.sources(config, experiment.stream.source_length)
    found, expected = stablehlo.run(new, source_BS), jax.jit(search)(params, source_BS, index)
    if not np.array_equal(found["tokens_BNT"], expected.tokens_BNT):
        raise UserError("export: the exported program writes other tokens than the search: not exported")
    return f"its tokens are the search's on {len(source_BS)} products"


FORMATS: dict[str, Callable[[pathlib.Path, Workdir, Experiment, Any, bool], str]] = {
    "hf": _to_hf,
    "ctranslate2": _to_ctranslate2,
    "orbax": _to_orbax,
    "stablehlo": _to_stablehlo,
}
