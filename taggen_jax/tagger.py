"""A trained model with all that it takes to tag products: arrays of ids in, tags with scores out."""

import dataclasses
import functools
import pathlib
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from taggen_jax import closed, searches, subsets
from taggen_jax import experiment as experiments
from taggen_jax.catalog.vocabulary import Vocabulary
from taggen_jax.data import tokenizer as tokenizers
from taggen_jax.data.tokenizer import Tokenizer
from taggen_jax.decode import exact
from taggen_jax.decode.beam import Beams, DecodeConfig
from taggen_jax.decode.constraint import tables
from taggen_jax.decode.inclusion import SelectConfig, Tagged, answered, select
from taggen_jax.decode.mass import legal_log_mass
from taggen_jax.decode.sample import Samples
from taggen_jax.errors import UserError
from taggen_jax.experiment import Experiment
from taggen_jax.governed import governance
from taggen_jax.models import family, layers
from taggen_jax.models.family import Bundle
from taggen_jax.models.layers import causal_mask
from taggen_jax.parallel import hosts
from taggen_jax.parallel.mesh import check_batch, make_mesh, put_batch, replicated
from taggen_jax.runs.base import parameters
from taggen_jax.runs.checkpoints import Checkpoints
from taggen_jax.runs.workdir import trained
from taggen_jax.training.step import within

Generate = Callable[..., Beams]


def generator(bundle: Bundle, config: DecodeConfig, mesh: Mesh) -> Generate:
    """`searches.beams`, compiled for the mesh."""
    return _compiled(searches.beams(bundle, config, narrow=mesh.size == 1), mesh)


def _compiled(search: Callable[..., Any], mesh: Mesh) -> Callable[..., Any]:
    return within(jax.jit(search, compiler_options=compiler_options(mesh)), mesh)


def compiler_options(mesh: Mesh) -> dict[str, Any]:
    """On CPU, XLA's fast library takes single matrix products and reductions (measured: docs/performance.md).

    Left to itself it takes whole expressions too, and has their constants written out as whole arrays.
    """
    if mesh.devices.flat[0].platform != "cpu":
        return {}
    fast = "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT,LIBRARY_FUSION_TYPE_REDUCE"
    return {"xla_cpu_experimental_ynn_fusion_type": fast}


def _laid_out(bundle: Bundle, mesh: Mesh) -> Callable[[Any], Any]:
    """Parameters -> the same as the compiled programs read them fastest, see `family.unstacked`."""
    if mesh.devices.flat[0].platform != "cpu":
        return lambda params: params
    return jax.jit(functools.partial(family.unstacked, bundle))


def masses(bundle: Bundle, config: DecodeConfig, mesh: Mesh) -> Callable[..., jax.Array]:
    """The compiled (params, source_BS, beams) -> the legal mass of the best hypothesis [B], in 0..1."""

    @jax.jit
    def mass(params: Any, source_BS: jax.Array, beams: Beams) -> jax.Array:
        model = bundle.bind(params)
        segments_BS = (source_BS != model.source_pad).astype(jnp.int32)
        memory_BSD = model.encode(source_BS, segments_BS)

        def decode(inputs_BT: jax.Array) -> jax.Array:
            B, T = inputs_BT.shape
            sees_BTS = jnp.broadcast_to((segments_BS > 0)[:, None], (B, T, segments_BS.shape[1]))
            positions_1T = jnp.arange(T)[None]
            hidden_BTD = model.decode(inputs_BT, positions_1T, causal_mask(T)[None], memory_BSD, sees_BTS)
            return model.unembed(hidden_BTD)

        best = jax.tree.map(lambda x: x[:, :1], beams)
        forced = int(config.forced_first >= 0)
        return jnp.exp(legal_log_mass(decode, best, model.cfg.start, forced)[:, 0])

    return within(mass, mesh)


KEPT = 32  # tags of an exact ranking that leave the device
AT_ONCE = 4  # products whose tries are read together: more of them fall out of the CPU's caches


class Scores(NamedTuple):
    """The tags of each product, best first, as places in the vocabulary."""

    tags_BK: jax.Array
    logprobs_BK: jax.Array


