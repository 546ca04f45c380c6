"""Cleaning: from a product as it came to a product in plain, uniform text."""

import dataclasses
import html
import re
import unicodedata
from collections.abc import Callable

from taggen_jax.catalog.markup import html_to_text
from taggen_jax.catalog.product import Product
from taggen_jax.catalog.words import drop_stop_words, segment_chinese

_ROUNDS = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class CleanConfig:
    """The steps of cleaning, in their order; each is a switch.

    Attributes:
      control_characters: drop what cannot be seen: control and zero-width characters, byte order marks, soft
        hyphens, directions. A joiner stays where it shapes what is seen: within emoji, and after a letter of
        the scripts from Hebrew to Mongolian, such as Persian and Hindi.
      html: keep the text of a page, drop its tags.
      entities: decode "&eacute;" and its like, also when they are escaped twice.
      nfkc: Unicode's compatibility form: "①" is "1", "㎏" is "kg", "ﬁ" is "fi", and all of `width`.
      width: full-width ASCII and half-width kana in their usual width.
      urls: drop web addresses.
      segment_chinese: spaces between Chinese words.
      stop_words: drop English ones, and Chinese ones that stand alone.
      lower_case: drop the difference between "Apple" and "apple".
      white_space: single spaces, none at the ends.
    """

    control_characters: bool = True
    html: bool = True
    entities: bool = True
    nfkc: bool = True
    width: bool = True
    urls: bool = True
    segment_chinese: bool = False
    stop_words: bool = False
    lower_case: bool = False
    white_space: bool = True


def cleaner(config: CleanConfig) -> Callable[[Product], Product]:
    """A pure function from a product to the cleaned product.

    Title, description, reviews, attributes and category are cleaned; reviews and attributes that end up empty
    go. Id, language, group and tags are not touched. A title can end up empty.

    The steps are repeated until nothing changes, because one can make work for another ("&lt;br&gt;" is a tag
    once it is decoded). So cleaning is idempotent, except for text that hides something more than ten
    layers deep.
    """
    steps = [step for name, step in _STEPS.items() if getattr(config, name)]

    def clean_text(text: str) -> str:
        for _ in range(_ROUNDS):
            before = text
            for step in steps:
                text = step(text)
            if text == before:
                break
        return text

    def clean(product: Product) -> Product:
        attributes = {clean_text(key): clean_text(value) for key, value in product.attributes.items()}
        return dataclasses.replace(
            product,
            title=clean_text(product.title),
            description=clean_text(product.description),
            reviews=tuple(filter(None, map(clean_text, product.reviews))),
            attributes={key: value for key, value in attributes.items() if value},
            category=clean_text(product.category),
        )

    return clean


_LAYOUT = r"\x0b\x0c\x1c-\x1f\x85"  # control characters that separate
_INVISIBLE = (
    r"\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f"  # control characters
    r"\xad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # zero width, directions
    r"\ud800-\udfff\U000e0000-\U000e007f"  # halves of characters, invisible tags
)
_CONTROL = re.compile(rf"[{_LAYOUT}{_INVISIBLE}\u200c\u200d]")
_JOINER = re.compile(
    "(?<![\u0590-\u1cff])"  # not behind a letter that it may join or keep apart,
    "(?:\u200c|\u200d(?!(?<=[\u2190-\u2bff\ufe0f\U0001f000-\U0001faff]\u200d)"  # nor between
    "[\u2190-\u2bff\U0001f000-\U0001faff]))"  # parts of an emoji
)
_NARROW_OR_WIDE = re.compile("[\u3000\uff01-\uffee]+")
_URL = re.compile(
    r"<?\b(?:(?:https?|ftp)://|www\.)[!#-;=?-~]*[A-Z0-9/=&#%_~+-]>?",  # ends before ").", often in "<...>"
    re.IGNORECASE | re.ASCII,
)


def _drop_control_characters(text: str) -> str:
    if not _CONTROL.search(text):
        return text
    return _JOINER.sub("", re.sub(f"[{_INVISIBLE}]", "", re.sub(f"[{_LAYOUT}]", " ", text)))


def _usual_width(text: str) -> str:
    if text.isascii():
        return text
    return _NARROW_OR_WIDE.sub(lambda match: unicodedata.normalize("NFKC", match[0]), text)


def _drop_urls(text: str) -> str:
    if "://" not in text and "www." not in text.lower():  # most texts: the pattern is the slowest of all
        return text
    return _URL.sub(" ", text)


_STEPS: dict[str, Callable[[str], str]] = {
    "control_characters": _drop_control_characters,
    "html": html_to_text,
    "entities": html.unescape,
    "nfkc": lambda text: unicodedata.normalize("NFKC", text),
    "width": _usual_width,
    "urls": _drop_urls,
    "segment_chinese": segment_chinese,
    "stop_words": drop_stop_words,
    "lower_case": str.lower,
    "white_space": lambda text: " ".join(text.split()),
}
