"""Catalog files in, products out, streamed; bad rows go to the quarantine."""

import dataclasses
import functools
import glob
import hashlib
import json
import os
import pathlib
import reprlib
import zlib
from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

from taggen_jax.catalog.columnar import parquet_rows
from taggen_jax.catalog.delimited import delimited_rows
from taggen_jax.catalog.fields import to_product
from taggen_jax.catalog.product import Product
from taggen_jax.catalog.quarantine import Quarantine
from taggen_jax.catalog.rows import BadRow, Row, jsonl_rows
from taggen_jax.errors import UserError

TRANSLATED = ("title", "description")
_KINDS = "`.jsonl`, `.csv`, `.tsv` (each also with `.gz`) or `.parquet`"


@dataclasses.dataclass(frozen=True, kw_only=True)
class CatalogConfig:
    """Which column holds which field; "" where a catalog has none. id and title must have one.

    Attributes:
      complete: the column that says (true or false) whether a product has all its tags; where it is silent,
        those with tags have, and those without are unknown, which teaches nothing.
      tag_separator: set when the tags of a product are one string, "red;cotton".
      review_separator: likewise for reviews.
      translations: language -> what follows the names of the columns title and description in it, such as
        {"en": "", "de": "_de"}; "" is the language of the columns themselves. Training data then have a
        product of its own for each language that a row has a title in, with the id "ID@de" and the same group
        and tags.
    """

    id: str = "id"
    title: str = "title"
    description: str = "description"
    reviews: str = "reviews"
    attributes: str = "attributes"
    category: str = "category"
    language: str = "language"
    group: str = "group"
    tags: str = "tags"
    complete: str = "complete"
    tag_separator: str = ""
    review_separator: str = ""
    translations: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises ValueError when id or title has no column, or the columns two languages."""
        if list(self.translations.values()).count("") > 1:
            raise ValueError(
                f"translations={dict(self.translations)}: the columns themselves have one language"
            )
        if not self.id or not self.title:
            raise ValueError("id and title must name a column each")

    @functools.cached_property
    def columns(self) -> dict[str, str]:
        """The column of every field that has one."""
        fields = (field.name for field in dataclasses.fields(Product))
        return {field: column for field in fields if (column := getattr(self, field))}

    @functools.cached_property
    def own_language(self) -> str:
        """The language of the columns themselves, where no other is given; "" where nobody says."""
        return next((language for language, ending in self.translations.items() if not ending), "")

    @functools.cached_property
    def translated(self) -> dict[str, "CatalogConfig"]:
        """Language -> how to read the product in it, for those with columns of their own."""
        texts = [field for field in TRANSLATED if getattr(self, field)]
        return {
            language: dataclasses.replace(
                self, translations={}, **{field: getattr(self, field) + ending for field in texts}
            )
            for language, ending in self.translations.items()
            if ending
        }

    @functools.cached_property
    def wanted(self) -> set[str]:
        """The names of all columns that are read."""
        configs = (self, *self.translated.values())
        return {column for config in configs for column in config.columns.values()}


def expand(patterns: Sequence[str]) -> list[pathlib.Path]:
    """The files that the patterns match, each once, sorted within a pattern.

    Raises:
      UserError: a pattern matches no file, or a file's name does not say what it holds.
    """
    paths: dict[pathlib.Path, None] = {}
    for pattern in patterns:
        found = [pattern] if os.path.isfile(pattern) else sorted(glob.glob(pattern, recursive=True))
        files = [pathlib.Path(path) for path in found if os.path.isfile(path)]
        if not files:
            what = "is a folder" if os.path.isdir(pattern) else "matches no file"
            raise UserError(f"input {pattern!r} {what}; name files, or a pattern such as 'folder/*.jsonl.gz'")
        paths.update(dict.fromkeys(files))
    for path in paths:
        _kind(path)
    return list(paths)


def read(
    paths: Sequence[str | os.PathLike[str]],
    config: CatalogConfig,
    *,
    strict: bool = False,
    quarantine: Quarantine,
) -> Iterator[Product]:
    """Streams the products of some files, in order. Bad rows go to the quarantine with file, line and reason.

    What is held in memory is a piece of one file, and 16 bytes of hash for every id.

    Raises:
      UserError: a file cannot be read or lacks the column of a required field; with `strict` any bad row.
    """
    seen = Seen()
    for path, row in rows(paths, config):
        try:
            products = products_of(row, config)
            if seen.before(products[0]):
                raise duplicate(products[0])
        except BadRow as bad:
            if strict:
                raise refusal(path, row, bad) from None
            put_aside(path, row, bad, quarantine)
        else:
            yield from products


def rows(
    paths: Sequence[str | os.PathLike[str]], config: CatalogConfig
) -> Iterator[tuple[str | os.PathLike[str], Row]]:
    """(file, row) of every row of some files, in order, not yet looked at."""
    for path in paths:
        for row in _rows(path, config):
            yield path, row


def product_of(row: Row, config: CatalogConfig) -> Product:
    """The product that a row holds. Raises BadRow where it holds none."""
    if isinstance(row.values, BadRow):
        raise row.values
    values = {field: row.values.get(column) for field, column in config.columns.items()}
    product = to_product(values, tag_separator=config.tag_separator, review_separator=config.review_separator)
    if product.language or not config.own_language:
        return product
    return dataclasses.replace(product, language=config.own_language)


def products_of(row: Row, config: CatalogConfig) -> list[Product]:
    """The product that a row holds, and its translations. Raises BadRow where it holds none."""
    product = product_of(row, config)
    found = [product]
    for language, columns in config.translated.items():
        if not isinstance(row.values, BadRow) and row.values.get(columns.title):
            translation = product_of(row, columns)
            found.append(
                dataclasses.replace(
                    translation,
                    id=f"{product.id}@{language}",
                    language=language,
                    group=product.group or product.id,
                )
            )
    return found


def duplicate(product: Product) -> BadRow:
    """What is wrong with a product whose id was there before."""
    return BadRow(f"duplicate_id: id {reprlib.repr(product.id)} stands on an earlier row")


def put_aside(path: str | os.PathLike[str], row: Row, bad: BadRow, quarantine: Quarantine) -> None:
    quarantine.add(path, row.line, str(bad), row.raw or _written(row))


def refusal(path: str | os.PathLike[str], row: Row, bad: BadRow) -> UserError:
    """The error that a bad row is to somebody who is strict."""
    return UserError(f"{path}:{row.line}: {bad}; mend it, or read without strict")


class Seen:
    """The ids that went by, 16 bytes of hash each."""

    def __init__(self) -> None:
        self._digests: set[bytes] = set()

    def before(self, product: Product) -> bool:
        """Whether the product's id has been asked for before."""
        digest = hashlib.blake2b(product.id.encode(), digest_size=16).digest()
        known = digest in self._digests
        self._digests.add(digest)
        return known


