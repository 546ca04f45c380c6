"""A workdir's governed vocabulary at use: what a search may write, and what becomes of what it wrote."""

import dataclasses
import pathlib
from collections.abc import Callable, Iterable

from taggen_jax.catalog.spelling import Spelling
from taggen_jax.catalog.tags import TagsConfig
from taggen_jax.catalog.thesaurus import load
from taggen_jax.catalog.vocabulary import Vocabulary
from taggen_jax.decode.inclusion import Tagged
from taggen_jax.errors import UserError
from taggen_jax.experiment import Experiment, GenerateConfig

NAME = "thesaurus.jsonl"  # in a prepared folder, and in a workdir


@dataclasses.dataclass(frozen=True)
class Governance:
    """The rules of a thesaurus for one way to generate.

    Only active tags of no withheld policy class are given; in an open search, what the thesaurus lacks (or
    holds as proposed) is given as a proposal. With `generate.ancestors` a tag implies its broader ones.
    """

    spelling: Spelling
    config: GenerateConfig

    def restrict(self, vocabulary: Vocabulary) -> GenerateConfig:
        """The config with all forbidden that a closed search may not give; an open search keeps its own."""
        if self.config.vocabulary == "open":
            return self.config
        never = tuple(tag for tag in vocabulary.tags if not self._may_be_given(tag))
        return dataclasses.replace(self.config, forbidden=(*self.config.forbidden, *never))

    def __call__(self, tagged: Tagged) -> Tagged:
        """The answer in governed tags, each once, in the place of its best spelling.

        An implied ancestor stands right after the first tag that implies it, with that tag's score: it is
        at least as likely as the likeliest of its descendants.
        """
        scores: dict[str, float] = {}
        answered = 0
        for place, (written, score) in enumerate(tagged.ranked):
            for tag in self.given(written):
                scores.setdefault(tag, score)
            if place < tagged.answered:
                answered = len(scores)
        return dataclasses.replace(tagged, ranked=tuple(scores.items()), answered=answered)

    def given(self, written: str) -> list[str]:
        """The tags that a written one gives: itself and, where asked, what it implies; none if withheld."""
        tag = self.spelling.tag_of.get(written, written)
        above = self.spelling.ancestors(tag) if self.config.ancestors else ()
        return [x for x in (tag, *above) if self._may_be_given(x) or self._is_proposal(x)]

    def proposals(self, tags: Iterable[str]) -> list[str]:
        """Those of `tags` that are not, or not yet, in the vocabulary."""
        return [tag for tag in tags if self._is_proposal(tag)]

    def _may_be_given(self, tag: str) -> bool:
        return self.spelling.may_be_given(tag, self.config.withheld)

    def _is_proposal(self, tag: str) -> bool:
        term = self.spelling.tags.get(tag)
        return self.config.vocabulary == "open" and (term is None or term.status == "proposed")


def spelling(folder: pathlib.Path, config: TagsConfig) -> Spelling | None:
    """The spelling of a prepared folder's or a workdir's thesaurus; None where there is none."""
    path = folder / NAME
    return Spelling(load(path), dataclasses.replace(config, vocabulary=str(path))) if path.exists() else None


def governance(folder: pathlib.Path, experiment: Experiment) -> Governance | None:
    """The rules of the folder's thesaurus; None where there is none.

    Raises:
      UserError: settings ask for what only a thesaurus can say, or it is no good.
    """
    found = spelling(folder, experiment.tags)
    if found is None:
        if experiment.generate.withheld or experiment.generate.ancestors:
            raise UserError(
                f"{folder / NAME}: missing, and generate.withheld and generate.ancestors need it; prepare the"
                " data with tags.vocabulary=FILE, or put such a file there"
            )
        return None
    classes = {term.policy for term in found.tags.values()} - {""}
    if unknown := set(experiment.generate.withheld) - classes:
        raise UserError(
            f"generate.withheld: no tag has the policy {min(unknown)!r}, only {', '.join(sorted(classes))}"
        )
    return Governance(found, experiment.generate)


def govern(finish: Callable[[Tagged], Tagged], rules: Governance | None) -> Callable[[Tagged], Tagged]:
    """`finish`, and then the rules, if there are any."""
    return finish if rules is None else lambda tagged: rules(finish(tagged))
