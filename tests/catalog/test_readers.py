"""The laws of reading: every good row is a product, every bad row is in the quarantine with its line."""

import datetime
import gzip
import json
import pathlib

import pyarrow as pa
import pyarrow.parquet
import pytest

from taggen_jax.catalog import delimited
from taggen_jax.catalog.product import Product
from taggen_jax.catalog.quarantine import Quarantine
from taggen_jax.catalog.readers import CatalogConfig, expand, read
from taggen_jax.config import from_dict
from taggen_jax.errors import UserError

GOOD, BAD = 1000, 40


def good(i: int) -> dict[str, object]:
    return {
        "id": f"p{i}",
        "title": f"Mug {i}",
        "description": 'two\nlines, "quoted"\tand 陶瓷' if i % 3 else "",
        "reviews": ["nice", "broke\n\nsoon"],
        "attributes": {"Size": str(i)},
        "tags": [f"t{i % 7}", "红"] if i % 10 else [],
    }


def as_json(**changes: object) -> bytes:
    return json.dumps(good(5) | changes, ensure_ascii=False).encode()


def as_cells(delimiter: str, **changes: object) -> bytes:
    cells = [value if isinstance(value, str) else json.dumps(value) for value in (good(5) | changes).values()]
    return delimiter.join('"' + cell.replace('"', '""') + '"' for cell in cells).encode()


def bad_json() -> dict[str, list[bytes]]:
    return {
        "broken_json": [as_json()[:-9], b'{"id": NaN}', b"\x00", b"[" * 100_000],
        "wrong_type": [
            b'["p", "t"]',
            as_json(id="w", title=7),
            as_json(id=["w"]),
            as_json(id="w", tags="red"),
            as_json(id="w", reviews=["good", 5]),
            as_json(id="w", attributes={"a": ["b"]}),
        ],
        "missing_title": [as_json(id="m", title=None), as_json(id="m", title=" \u3000")],
        "invalid_utf8": [as_json(id="u", title="caf\xe9").decode().encode("latin-1", "replace")],
        "missing_id": [as_json(id=None), as_json(id=" ")],
        "duplicate_id": [as_json(), as_json(title="another")],
        "invalid_unicode": [b'{"id": "s", "title": "\\ud83d half"}'],
    }


def bad_cells(delimiter: str) -> dict[str, list[bytes]]:
    return {
        "broken_json": [
            as_cells(delimiter, id="b", attributes='{"a": '),
            as_cells(delimiter, id="b", tags="[1"),
        ],
        "wrong_type": [as_cells(delimiter, id="w", tags="red"), as_cells(delimiter, id="w", attributes="7")],
        "missing_title": [as_cells(delimiter, id="m", title=""), as_cells(delimiter, id="m", title="\n")],
        "invalid_utf8": [as_cells(delimiter, id="u", title="@").replace(b"@", b"caf\xe9 \xff"), b"\xff"],
        "missing_id": [as_cells(delimiter, id="")],
        "duplicate_id": [as_cells(delimiter)],
        "wrong_columns": [b"w", as_cells(delimiter) + delimiter.encode() + b'"a\nb"'],
        "broken_quoting": [f'q{delimiter}"never closed'.encode()],
    }


