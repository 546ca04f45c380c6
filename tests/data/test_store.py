"""Laws of the store: rows come back as they went in, from a dataset that is whole or not there."""

import os
import socket
import weakref

import numpy as np
import pytest

from taggen_jax.data import store
from taggen_jax.errors import UserError


def assert_rows_equal(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        np.testing.assert_array_equal(value, theirs[name])
        assert getattr(value, "dtype", type(value)) == getattr(theirs[name], "dtype", type(theirs[name]))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_rows_come_back_in_their_order(data_dir, rows):
    split = store.open_split(data_dir, "train")
    assert len(split) == 23
    for expected, row in zip(rows[:23], split, strict=True):
        assert_rows_equal(expected, row)
    for number, row in zip([5, 0, 22, 5], split.read([5, 0, 22, 5]), strict=True):
        assert_rows_equal(rows[number], row)


def spoil(file, how):
    content = file.read_bytes()
    file.unlink()
    if how == "damaged":
        file.write_bytes(content[: len(content) // 8] + bytes(len(content) // 2))
    if how == "cut":
        file.write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize("how", ["vanished", "damaged", "cut"])
def test_a_file_that_cannot_be_read_is_the_users_to_mend(rows, tmp_path, how):
    store.write(tmp_path, {"train": rows})
    split = store.open_split(tmp_path, "train")
    spoil(next(tmp_path.glob("*.array_record-*")), how)
    for read in (lambda: split[5], lambda: split.read([3, 5])):
        with pytest.raises(UserError, match=rf"{tmp_path}: rows cannot be read .*bring them back") as caught:
            read()
        assert "\n" not in str(caught.value)


def test_what_is_cut_off_an_open_file_is_missed(rows, tmp_path):
    store.write(tmp_path, {"train": rows})
    split = store.open_split(tmp_path, "train")
    assert split[0]["id"] == rows[0]["id"]
    path = next(tmp_path.glob("*.array_record-*"))
    os.truncate(path, 100)
    with pytest.raises(UserError, match=rf"{tmp_path}: rows cannot be read \(a file ends before them"):
        split.read([3, 5])


@pytest.mark.parametrize("name", ["dataset_info.json", "features.json"])
@pytest.mark.parametrize("how", ["cut", "vanished"])
def test_a_damaged_description_is_the_users_to_mend(rows, tmp_path, name, how):
    store.write(tmp_path, {"train": rows})
    spoil(tmp_path / name, how)
    with pytest.raises(UserError, match=rf"{tmp_path}: .*{name}.*prepare") as caught:
        store.open_split(tmp_path, "train")
    assert "\n" not in str(caught.value)


def test_tensorflow_datasets_opens_it(data_dir, rows):
    import tensorflow_datasets as tfds

    theirs = tfds.builder_from_directory(data_dir).as_data_source("validation")
    assert [row["id"].decode() for row in theirs] == [row["id"] for row in rows[23:30]]
    np.testing.assert_array_equal(theirs[2]["source"], rows[25]["source"])
    assert {"dataset_info.json", "features.json"} < set(names(data_dir))
    assert all("array_record" in name for name in names(data_dir) if name.startswith("taggen"))


def test_nothing_asks_the_network(rows, tmp_path, monkeypatch):
    def refuse(*_):
        raise AssertionError("asked the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    store.write(tmp_path, {"train": rows[:2]})
    assert len(store.open_split(tmp_path, "train")) == 2


def test_unusual_rows_come_back(tmp_path):
    nothing = np.zeros(0, np.int32)
    texts = {"id": "標\x00\u2028", "group": "🏳️‍🌈", "text": "", "language": "日本"}
    row = store.Row(
        **texts,
        source=np.array([2**31 - 1], np.int32),
        fields=nothing,
        tags=nothing,
        complete=False,
        truncated=True,
    )
    store.write(tmp_path, {"train": [row]})
    assert_rows_equal(row, store.open_split(tmp_path, "train")[0])


def test_many_shards_are_one_split_and_never_in_memory(rows, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "_SHARD_ROWS", 7)
    monkeypatch.setattr(store, "_CHUNK_ROWS", 5)
    alive, most = weakref.WeakSet(), 0

    class Ids(np.ndarray):
        """An array that can be counted."""

        __hash__ = object.__hash__

    def stream():
        nonlocal most
        for row in rows:
            source = row["source"].view(Ids)
            alive.add(source)
            most = max(most, len(alive))
            yield row | {"source": source}
            del source

    store.write(tmp_path, {"train": stream()})
    assert len(list(tmp_path.glob("*array_record*"))) > 5
    assert [row["id"] for row in store.open_split(tmp_path, "train")] == [row["id"] for row in rows]
    assert most <= 11


def test_a_split_may_be_empty(data_dir, capfd):
    split = store.open_split(data_dir, "test")
    assert (len(split), list(split), split.read([])) == (0, [], [])
    assert capfd.readouterr() == ("", "")


def test_a_failed_write_leaves_what_was_there(rows, tmp_path):
    def broken():
        yield from rows[:3]
        raise RuntimeError("no more")

    (tmp_path / "vocabulary.json").write_text("{}")
    store.write(tmp_path, {"train": rows[:5]})
    before = names(tmp_path)
    with pytest.raises(RuntimeError, match="no more"):
        store.write(tmp_path, {"train": broken()})
    assert names(tmp_path) == before
    assert len(store.open_split(tmp_path, "train")) == 5


def test_a_new_dataset_takes_the_place_of_the_old(rows, tmp_path, monkeypatch):
    (tmp_path / "vocabulary.json").write_text("{}")
    monkeypatch.setattr(store, "_SHARD_ROWS", 2)
    store.write(tmp_path, {"train": rows[:9], "test": rows[9:12]})
    store.write(tmp_path, {"train": rows[20:23]})
    assert [row["id"] for row in store.open_split(tmp_path, "train")] == [row["id"] for row in rows[20:23]]
    assert len(list(tmp_path.glob("*array_record*"))) == 2
    assert (tmp_path / "vocabulary.json").exists()
    with pytest.raises(UserError, match="got split 'test', expected one of train"):
        store.open_split(tmp_path, "test")


def test_a_folder_without_data_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"no prepared data.*taggen prepare"):
        store.open_split(tmp_path, "train")
    with pytest.raises(UserError, match="no prepared data"):
        store.open_split(tmp_path / "absent", "train")


def test_a_row_beyond_the_end_is_an_error(data_dir):
    split = store.open_split(data_dir, "train")
    for index in (23, -1):
        with pytest.raises(IndexError, match="of 23"):
            split[index]
