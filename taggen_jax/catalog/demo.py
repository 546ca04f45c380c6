"""The demo catalog: a small bilingual shop, made up, the same on every machine.

Tags follow from the text without noise. Two thirds are written in it (the kind of product, its features);
a third are not and have to be inferred: the department from the kind, the use from the material, "fast" from
the power in watts, "gift for kids" from the age, "bestseller" from happy reviews. English products carry
English tags and Chinese products Chinese ones, as in a shop with two sites.
"""

import dataclasses
import itertools
import json
import os
import random
from collections.abc import Iterator

from taggen_jax.catalog import demo_phrases, demo_words
from taggen_jax.catalog.demo_words import Kind
from taggen_jax.catalog.product import Product
from taggen_jax.files import atomic_write

FAST_WATTS = {"kettle": 2000, "toaster": 2000, "power bank": 30}
OLDEST_KID = 6
PHRASES = {"en": demo_phrases.ENGLISH, "zh": demo_phrases.CHINESE}
FULL_WIDTH = {code: code + 0xFEE0 for code in range(ord("0"), ord("9") + 1)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Item:
    """What the variants of one product share; words in English, 0 where the kind has no such attribute."""

    number: int
    language: str
    kind: Kind
    brand: str
    series: str
    material: str
    features: tuple[str, ...]
    power: int
    age: int
    opinion: str  # "good", "bad" or "none": what all its reviews say


def products(count: int = 4000, seed: int = 0) -> Iterator[Product]:
    """Yields `count` products; a smaller count yields the first of them."""
    return itertools.islice(_catalog(random.Random(seed)), count)


def write(path: str | os.PathLike[str], count: int = 4000, seed: int = 0) -> None:
    """Writes the catalog as JSON lines with every field of `Product`."""
    with atomic_write(path) as file:
        for product in products(count, seed):
            row = {field.name: getattr(product, field.name) for field in dataclasses.fields(product)}
            row["attributes"] = dict(product.attributes)  # json knows dicts only
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _catalog(rng: random.Random) -> Iterator[Product]:
    for number in itertools.count():
        item = _draw(rng, number)
        variants = rng.choices((1, 2, 3), weights=(5, 3, 2))[0]
        for variant, colour in enumerate(rng.sample(demo_words.COLOURS, variants)):
            yield _product(rng, item, variant, colour)


def _draw(rng: random.Random, number: int) -> _Item:
    language = rng.choice(("en", "zh"))
    kind = rng.choices(demo_words.KINDS, weights=[kind.weight for kind in demo_words.KINDS])[0]
    return _Item(
        number=number,
        language=language,
        kind=kind,
        brand=rng.choice(PHRASES[language].brands),
        series=rng.choice(PHRASES[language].series),
        material=rng.choice(kind.materials),
        features=tuple(rng.sample(kind.features, rng.choices((1, 2, 3), weights=(1, 3, 4))[0])),
        power=rng.choice(kind.powers or (0,)),
        age=rng.choice(kind.ages or (0,)),
        opinion=rng.choices(("good", "bad", "none"), weights=(3, 2, 5))[0],
    )


def _product(rng: random.Random, item: _Item, variant: int, colour: str) -> Product:
    size = rng.choice(item.kind.sizes or ("",))
    return Product(
        id=f"{item.language}-{item.number:05d}-{variant}",
        group=f"{item.language}-{item.number:05d}",
        title=_title(rng, item, colour, size),
        description=_description(rng, item),
        reviews=_reviews(rng, item),
        attributes=_attributes(item, colour, size),
        category=_say(item, item.kind.category),
        language=item.language,
        tags=tuple(_say(item, tag) for tag in _tags(item)),
    )


def _tags(item: _Item) -> Iterator[str]:
    """The rules of this world. The first two kinds of tags are written in the text, the others never are."""
    yield item.kind.name
    yield from item.features
    yield item.kind.department
    if item.material in demo_words.USES:
        yield demo_words.USES[item.material]
    if item.power >= FAST_WATTS.get(item.kind.name, item.power + 1):
        yield "fast"
    if 0 < item.age <= OLDEST_KID:
        yield "gift for kids"
    if item.opinion == "good":
        yield "bestseller"


def _say(item: _Item, word: str) -> str:
    return word if item.language == "en" else demo_words.CHINESE[word]


def _title(rng: random.Random, item: _Item, colour: str, size: str) -> str:
    title = rng.choice(PHRASES[item.language].titles).format(
        brand=item.brand,
        series=item.series,
        kind=_say(item, item.kind.name),
        colour=_say(item, colour),
        size=f" {size}" if size else "",
    )
    return title[0].upper() + title[1:]


def _description(rng: random.Random, item: _Item) -> str:
    phrases = PHRASES[item.language]
    kind = _say(item, item.kind.name)
    opening = rng.choice(phrases.openings).format(
        brand=item.brand,
        series=item.series,
        material=_say(item, item.material),
        kind=kind,
        Kind=kind.capitalize(),
    )
    points = []
    for feature in rng.sample(item.features, len(item.features)):
        word = _say(item, feature)
        point = rng.choice(phrases.points).format(feature=word, Feature=word.capitalize())
        points.append(f"<li>{point}</li>")
    return f"{opening}\n<ul>{''.join(points)}</ul>{rng.choice(phrases.closings)}"


def _reviews(rng: random.Random, item: _Item) -> tuple[str, ...]:
    if item.opinion == "none":
        return ()
    phrases = PHRASES[item.language]
    said = phrases.praise if item.opinion == "good" else phrases.complaints
    return tuple(rng.sample(said, rng.choice((1, 2))))


def _attributes(item: _Item, colour: str, size: str) -> dict[str, str]:
    phrases = PHRASES[item.language]
    values = {"material": _say(item, item.material), "colour": _say(item, colour)}
    if size:
        values["size"] = size
    if item.power:
        values["power"] = phrases.power.format(power=item.power)
    if item.age:
        values["age"] = phrases.age.format(age=item.age)
    if item.language == "zh":  # numbers in full-width digits, as Chinese shops often type them
        values = {name: value.translate(FULL_WIDTH) for name, value in values.items()}
    return {_say(item, name): value for name, value in values.items()}
