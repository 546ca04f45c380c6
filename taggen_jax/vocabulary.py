"""taggen vocabulary: a governed tag vocabulary from published lists and taxonomies, or a check of one."""

import collections
import pathlib

from taggen_jax.catalog import taxonomies, thesaurus
from taggen_jax.errors import UserError


def run(
    input: str,
    output: pathlib.Path,
    format: str = "terms",
    language: str = "en",
    previous: pathlib.Path | None = None,
) -> None:
    """Writes the vocabulary file `output` and prints what is in it.

    Args:
      input: the file to read.
      output: the file to write; what stands there is replaced.
      format: "terms" for a vocabulary file, else a form of `catalog.taxonomies`.
      language: of the names that a published file holds.
      previous: a vocabulary file to start from: its terms keep what people decided, and gain the names, the
        parents and the new terms of `input`. What `input` no longer has stays, too.

    Raises:
      UserError: a file cannot be read or does not hold together.
    """
    if output.is_dir():
        raise UserError(f"{output}: is a folder, expected the name of a file, such as {output}/tags.jsonl")
    if not pathlib.Path(input).is_file():
        raise UserError(f"{input}: no such file; name the list, the taxonomy or the vocabulary to read")
    found = thesaurus.load(input) if format == "terms" else taxonomies.read(input, format, language)
    if previous:
        found = taxonomies.renamed(thesaurus.load(previous), found)
    found.save(output)
    print(f"{output}: {_summary(found)}")


def _summary(found: thesaurus.Thesaurus) -> str:
    terms = found.terms.values()
    statuses = collections.Counter[str](term.status for term in terms)
    policies = collections.Counter(term.policy for term in terms if term.policy)
    languages = collections.Counter(language for term in terms for language in term.names)
    parts = [
        f"{len(terms):,} terms ({_counts(statuses)})",
        f"{found.depth} levels",
        f"names: {_counts(languages)}",
        *([f"policies: {_counts(policies)}"] if policies else []),
    ]
    return ", ".join(parts)


def _counts(counter: collections.Counter[str]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counter.most_common())
