"""From cleaned products to the rows of the store."""

import itertools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from taggen_jax.catalog.product import Product, source_text
from taggen_jax.catalog.tags import in_text_order
from taggen_jax.catalog.vocabulary import Vocabulary
from taggen_jax.data.store import Row
from taggen_jax.data.tokenizer import Tokenizer

_CHUNK = 512  # products that the tokenizer takes at once, on all cores


def make_rows(
    products: Iterable[Product],
    tokenizer: Tokenizer,
    vocabulary: Vocabulary,
    *,
    fields: tuple[str, ...],
    length: int,
) -> Iterator[Row]:
    """Tokenises products, streamed.

    Args:
      products: cleaned, their tags normalised and all in `vocabulary`.
      fields: the fields that make up the text that a model reads.
      length: the most ids that a row keeps, eos included.
    """
    products = iter(products)
    while chunk := list(itertools.islice(products, _CHUNK)):
        texts = [source_text(product, fields) for product in chunk]
        for product, text, pieces in zip(chunk, texts, tokenizer.pieces(texts), strict=True):
            yield Row(
                id=product.id,
                group=product.group or product.id,
                text=text,
                source=np.array(tokenizer.cut(pieces, length), np.int32),
                tags=_tag_ids(product.tags, text, vocabulary),
                complete=product.complete,
                truncated=tokenizer.cuts(pieces, length),
            )


def _tag_ids(tags: Sequence[str], text: str, vocabulary: Vocabulary) -> np.ndarray:
    return np.array([vocabulary.index(tag) for tag in in_text_order(tags, text)], np.int32)
