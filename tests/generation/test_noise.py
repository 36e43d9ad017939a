"""The hash is as good as random, and the same everywhere."""

import itertools

import numpy as np
import pytest
from keras import ops

from tfmodels.generation.noise import gumbel, uniform

SIZE = 50257


def draws(seeds, number, size=SIZE):
    return ops.convert_to_numpy(uniform(np.array(seeds, "int32"), number, size))


def chi_square(counts):
    """How many standard deviations the statistic is away from its mean, for equal shares."""
    expected = counts.sum() / counts.size
    statistic = ((counts - expected) ** 2 / expected).sum()
    return abs(statistic - (counts.size - 1)) / np.sqrt(2 * (counts.size - 1))


def test_the_same_numbers_on_every_backend():
    expected = [
        [0.48629278, 0.15750104, 0.7923699, 0.71967775, 0.24429995],
        [0.09139532, 0.2292195, 0.2544616, 0.42287248, 0.6645631],
        [0.06314784, 0.7069989, 0.39986402, 0.48433417, 0.987482],
    ]
    np.testing.assert_array_equal(draws([0, -1, 7], 3, 5), np.array(expected, "float32"))


def test_never_0_or_1():
    found = draws(range(64), 0)
    assert found.dtype == np.float32 and found.min() > 0 and found.max() < 1
    assert np.isfinite(ops.convert_to_numpy(gumbel(np.arange(64), 0, SIZE))).all()


@pytest.mark.parametrize("axis", ["entries", "numbers", "seeds"])
def test_uniform_and_neighbours_independent(axis):
    if axis == "entries":
        found = draws(range(20), 5).reshape(-1)
    elif axis == "numbers":
        found = np.stack([draws(range(40), number, 50) for number in range(400)], -1).reshape(-1)
    else:
        found = draws(range(-8000, 8000), 1, 60).T.reshape(-1)
    assert chi_square(np.histogram(found, 1000, (0, 1))[0]) < 5
    for distance in (1, 2, 3, 16):
        pairs = np.histogram2d(found[:-distance], found[distance:], 32, [(0, 1), (0, 1)])[0]
        assert chi_square(pairs) < 5
        # The low bits too.
        low = (found * 2**23).astype("int64") & 15
        assert chi_square(np.bincount(low[:-distance] * 16 + low[distance:])) < 5


def test_no_draw_is_another_one_shifted():
    found = [set(draws([seed], number)[0]) for seed in range(5) for number in range(4)]
    by_chance = SIZE**2 / 2**23  # of 2^23 values, as many are in both
    for one, other in itertools.combinations(found, 2):
        assert abs(len(one & other) - by_chance) < 6 * by_chance**0.5
