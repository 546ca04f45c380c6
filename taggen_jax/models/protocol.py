"""What a family promises: the protocol, and what follows from it for every family alike.

Letters as in `layers`. Segments are int32: 0 is padding, 1, 2, .. the products packed in a row.
"""

import abc
from typing import Any

import jax.numpy as jnp
from flax import nnx

from taggen_jax.models import layers
from taggen_jax.models.layers import Array, keys
from taggen_jax.models.tag_head import TagHead

Batch = dict[str, Array]


class EncoderDecoder(nnx.Module):
    """An encoder-decoder. Search, training, planning, conversion and export know only these methods.

    Dropout happens only where a key is given.
    """

    cfg: Any  # the family's configuration; `pad`, `eos` and `start` are token ids of what is written
    tag_head: TagHead  # where `family.build` was told a number of tags

    @property
    def source_pad(self) -> int:
        """The id of padding in what is read: another one where the encoder has a vocabulary of its own."""
        return int(self.cfg.pad)

    @abc.abstractmethod
    def encode(self, source_BS: Array, segments_BS: Array, key: Array | None = None) -> Array:
        """memory_BSD: the encoder's output. A product sees only its own segment."""

    @abc.abstractmethod
    def decode(
        self,
        inputs_BT: Array,
        positions_bT: Array,
        mask_bTT: Array,
        memory_BSD: Array,
        cross_mask_bTS: Array,
        key: Array | None = None,
    ) -> Array:
        """hidden_BTD of given decoder inputs all at once: a target, packed targets, or a tree of targets.

        Args:
          inputs_BT: int32 token ids, as the decoder reads them (already shifted).
          positions_bT: int32, how many tokens stand before each in its own output; b is B or 1.
          mask_bTT: bool, which inputs (columns) each input (row) may look at.
          memory_BSD: from `encode`.
          cross_mask_bTS: bool, which parts of the memory each input may look at.
        """

    @abc.abstractmethod
    def start(self, memory_BSD: Array, segments_BS: Array, *, beams: int, length: int) -> tuple[Any, Any]:
        """(cache, cross): what `step` needs.

        `cache` is empty, and the family's own business: the search only passes it on. `cross` holds each
        product's cross keys and values, computed once and kept at [B], never once a beam.
        """

    @abc.abstractmethod
    def step(
        self, token_BW: Array, cache: Any, cross: Any, t: Array, ancestry_BWT: Array
    ) -> tuple[Array, Any]:
        """hidden_BWD of the position after `token_BW`, which stands at position t (int32 scalar); the cache.

        Args:
          ancestry_BWT: int32; beam w's own token at position s <= t was computed by beam ancestry[b, w, s] of
            that step. Zeros where there is one beam.
        """

    @abc.abstractmethod
    def unembed(self, hidden: Array, words_A: Array | None = None) -> Array:
        """Float32 logits [.., V] of hidden states [.., D]; [.., A] of some words only, where given."""

    def logits(self, batch: Batch, key: Array | None = None) -> Array:
        """Teacher-forced float32 logits_BTV for batch["source"] and batch["target"], see `hidden`."""
        return self.unembed(self.hidden(batch, key))

    def hidden(self, batch: Batch, key: Array | None = None) -> Array:
        """Teacher-forced hidden_BTD for batch["source"] and batch["target"], both int32 and padded.

        The target is shifted right here. `source_segments` and `target_segments` say which product of a
        packed row a token belongs to; without them a row is one product.
        """
        target_BT, source_segments = batch["target"], self._source_segments(batch)
        target_segments = batch.get("target_segments", jnp.ones_like(target_BT))
        k_encoder, k_decoder = keys(key, 2)
        memory_BSD = self.encoded(batch, k_encoder)["memory"]
        T = target_BT.shape[1]
        packed = "target_segments" in batch
        positions_bT = layers.segment_positions(target_segments) if packed else jnp.arange(T)[None]
        return self.decode(
            layers.shift_right(target_BT, target_segments, self.cfg.start),
            positions_bT,
            layers.causal_mask(T)[None] & layers.segment_mask(target_segments, target_segments),
            memory_BSD,
            layers.segment_mask(target_segments, source_segments),
            k_decoder,
        )

    def encoded(self, batch: Batch, key: Array | None = None) -> Batch:
        """The batch with "memory", what `encode` makes of its source; as it is where it has that already."""
        if "memory" in batch:
            return batch
        return {**batch, "memory": self.encode(batch["source"], self._source_segments(batch), key)}

    def tag_logits(self, batch: Batch) -> Array:
        """float32 [B, N]: the log-odds of every tag, by the tag head, for products that are `encoded`."""
        return self.tag_head(batch["memory"], self._source_segments(batch))

    def packed_tag_logits(self, batch: Batch, products: int) -> Array:
        """float32 [B, P, N]: the same of rows that hold up to `products` products each."""
        return self.tag_head.packed(batch["memory"], batch["source_segments"], products)

    def _source_segments(self, batch: Batch) -> Array:
        return batch.get("source_segments", (batch["source"] != self.source_pad).astype(jnp.int32))
