"""Laws of the stream: what a batch holds is a function of (seed, batch number), and nothing is lost."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taggen_jax.data import store
from taggen_jax.data.packing import Place
from taggen_jax.data.stream import StreamConfig, eval_batches, train_batches
from taggen_jax.data.targets import Targets
from taggen_jax.errors import UserError

SIZES = {"source_length": 32, "target_length": 16, "batch_size": 4}
KEYS = {"source", "target", "tags", "row", "weight", "tagged"}


@pytest.fixture(scope="module")
def split(data_dir):
    return store.open_split(data_dir, "train")


@pytest.fixture(scope="module")
def targets(vocabulary, tokenizer):
    return Targets.of(vocabulary, tokenizer)


@pytest.fixture
def batches(split, targets):
    """batches(count, ...): the first `count` training batches, under the settings given."""
    opened = []

    def take(count, order="frequent", host=0, hosts=1, start=0, **settings):
        config = StreamConfig(**SIZES | settings)
        stream = train_batches(
            split, targets, config, order=order, host=host, hosts=hosts, place=Place(batch=start)
        )
        opened.append(stream)
        return list(itertools.islice(stream, count))

    yield take
    for stream in opened:
        stream.close()


def assert_batches_equal(ours, theirs):
    for one, other in zip(ours, theirs, strict=True):
        assert one.keys() == other.keys() == KEYS
        for key in KEYS:
            np.testing.assert_array_equal(one[key], other[key])


def joined(parts):
    """The batches that several hosts hold together."""
    return [
        {key: np.concatenate([part[key] for part in batch]) for key in KEYS}
        for batch in zip(*parts, strict=True)
    ]


def visits(batches):
    return np.concatenate([batch["row"] for batch in batches])


def test_a_batch_is_padded_arrays_of_its_rows(batches, split, targets):
    (batch,) = batches(1, order="text")
    assert {key: (value.shape, value.dtype.name) for key, value in batch.items()} == {
        "source": ((4, 32), "int32"),
        "target": ((4, 16), "int32"),
        "tags": ((4, 16), "int32"),
        "tagged": ((4,), "float32"),
        "row": ((4,), "int32"),
        "weight": ((4,), "float32"),
    }
    for i, row in enumerate(split.read(batch["row"].tolist())):
        source, target = row["source"], targets.ids(row["tags"], 16)
        assert batch["source"][i].tolist() == source.tolist() + [0] * (32 - len(source))
        tags = row["tags"].tolist()
        assert batch["tags"][i].tolist() == tags + [-1] * (16 - len(tags))
        assert batch["target"][i].tolist() == target + [0] * (16 - len(target))
    assert batch["weight"].tolist() == [1.0] * 4


@pytest.mark.parametrize("order", ["frequent", "shuffled"])
@pytest.mark.parametrize("hosts", [2, 4])
def test_the_number_of_hosts_changes_nothing(batches, hosts, order):
    parts = [batches(13, order=order, host=host, hosts=hosts) for host in range(hosts)]
    assert_batches_equal(joined(parts), batches(13, order=order))


@pytest.mark.parametrize("start", [1, 5, 12])
def test_starting_late_equals_skipping(batches, start):
    assert_batches_equal(
        batches(3, order="shuffled", start=start), batches(start + 3, order="shuffled")[start:]
    )
    late = [batches(3, host=host, hosts=2, start=start) for host in range(2)]
    assert_batches_equal(joined(late), batches(3, start=start))


def test_starting_late_costs_nothing(data_dir, targets):
    split, read = store.open_split(data_dir, "train"), []

    class Counting:
        """Stands for the split and notes what is read of it."""

        def __len__(self):
            return len(split)

        def read(self, indices):
            read.extend(indices)
            return split.read(indices)

    config = StreamConfig(**SIZES | {"threads": 0})
    stream = train_batches(Counting(), targets, config, order="frequent", place=Place(batch=10**12))
    assert next(stream)["row"].tolist() == read
    assert stream.place.batch == 10**12 + 1


def test_the_stream_knows_its_place(split, targets):
    config = StreamConfig(**SIZES | {"prefetch": 5})
    stream = train_batches(split, targets, config, order="frequent", place=Place(batch=7))
    for number in range(7, 10):
        assert stream.place.batch == number  # of the next batch, however many were read ahead
        next(stream)
    stream.close()


@pytest.mark.parametrize("size", [1, 4, 16])
def test_every_epoch_visits_every_row_once_in_an_order_of_its_own(batches, split, size):
    epochs = visits(batches(-(-4 * 23 // size), batch_size=size))[: 4 * 23].reshape(4, 23)
    np.testing.assert_array_equal(np.sort(epochs), np.tile(np.arange(23), (4, 1)))
    assert len({tuple(epoch) for epoch in epochs} | {tuple(range(23))}) == 5


def test_another_seed_is_another_order(batches):
    epochs = [visits(batches(23, seed=seed)).reshape(4, 23)[epoch] for seed in range(4) for epoch in range(4)]
    assert len({tuple(epoch) for epoch in epochs}) == 16  # nor do seeds share each other's epochs
    assert_batches_equal(batches(3, seed=2**40), batches(3, seed=2**40))


def test_threads_and_prefetch_change_nothing(batches):
    expected = batches(12, order="shuffled", threads=0)
    assert_batches_equal(batches(12, order="shuffled", threads=3, prefetch=1), expected)
    assert_batches_equal(batches(12, order="shuffled", threads=1, prefetch=9), expected)


def targets_by_epoch(batches, epochs, **settings):
    """{row: its target in each epoch}."""
    size = settings.get("batch_size", 4)
    stream = batches(-(-epochs * 23 // size), **settings)
    rows, written = visits(stream), np.concatenate([batch["target"] for batch in stream])
    return {
        row: [tuple(ids) for ids in written[: epochs * 23][rows[: epochs * 23] == row]] for row in range(23)
    }


def test_shuffled_tags_are_redrawn_every_epoch(batches, split, tokenizer, vocabulary):
    drawn = targets_by_epoch(batches, 6, order="shuffled")
    for row, epochs in drawn.items():
        tags = sorted(vocabulary.tags[tag] for tag in split[row]["tags"])
        assert all(sorted(tokenizer.decode_tags(ids)) == tags for ids in epochs)
    assert sum(len(set(epochs)) > 1 for epochs in drawn.values()) > 20
    assert targets_by_epoch(batches, 6, order="shuffled", batch_size=8) == drawn  # (seed, epoch, row) alone
    assert targets_by_epoch(batches, 6, order="shuffled", seed=1) != drawn


def test_the_other_orders_stay(batches, split, tokenizer, vocabulary):
    for order, key in (("frequent", sorted), ("text", list)):
        for row, epochs in targets_by_epoch(batches, 3, order=order).items():
            tags = tuple(vocabulary.tags[tag] for tag in key(split[row]["tags"]))
            assert {tokenizer.decode_tags(ids) for ids in epochs} == {tags}


@pytest.mark.parametrize("hosts", [1, 2])
@pytest.mark.parametrize("size", [2, 6, 30])
def test_evaluation_loses_nothing(split, targets, size, hosts):
    config = StreamConfig(**SIZES | {"batch_size": size})
    parts = [
        list(eval_batches(split, targets, config, order="text", host=h, hosts=hosts)) for h in range(hosts)
    ]
    batches = joined(parts)
    assert {len(batch["row"]) for batch in batches} == {size}
    rows, weights = visits(batches), np.concatenate([batch["weight"] for batch in batches])
    assert rows[weights == 1].tolist() == list(range(23))
    assert set(rows[weights == 0].tolist()) <= {-1} and weights.sum() == 23
    assert not batches[-1]["source"][batches[-1]["row"] == -1].any()


def test_evaluating_nothing_is_no_batch(data_dir, targets):
    assert list(eval_batches(store.open_split(data_dir, "test"), targets, StreamConfig(), order="text")) == []


def test_training_on_nothing_is_refused(data_dir, targets):
    with pytest.raises(UserError, match="0 rows"):
        train_batches(store.open_split(data_dir, "test"), targets, StreamConfig(), order="text")


def test_a_batch_that_hosts_cannot_share_is_refused(split, targets):
    for stream in (train_batches, eval_batches):
        with pytest.raises(UserError, match="multiple of the number of hosts, 3"):
            stream(split, targets, StreamConfig(**SIZES), order="text", host=0, hosts=3)


def test_a_longer_source_is_cut_but_keeps_its_end(batches, split, tokenizer):
    (batch,) = batches(1, source_length=6)
    for ids, row in zip(batch["source"], split.read(batch["row"].tolist()), strict=True):
        assert ids.tolist() == [*row["source"][:5].tolist(), tokenizer.eos]


@given(st.lists(st.lists(st.integers(5, 9), min_size=1, max_size=4), max_size=6), st.integers(1, 20))
def test_a_target_holds_whole_tags_and_always_its_end(tags, length):
    targets = Targets(tuple(map(tuple, tags)), separator=3, eos=1, pad=0, source_pad=0)
    *written, end = targets.ids(range(len(tags)), length)
    assert end == 1 and len(written) < length
    pieces = [
        list(group) for separates, group in itertools.groupby(written, lambda i: i == 3) if not separates
    ]
    kept = iter(tags)
    assert all(piece in kept for piece in pieces)  # whole tags, in their order
    assert (len(pieces) == len(tags)) == (targets.length(range(len(tags))) <= length)
    assert targets.length(range(len(tags))) == len(targets.ids(range(len(tags)), 99))


def test_a_target_with_a_size_says_how_many_tags_follow(vocabulary, tokenizer, targets):
    sized = Targets.of(vocabulary, tokenizer, most=20)
    for length in (3, 9, 40, 99):
        for tags in ([], [2], [4, 0, 1], list(range(len(vocabulary.tags)))[:20]):
            size, *names = tokenizer.tags.decode_tags(ids := sized.ids(tags, length))
            kept = (vocabulary.tags[tag] for tag in tags)
            assert all(name in kept for name in names)  # whole tags, in their order
            assert int(size) == len(names) and len(ids) <= length and ids[-1] == tokenizer.tags.eos
    assert int(size) == len(tags), "the longest target holds all"
    unknown = sized.ids([4, 0], 99, complete=False)
    assert unknown == [targets.pad, targets.separator, *targets.ids([4, 0], 99)[:-1]]


def test_a_size_that_leaves_no_room_is_refused():
    for name in ("source_length", "target_length", "batch_size", "prefetch"):
        with pytest.raises(ValueError, match=f"{name}=0 must be at least 1"):
            StreamConfig(**{name: 0})
    for name in ("seed", "threads"):
        with pytest.raises(ValueError, match=f"{name}=-1"):
            StreamConfig(**{name: -1})


@pytest.mark.parametrize("threads", [0, 2])
def test_a_reader_that_fails_ends_the_stream(rows, targets, tmp_path, threads):
    """It does so in the loop that waits for it, whichever thread it read in."""
    store.write(tmp_path, {"train": rows})
    split, config = store.open_split(tmp_path, "train"), StreamConfig(**SIZES, threads=threads)
    next(tmp_path.glob("*.array_record-*")).unlink()
    stream = train_batches(split, targets, config, order="text")
    with pytest.raises(UserError, match="rows cannot be read"):
        next(stream)
    stream.close()
