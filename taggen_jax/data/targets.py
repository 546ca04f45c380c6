"""What a model learns to write: the ids of a row's tags, joined by the separator, closed by the end."""

import dataclasses
from collections.abc import Iterable

from taggen_jax.catalog.vocabulary import Vocabulary
from taggen_jax.data.tokenizer import Tokenizer


@dataclasses.dataclass(frozen=True)
class Targets:
    """Every tag's token ids, looked up by the tag's vocabulary id.

    Attributes:
      tags: token ids by vocabulary id, without separator and end.
      separator, eos, pad: token ids.
      source_pad: the id that pads what the model reads.
    """

    tags: tuple[tuple[int, ...], ...]
    separator: int
    eos: int
    pad: int
    source_pad: int

    @classmethod
    def of(cls, vocabulary: Vocabulary, tokenizer: Tokenizer) -> "Targets":
        """Encodes the tags of a vocabulary; `tokenizer` is the text's, which knows that of the tags."""
        speller = tokenizer.tags
        tags = tuple(tuple(speller.encode_tag(tag)) for tag in vocabulary.tags)
        return cls(tags, speller.separator, speller.eos, speller.pad, tokenizer.pad)

    def ids(self, tags: Iterable[int], length: int) -> list[int]:
        """The target of `tags` (vocabulary ids, in the order to write them): at most `length` ids, unpadded.

        A tag is written whole or not at all: what no longer fits is left out, and the end always fits.
        """
        written: list[int] = []
        for tag in tags:
            joined = [self.separator, *self.tags[tag]] if written else self.tags[tag]
            if len(written) + len(joined) < length:
                written.extend(joined)
        return [*written, self.eos]

    def length(self, tags: Iterable[int]) -> int:
        """How many ids all of `tags` take, with separators and end."""
        return sum(len(self.tags[tag]) + 1 for tag in tags) or 1
