"""Tags in one spelling, and a tag set as one text and back without loss."""

import dataclasses
import functools
import re
import string
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Literal


@dataclasses.dataclass(frozen=True, kw_only=True)
class TagsConfig:
    """How tags are spelled and put in a row.

    Attributes:
      lower_case: whether "Cotton" and "cotton" are one tag.
      synonyms: a spelling to the one to use instead; chains are followed, "" drops the tag.
      separator: stands between tags in a target text. Any text without a backslash: `escape` keeps it out
        of the tags themselves.
      order: the order in which a model learns to write the tags of a product: most frequent in training
        first, by first mention in the text, or shuffled anew every epoch.
      size_prefix: whether a target says first how many tags follow, as a number in a tag's place: "2<sep>red
        <sep>lamp". A model then plans the whole set (Madaan et al., 2022), and knows when it is through.
      vocabulary: a file of governed tags, see `thesaurus`; "" where any tag is one.
      language: whose names in that file are the tags; "" takes the first name of each.
      unknown: what becomes of a tag that the file lacks: it stays, as a proposal, or it goes.
    """

    lower_case: bool = False
    synonyms: Mapping[str, str] = dataclasses.field(default_factory=dict)
    separator: str = "<sep>"
    order: Literal["frequent", "text", "shuffled"] = "frequent"
    size_prefix: bool = False
    vocabulary: str = ""
    language: str = ""
    unknown: Literal["propose", "drop"] = "propose"

    def __post_init__(self) -> None:
        """Raises ValueError for a separator that cannot separate and for synonyms that run in a circle."""
        _mark(self.separator)
        _ = self.canonical

    @functools.cached_property
    def canonical(self) -> dict[str, str]:
        """The synonyms with both sides normalised and every chain followed to its end."""
        table: dict[str, str] = {}
        for key, value in self.synonyms.items():
            spelling, target = spell(key, self.lower_case), spell(value, self.lower_case)
            if table.setdefault(spelling, target) != target:
                raise ValueError(f"synonyms: {spelling!r} stands for both {table[spelling]!r} and {target!r}")
        return {spelling: _follow(spelling, table) for spelling in table}


def normalise(tags: Iterable[str], config: TagsConfig) -> tuple[str, ...]:
    """Tags in their one spelling: NFKC, single spaces, letter case, synonyms.

    Empty ones and repeats are dropped; the order of first occurrences is kept. Idempotent.
    """
    spelled = (spell(tag, config.lower_case) for tag in tags)
    return tuple(dict.fromkeys(filter(None, (config.canonical.get(tag, tag) for tag in spelled))))


def spell(tag: str, lower_case: bool) -> str:
    """One tag in its one spelling: NFKC, single spaces, and, if asked for, lower case."""
    tag = unicodedata.normalize("NFKC", tag)
    if lower_case:
        tag = unicodedata.normalize("NFKC", tag.lower())  # lower-casing can leave a composed form behind
    return " ".join(tag.split())


def escape(tag: str, separator: str) -> str:
    r"""Spells `tag` so that the separator neither occurs in it nor starts in it when appended.

    A backslash is doubled; a character at which a separator would start becomes a backslash and a mark that
    the separator does not hold: with "<sep>", "a<sep>b" is written "a\0sep>b" and "a<b" stays as it is.
    """
    mark, joined = _mark(separator), tag + separator
    starts = (joined.startswith(separator, i) for i in range(len(tag)))
    return "".join(
        f"\\{mark}" if start else "\\\\" if character == "\\" else character
        for character, start in zip(tag, starts, strict=True)
    )


def unescape(text: str, separator: str) -> str:
    """The inverse of `escape`. A backslash that `escape` did not write (a model may) stays as it is."""
    meaning = {"\\": "\\", _mark(separator): separator[0]}
    return re.sub(r"\\(.)", lambda match: meaning.get(match[1], match[0]), text, flags=re.DOTALL)


def serialise(tags: Iterable[str], separator: str) -> str:
    """The target text of non-empty `tags`: each one escaped, joined by the separator."""
    return separator.join(escape(tag, separator) for tag in tags)


def parse(text: str, separator: str) -> tuple[str, ...]:
    """The tags of a target text: the inverse of `serialise`. Empty pieces, which a model may write, go."""
    return tuple(unescape(piece, separator) for piece in text.split(separator) if piece)


def in_text_order(tags: Iterable[str], text: str) -> tuple[str, ...]:
    """Tags by where `text` first mentions them, case-folded; those it never mentions last, as given."""
    folded = text.casefold()
    places = {tag: folded.find(tag.casefold()) for tag in tags}
    return tuple(sorted(places, key=lambda tag: places[tag] if places[tag] >= 0 else len(folded)))


def _follow(spelling: str, table: Mapping[str, str]) -> str:
    seen = [spelling]
    while table.get(seen[-1], seen[-1]) != seen[-1]:
        following = table[seen[-1]]
        if following in seen:
            raise ValueError(f"synonyms run in a circle: {' -> '.join([*seen, following])}; leave one out")
        seen.append(following)
    return seen[-1]


@functools.cache
def _mark(separator: str) -> str:
    if not separator or "\\" in separator:
        raise ValueError(f"separator={separator!r} must be a text without a backslash")
    for mark in string.digits + string.ascii_letters:
        if mark not in separator:
            return mark
    raise ValueError(f"separator={separator!r} holds every letter and digit; take a shorter one")
