"""A workdir's tag vocabulary as the trie of a closed search."""

import sys

from taggen_jax.catalog.vocabulary import Vocabulary
from taggen_jax.data.tokenizer import Tokenizer
from taggen_jax.decode import trie as tries
from taggen_jax.decode.trie import Trie
from taggen_jax.errors import UserError

_EXAMPLES = 3
_OR_OPEN = "or set generate.vocabulary='open'"


def build(
    vocabulary: Vocabulary, tokenizer: Tokenizer, *, vocab_size: int, max_length: int
) -> tuple[tuple[str, ...], Trie]:
    """The tags that a search may write, and their trie, in which a tag's id is its place among them.

    These are the tags that some training product has: one seen only outside training has taught the model
    nothing (to offer it all the same, give it a count). Tags that do not fit into `max_length` are left out,
    as they are in training, and named on standard error.

    Raises:
      UserError: there are no tags, none fits, or the tokenizer cannot spell one.
    """
    tags = tuple(tag for tag, count in zip(vocabulary.tags, vocabulary.counts, strict=True) if count)
    if not tags:
        raise UserError(
            f"vocabulary.json: no tag with a count, expected at least one; prepare tagged rows, {_OR_OPEN}"
        )
    lost = [tag for tag in tags if not tokenizer.survives(tag)]
    if lost:
        raise UserError(
            f"vocabulary.json: {len(lost)} of {len(tags)} tags do not come back from the tokenizer"
            f" (e.g. {_named(lost)}); respell them by tags.synonyms, train a tokenizer, {_OR_OPEN}"
        )
    ids = {tag: tokenizer.encode_tag(tag) for tag in tags}
    long = [tag for tag in tags if len(ids[tag]) >= max_length]
    if len(long) == len(tags):
        raise UserError(f"generate.decode.max_length={max_length} has room for no tag and an end; raise it")
    if long:
        print(f"{len(long)} tags do not fit into max_length={max_length}: {_named(long)}", file=sys.stderr)
    tags = tuple(tag for tag in tags if len(ids[tag]) < max_length)
    try:
        return tags, tries.build(
            [ids[tag] for tag in tags],
            eos=tokenizer.eos,
            separator=tokenizer.separator,
            vocab_size=vocab_size,
        )
    except ValueError as error:
        raise UserError(f"vocabulary.json: {error}; respell them by tags.synonyms, {_OR_OPEN}") from error


def _named(tags: list[str]) -> str:
    return ", ".join(map(repr, tags[:_EXAMPLES])) + (", .." if len(tags) > _EXAMPLES else "")
