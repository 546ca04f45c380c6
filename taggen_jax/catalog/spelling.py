"""Tags as a governed vocabulary wants them: every spelling of a term becomes its one tag."""

import collections
import functools
from collections.abc import Collection, Iterable, Mapping

from taggen_jax.catalog.tags import TagsConfig, normalise, spell
from taggen_jax.catalog.thesaurus import Term, Thesaurus, load
from taggen_jax.errors import UserError


class Spelling:
    """What tags are called under a thesaurus.

    A term's tag is its name in `config.language`. Its id, its other names and its synonyms mean the same tag;
    those of a deprecated term mean its successor's. Where a name in one language is another term's name in
    another language ("Gift"), it means the tag that is spelled so, or else nothing.

    Attributes:
      tags: the tags of all terms that are not deprecated: tag -> term.
    """

    def __init__(self, thesaurus: Thesaurus, config: TagsConfig) -> None:
        """Raises UserError where two terms have one tag, or one synonym."""
        self._thesaurus, self._config = thesaurus, config
        self.tags: dict[str, Term] = {}
        for term in thesaurus.terms.values():
            if term.status != "deprecated" and self.tags.setdefault(self.tag(term), term) != term:
                raise UserError(
                    f"{config.vocabulary}: terms {self.tags[self.tag(term)].id!r} and {term.id!r} are both"
                    f" called {self.tag(term)!r}; rename one"
                )
        self.tag_of = self._spellings()

    def tag(self, term: Term) -> str:
        """The tag of a term."""
        return spell(term.name(self._config.language), self._config.lower_case)

    def _spellings(self) -> dict[str, str]:
        """Every spelling that has one meaning -> the tag."""
        found: dict[str, str] = {tag: tag for tag in self.tags}
        for sure in (True, False):  # ids and synonyms are meant for this, names in other languages just occur
            meanings: dict[str, set[str]] = collections.defaultdict(set)
            for term in self._thesaurus.terms.values():
                others = (term.id, *term.synonyms) if sure else term.names.values()
                for other in others:
                    meaning = self.tag(self._thesaurus.current(term.id))
                    meanings[spell(other, self._config.lower_case)].add(meaning)
            for spelling, tags in meanings.items():
                clash = tags | {found[spelling]} if spelling in found else tags
                if sure and len(clash) > 1:
                    raise UserError(
                        f"{self._config.vocabulary}: {spelling!r} stands for both"
                        f" {' and '.join(map(repr, sorted(clash)[:2]))}; take it out of one of the terms"
                    )
                if len(tags) == 1:
                    found.setdefault(spelling, *tags)
        return found

    @functools.cached_property
    def parents(self) -> dict[str, tuple[str, ...]]:
        """Tag -> the tags of its broader terms, deprecated ones replaced."""
        current = self._thesaurus.current
        return {
            tag: tuple(dict.fromkeys(self.tag(current(parent)) for parent in term.parents))
            for tag, term in self.tags.items()
            if term.parents
        }

    def ancestors(self, tag: str) -> tuple[str, ...]:
        """All broader tags, the nearest first."""
        found: dict[str, None] = {}
        waiting = collections.deque(self.parents.get(tag, ()))
        while waiting:
            above = waiting.popleft()
            if above not in found:
                found[above] = None
                waiting.extend(self.parents.get(above, ()))
        return tuple(found)

    def may_be_given(self, tag: str, withheld: Collection[str] = ()) -> bool:
        """Whether the tag is an active one, of no policy class that is withheld."""
        term = self.tags.get(tag)
        return term is not None and term.status == "active" and term.policy not in withheld

    def deprecated(self, spelling: str) -> bool:
        """Whether nothing but deprecated terms are spelled so."""
        return spelling in self._old

    @functools.cached_property
    def _old(self) -> set[str]:
        terms = [term for term in self._thesaurus.terms.values() if term.status == "deprecated"]
        lower = self._config.lower_case
        old = {spell(x, lower) for term in terms for x in (term.id, *term.names.values(), *term.synonyms)}
        return {spelling for spelling in old & self.tag_of.keys() if spelling not in self.tags}


class Speller:
    """Turns the tags of products into governed ones, and counts what it met.

    Attributes:
      spelling: None where there is no governed vocabulary.
      counts: tags (on products) by what they were: "as they are", "other spellings", "deprecated", "unknown".
      proposals: the unknown ones, with the number of their products.
    """

    def __init__(self, config: TagsConfig) -> None:
        """Raises UserError where the vocabulary file is no good."""
        self._config = config
        self.spelling = Spelling(load(config.vocabulary), config) if config.vocabulary else None
        self.counts: collections.Counter[str] = collections.Counter()
        self.proposals: collections.Counter[str] = collections.Counter()

    def __call__(self, tags: Iterable[str]) -> tuple[str, ...]:
        """The tags of one product: normalised, governed, without repeats."""
        spelled = normalise(tags, self._config)
        if self.spelling is None:
            return spelled
        return tuple(dict.fromkeys(filter(None, (self._governed(tag, self.spelling) for tag in spelled))))

    def _governed(self, tag: str, spelling: Spelling) -> str:
        known = spelling.tag_of.get(tag)
        if known is None:
            self.counts["unknown"] += 1
            self.proposals[tag] += 1
            return tag if self._config.unknown == "propose" else ""
        old = spelling.deprecated(tag)
        self.counts["as they are" if tag == known else "deprecated" if old else "other spellings"] += 1
        return known

    def describe(self) -> str:
        """One line of counts."""
        met = ", ".join(f"{self.counts[name]:,} {name}" for name in _MET)
        what = {"propose": "kept as proposals", "drop": "dropped"}[self._config.unknown]
        return f"tags: {met}" + (f" ({len(self.proposals):,} tags, {what})" if self.proposals else "")

    def proposed(self) -> Mapping[str, int]:
        """The unknown tags, those on most products first."""
        return dict(sorted(self.proposals.items(), key=lambda item: (-item[1], item[0])))


_MET = ("as they are", "other spellings", "deprecated", "unknown")