def write_text(path: pathlib.Path, header: list[bytes], rows: list[bytes], bad: dict) -> list:
    """Writes GOOD good and BAD bad rows with blank lines among them; returns (line, slug, raw) of the bad."""
    kinds = [(slug, raw) for slug, raws in bad.items() for raw in raws]
    pieces, expected = list(header), []
    for i, row in enumerate(rows):
        pieces.append(row)
        if (i + 1) % (GOOD // BAD) == 0:
            slug, raw = kinds[len(expected) % len(kinds)]
            expected.append((1 + sum(piece.count(b"\n") + 1 for piece in pieces), slug, raw))
            pieces += [raw, b""]
    content = b"\r\n".join(pieces) if path.name.startswith("windows") else b"\n".join(pieces)
    path.write_bytes(gzip.compress(content, 1) if path.suffix == ".gz" else content)
    return expected


def write_jsonl(path: pathlib.Path) -> list:
    return write_text(path, [], [json.dumps(good(i)).encode() for i in range(GOOD)], bad_json())


def write_cells(path: pathlib.Path, delimiter: str) -> list:
    header = delimiter.join(good(0)).encode()
    start = b"\xef\xbb\xbf" if path.name.startswith("windows") else b"\n"
    rows = [as_cells(delimiter, **good(i)) for i in range(GOOD)]
    return write_text(path, [start + header], rows, bad_cells(delimiter))


def write_parquet(path: pathlib.Path) -> list:
    changes: list[tuple[str, dict[str, object]]] = [
        ("missing_title", {"id": b"m", "title": None}),
        ("missing_id", {"id": None}),
        ("duplicate_id", {"id": b"p5"}),
        ("invalid_utf8", {"id": b"u", "title": b"caf\xe9"}),
        ("wrong_type", {"id": b"w", "attributes": b"[1]"}),
        ("broken_json", {"id": b"b", "attributes": b"{"}),
    ]
    rows, expected = [], []
    for i in range(GOOD):
        row = good(i) | {"id": f"p{i}".encode(), "title": f"Mug {i}".encode()}
        rows.append(row | {"attributes": json.dumps(row["attributes"]).encode()})
        if (i + 1) % (GOOD // BAD) == 0:
            slug, change = changes[len(expected) % len(changes)]
            rows.append(rows[5] | change)
            expected.append((len(rows), slug, None))
    table = pa.Table.from_pylist(rows)
    for name in ("id", "title", "attributes"):  # Arrow does not check that what is called a string is UTF-8
        cells = table[name].combine_chunks()
        text = pa.Array.from_buffers(pa.string(), len(cells), cells.buffers())
        table = table.set_column(table.schema.get_field_index(name), name, text)
    pa.parquet.write_table(table, path, row_group_size=300)
    return expected


WRITERS = {
    "a.jsonl": write_jsonl,
    "windows.jsonl": write_jsonl,
    "a.jsonl.gz": write_jsonl,
    "a.csv": lambda path: write_cells(path, ","),
    "windows.csv": lambda path: write_cells(path, ","),
    "a.csv.gz": lambda path: write_cells(path, ","),
    "a.tsv": lambda path: write_cells(path, "\t"),
    "a.tsv.gz": lambda path: write_cells(path, "\t"),
    "a.parquet": write_parquet,
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_bad_row_is_found_and_none_is_lost(name, tmp_path):
    path = tmp_path / name
    expected = WRITERS[name](path)
    with Quarantine(tmp_path / "quarantine.jsonl") as quarantine:
        products = list(read([path], CatalogConfig(), quarantine=quarantine))
    rows = [json.loads(line) for line in (tmp_path / "quarantine.jsonl").read_text("utf-8").splitlines()]

    assert [product.id for product in products] == [f"p{i}" for i in range(GOOD)]
    tuples = {"reviews": ("nice", "broke\n\nsoon"), "tags": ("t4", "红")}
    assert products[11] == Product(**(good(11) | tuples))
    assert [(row["line"], row["reason"].partition(":")[0]) for row in rows] == [row[:2] for row in expected]
    assert len(rows) == BAD and sum(quarantine.counts.values()) == BAD
    assert {row["file"] for row in rows} == {str(path)}
    for row, (_, slug, raw) in zip(rows, expected, strict=True):
        if raw is not None:
            assert row["raw"] == raw.decode(errors="backslashreplace")
        assert row["reason"].startswith(f"{slug}: ") and "\n" not in row["reason"]


@pytest.mark.parametrize("name", WRITERS)
def test_strict_stops_at_the_first_bad_row_with_one_line(name, tmp_path):
    path = tmp_path / name
    line, slug, _ = WRITERS[name](path)[0]
    seen = []
    with Quarantine(tmp_path / "quarantine.jsonl") as quarantine, pytest.raises(UserError) as error:
        seen.extend(read([path], CatalogConfig(), strict=True, quarantine=quarantine))
    assert str(error.value).startswith(f"{path}:{line}: {slug}: ") and "\n" not in str(error.value)


def test_an_id_is_a_duplicate_in_any_file_but_not_of_a_bad_row(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"id": "1"}\n{"id": "1", "title": "x"}\n', encoding="utf-8")
    (tmp_path / "b.csv").write_text("title,id\ny,1\nz,2\n", encoding="utf-8")
    products, rows = read_all(tmp_path / "a.jsonl", tmp_path / "b.csv")
    assert [(product.id, product.title) for product in products] == [("1", "x"), ("2", "z")]
    assert [(row["file"], row["line"]) for row in rows] == [
        (f"{tmp_path}/a.jsonl", 1),
        (f"{tmp_path}/b.csv", 2),
    ]


def read_all(*paths: pathlib.Path, **config: str) -> tuple[list[Product], list[dict]]:
    place = paths[0].parent / "bad.jsonl"
    with Quarantine(place) as quarantine:
        products = list(read(paths, from_dict(CatalogConfig, config), quarantine=quarantine))
    return products, [json.loads(line) for line in place.read_text("utf-8").splitlines()]


def test_columns_are_mapped_and_separators_split(tmp_path):
    header, row = "sku\tname\tlabels\tsaid\ttitle", "7\tMug\tred; ;blue\tgood|bad\tignored"
    path = write(tmp_path / "a.tsv", f"{header}\n{row}\n".encode())
    config = {
        "id": "sku",
        "title": "name",
        "tags": "labels",
        "reviews": "said",
        "description": "",
        "tag_separator": ";",
        "review_separator": "|",
    }
    products, rows = read_all(path, **config)
    assert products == [Product(id="7", title="Mug", tags=("red", "blue"), reviews=("good", "bad"))]
    assert rows == []


def test_numbers_null_and_absent(tmp_path):
    path = tmp_path / "a.jsonl"
    row = {
        "id": 12,
        "title": "t",
        "group": 3,
        "description": None,
        "reviews": None,
        "tags": ["a", None, " "],
        "attributes": {"n": 1.5, "none": None, "text": "x"},
    }
    path.write_text(json.dumps(row), encoding="utf-8")
    expected = Product(id="12", title="t", group="3", tags=("a",), attributes={"n": "1.5", "text": "x"})
    assert read_all(path) == ([expected], [])


def test_parquet_of_many_shapes(tmp_path):
    """Maps, structs, dictionaries, large and view strings, numbers for ids, NaN for nothing."""
    columns = {
        "id": pa.array([1.5, float("nan")]),
        "language": pa.array([None, datetime.date(2026, 1, 2)]),
        "title": pa.array(["a", "b"]).dictionary_encode(),
        "attributes": pa.array([[("k", "v"), ("n", None)], [("é", "v")]], pa.map_(pa.string(), pa.string())),
        "tags": pa.array([["x"], []], pa.large_list(pa.dictionary(pa.int8(), pa.large_string()))),
        "description": pa.array(["d", None], pa.string_view()),
        "image": pa.array([b"\xff", b""]),
    }
    pa.parquet.write_table(pa.table(columns), tmp_path / "a.parquet")
    columns["id"], columns["language"] = pa.array(["2", "3"]), pa.array(["en", None])
    columns["attributes"] = pa.array([{"k": "v", "n": None}, {"k": None, "n": 2}])
    pa.parquet.write_table(pa.table(columns), tmp_path / "b.parquet")
    products, rows = read_all(tmp_path / "a.parquet", tmp_path / "b.parquet")
    first = Product(id="1.5", title="a", attributes={"k": "v"}, tags=("x",), description="d")
    assert products[0] == first and products[1].attributes == {"k": "v"} and products[1].language == "en"
    assert products[2] == Product(id="3", title="b", attributes={"n": "2"}, complete=False)
    raw = {
        "id": float("nan"),
        "language": "2026-01-02",
        "title": "b",
        "attributes": {"é": "v"},
        "tags": [],
        "description": None,
    }
    assert [row["line"] for row in rows] == [2]
    assert str(json.loads(rows[0]["raw"])) == str(raw)


def write(path: pathlib.Path, content: bytes) -> pathlib.Path:
    path.write_bytes(content)
    return path


def truncated(content: bytes) -> bytes:
    """A gzip file without its end. No time stamp: test names must not change from process to process."""
    return gzip.compress(content, mtime=0)[:-9]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("cut.jsonl.gz", truncated(b'{"id": 1, "title": "t"}\n' * 99), "cannot be read to its end"),
        ("cut.csv.gz", truncated(b"id,title\n" + b"1,t\n" * 99), "cannot be read to its end"),
        ("plain.jsonl.gz", b'{"id": "1", "title": "t"}\n', "cannot be read to its end"),
        ("cut.parquet", b"PAR1 and no more", "cannot be read to its end"),
        ("empty.csv", b"", "no header found"),
        ("semicolons.csv", b"id;title\n1;t\n", "no column 'id', only 'id;title'"),
        ("untitled.tsv", b"id\tname\n1\tt\n", "no column 'title', only 'id', 'name'"),
        ("twice.csv", b"id,title,title\n1,t,u\n", "two columns are called 'title'"),
        ("open.csv", b'id,"title\n1,t\n', "no header found"),
        ("latin.csv", b"id,title,\xe9\n1,t,u\n", "the header is not UTF-8"),
        ("utf16.csv", "id,title\n1,t\n".encode("utf-16"), "the text is UTF-16"),
        ("utf16.jsonl", '{"id": "1"}'.encode("utf-16"), "the text is UTF-16"),
        ("a.xlsx", b"PK", "cannot tell what the file holds"),
        ("a.parquet.gz", b"", "cannot tell what the file holds"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_users_error_that_names_it(name, content, message, tmp_path):
    path = write(tmp_path / name, content)
    with pytest.raises(UserError) as error:
        read_all(path)
    assert str(path) in str(error.value) and message in str(error.value) and "\n" not in str(error.value)


def test_a_missing_file_and_a_parquet_file_without_titles(tmp_path):
    with pytest.raises(UserError, match=r"none\.jsonl: no such file"):
        read_all(tmp_path / "none.jsonl")
    pa.parquet.write_table(pa.table({"id": ["1"], "name": ["t"]}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match="no column 'title', only 'id', 'name'"):
        read_all(tmp_path / "a.parquet")


def test_empty_files_hold_no_rows(tmp_path):
    contents = {
        "a.jsonl": b"\n \n",
        "a.jsonl.gz": b"",
        "a.csv": b"id,title",
        "b.csv": b"\xef\xbb\xbfid,title\n\n",
    }
    paths = [write(tmp_path / name, content) for name, content in contents.items()]
    nothing = pa.array([], pa.string())
    pa.parquet.write_table(pa.table({"id": nothing, "title": nothing}), tmp_path / "a.parquet")
    assert read_all(*paths, tmp_path / "a.parquet") == ([], [])


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_byte_order_mark_is_no_text(end, tmp_path):
    lines = {"a.jsonl": [b'{"id": "1", "title": "t"}'], "b.csv": [b'"id",title', b"2,t"]}
    contents = {name: b"\xef\xbb\xbf" + end.join(line) for name, line in lines.items()}
    contents |= {"c.csv.gz": gzip.compress(contents["b.csv"].replace(b"2", b"3"))}
    paths = [write(tmp_path / name, content) for name, content in contents.items()]
    products, rows = read_all(*paths)
    assert [product.id for product in products] == ["1", "2", "3"] and rows == []


def test_products_come_before_the_file_is_read_to_its_end(tmp_path, monkeypatch):
    """The broken end of a compressed file shows only after the rows before it."""
    monkeypatch.setattr(delimited, "_BLOCK", 4096)
    for name, header in (("a.jsonl.gz", b""), ("a.csv.gz", b"id,title\n")):
        rows = [b'{"id": %d, "title": "t"}\n' % i if not header else b"%d,t\n" % i for i in range(100_000)]
        path = write(tmp_path / name, gzip.compress(header + b"".join(rows), 1)[:-9])
        with Quarantine(tmp_path / "bad.jsonl") as quarantine:
            products = read([path], CatalogConfig(), quarantine=quarantine)
            assert [next(products).id for _ in range(3)] == ["0", "1", "2"]
            products.close()


def test_patterns_are_expanded_once_and_sorted(tmp_path):
    for name in ("b.jsonl", "a.jsonl", "c[1].csv", "deep/d.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(tmp_path / name, b"")
    patterns = [f"{tmp_path}/c[1].csv", f"{tmp_path}/*.jsonl", f"{tmp_path}/**/*.jsonl"]
    found = [str(path.relative_to(tmp_path)) for path in expand(patterns)]
    assert found == ["c[1].csv", "a.jsonl", "b.jsonl", "deep/d.jsonl"]


@pytest.mark.parametrize(
    ("pattern", "message"), [("*.csv", "matches no file"), ("", "is a folder"), ("a.txt", "cannot tell what")]
)
def test_a_pattern_without_readable_files_is_a_users_error(pattern, message, tmp_path):
    write(tmp_path / "a.txt", b"")
    with pytest.raises(UserError, match=message):
        expand([f"{tmp_path}/{pattern}"])


def test_a_catalog_needs_ids_and_titles():
    with pytest.raises(UserError, match="id and title must name a column each"):
        from_dict(CatalogConfig, {"title": ""}, "config.catalog")
