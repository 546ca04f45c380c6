"""What two tests of the stream ask of batches."""

import numpy as np


def assert_equal(ours, theirs):
    """As many batches, with the same arrays."""
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        assert one.keys() == other.keys()
        for key in one:
            np.testing.assert_array_equal(one[key], other[key])
