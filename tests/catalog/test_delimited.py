"""Line numbers and cells of any CSV agree with another parser's, wherever the blocks end."""

import csv
import io

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from taggen_jax.catalog import delimited
from taggen_jax.catalog.rows import BadRow, Row

CELLS = st.lists(st.sampled_from(["a", "é", "棉", '"', "\n", "\r\n", ",", "\t", " "]), max_size=5).map(
    "".join
)
WIDTHS = st.sampled_from([3, 3, 3, 3, 1, 2, 4])
ROWS = WIDTHS.flatmap(lambda width: st.lists(CELLS, min_size=width, max_size=width))
# Blank lines, and rows that cannot be taken for one.
LINES = st.lists(st.just([]) | ROWS.map(lambda cells: ["k" + cells[0], *cells[1:]]), max_size=25)


def quoted(cell: str, delimiter: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if set(cell) & set(f'"\r\n{delimiter}') else cell


@pytest.mark.parametrize("block", [64, 100, 1 << 20])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("delimiter", [",", "\t"])
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=LINES)
@example(rows=[["k", "", "é\r\n\r\n"], ["k", "", '"\r\n"'], [], ["a", "\r\n", "棉"]] * 4)
def test_lines_and_cells_agree_with_the_csv_module(rows, delimiter, end, block, tmp_path, monkeypatch):
    monkeypatch.setattr(delimited, "_BLOCK", block)
    lines = [delimiter.join(quoted(cell, delimiter) for cell in row) for row in [["x", "y", "z"], *rows]]
    text, path = end.join(lines), tmp_path / "a.csv"
    path.write_bytes(text.encode())
    expected, line = [], 1
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    for cells in reader:
        if cells:
            plain = [cell.replace("\r\n", "\n") for cell in cells]
            expected.append((line, plain if len(cells) == 3 else None))
        line = reader.line_num + 1
    found = delimited.delimited_rows(path, delimiter, {"x", "y", "z"}, ("x",))
    assert [(row.line, cells_of(row)) for row in found] == expected[1:]


def cells_of(row: Row) -> list[object] | None:
    return None if isinstance(row.values, BadRow) else list(row.values.values())


@pytest.mark.parametrize("block", [256, 1 << 20])
def test_a_stray_quote_costs_its_line_and_no_other(block, tmp_path, monkeypatch):
    monkeypatch.setattr(delimited, "_BLOCK", block)
    quotes = {
        3: b'3,"open',
        50: b'50,"closed" too early but on its line',
        51: b'51,"closed\nbut not" at the end',
        99: b'99,"at the end of the file',
    }
    lines = [b"id,title", *(quotes.get(i, b'%d,"a ""mug"", 12"' % i) for i in range(2, 100))]
    path = tmp_path / "a.csv"
    path.write_bytes(b"\n".join(lines) + b"\n")
    rows = list(delimited.delimited_rows(path, ",", {"id", "title"}, ("id",)))
    bad = {row.line: str(row.values).partition(":")[0] for row in rows if isinstance(row.values, BadRow)}
    assert bad == {
        3: "broken_quoting",
        51: "broken_quoting",
        52: "wrong_columns",
        100: "broken_quoting",
    }
    assert len(rows) == 99 and [row.line for row in rows] == list(range(2, 101))


def test_a_row_longer_than_two_blocks_does_not_stop_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(delimited, "_BLOCK", 100)
    path = tmp_path / "a.csv"
    path.write_bytes(b"id,title\n1,a\nx\n2," + b"b" * 500 + b"\n3,c\n")
    rows = list(delimited.delimited_rows(path, ",", {"id"}, ()))
    assert [(row.line, isinstance(row.values, BadRow)) for row in rows] == [
        (2, False),
        (3, True),
        (4, True),
        (5, False),
    ]
    assert rows[2].raw == b"2," + b"b" * 500
