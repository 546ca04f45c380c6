"""A governed tag vocabulary: one file that says which tags there are, how they are spelled, and which to use.

One JSON object a line, a term each; everything but id and names may be left out:

    {"id": "213", "names": {"en": "Boots", "de": "Stiefel"}, "synonyms": ["boot"], "parents": ["187"],
     "status": "active", "policy": ""}
    {"id": "214", "names": {"en": "Bootees"}, "status": "deprecated", "replaced_by": "213"}
"""

import dataclasses
import functools
import graphlib
import json
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, get_args

from taggen_jax.errors import UserError
from taggen_jax.files import atomic_write

Status = Literal["active", "proposed", "deprecated"]
_SHOWN = 3  # mistakes that one message names


@dataclasses.dataclass(frozen=True, kw_only=True)
class Term:
    """One tag of the vocabulary.

    Attributes:
      id: unique, and never given to another term.
      names: language -> name; the first one stands where no language is asked for, or not in that language.
      synonyms: other spellings, of any language.
      parents: ids of the broader terms.
      status: "active"; "proposed", not yet decided upon; "deprecated", no longer to be used.
      replaced_by: the id of a deprecated term's successor.
      policy: a class of tags that are treated alike ("adult", "medical"); "" for none.
    """

    id: str
    names: Mapping[str, str]
    synonyms: tuple[str, ...] = ()
    parents: tuple[str, ...] = ()
    status: Status = "active"
    replaced_by: str = ""
    policy: str = ""

    def name(self, language: str = "") -> str:
        """The name in a language, or the first one."""
        return self.names.get(language) or next(iter(self.names.values()))


class Thesaurus:
    """Terms by id, which belong together: parents and successors exist, and nothing runs in a circle.

    Attributes:
      terms: id -> term, in the order of the file.
    """

    def __init__(self, terms: Iterable[Term], where: Sequence[str] = ()) -> None:
        """Checks the terms against each other. `where` says where each stands, for messages.

        Raises:
          UserError: the mistakes, the first few by name.
        """
        terms = list(terms)
        places = where or [f"term {number}" for number in range(1, len(terms) + 1)]
        self.terms = {term.id: term for term in terms}
        mistakes = list(_mistakes(terms, places, self.terms))
        if mistakes:
            more = f"; and {len(mistakes) - _SHOWN} more mistakes" if len(mistakes) > _SHOWN else ""
            raise UserError("; ".join(mistakes[:_SHOWN]) + more)

    def current(self, id: str) -> Term:
        """The term itself, or the one that a deprecated term was replaced by in the end."""
        term = self.terms[id]
        while term.status == "deprecated":
            term = self.terms[term.replaced_by]
        return term

    @functools.cached_property
    def depth(self) -> int:
        """The most generations that a term has, itself included."""
        generations: dict[str, int] = {}
        parents = {id: term.parents for id, term in self.terms.items()}
        for id in graphlib.TopologicalSorter(parents).static_order():
            generations[id] = 1 + max((generations[parent] for parent in self.terms[id].parents), default=0)
        return max(generations.values(), default=0)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the file; what is at its default is left out."""
        with atomic_write(path) as file:
            file.writelines(_line(term) for term in self.terms.values())


def load(path: str | os.PathLike[str]) -> Thesaurus:
    """Reads a file of terms. Blank lines do not count.

    Raises:
      UserError: no such file, a line that is no term, or terms that do not belong together; with the line.
    """
    try:
        lines = pathlib.Path(path).read_text(encoding="utf-8").split("\n")
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such vocabulary file; make one with `taggen vocabulary`") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 ({error}); save it as UTF-8") from error
    numbered = [(f"{path}:{number}", line) for number, line in enumerate(lines, 1) if line.strip()]
    return Thesaurus([_term(line, place) for place, line in numbered], [place for place, _ in numbered])


def _term(line: str, where: str) -> Term:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise UserError(f"{where}: not JSON ({error}); write one object a line") from error
    if not isinstance(value, dict):
        raise UserError(f"{where}: got {type(value).__name__}, expected an object with id and names")
    fields = {field.name: field for field in dataclasses.fields(Term)}
    if unknown := value.keys() - fields.keys():
        raise UserError(f"{where}: no field {min(unknown)!r} in a term, only {', '.join(fields)}")
    for name, fits, expected in _FORMS:
        if name in value and not fits(value[name]):
            raise UserError(f"{where}: {name} is {value[name]!r}, expected {expected}")
        if name in ("id", "names") and name not in value:
            raise UserError(f"{where}: {name} is missing; every term has an id and names")
    lists = {name: tuple(value.get(name, ())) for name in ("synonyms", "parents")}
    return Term(**value | lists)


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _filled(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_filled, value))


def _names(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and all(map(_filled, value.values()))


_FORMS = (
    ("id", _filled, "a text"),
    ("names", _names, 'names by language, as {"en": "Boots"}'),
    ("synonyms", _texts, "a list of texts"),
    ("parents", _texts, "a list of ids"),
    ("status", get_args(Status).__contains__, "one of " + ", ".join(get_args(Status))),
    ("replaced_by", _text, "an id"),
    ("policy", _text, "a text"),
)


def _line(term: Term) -> str:
    fields = dataclasses.fields(Term)
    kept = {f.name: getattr(term, f.name) for f in fields if getattr(term, f.name) != f.default}
    return json.dumps(kept | {"names": dict(term.names)}, ensure_ascii=False) + "\n"


def _mistakes(terms: Sequence[Term], places: Sequence[str], known: Mapping[str, Term]) -> Iterator[str]:
    """What is wrong between the terms, one line each."""
    first: dict[str, str] = {}
    for term, place in zip(terms, places, strict=True):
        if first.setdefault(term.id, place) != place:
            yield f"{place}: id {term.id!r} is that of {first[term.id]} already; give it another"
        for parent in term.parents:
            if parent not in known:
                yield f"{place}: parent {parent!r} of {term.id!r} is no term; add it, or leave it out"
        if term.status == "deprecated" and not term.replaced_by:
            yield f"{place}: {term.id!r} is deprecated without a successor; set replaced_by to an id"
        elif term.status != "deprecated" and term.replaced_by:
            yield f"{place}: {term.id!r} is replaced by another, but {term.status}; set status to deprecated"
        elif term.replaced_by and term.replaced_by not in known:
            yield f"{place}: successor {term.replaced_by!r} of {term.id!r} is no term; add it"
    for what, edges in (
        ("parents", {term.id: [id for id in term.parents if id in known] for term in terms}),
        ("successors", {term.id: [id for id in [term.replaced_by] if id in known] for term in terms}),
    ):
        if circle := _circle(edges):
            yield f"{first[circle[0]]}: {what} run in a circle: {' -> '.join(circle)}; leave one out"


def _circle(edges: Mapping[str, Sequence[str]]) -> list[str]:
    """Some circle, its first id also last; [] where there is none."""
    try:
        graphlib.TopologicalSorter(edges).prepare()
    except graphlib.CycleError as error:
        return list(reversed(error.args[1]))  # it walks from a parent to its children
    return []
