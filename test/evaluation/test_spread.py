"""Percentiles that occurred, against hand-counted values and numpy's inverted distribution."""

import numpy as np
import pytest

from activesam_ros.evaluation.spread import Spread


def test_hand_counted():
    # Of 20 values 18 are at most 18 (90 %), 19 at most 19 (95 %), and only all 20 are 99 % or more.
    spread = Spread.of(range(20, 0, -1))
    assert spread == Spread(count=20, mean=10.5, least=1, p50=10, p90=18, p95=19, p99=20, most=20)


def test_nothing():
    assert Spread.of([]) is None


@pytest.mark.parametrize("count", [1, 2, 3, 99, 100, 101, 1000])
def test_as_numpy(count):
    values = np.random.default_rng(count).gamma(2.0, size=count)
    spread = Spread.of(values)
    expected = np.percentile(values, [0, 50, 90, 95, 99, 100], method="inverted_cdf")
    assert [spread.least, spread.p50, spread.p90, spread.p95, spread.p99, spread.most] == expected.tolist()
    assert spread.mean == pytest.approx(values.mean())
