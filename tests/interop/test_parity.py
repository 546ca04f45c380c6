"""Every family and variant of the zoo equals transformers' own, as `tools/parity.py --all` prints it."""

import pytest

from tools import parity, zoo


@pytest.mark.parametrize("variant", zoo.VARIANTS)
def test_logits_beams_and_bytes_are_the_same(variant):
    row = parity.compare(zoo.VARIANTS[variant])
    assert row.passes, row
