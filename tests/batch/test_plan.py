"""Shards read apart give what one reader gives over the whole input, whatever their size."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taggen_jax.batch.plan import Plan, Reader, survey
from taggen_jax.catalog.quarantine import Quarantine
from taggen_jax.catalog.readers import CatalogConfig, read
from taggen_jax.errors import UserError

CONFIG = CatalogConfig()
ROWS = st.one_of(  # few ids, so that they repeat; null: rubbish
    st.integers(0, 9).map(lambda i: json.dumps({"id": f"p{i}", "title": "lamp"})),
    st.just('{"id": '),
    st.just(""),
)


def through(path, products):
    """(ids, quarantined lines) of a reader that wants a quarantine."""
    with Quarantine(path) as quarantine:
        ids = [product.id for product in products(quarantine)]
    return ids, path.read_text()


@given(st.lists(st.lists(ROWS, max_size=8), max_size=4), st.integers(1, 9), st.randoms(use_true_random=False))
def test_shards_in_any_order_are_the_whole(tmp_path_factory, contents, shard_rows, chance):
    folder = tmp_path_factory.mktemp("plan")
    paths = [folder / f"{number}.jsonl" for number in range(len(contents))]
    for path, lines in zip(paths, contents, strict=True):
        path.write_text("".join(line + "\n" for line in lines))
    plan = survey(paths, CONFIG, shard_rows, strict=False)
    plan = Plan.from_json(json.loads(json.dumps(plan.to_json())))
    reader, shards = Reader(plan, CONFIG), list(range(plan.shards))
    chance.shuffle(shards)
    pieces = {
        shard: through(folder / "q.jsonl", lambda quarantine, shard=shard: reader.products(shard, quarantine))
        for shard in shards
    }
    whole = through(folder / "q.jsonl", lambda quarantine: read(paths, CONFIG, quarantine=quarantine))
    in_order = [pieces[shard] for shard in range(plan.shards)]
    assert [i for ids, _ in in_order for i in ids] == whole[0]
    assert "".join(lines for _, lines in in_order) == whole[1]
    assert list(plan.products) == [len(ids) for ids, _ in in_order]


def test_strict_stops_before_there_is_a_plan(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": "1", "title": "lamp"}\n{"id": "1", "title": "lamp"}\n')
    with pytest.raises(UserError, match=r"a\.jsonl:2: duplicate_id"):
        survey([path], CONFIG, 10, strict=True)
