"""Raw rows of a catalog file with their line numbers: what JSONL, CSV, TSV and Parquet have in common."""

import contextlib
import dataclasses
import gzip
import io
import json
import os
from collections.abc import Iterator, Mapping

from taggen_jax.errors import UserError

_BOM = b"\xef\xbb\xbf"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


_JSON = json.JSONDecoder(parse_constant=_refuse)


class BadRow(Exception):
    """A row for the quarantine. The message is "slug: detail", the slug one of a short, stable list."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One row as it stands in its file, not yet a product.

    Attributes:
      line: the line it begins on, from 1; in a Parquet file the number of the row, from 1.
      values: the cells by column name, or why there are none.
      raw: the bytes in the file; empty where a row is not a piece of text (Parquet).
    """

    line: int
    values: Mapping[str, object] | BadRow
    raw: bytes = b""


@contextlib.contextmanager
def open_text(path: str | os.PathLike[str]) -> Iterator[io.BufferedIOBase]:
    """Opens a text file, gzip-compressed or not, for bytes, past the byte order mark if there is one.

    Raises:
      UserError: the text is UTF-16, as spreadsheets like to save it.
    """
    with contextlib.ExitStack() as stack:
        file: io.BufferedIOBase = stack.enter_context(open(path, "rb"))
        if str(path).lower().endswith(".gz"):
            file = stack.enter_context(gzip.GzipFile(fileobj=file))
        start = file.read(len(_BOM))
        if start.startswith(_UTF16):
            raise UserError(f"{path}: the text is UTF-16, expected UTF-8; save it as UTF-8")
        file.seek(len(_BOM) if start == _BOM else 0)
        yield file


def jsonl_rows(path: str | os.PathLike[str]) -> Iterator[Row]:
    """The objects of a JSONL file, one a line. Blank lines are no rows, but count."""
    with open_text(path) as file:
        for line, raw in enumerate(file, start=1):
            if raw.strip():
                yield Row(line=line, values=_parse(raw), raw=raw.rstrip(b"\r\n"))


def check_columns(
    path: str | os.PathLike[str], names: list[str], wanted: set[str], required: tuple[str, ...]
) -> None:
    """Checks the columns of a whole table: what is wrong with them is wrong with every row.

    Raises:
      UserError: a required column is missing, or a wanted one is there twice.
    """
    for name in required:
        if name not in names:
            found = ", ".join(map(repr, names))
            hint = "name the right one in the config's catalog"
            raise UserError(f"{path}: no column {name!r}, only {found}; {hint}")
    for name in wanted:
        if names.count(name) > 1:
            raise UserError(f"{path}: two columns are called {name!r}, expected one; rename the other")


def decode(raw: bytes) -> str:
    """Text from UTF-8. Raises BadRow for any other bytes."""
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        byte = f"0x{raw[error.start]:02x}"
        raise BadRow(f"invalid_utf8: {byte} after {error.start} bytes: {error.reason}") from None


def parse_json(text: str, what: str) -> object:
    """A JSON value, of the standard's JSON only (no NaN). Raises BadRow that says where `what` is broken."""
    try:
        return _JSON.decode(text)
    except (ValueError, RecursionError) as error:
        raise BadRow(f"broken_json: {what}: {error}") from None


def _parse(raw: bytes) -> Mapping[str, object] | BadRow:
    try:
        value = parse_json(decode(raw), "the line")
    except BadRow as bad:
        return bad
    if not isinstance(value, dict):
        return BadRow(f"wrong_type: the line is {json_type(value)}, expected an object")
    return value


def json_type(value: object) -> str:
    """How a value's type is called in JSON, with its article."""
    names = {bool: "a boolean", dict: "an object", list: "a list", str: "a string", type(None): "null"}
    return names.get(type(value), "a number" if isinstance(value, int | float) else type(value).__name__)
