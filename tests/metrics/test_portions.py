import numpy as np
import pytest

from fame_jax.metrics.portions import in_portions


@pytest.mark.parametrize("size", [1, 3, 4, 7, 20])
def test_portions_join_to_the_whole_in_one_shape(size):
    numbers, shapes = np.arange(14.0).reshape(7, 2), set()

    def doubled(rows, offsets):
        shapes.add(rows.shape)
        return {"rows": 2 * rows, "sums": rows.sum(1) + offsets}

    joined = in_portions(doubled, size, numbers, np.arange(7.0))
    np.testing.assert_array_equal(joined["rows"], 2 * numbers)
    np.testing.assert_array_equal(joined["sums"], numbers.sum(1) + np.arange(7.0))
    assert shapes == {(min(size, 7), 2)}


@pytest.mark.parametrize("arrays", [(np.zeros((0, 2)),), (np.zeros((2, 2)), np.zeros(3))])
def test_portions_of_nothing_or_of_unequal_numbers_are_refused(arrays):
    with pytest.raises(ValueError, match="entries"):
        in_portions(lambda *a: a, 2, *arrays)
