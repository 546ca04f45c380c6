r"""Rows of CSV and TSV files: pyarrow parses, this file keeps count of the physical lines.

Pyarrow streams batches of rows, but says neither on which line a row stands nor what its bytes were. So it
reads through a tape that remembers the raw lines until their rows have come out: a row takes one line more
than there are line breaks in its cells.

A quote that is never closed makes a parser swallow the following rows. Such a row is recognised by its
quoting, its first line alone is given out as bad, and parsing starts again on the line after it.
"""

import collections
import io
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from taggen_jax.catalog.rows import BadRow, Row, check_columns, decode, open_text
from taggen_jax.errors import UserError

_BLOCK = 1024 * 1024  # bytes that pyarrow parses at once; a row longer than two blocks is a bad one
_HEADER_LINES = 100  # a column's name may hold line breaks, but a quote must end somewhere
Cells = Mapping[str, str] | BadRow


class _OpenQuote(Exception):
    """The row at the tape's place has a quote that is not closed, or something behind a closing quote."""


def delimited_rows(
    path: str | os.PathLike[str], delimiter: str, wanted: set[str], required: tuple[str, ...]
) -> Iterator[Row]:
    r"""The rows below the header, as dicts of the `wanted` columns; every cell a string, "" when empty.

    A line break in a quoted cell comes as "\n", however the file spells it.

    Args:
      path: a text file with a header, gzip-compressed or not.
      delimiter: one ASCII character.
      wanted: columns to return where the file has them.
      required: columns that the file must have.

    Raises:
      UserError: the file has no header, lacks a required column or has a wanted one twice.
    """
    with open_text(path) as file:
        names, line = _header(path, file, delimiter)
        offset = file.tell()
    check_columns(path, names, wanted, required)
    while True:
        with open_text(path) as file:
            file.seek(offset)
            tape = _Tape(file, line)
            try:
                yield from _rows(tape, names, wanted, delimiter)
                return
            except _OpenQuote:
                line, raw = tape.take(1)
                bad = BadRow("broken_quoting: a quote on this line is not closed, or not before a delimiter")
                yield Row(line=line, values=bad, raw=raw)
                line, offset = tape.line, offset + tape.taken


def _header(path: str | os.PathLike[str], file: io.BufferedIOBase, delimiter: str) -> tuple[list[str], int]:
    """The column names, and the number of the line behind them."""
    header, line = b"", 1
    while not header or not _well_quoted(header, delimiter):
        piece = file.readline()
        if not piece or line > _HEADER_LINES:
            raise UserError(f"{path}: no header found, expected the column names on the first line")
        header += piece if header or piece.strip() else b""
        line += 1
    try:
        decode(header)
    except BadRow as bad:
        raise UserError(f"{path}: the header is not UTF-8 ({bad}); save the file as UTF-8") from None
    options = pa.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
    return pa.csv.open_csv(io.BytesIO(header + b"\n"), parse_options=options).schema.names, line


def _rows(tape: "_Tape", names: list[str], wanted: set[str], delimiter: str) -> Iterator[Row]:
    for breaks, cells in _records(tape, names, wanted, delimiter):
        if breaks and not _well_quoted(tape.peek(breaks + 1), delimiter):
            raise _OpenQuote
        line, raw = tape.take(breaks + 1)
        if raw.strip():
            yield Row(line=line, values=_decoded(cells, raw), raw=raw)


def _records(
    tape: "_Tape", names: list[str], wanted: set[str], delimiter: str
) -> Iterator[tuple[int, Cells]]:
    """Each row as pyarrow sees it, in order: the line breaks in it, and its cells."""
    wrong: collections.deque[Any] = collections.deque()  # pyarrow's InvalidRows, which run ahead
    number, broken = 0, False  # `number` counts rows as pyarrow does
    try:
        for batch in _batches(tape, len(names), delimiter, wrong):
            breaks = sum(pc.count_substring(cells, "\n").to_numpy() for cells in batch)
            pairs = zip(names, batch.columns, strict=True)
            columns = {name: cells.to_pylist() for name, cells in pairs if name in wanted}
            for i in range(len(batch)):
                number += 1
                while wrong and wrong[0].number == number:
                    yield _wrong(wrong.popleft())
                    number += 1
                yield int(breaks[i]), {name: cells[i] for name, cells in columns.items()}
    except pa.ArrowInvalid as error:
        broken = "Empty CSV file" not in str(error)  # empty below the header: no rows, no harm
    yield from map(_wrong, wrong)
    if broken:  # the next row does not end within two blocks
        raise _OpenQuote


