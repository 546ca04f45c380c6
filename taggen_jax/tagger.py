"""A trained model with all that it takes to tag products: arrays of ids in, tags with scores out."""

import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from taggen_jax import closed
from taggen_jax import experiment as experiments
from taggen_jax.catalog.vocabulary import Vocabulary
from taggen_jax.data import tokenizer as tokenizers
from taggen_jax.data.tokenizer import Tokenizer
from taggen_jax.decode.beam import Beams, DecodeConfig, beam_search
from taggen_jax.decode.constraint import Tables, constrain, tables
from taggen_jax.decode.inclusion import SelectConfig, Tagged, select
from taggen_jax.errors import UserError
from taggen_jax.experiment import Experiment
from taggen_jax.models import family
from taggen_jax.models.family import Bundle
from taggen_jax.parallel.mesh import check_batch, make_mesh, param_shardings, put_batch, replicated
from taggen_jax.runs.checkpoints import Checkpoints
from taggen_jax.runs.workdir import trained
from taggen_jax.training.step import within

Generate = Callable[[Any, jax.Array, Tables | None], Beams]


def generator(bundle: Bundle, config: DecodeConfig, mesh: Mesh) -> Generate:
    """The compiled (params, source_BS, tables) -> Beams: encode once, then search.

    With the tables of a vocabulary the search writes distinct tags of it only; with None, anything.
    """

    @jax.jit
    def generate(params: Any, source_BS: jax.Array, vocabulary: Tables | None) -> Beams:
        model = bundle.bind(params)
        segments_BS = (source_BS != model.cfg.pad).astype(jnp.int32)
        memory_BSD = model.encode(source_BS, segments_BS)
        cache, cross = model.start(memory_BSD, segments_BS, beams=config.beams, length=config.max_length)
        words_A = vocabulary.words_A if vocabulary else None

        def step(token_BW: jax.Array, cache: Any, t: jax.Array, ancestry: jax.Array) -> tuple[jax.Array, Any]:
            hidden_BWD, cache = model.step(token_BW, cache, cross, t, ancestry)
            return model.unembed(hidden_BWD, words_A), cache

        batch = source_BS.shape[0]
        return beam_search(
            step,
            cache,
            batch=batch,
            bos=model.cfg.start,
            eos=model.cfg.eos,
            pad=model.cfg.pad,
            config=config,
            constraint=constrain(vocabulary, jnp.zeros(batch, jnp.int32), config) if vocabulary else None,
        )

    return within(generate, mesh)


class Tagger:
    """Tags batches of products.

    Attributes:
      tokenizer: the one that the model was trained with.
    """

    def __init__(
        self,
        bundle: Bundle,
        tokenizer: Tokenizer,
        vocabulary: Vocabulary,
        mesh: Mesh,
        config: experiments.GenerateConfig,
    ) -> None:
        """Compiles the vocabulary into tables where the config closes it.

        Raises:
          UserError: the vocabulary cannot be closed, see `closed.build`.
        """
        check_batch(config.batch_size, mesh, "generate.batch_size")
        self.tokenizer, self._mesh, self._select = tokenizer, mesh, config.select
        self._generate = generator(bundle, config.decode, mesh)
        self._tables = None
        if config.vocabulary == "closed":
            size, length = bundle.config.vocab_size, config.decode.max_length
            _, trie = closed.build(vocabulary, tokenizer, vocab_size=size, max_length=length)
            self._tables = jax.device_put(tables(trie), replicated(mesh))

    def tag(self, params: Any, batches: Iterable[Mapping[str, np.ndarray]]) -> Iterator[tuple[int, Tagged]]:
        """(row number, answer) of every row with weight, in order.

        The device searches batch n + 1 while the host turns batch n into tags.

        Args:
          params: the model's parameters.
          batches: "source" int32 [B, S], "row" int32 [B] and "weight" float32 [B], as from `data.stream`.
        """
        before: tuple[Mapping[str, np.ndarray], Beams] | None = None
        for batch in batches:
            source_BS = put_batch({"source": batch["source"]}, self._mesh)["source"]
            beams = self._generate(params, source_BS, self._tables)
            if before:
                yield from self._answers(*before)
            before = batch, beams
        if before:
            yield from self._answers(*before)

    def _answers(self, batch: Mapping[str, np.ndarray], beams: Beams) -> Iterator[tuple[int, Tagged]]:
        tokens_BNT, logprobs_BN = jax.device_get((beams.tokens_BNT, beams.logprobs_BN))
        for tokens_NT, logprobs_N, row, weight in zip(
            tokens_BNT, logprobs_BN, batch["row"], batch["weight"], strict=True
        ):
            if weight:
                yield int(row), answer(self.tokenizer, tokens_NT, logprobs_N, self._select)


def answer(
    tokenizer: Tokenizer, tokens_NT: np.ndarray, logprobs_N: np.ndarray, config: SelectConfig
) -> Tagged:
    """Reads the hypotheses of one product, best first, and weighs their tags."""
    hypotheses = [
        (tokenizer.decode_tags(tokens), float(logprob))
        for tokens, logprob in zip(tokens_NT.tolist(), logprobs_N, strict=True)
        if np.isfinite(logprob)
    ]
    return select(hypotheses, config)


def open_workdir(root: pathlib.Path, experiment: Experiment | None = None) -> tuple[Experiment, Tagger, Any]:
    """The experiment, a tagger and the parameters of a trained workdir.

    Args:
      root: the workdir.
      experiment: its config with changes (of how to generate, say); None takes it as it is.

    Raises:
      UserError: the workdir lacks something.
    """
    workdir = trained(root)
    experiment = experiment or experiments.load(workdir.config)
    mesh = make_mesh(experiment.mesh)
    bundle = family.build(experiment.model, experiment.compute)
    tokenizer = tokenizers.load(workdir.tokenizer, experiment.tags.separator)
    shardings = param_shardings(bundle.shapes, bundle.axes, mesh)
    like = jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), bundle.shapes, shardings
    )
    checkpoints = Checkpoints(workdir.checkpoints, experiment.checkpoints, writing=False)
    step = checkpoints.best_step()
    if step is None:
        raise UserError(
            f"{root}: no whole checkpoint in this workdir; run `taggen train --workdir={root}` again"
        )
    params = checkpoints.restore_params(step, like)
    checkpoints.close()
    vocabulary = Vocabulary.load(workdir.vocabulary)
    return experiment, Tagger(bundle, tokenizer, vocabulary, mesh, experiment.generate), params
