"""What people said about single tags of single products, read back from a list of doubts.

A row names a product (id), a tag, and in the column "correct" whether the product should have it: "yes" or
"no"; rows that nobody has judged yet have nothing there. CSV or JSONL; other columns are for people.
"""

import csv
import io
import json
import pathlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from taggen_jax.catalog.product import Product
from taggen_jax.catalog.rows import BadRow, decode, jsonl_rows, open_text
from taggen_jax.errors import UserError
from taggen_jax.files import atomic_write

COLUMNS = ("id", "tag", "correct")
_VERDICTS = {"yes": True, "no": False, "": None}

Spell = Callable[[Iterable[str]], tuple[str, ...]]


class Corrections:
    """Judgements by product, applied to a stream of products.

    Attributes:
      counts: judgements by what they did: "added", "removed", or "agreed" with the catalog.
    """

    def __init__(self, verdicts: Mapping[str, Mapping[str, bool]]) -> None:
        """Takes id -> tag -> whether the product has it."""
        self._verdicts = verdicts
        self._unseen = set(verdicts)
        self.counts: Counter[str] = Counter()

    def __call__(self, product: Product) -> tuple[str, ...]:
        """The product's tags, corrected; what is added comes last."""
        self._unseen.discard(product.id)
        tags = dict.fromkeys(product.tags)
        for tag, has in self._verdicts.get(product.id, {}).items():
            if has == (tag in tags):
                self.counts["agreed"] += 1
            elif has:
                tags[tag] = None
                self.counts["added"] += 1
            else:
                del tags[tag]
                self.counts["removed"] += 1
        return tuple(tags)

    def describe(self) -> str:
        """One line of counts."""
        done = ", ".join(f"{self.counts[name]:,} {name}" for name in ("added", "removed", "agreed"))
        missed = f"; {len(self._unseen):,} products are not in the catalog" if self._unseen else ""
        return f"corrections: {done}{missed}"


def load(paths: Sequence[str], spell: Spell) -> Corrections:
    """Reads corrections from all files; `spell` gives a tag the spelling that it has in the catalog.

    Raises:
      UserError: a file cannot be read, a row is none, or two rows say the contrary of each other.
    """
    verdicts: dict[str, dict[str, bool]] = {}
    said: dict[tuple[str, str], str] = {}
    for path in paths:
        for where, row in _rows(path):
            id, tag, verdict = (_text(row, column, where) for column in COLUMNS)
            if verdict.strip().lower() not in _VERDICTS:
                raise UserError(f"{where}: correct is {verdict!r}, expected yes, no, or nothing")
            has = _VERDICTS[verdict.strip().lower()]
            for spelled in spell([tag]) if has is not None else ():
                known = verdicts.setdefault(id, {})
                if known.setdefault(spelled, bool(has)) != has:
                    raise UserError(
                        f"{where}: contradicts {said[id, spelled]} about tag {tag!r} of {id!r}; remove one"
                    )
                said.setdefault((id, spelled), where)
    return Corrections(verdicts)


def write(path: pathlib.Path, rows: Iterable[Mapping[str, object]], columns: Sequence[str]) -> None:
    """Writes rows for people to judge: CSV where the name ends in .csv, else JSONL."""
    _check_name(path)
    with atomic_write(path) as file:
        if path.suffix == ".csv":
            table = csv.DictWriter(file, columns, lineterminator="\n")
            table.writeheader()
            table.writerows(rows)
        else:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _rows(path: str) -> Iterator[tuple[str, Mapping[str, object]]]:
    """(where it stands, values by column) of every row."""
    _check_name(pathlib.Path(path))
    try:
        if path.endswith(".csv"):
            yield from _csv_rows(path)
            return
        for row in jsonl_rows(path):
            if isinstance(row.values, BadRow):
                raise UserError(f"{path}:{row.line}: {row.values}; mend the line")
            yield f"{path}:{row.line}", row.values
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file of corrections; check its name") from error


def _csv_rows(path: str) -> Iterator[tuple[str, Mapping[str, object]]]:
    with open_text(path) as file:
        try:
            table = csv.DictReader(io.StringIO(decode(file.read()), newline=""))
        except BadRow as bad:
            raise UserError(f"{path}: {bad}; save it as UTF-8") from None
    for row in table:
        yield f"{path}:{table.line_num}", row


def _text(row: Mapping[str, object], column: str, where: str) -> str:
    value = row.get(column)
    if not isinstance(value, str):
        raise UserError(
            f"{where}: column {column!r} is {value!r}, expected a text; a row has {', '.join(COLUMNS)}"
        )
    return value


def _check_name(path: pathlib.Path) -> None:
    if path.suffix not in (".csv", ".jsonl"):
        raise UserError(f"{path}: cannot tell what form is meant; end the name in .csv or .jsonl")
