"""What a run starts from where it does not start from chance: a Hugging Face folder's weights."""

import functools
import re
from collections.abc import Callable

import jax
import numpy as np
from jax.sharding import Mesh

from taggen_jax import experiment as experiments
from taggen_jax.errors import UserError
from taggen_jax.experiment import Experiment
from taggen_jax.interop import hf
from taggen_jax.models import family
from taggen_jax.models.family import Params
from taggen_jax.parallel.mesh import param_shardings
from taggen_jax.prepared import Prepared
from taggen_jax.training.step import Training
from taggen_jax.training.tag_rows import tag_rows

NAME_LENGTH = 16  # ids of a tag's name that the encoder reads


def params(training: Training, mesh: Mesh, names: Callable[[], np.ndarray]) -> Params:
    """The weights of the Hugging Face folder that the run starts from, every device's part in its place.

    Those of a bare encoder make the model's encoder; the rest of it is random. A tag head begins as what the
    encoder makes of `names()`, the tags' names.
    """
    folder, bundle = training.config.pretrained, training.bundle
    config, leaves = hf.open_folder(folder)
    alone = isinstance(config, family.EncoderConfig)
    wanted = family.source_config(bundle.config) if alone else bundle.config
    # Dropout is how to train, not what the weights mean.
    lines = [x for x in experiments.differences(wanted, config) if not x.split(":")[0].endswith("dropout")]
    if lines:
        raise UserError(f"train.pretrained={folder}: its model is another one; set model {'; '.join(lines)}")
    shardings = param_shardings(bundle.shapes, bundle.axes, mesh)
    loaded = {"encoder": leaves} if alone else leaves
    placed = hf.place(loaded, {name: shardings[name] for name in loaded})
    rest = {name: shardings[name] for name in shardings.keys() - loaded.keys()}

    def others(key: jax.Array) -> Params:
        drawn = bundle.init(key)
        return {name: drawn[name] for name in rest}

    whole = {**placed, **jax.jit(others, out_shardings=rest)(jax.random.key(training.config.seed))}
    if "tag_head" in whole:
        kernel = jax.jit(functools.partial(tag_rows, bundle), out_shardings=rest["tag_head"]["kernel"])
        whole["tag_head"]["kernel"] = kernel(whole, names())
    return whole


def names(prepared: Prepared, experiment: Experiment) -> np.ndarray:
    """int32 [N, S]: the tags of the vocabulary as the encoder reads words: "game::rts" as "game rts"."""
    tokenizer = prepared.tokenizer(experiment.tags.separator)
    words = [" ".join(re.findall(r"\w+", tag)) for tag in prepared.vocabulary.tags]
    names_NS = np.full((len(words), NAME_LENGTH), tokenizer.pad, np.int32)
    for row_S, ids in zip(names_NS, tokenizer.encode(words, NAME_LENGTH), strict=True):
        row_S[: len(ids)] = ids
    return names_NS
