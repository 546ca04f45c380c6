"""Whole searches as functions of parameters and products, for the tagger to compile and exports to write."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from taggen_jax.decode.beam import Beams, DecodeConfig, beam_search
from taggen_jax.decode.constraint import Tables, constrain
from taggen_jax.decode.narrow import row_axes, take
from taggen_jax.decode.sample import SampleConfig, Samples, sample
from taggen_jax.models import layers
from taggen_jax.models.family import Bundle

Step = Callable[[jax.Array, Any, jax.Array, jax.Array], tuple[jax.Array, Any]]


def beams(bundle: Bundle, config: DecodeConfig, narrow: bool = False) -> Callable[..., Beams]:
    """(params, source_BS, tables, set_B) -> Beams: encode once, then search.

    With `narrow`, products that are done leave the search (see `decode.narrow`): for one device, where rows
    cost nothing to move, and a number of products that is known.

    With the tables of a vocabulary the search writes distinct tags of it only, for each product those of its
    set (None: of the first one); with None, anything.
    """

    def generate(
        params: Any, source_BS: jax.Array, vocabulary: Tables | None, set_B: jax.Array | None = None
    ) -> Beams:
        step, cache, axes = _begin(bundle, params, source_BS, vocabulary, config.beams, config.max_length)
        set_B = sets(set_B, source_BS)
        return beam_search(
            step,
            cache,
            batch=source_BS.shape[0],
            config=config,
            constraint=constrain(vocabulary, set_B, config) if vocabulary else None,
            narrow=(lambda cache, row_R: take(cache, axes(), row_R)) if narrow else None,
            **_ids(bundle),
        )

    return generate


def samples(bundle: Bundle, config: SampleConfig, lengths: DecodeConfig) -> Callable[..., Samples]:
    """(params, source_BS, draw_B, tables, set_B) -> Samples, as `beams`.

    Args:
      bundle: the model.
      config: how to draw.
      lengths: with `beams` = `config.samples`; see `sample`.
    """

    def generate(
        params: Any,
        source_BS: jax.Array,
        draw_B: jax.Array,
        vocabulary: Tables | None,
        set_B: jax.Array | None = None,
    ) -> Samples:
        """`draw_B` uint32: products of the same number and text get the same draws."""
        step, cache, _ = _begin(bundle, params, source_BS, vocabulary, lengths.beams, lengths.max_length)
        set_B = sets(set_B, source_BS)
        seed = jax.random.key(config.seed)
        return sample(
            step,
            cache,
            jax.vmap(lambda draw: jax.random.fold_in(seed, draw))(draw_B),
            config=config,
            lengths=lengths,
            constraint=constrain(vocabulary, set_B, lengths) if vocabulary else None,
            **_ids(bundle),
        )

    return generate


def _begin(
    bundle: Bundle, params: Any, source_BS: jax.Array, vocabulary: Tables | None, width: int, length: int
) -> tuple[Step, Any, Callable[[], Any]]:
    """The products encoded: a search's step, which gives the logits of the vocabulary's words, and cache.

    Also the `row_axes` of that cache, to be asked for where they are needed.
    """

    def encode(source_BS: jax.Array, segments_BS: jax.Array) -> jax.Array:
        return bundle.bind(params).encode(source_BS, segments_BS)  # bound within the loop over chunks

    model = bundle.bind(params)
    segments_BS = (source_BS != model.source_pad).astype(jnp.int32)
    memory_BSD = layers.by_chunks(encode, source_BS, segments_BS)
    start = functools.partial(model.start, beams=width, length=length)
    words_A = vocabulary.words_A if vocabulary else None

    def step(token_BW: jax.Array, cache: Any, t: jax.Array, ancestry: jax.Array) -> tuple[jax.Array, Any]:
        own, cross = cache
        hidden_BWD, own = model.step(token_BW, own, cross, t, ancestry)
        return model.unembed(hidden_BWD, words_A), (own, cross)

    def shapes(rows: int) -> Any:
        like = (jax.ShapeDtypeStruct((rows, *x.shape[1:]), x.dtype) for x in (memory_BSD, segments_BS))
        return jax.eval_shape(start, *like)

    return step, start(memory_BSD, segments_BS), lambda: row_axes(shapes, source_BS.shape[0])


def sets(set_B: jax.Array | None, source_BS: jax.Array) -> jax.Array:
    """The number of each product's set of tags: the first one's where none are given."""
    return jnp.zeros(source_BS.shape[0], jnp.int32) if set_B is None else set_B


def _ids(bundle: Bundle) -> dict[str, int]:
    model: Any = bundle.config
    return {"bos": model.start, "eos": model.eos, "pad": model.pad}
