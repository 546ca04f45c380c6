"""From cleaned products to the rows of the store."""

import itertools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from taggen_jax.catalog.product import Product, source_pieces
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
      fields: the pieces that make up the text that a model reads.
      length: the most ids that a row keeps, eos included.
    """
    products = iter(products)
    while chunk := list(itertools.islice(products, _CHUNK)):
        parts = [source_pieces(product, fields) for product in chunk]
        for product, texts, pieces, counts in zip(
            chunk, parts, *tokenizer.pieces_of_parts(parts), strict=True
        ):
            text, source = "".join(texts), tokenizer.cut(pieces, length)
            yield Row(
                id=product.id,
                group=product.group or product.id,
                text=text,
                source=np.array(source, np.int32),
                fields=_cut(counts, len(source) - len(tokenizer.before) - 1),
                tags=_tag_ids(product.tags, text, vocabulary),
                language=product.language,
                complete=product.complete,
                truncated=tokenizer.cuts(pieces, length),
            )


def _cut(counts: Sequence[int], room: int) -> np.ndarray:
    """The counts of what is left when only the first `room` ids are."""
    return np.diff(np.minimum(np.cumsum([0, *counts]), room)).astype(np.int32)


def _tag_ids(tags: Sequence[str], text: str, vocabulary: Vocabulary) -> np.ndarray:
    return np.array([vocabulary.index(tag) for tag in in_text_order(tags, text)], np.int32)
