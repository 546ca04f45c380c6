"""Lists and taxonomies as they are published, made into terms of a governed vocabulary.

    list        Boots                     one tag a line
    indented    Shoes                     deeper lines are children; by spaces or by tabs
                  Boots
    paths       Shoes > Boots             Google's and Shopify's taxonomies, with ids or without:
                213 - Shoes > Boots
                gid://shopify/TaxonomyCategory/aa-8-3 : Shoes > Boots

Blank lines and those that begin with "#" do not count. A term of a taxonomy is named by its path, as there;
one of an indented list by its line, or by its path where the line comes again ("Accessories"). The other of
the two is a synonym, if no other term has it.
"""

import collections
import dataclasses
import os
import re
from collections.abc import Callable, Iterable, Iterator

from taggen_jax.catalog.rows import BadRow, decode, open_text
from taggen_jax.catalog.thesaurus import Term, Thesaurus
from taggen_jax.errors import UserError

STEP = " > "
_ID = re.compile(r"(?:(gid://\S+?)\s*:|(\d+)\s+-)\s+(.+)")

Line = tuple[str, str]  # where it stands, and what it says
Path = tuple[str, ...]


def read(path: str | os.PathLike[str], form: str, language: str) -> Thesaurus:
    """Reads a published vocabulary.

    Args:
      path: a UTF-8 text file, gzip-compressed or not.
      form: "list", "indented" or "paths", see above.
      language: of the names, as "en".

    Raises:
      UserError: a line that does not fit the form, or a term that is there twice.
    """
    lines = list(_lines(path))
    if not lines:
        raise UserError(f"{path}: no line with a tag in it, expected one a tag")
    return Thesaurus(_terms(FORMS[form](lines), language, by_path=form == "paths"))


def renamed(known: Thesaurus, new: Thesaurus) -> Thesaurus:
    """`known` with what is new: terms, names in further languages, other parents. What people decided
    (status, successor, policy) and synonyms of their own stay."""
    merged = dict(known.terms)
    owners = {synonym: id for id, term in known.terms.items() for synonym in term.synonyms}
    for id, term in new.terms.items():
        before = known.terms.get(id, term)
        # What is one thing in English may be another in German: the first one keeps the synonym.
        own = [synonym for synonym in term.synonyms if owners.setdefault(synonym, id) == id]
        merged[id] = dataclasses.replace(
            before,
            names={**before.names, **term.names},
            synonyms=tuple(dict.fromkeys([*before.synonyms, *own] if id in known.terms else own)),
            parents=term.parents,
        )
    return Thesaurus(merged.values())


def _lines(path: str | os.PathLike[str]) -> Iterator[Line]:
    """The lines that count."""
    with open_text(path) as file:
        for number, raw in enumerate(file, 1):
            try:
                line = decode(raw).rstrip()
            except BadRow as bad:
                raise UserError(f"{path}:{number}: {bad}; save the file as UTF-8") from None
            if line.strip() and not line.lstrip().startswith("#"):
                yield f"{path}:{number}", line


def _list(lines: list[Line]) -> dict[Path, str]:
    return _collect((where, (line.strip(),), "") for where, line in lines)


def _indented(lines: list[Line]) -> dict[Path, str]:
    def paths() -> Iterator[tuple[str, Path, str]]:
        above: list[tuple[int, str]] = []  # the indents and names on the way to the line before
        for where, line in lines:
            indent = len(line) - len(line.lstrip())
            if " " in line[:indent] and "\t" in line[:indent]:
                raise UserError(f"{where}: indented by spaces and by tabs, expected one of the two")
            depths = [depth for depth, _ in above]
            above = [step for step in above if step[0] < indent]
            if indent not in (0, *depths) and len(above) < len(depths):
                raise UserError(f"{where}: indented by {indent}, but no line above is; align it with one")
            if not above and indent:
                raise UserError(f"{where}: indented by {indent}, with nothing above it; begin at the margin")
            above.append((indent, line.strip()))
            yield where, tuple(name for _, name in above), ""

    return _collect(paths())


def _paths(lines: list[Line]) -> dict[Path, str]:
    """Paths with their ids: those that the lines begin with, if all do."""
    matches = [_ID.fullmatch(line.strip()) for _, line in lines]
    numbered = all(matches)
    if not numbered and any(match and match[1] for match in matches):
        where = next(where for (where, _), match in zip(lines, matches, strict=True) if not match)
        raise UserError(f"{where}: no id before the path, as other lines have; write 'ID : A > B'")

    def paths() -> Iterator[tuple[str, Path, str]]:
        for (where, line), match in zip(lines, matches, strict=True):
            id, text = (match[1] or match[2], match[3]) if numbered and match else ("", line)
            steps = tuple(step.strip() for step in text.split(STEP))
            if not all(steps):
                raise UserError(f"{where}: a step of {text!r} is empty; write 'A > B > C'")
            yield where, steps, id

    return _collect(paths())


FORMS: dict[str, Callable[[list[Line]], dict[Path, str]]] = {
    "list": _list,
    "indented": _indented,
    "paths": _paths,
}


def _collect(found: Iterable[tuple[str, Path, str]]) -> dict[Path, str]:
    """Path -> id ("" for none), each once."""
    ids: dict[Path, str] = {}
    seen: dict[Path | str, str] = {}
    for where, path, id in found:
        for what, key in ((repr(STEP.join(path)), path), (f"id {id!r}", id)):
            if key and seen.setdefault(key, where) != where:
                raise UserError(f"{where}: {what} is there already, see {seen[key]}; remove one of the two")
        ids[path] = id
    return ids


def _terms(ids: dict[Path, str], language: str, by_path: bool) -> Iterator[Term]:
    """Terms of all paths and, where a path's beginning has no line of its own, of that, too."""
    paths = dict.fromkeys(path[: end + 1] for path in ids for end in range(len(path)))
    named = {path: ids.get(path) or STEP.join(path) for path in paths}
    leaves = collections.Counter(path[-1] for path in paths)
    for path, id in named.items():
        long, short = STEP.join(path), path[-1]
        spellings = (
            [long] if len(path) == 1 or leaves[short] > 1 else [long, short] if by_path else [short, long]
        )
        yield Term(
            id=id,
            names={language: spellings[0]},
            synonyms=tuple(spellings[1:]),
            parents=(named[path[:-1]],) if len(path) > 1 else (),
        )