def _rows(path: str | os.PathLike[str], config: CatalogConfig) -> Iterator[Row]:
    """The rows of one file, whatever its kind; what keeps a file from being read is the user's error."""
    wanted, required = config.wanted, (config.id, config.title)
    try:
        match _kind(path):
            case "jsonl":
                yield from jsonl_rows(path)
            case "csv":
                yield from delimited_rows(path, ",", wanted, required)
            case "tsv":
                yield from delimited_rows(path, "\t", wanted, required)
            case _:
                yield from parquet_rows(path, wanted, required)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; check its name") from error
    except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
        detail = " ".join(str(error).split())
        raise UserError(f"{path}: cannot be read to its end ({detail}); is it whole?") from error


def _kind(path: str | os.PathLike[str]) -> str:
    name = os.path.basename(path).lower()
    for kind in ("jsonl", "csv", "tsv", "parquet"):
        if name.endswith(f".{kind}") or (name.endswith(f".{kind}.gz") and kind != "parquet"):
            return kind
    raise UserError(f"{path}: cannot tell what the file holds, expected a name ending in {_KINDS}; rename it")


def _written(row: Row) -> bytes:
    """A row of a Parquet file, whose bytes nobody could read, as JSON of the columns that were asked for."""
    return json.dumps(_plain(row.values), ensure_ascii=False).encode(errors="backslashreplace")


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value if isinstance(value, int | float | None) else str(value)