def scorer(bundle: Bundle, mesh: Mesh) -> Callable[..., Scores]:
    """The compiled (params, source_BS, lists, set_B) -> Scores: encode once, then read all tags."""

    @jax.jit
    def score(
        params: Any,
        source_BS: jax.Array,
        lists: exact.Forest | exact.BySize,
        set_B: jax.Array | None = None,
    ) -> Scores:
        model = bundle.bind(params)
        segments_BS = (source_BS != model.source_pad).astype(jnp.int32)

        def product(of: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
            memory_SD, segments_S, number = of

            def decode(inputs_X: jax.Array, positions_X: jax.Array, mask_XX: jax.Array) -> jax.Array:
                sees_XS = jnp.broadcast_to(segments_S > 0, (len(inputs_X), len(segments_S)))
                hidden_BXD = model.decode(
                    inputs_X[None], positions_X[None], mask_XX[None], memory_SD[None], sees_XS[None]
                )
                return hidden_BXD[0]

            return exact.of_lists(decode, model.unembed, lists, number)

        memory_BSD = model.encode(source_BS, segments_BS)
        set_B = searches.sets(set_B, source_BS)
        logprob_BL = jax.lax.map(product, (memory_BSD, segments_BS, set_B), batch_size=AT_ONCE)
        logprob_BK, tag_BK = jax.lax.top_k(logprob_BL, min(KEPT, logprob_BL.shape[1]))
        return Scores(tag_BK, logprob_BK)

    return within(score, mesh)


def head_scorer(bundle: Bundle, mesh: Mesh) -> Callable[..., Scores]:
    """The compiled (params, source_BS, places_X, sets_GX, set_B) -> Scores of the tag head.

    places_X are the head's rows of the tags that may be given, sets_GX which of them are in each set.
    """

    @jax.jit
    def score(
        params: Any, source_BS: jax.Array, places_X: jax.Array, sets_GX: jax.Array, set_B: jax.Array | None
    ) -> Scores:
        model = bundle.bind(params)
        segments_BS = (source_BS != model.source_pad).astype(jnp.int32)
        memory_BSD = layers.by_chunks(model.encode, source_BS, segments_BS)
        logprob_BX = jax.nn.log_sigmoid(model.tag_head(memory_BSD, segments_BS)[:, places_X])
        set_B = searches.sets(set_B, source_BS)
        legal_BX = jnp.where(sets_GX[set_B], logprob_BX, -jnp.inf)
        logprob_BK, tag_BK = jax.lax.top_k(legal_BX, min(KEPT, legal_BX.shape[1]))
        return Scores(tag_BK, logprob_BK)

    return within(score, mesh)


Found = Beams | Samples | Scores


class Tagger:
    """Tags batches of products.

    Attributes:
      tokenizer: the one that the model was trained with.
      subsets: the sets of tags that products may have; None where all may have all.
      spelling: of the tags that a closed search is offered; None for another one, or for the tag head.
      lengths: of the sources that it has searched: for each there is one compiled program.
    """

    def __init__(
        self,
        bundle: Bundle,
        tokenizer: Tokenizer,
        vocabulary: Vocabulary,
        mesh: Mesh,
        config: experiments.GenerateConfig,
        sized: bool = False,
    ) -> None:
        """Compiles the vocabulary into tables where the config closes it. `sized`: see `answer`.

        Raises:
          UserError: the vocabulary cannot be closed, see `closed.build`, or its subsets do not fit it.
        """
        check_batch(config.batch_size, mesh, "generate.batch_size")
        self.tokenizer, self._mesh, self._select = tokenizer, mesh, config.select
        self._sized = sized
        self._laid_out = _laid_out(bundle, mesh)
        self.lengths: set[int] = set()
        self.spelling: closed.Spelling | None = None
        model: Any = bundle.config
        decode = of_family(config.decode, model)
        self._tags: tuple[str, ...] = ()
        self._mass: Callable[..., jax.Array] | None = None
        self._search: Callable[[Any, Mapping[str, jax.Array]], Found]
        self._pad, self._drawing = family.source_config(model).pad, config.mode == "sample"
        self.subsets = subsets.load(config.subsets) if config.subsets else None
        if config.mode == "head":
            self._search = self._by_head(bundle, vocabulary, config.forbidden)
            return
        trie, sets_GX, everywhere = None, None, replicated(mesh)
        if config.vocabulary == "closed":
            words = closed.sizes(decode.max_length) if sized and config.mode != "exact" else ()
            self._tags, trie, self.spelling = closed_trie(config, model, vocabulary, tokenizer, words)
            sets_GX = self.subsets.allowed(self._tags, vocabulary) if self.subsets else None
        if config.mode == "exact":
            assert trie
            prefix = [model.start, *([decode.forced_first] if decode.forced_first >= 0 else [])]
            after = closed.sizes(decode.max_length)[1:] if sized else ()  # a first tag: no empty list
            lists = closed.lists(trie, prefix, after, tokenizer.tags, model.vocab_size, sets_GX)
            lists, score = jax.device_put(lists, everywhere), scorer(bundle, mesh)
            self._search = lambda params, x: score(params, x["source"], lists, x.get("set"))
            return
        table = jax.device_put(tables(trie, sets_GX, sizes=len(words)), everywhere) if trie else None
        if config.mode == "sample":
            lengths = dataclasses.replace(
                decode, beams=config.sample.samples, n_best=1, groups=1, diversity=0.0
            )
            draw = _compiled(searches.samples(bundle, config.sample, lengths), mesh)
            self._search = lambda params, x: draw(params, x["source"], x["draw"], table, x.get("set"))
        else:
            search = generator(bundle, decode, mesh)
            self._search = lambda params, x: search(params, x["source"], table, x.get("set"))
            self._mass = masses(bundle, decode, mesh) if config.report_mass else None

    def _by_head(
        self, bundle: Bundle, vocabulary: Vocabulary, forbidden: Sequence[str]
    ) -> Callable[[Any, Mapping[str, jax.Array]], Scores]:
        self._tags = closed.offered(vocabulary, forbidden)
        places_X = np.array([vocabulary.index(tag) for tag in self._tags], np.int32)
        every_GX = np.ones((1, len(places_X)), bool)
        sets_GX = self.subsets.allowed(self._tags, vocabulary) if self.subsets else every_GX
        table = jax.device_put((places_X, sets_GX), replicated(self._mesh))
        score = head_scorer(bundle, self._mesh)
        return lambda params, x: score(params, x["source"], *table, x.get("set"))

    def tag(self, params: Any, batches: Iterable[Mapping[str, np.ndarray]]) -> Iterator[tuple[int, Tagged]]:
        """(row number, answer) of every row with weight, in order.

        The device searches batch n + 1 while the host turns batch n into tags.

        Args:
          params: the model's parameters.
          batches: "source" int32 [B, S], "row" int32 [B] and "weight" float32 [B], as from `data.stream`;
            with subsets also "set" int32 [B], the number of each product's.
        """
        before: tuple[Mapping[str, np.ndarray], Found, jax.Array | None] | None = None
        params = self._laid_out(params)
        for batch in batches:
            arrays = {"source": batch["source"]}
            if self._drawing:
                arrays["draw"] = draws(batch["source"], self._pad)
            if self.subsets:
                arrays["set"] = batch["set"]
            placed = put_batch(arrays, self._mesh)
            self.lengths.add(batch["source"].shape[1])
            found = self._search(params, placed)
            if before:
                yield from self._answers(*before)
            before = batch, found, self._mass(params, placed["source"], found) if self._mass else None
        if before:
            yield from self._answers(*before)

    def _answers(
        self, batch: Mapping[str, np.ndarray], found: Found, mass_B: jax.Array | None
    ) -> Iterator[tuple[int, Tagged]]:
        columns = (found.tokens_BNT, found.logprobs_BN) if isinstance(found, Beams) else found
        read = {Beams: self._of_beams, Samples: self._of_samples, Scores: self._of_scores}[type(found)]
        (first, second), masses = hosts.whole((tuple(columns), mass_B))
        for i in np.flatnonzero(batch["weight"]):
            tagged = read(first[i], second[i])
            mass = None if masses is None else float(masses[i])
            yield int(batch["row"][i]), dataclasses.replace(tagged, legal_mass=mass)

    def _of_beams(self, tokens_NT: np.ndarray, logprobs_N: np.ndarray) -> Tagged:
        return answer(self.tokenizer, tokens_NT, logprobs_N, self._select, self._sized)

    def _of_samples(self, tokens_WT: np.ndarray, _: np.ndarray) -> Tagged:
        """A score is the share of the drawn lists that hold the tag."""
        lists = (self.tokenizer.tags.decode_tags(tokens) for tokens in tokens_WT.tolist())
        return select([(tags[self._sized :], 0.0) for tags in lists], self._select)

    def _of_scores(self, tags_K: np.ndarray, logprobs_K: np.ndarray) -> Tagged:
        """A score is the probability that the tag comes first (mode "exact"), or that it is there at all."""
        pairs = zip(tags_K.tolist(), np.exp(logprobs_K).tolist(), strict=True)
        return answered([(self._tags[tag], score) for tag, score in pairs if score > 0], self._select)


def draws(source_BS: np.ndarray, pad: int) -> np.ndarray:
    """uint32 [B], which draws each product gets: a hash of what is read, wherever and with whom it stands."""
    rows = (row[row != pad].astype("<i4").tobytes() for row in source_BS)
    return np.array([zlib.crc32(row) for row in rows], np.uint32)


def closed_trie(
    config: experiments.GenerateConfig,
    model: Any,
    vocabulary: Vocabulary,
    tokenizer: Tokenizer,
    sizes: Sequence[str] = (),
) -> closed.Closed:
    """What a closed search may write, see `closed.build`."""
    decode = of_family(config.decode, model)
    return closed.build(
        vocabulary,
        tokenizer.tags,
        vocab_size=model.vocab_size,
        max_length=decode.max_length - (decode.forced_first >= 0),
        forbidden=config.forbidden,
        sizes=sizes,
    )


def of_family(config: DecodeConfig, model: Any) -> DecodeConfig:
    """The search with the tokens that the family's outputs always begin and end with, if it has such."""
    forced = {
        name: getattr(model, name)
        for name in ("forced_first", "forced_last")
        if getattr(config, name) < 0 and hasattr(model, name)
    }
    return dataclasses.replace(config, **forced)


def answer(
    tokenizer: Tokenizer,
    tokens_NT: np.ndarray,
    logprobs_N: np.ndarray,
    config: SelectConfig,
    sized: bool = False,
) -> Tagged:
    """Reads the hypotheses of one product, best first, and weighs their tags.

    Args:
      sized: whether the first item of a hypothesis is the number of its tags.
    """
    found = dict(zip(map(tuple, tokens_NT.tolist()), logprobs_N, strict=True))  # groups may find the same
    hypotheses = [
        (tokenizer.tags.decode_tags(tokens)[sized:], float(logprob))
        for tokens, logprob in found.items()
        if np.isfinite(logprob)
    ]
    return select(hypotheses, config)


def build(experiment: Experiment, vocabulary: Vocabulary) -> Bundle:
    """The experiment's model, with a tag head where it is trained with one."""
    tags = len(vocabulary.tags) if experiment.train.tag_loss else 0
    return family.build(experiment.model, experiment.compute, tags)


def best_step(root: pathlib.Path, experiment: Experiment | None = None) -> int:
    """The step of the checkpoint that a trained workdir generates with.

    Raises:
      UserError: the workdir lacks something.
    """
    workdir = trained(root)
    config = (experiment or experiments.load(workdir.config)).checkpoints
    checkpoints = Checkpoints(workdir.checkpoints, config, writing=False)
    step = checkpoints.best_step()
    checkpoints.close()
    if step is None:
        raise UserError(
            f"{root}: no whole checkpoint in this workdir; run `taggen train --workdir={root}` again"
        )
    return step


def open_workdir(
    root: pathlib.Path, experiment: Experiment | None = None, step: int | None = None
) -> tuple[Experiment, Tagger, Any]:
    """The experiment, a tagger and the parameters of a trained workdir.

    Args:
      root: the workdir.
      experiment: its config with changes (of how to generate, say); None takes it as it is.
      step: of the checkpoint; None takes the best one.

    Raises:
      UserError: the workdir lacks something.
    """
    workdir = trained(root)
    experiment = experiment or experiments.load(workdir.config)
    mesh = make_mesh(experiment.mesh)
    vocabulary = Vocabulary.load(workdir.vocabulary)
    bundle = build(experiment, vocabulary)
    tokenizer = tokenizers.load(workdir.tokenizer, experiment.tags.separator)
    step = best_step(root, experiment) if step is None else step
    dtype = jnp.dtype(experiment.compute.dtype)  # what they are cast to when used: bfloat16 halves the memory
    params = parameters(workdir, experiment.checkpoints, experiment.train.lora, bundle, mesh, step, dtype)
    rules = governance(root, experiment)
    config = rules.restrict(vocabulary) if rules else experiment.generate
    sized = experiment.tags.size_prefix
    return experiment, Tagger(bundle, tokenizer, vocabulary, mesh, config, sized), params
