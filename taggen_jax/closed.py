"""A workdir's tag vocabulary as the trie of a closed search."""

import difflib
import itertools
import sys
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from taggen_jax.catalog.vocabulary import Vocabulary
from taggen_jax.data.targets import most_tags
from taggen_jax.data.tokenizer import Tokenizer
from taggen_jax.decode import exact
from taggen_jax.decode import trie as tries
from taggen_jax.decode.trie import Trie
from taggen_jax.errors import UserError

_EXAMPLES = 3
_OR_OPEN = "or set generate.vocabulary='open'"


class Spelling(NamedTuple):
    """The token ids of many tags, behind each other: a few bytes a token."""

    ids_T: np.ndarray
    end_X: np.ndarray

    @classmethod
    def of(cls, ids: Sequence[Sequence[int]]) -> "Spelling":
        return cls(np.fromiter(itertools.chain(*ids), np.int32), np.cumsum([*map(len, ids)]))

    def lists(self) -> list[list[int]]:
        """The ids of each tag."""
        return [ids_T.tolist() for ids_T in np.split(self.ids_T, self.end_X[:-1])]


class Closed(NamedTuple):
    """What a closed search may write.

    Attributes:
      tags: by their ids in the trie.
      trie: of the tags, and of the sizes after them.
      spelling: of all tags that are `offered`, those that do not fit included.
    """

    tags: tuple[str, ...]
    trie: Trie
    spelling: Spelling


def build(
    vocabulary: Vocabulary,
    tokenizer: Tokenizer,
    *,
    vocab_size: int,
    max_length: int,
    forbidden: Sequence[str] = (),
    sizes: Sequence[str] = (),
) -> Closed:
    """The tags that a search may write, and their trie, in which a tag's id is its place among them.

    After the tags come `sizes`, the numbers that a list may begin with; a tag has to fit after the longest.

    These are the tags that some training product has: one seen only outside training has taught the model
    nothing (to offer it all the same, give it a count). Tags that do not fit into `max_length` are left out,
    as they are in training, and named on standard error. Those of `forbidden` are as if they did not exist.

    Raises:
      UserError: there are no tags, none fits, the tokenizer cannot spell one, or a forbidden one is unknown.
    """
    first = [tokenizer.encode_tag(size) for size in sizes]
    room = max_length - max((len(ids) + 1 for ids in first), default=0)  # for a tag and the end
    tags = offered(vocabulary, forbidden)
    ids = {tag: tokenizer.encode_tag(tag) for tag in tags}
    lost = [tag for tag in tags if tokenizer.decode_tags(ids[tag]) != (tag,)]
    if lost:
        raise UserError(
            f"vocabulary.json: {len(lost)} of {len(tags)} tags do not come back from the tokenizer"
            f" (e.g. {_named(lost)}); respell them by tags.synonyms, train a tokenizer, {_OR_OPEN}"
        )
    long = [tag for tag in tags if len(ids[tag]) >= room]
    if len(long) == len(tags):
        raise UserError(f"generate.decode.max_length={max_length} has room for no tag and an end; raise it")
    if long:
        print(f"{len(long)} tags do not fit into max_length={max_length}: {_named(long)}", file=sys.stderr)
    tags = tuple(tag for tag in tags if len(ids[tag]) < room)
    try:
        trie = tries.build(
            [*(ids[tag] for tag in tags), *first],
            eos=tokenizer.eos,
            separator=tokenizer.separator,
            vocab_size=vocab_size,
        )
    except ValueError as error:
        raise UserError(f"vocabulary.json: {error}; respell them by tags.synonyms, {_OR_OPEN}") from error
    return Closed(tags, trie, Spelling.of([*ids.values()]))


def sizes(max_length: int) -> tuple[str, ...]:
    """What a list of so many tokens may say of its size, where it begins with that: "0", "1", .."""
    return tuple(map(str, range(most_tags(max_length) + 1)))


def lists(
    trie: Trie,
    prefix: Sequence[int],
    sizes: Sequence[str],
    tokenizer: Tokenizer,
    vocab_size: int,
    sets_GX: np.ndarray | None = None,
) -> exact.Forest | exact.BySize:
    """What exact scoring reads: the tags after `prefix`, or after it and each size that a list begins with.

    Args:
      trie: of the tags alone.
      prefix, sets_GX: as of `exact.forest`.
      sizes: () for lists without.
      tokenizer: of the tags.
      vocab_size: of the model.
    """
    if not sizes:
        return exact.forest(trie, prefix, sets_GX=sets_GX)
    words = [tokenizer.encode_tag(size) for size in sizes]
    first = tries.build(words, eos=trie.eos, separator=trie.separator, vocab_size=vocab_size)
    after = (exact.forest(trie, [*prefix, *ids, trie.separator], sets_GX=sets_GX) for ids in words)
    return exact.BySize(exact.forest(first, prefix), tuple(after))


def offered(vocabulary: Vocabulary, forbidden: Sequence[str] = ()) -> tuple[str, ...]:
    """The tags that some training product has and that are not forbidden.

    Raises:
      UserError: there are none, or a forbidden one is unknown.
    """
    refuse_unknown(forbidden, vocabulary, "generate.forbidden")
    never = set(forbidden)
    counts = zip(vocabulary.tags, vocabulary.counts, strict=True)
    tags = tuple(tag for tag, count in counts if count and tag not in never)
    if not tags:
        raise UserError(
            "vocabulary.json: no tag with a count that may be given, expected at least one;"
            f" prepare tagged rows, {_OR_OPEN}"
        )
    return tags


def refuse_unknown(tags: Iterable[str], vocabulary: Vocabulary, where: str) -> None:
    """Raises UserError for the first tag that the vocabulary does not know, with one that is like it."""
    for tag in tags:
        if tag not in vocabulary:
            close = difflib.get_close_matches(tag, vocabulary.tags, n=1)
            hint = f"did you mean {close[0]!r}?" if close else "spell it as there"
            raise UserError(f"{where}: tag {tag!r} is not in vocabulary.json; {hint}")


def _named(tags: list[str]) -> str:
    return ", ".join(map(repr, tags[:_EXAMPLES])) + (", .." if len(tags) > _EXAMPLES else "")
