"""The quarantine file is whole or absent, keeps every byte, and counts."""

import json

import pytest

from taggen_jax.catalog.quarantine import Quarantine


def test_rows_come_back_as_they_were(tmp_path):
    path = tmp_path / "deep" / "quarantine.jsonl"
    with Quarantine(path) as quarantine:
        quarantine.add("a.csv", 3, "wrong_type: field 'x'", b"caf\xe9, \xe7\xba\xa2\nsecond \x00 line\\")
        quarantine.add("b.csv", 1, "missing_id", b"")
        quarantine.add("b.csv", 2, "wrong_type: field 'y'", b"")
        assert not path.exists()
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert rows[0] == {
        "file": "a.csv",
        "line": 3,
        "reason": "wrong_type: field 'x'",
        "raw": "caf\\xe9, 红\nsecond \x00 line\\",
    }
    assert [row["line"] for row in rows] == [3, 1, 2]
    assert quarantine.counts == {"wrong_type": 2, "missing_id": 1}


def test_no_bad_rows_make_an_empty_file(tmp_path):
    with Quarantine(tmp_path / "quarantine.jsonl") as quarantine:
        pass
    assert (tmp_path / "quarantine.jsonl").read_bytes() == b"" and not quarantine.counts


def test_an_error_leaves_no_file(tmp_path):
    with pytest.raises(KeyError), Quarantine(tmp_path / "quarantine.jsonl") as quarantine:
        quarantine.add("a.csv", 3, "missing_id: x", b"")
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_it_takes_rows_only_while_open(tmp_path):
    with pytest.raises(ValueError, match="inside its `with` block"):
        Quarantine(tmp_path / "quarantine.jsonl").add("a", 1, "missing_id: x", b"")
