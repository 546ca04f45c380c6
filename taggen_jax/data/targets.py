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
      sizes: token ids of the numbers 0, 1, .., of which a target begins with that of its tags; () for targets
        without a size.
    """

    tags: tuple[tuple[int, ...], ...]
    separator: int
    eos: int
    pad: int
    source_pad: int
    sizes: tuple[tuple[int, ...], ...] = ()

    @classmethod
    def of(cls, vocabulary: Vocabulary, tokenizer: Tokenizer, most: int = -1) -> "Targets":
        """Encodes the tags of a vocabulary; `tokenizer` is the text's, which knows that of the tags.

        Args:
          most: the greatest number of tags in a target with a size; -1 makes targets without.
        """
        speller = tokenizer.tags
        tags, sizes = (
            tuple(tuple(speller.encode_tag(text)) for text in texts)
            for texts in (vocabulary.tags, map(str, range(most + 1)))
        )
        return cls(tags, speller.separator, speller.eos, speller.pad, tokenizer.pad, sizes)

    def ids(self, tags: Iterable[int], length: int, complete: bool = True) -> list[int]:
        """The target of `tags` (vocabulary ids, in the order to write them): at most `length` ids, unpadded.

        A tag is written whole or not at all: what no longer fits is left out, and the end always fits. Where
        these may not be all tags (not `complete`), nobody knows their number, nor where the end is: there is
        no end then, and padding, which nobody learns, in the place of a size.
        """
        tags = list(tags)
        room = len(self.sizes[min(len(tags), len(self.sizes) - 1)]) if self.sizes else 0
        written: list[int] = []
        count = 0
        for tag in tags:
            joined = [self.separator, *self.tags[tag]] if written or self.sizes else self.tags[tag]
            if room + len(written) + len(joined) < length:
                written.extend(joined)
                count += 1
        if not complete:
            return [self.pad, *written] if self.sizes else written
        return [*(self.sizes[count] if self.sizes else ()), *written, self.eos]

    def length(self, tags: Iterable[int]) -> int:
        """How many ids all of `tags` take, with separators and end, without a size."""
        return sum(len(self.tags[tag]) + 1 for tag in tags) or 1


def most_tags(length: int) -> int:
    """The most tags that a target of `length` ids holds: one id and a separator, or the end, each."""
    return length // 2
