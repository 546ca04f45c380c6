"""Real catalogs read without loss, and cleaning is idempotent on what people really wrote."""

import pytest

from taggen_jax.catalog.clean import CleanConfig, cleaner
from taggen_jax.catalog.quarantine import Quarantine
from taggen_jax.catalog.readers import CatalogConfig, expand, read


@pytest.mark.parametrize(("name", "rows"), [("ae110k/train", 1568), ("debtags/validation", 2419)])
def test_a_real_catalog(name, rows, shared_data, tmp_path):
    paths = expand([str(shared_data / f"{name}.jsonl.gz")])
    with Quarantine(tmp_path / "quarantine.jsonl") as quarantine:
        products = list(read(paths, CatalogConfig(), strict=True, quarantine=quarantine))
    assert len(products) == rows and any(product.tags for product in products)
    clean = cleaner(CleanConfig())
    for product in products[::5]:
        once = clean(product)
        assert clean(once) == once
        assert len(once.title) > 0.5 * len(product.title)
