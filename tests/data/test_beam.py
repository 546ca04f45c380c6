"""Rows written on Beam are those that one process writes, whoever and however many write them."""

import json

import pytest

from taggen_jax import prepare
from taggen_jax.data import beam, store
from taggen_jax.errors import UserError
from tests.data.test_store import assert_rows_equal
from tests.programs.conftest import EXPERIMENT


def test_ranges_cover_a_file_once(tmp_path):
    path = tmp_path / "lines"
    path.write_bytes("é\n\nlast\n".encode() * 3)
    for size in (1, 2, 4, 99):
        chunks = list(beam.chunks_of(path, size))
        assert [row for row, _, _ in chunks] == list(range(0, 9, size))
        with path.open("rb") as file:
            for row, place, count in chunks:
                assert file.tell() == place and count == min(size, 9 - row)
                assert len([file.readline() for _ in range(count)]) == count
            assert not file.read()


@pytest.mark.filterwarnings("ignore")  # Beam and what it brings have warnings of their own
@pytest.mark.parametrize(
    "options",
    ["--direct_num_workers=1", "--direct_num_workers=3 --direct_running_mode=multi_threading"],
)
def test_the_same_arrays_whatever_the_number_of_workers(tmp_path, monkeypatch, options):
    pytest.importorskip(
        "apache_beam", reason="Apache Beam has an environment of its own: pip install 'taggen-jax[beam]'"
    )
    monkeypatch.setattr(beam, "CHUNK", 16)
    rows = [{"id": f"{i}", "title": f"lamp {i % 7} é", "tags": [f"t{i % 5}"]} for i in range(150)]
    catalog = tmp_path / "catalog.jsonl"
    catalog.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, how in (("local", ""), ("beam", options)):
        prepare.run(EXPERIMENT, tmp_path / name, input=[str(catalog)], beam=how)
    for split in prepare.SPLITS:
        local, theirs = (store.open_split(tmp_path / name, split) for name in ("local", "beam"))
        assert len(local) == len(theirs)
        for ours, row in zip(local, theirs, strict=True):
            assert_rows_equal(ours, row)
    files = [sorted(path.name for path in (tmp_path / name).iterdir()) for name in ("local", "beam")]
    assert files[0] == files[1]


def test_a_missing_beam_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "apache_beam", None)
    with pytest.raises(UserError, match=r"pip install 'taggen-jax\[beam\]'"):
        beam.write(tmp_path, {}, iter, [])