def _batches(
    tape: "_Tape", width: int, delimiter: str, wrong: collections.deque[Any]
) -> Iterator[pa.RecordBatch]:
    columns = [str(i) for i in range(width)]  # the real names may repeat, pyarrow's must not

    def keep(row: Any) -> str:
        wrong.append(row)
        return "skip"

    return pa.csv.open_csv(
        pa.PythonFile(tape, mode="r"),
        # Only without threads does pyarrow number its invalid rows.
        read_options=pa.csv.ReadOptions(use_threads=False, block_size=_BLOCK, column_names=columns),
        parse_options=pa.csv.ParseOptions(
            delimiter=delimiter,
            newlines_in_values=True,
            ignore_empty_lines=False,  # they count as lines
            invalid_row_handler=keep,
        ),
        convert_options=pa.csv.ConvertOptions(column_types=dict.fromkeys(columns, pa.string())),
    )


def _wrong(row: Any) -> tuple[int, BadRow]:
    bad = BadRow(f"wrong_columns: {row.actual_columns} cells, expected {row.expected_columns}")
    return row.text.count("\n"), bad


def _decoded(cells: Cells, raw: bytes) -> Cells:
    try:
        decode(raw)
    except BadRow as bad:
        return bad
    if isinstance(cells, BadRow):
        return cells
    return {
        name: cell if cell.isascii() else cell.encode("latin-1").decode()  # as the tape spelled it
        for name, cell in cells.items()
    }


def _well_quoted(raw: bytes, delimiter: str) -> bool:
    """Whether each quoted cell of a row is closed, and closed only before a delimiter or the row's end."""
    stop = re.escape(delimiter.encode())
    cell = rb'(?:"[^"]*(?:""[^"]*)*"|(?!")[^%b\r\n]*)' % stop
    return re.fullmatch(rb"%b(?:%b%b)*[\r\n]*" % (cell, stop, cell), raw) is not None


class _Tape(io.RawIOBase):
    """A file as pyarrow reads it, which keeps the raw lines until they are taken off.

    Attributes:
      line: number of the next line to take.
      taken: bytes taken so far.
    """

    def __init__(self, file: io.BufferedIOBase, line: int):
        self.line, self.taken = line, 0
        self._file = file
        self._lines: collections.deque[bytes] = collections.deque()
        self._unread = memoryview(b"")

    def readable(self) -> bool:
        """Asked by pyarrow."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Called by pyarrow, from a thread of its own; the lines are here before their rows come out."""
        size = 0
        while size < len(buffer):  # to the brim: a short read would make a short block
            if not self._unread and not self._load(len(buffer)):
                break
            count = min(len(buffer) - size, len(self._unread))
            buffer[size : size + count], self._unread = self._unread[:count], self._unread[count:]
            size += count
        return size

    def _load(self, size: int) -> bool:
        chunk = self._file.read(size) + self._file.readline()  # whole lines only
        self._lines.extend(chunk.splitlines(keepends=True))
        # Pyarrow may lose half of a "\r\n" between two blocks, which would upset the count of lines.
        text = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        # Every byte spelled as one character: for a row that is not UTF-8 pyarrow would drop the file.
        self._unread = memoryview(text.decode("latin-1").encode())
        return bool(chunk)

    def peek(self, count: int) -> bytes:
        """The next `count` lines as they stand, or fewer at the end of the file."""
        return b"".join(self._lines[i] for i in range(min(count, len(self._lines))))

    def take(self, count: int) -> tuple[int, bytes]:
        """Takes `count` lines off: the number of the first, and their bytes without the last line break."""
        line, raw = self.line, b"".join(self._lines.popleft() for _ in range(count))
        self.line, self.taken = line + count, self.taken + len(raw)
        return line, raw.rstrip(b"\r\n")
